"""A unit of work: jobs on one simulation, each with a result of its own."""

import pickle

import pytest

from model.arch import Event
from tb import cases, totals, work
from tb.testbench import CONTROLS, DEFAULTS, Failure
from tb.work import ERROR, FAILED, PASSED, Job, Unit, deal, run_unit


async def good(tb):
    await tb.start(mdscr_el1=1, mdcr_el2=0x100, ss=1)
    await tb.do(Event.EXECUTE)


async def parts(tb):
    await good(tb)
    tb.expect(tb.cycles[-1].row, ss_after=1)


async def fails(tb):
    await good(tb)
    raise Failure("not good enough")


async def fails_at_once(tb):
    raise Failure("nothing to do")


async def breaks(tb):
    await good(tb)
    raise RuntimeError("broken")


async def idles(tb):
    await tb.start()


async def leaves_a_mess(tb):
    await tb.start(el=0, il=1, ss=1, mdscr_el1=7, last=3)
    await tb.do(Event.EXECUTE)


async def looks_at_the_reset_state(tb):
    tb.change(**{name: DEFAULTS[name] for name in (*CONTROLS, "halted")})
    await tb.idle()
    tb.expect(tb.cycles[-1].row, el=3, d=1, ss=0, il=0, mdscr_el1=0, last=0)
    await good(tb)


TOYS = (
    good,
    parts,
    fails,
    fails_at_once,
    breaks,
    idles,
    leaves_a_mess,
    looks_at_the_reset_state,
)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for body in TOYS:
        case = cases.Case(f"toy.{body.__name__}", body, "", False)
        monkeypatch.setitem(cases.CASES, case.name, case)


def run(*names, **more):
    return run_unit(Unit("pysim", tuple(Job(f"toy.{name}", 1) for name in names), **more))


def test_each_job_has_a_result_with_what_was_asked():
    result, again = run("good", "good")
    assert (result.name, result.simulator, result.seed) == ("toy.good", "pysim", 1)
    assert (result.status, result.cycles, result.failure) == (PASSED, 3, "")
    assert result.mismatch is None
    assert result.waves is None
    assert 0 < result.seconds < 60
    assert result.counts.tolist() == again.counts.tolist()
    assert result.counts.sum() == 2


@pytest.mark.parametrize(
    ("name", "status", "first_line", "mismatch"),
    [
        ("parts", FAILED, "cycle 1: the hardware is not as the test says", 1),
        ("fails", FAILED, "not good enough", 1),
        ("breaks", ERROR, "RuntimeError: broken (test_work.py:", None),
        ("idles", ERROR, "ValueError: the test compared nothing: no event happened (", None),
    ],
)
def test_a_bad_job_says_what_is_wrong_and_the_next_one_runs(name, status, first_line, mismatch):
    bad, result = run(name, "good")
    assert bad.status == status
    assert bad.failure.splitlines()[0].startswith(first_line)
    assert bad.mismatch == mismatch
    assert bad.counts.sum() == 0
    assert result.status == PASSED


def test_a_job_may_fail_before_anything_happened(tmp_path):
    (result,) = run("fails_at_once", waves=tmp_path)
    assert (result.status, result.cycles) == (FAILED, 0)
    assert result.failure.splitlines()[0] == "nothing to do"
    assert result.waves.is_file()


def test_the_first_failure_can_end_the_unit():
    results = run("good", "parts", "good", first=True)
    assert [result.status for result in results] == [PASSED, FAILED]


def test_each_job_starts_from_the_reset_state():
    results = run("leaves_a_mess", "looks_at_the_reset_state")
    assert [result.status for result in results] == [PASSED, PASSED]


def test_a_waveform_is_written_where_it_is_said(tmp_path):
    (result,) = run("parts", waves=tmp_path / "new" / "waves")
    vcd = tmp_path / "new" / "waves" / "toy.parts.pysim.1.vcd"
    assert result.waves == vcd.with_suffix(".gtkw")
    assert result.waves.is_file()
    assert vcd.read_bytes().startswith(b"$comment")


def test_a_unit_and_its_results_can_be_sent_to_a_process():
    unit = Unit("pysim", (Job("toy.good", 1),))
    assert pickle.loads(pickle.dumps(unit)) == unit
    (result,) = run("parts")
    again = pickle.loads(pickle.dumps(result))
    assert (again.failure, again.cycles) == (result.failure, result.cycles)


@pytest.mark.parametrize("count", [1, 3, 10, 40])
def test_every_job_is_dealt_once_and_evenly(count):
    jobs = [Job("toy.good", seed) for seed in range(23)]
    hands = deal(jobs, count)
    assert len(hands) == min(count, 23)
    assert sorted((job for hand in hands for job in hand), key=lambda job: job.seed) == jobs
    assert max(map(len, hands)) - min(map(len, hands)) <= 1
    assert hands[0][0] == jobs[0]


def test_the_jobs_of_a_unit_can_be_units_of_their_own():
    jobs = (Job("toy.good", 1), Job("toy.parts", 2))
    unit = Unit("pysim", jobs, "my.S", first=True)
    assert work.singles(unit) == [Unit("pysim", (job,), "my.S", first=True) for job in jobs]


def test_a_job_that_killed_its_workers_is_an_error_with_its_seed():
    result = work.killed(Unit("icarus", (Job("toy.good", 77),)), 3)
    assert (result.name, result.simulator, result.seed) == ("toy.good", "icarus", 77)
    assert (result.status, result.cycles, result.counts.sum()) == (ERROR, 0, 0)
    text = "it killed its worker process 3 times; did it run out of memory?"
    assert result.failure == text
    assert result.killed


def test_the_default_simulator_is_the_fastest_that_can_run(monkeypatch):
    assert work.SIMULATORS[0] == "compiled"
    monkeypatch.setattr(work.adapter("compiled"), "missing", lambda: None)
    assert work.default_simulator() == "compiled"
    monkeypatch.setattr(work.adapter("compiled"), "missing", lambda: "there is no compiler")
    assert work.default_simulator() == "pysim"
    assert work.adapter("pysim").missing() is None


def test_coverage_of_a_job_is_legal():
    (result,) = run("good")
    assert totals.illegal_hits(result.counts) == []
