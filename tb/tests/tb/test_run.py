"""`python -m tb.run`: what it runs, what it prints, and its exit code."""

import importlib.util
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from junitparser import JUnitXml

import tb
from model.arch import Event
from model.hyp import check
from model.planes import Planes
from model.vectors import model_answer
from model.vectors import run as run_vectors
from tb import cases, runner, work
from tb.cases import hyp, kvm
from tb.harness import ROW
from tb.plan import VERSION
from tb.run import main
from tb.sims import SimulatorError
from tb.testbench import Failure

TREE = Path(tb.__file__).parent.parent
SIM = work.default_simulator()
VECTORS = "el,ss,mdscr_el1,mdcr_el2,event,target_el\n1,1,1,0x100,execute,\n1,0,1,0x100,svc,1\n"


async def steps(bench):
    await bench.start(mdscr_el1=1, mdcr_el2=0x100, ss=1)
    await bench.do(Event.EXECUTE)
    await bench.do(Event.EXECUTE)


async def draws(bench):
    await steps(bench)


async def fails(bench):
    await steps(bench)
    raise Failure("not good enough")


async def breaks(bench):
    await steps(bench)
    raise RuntimeError("[broken]")


async def kills(bench):
    await steps(bench)
    os.kill(os.getpid(), signal.SIGKILL)


async def kills_twice(bench):
    await steps(bench)
    for number in (1, 2):
        if not Path(f"killed{number}").exists():
            Path(f"killed{number}").touch()
            os.kill(os.getpid(), signal.SIGKILL)


async def interrupts_once(bench):
    await steps(bench)
    if not Path("interrupted").exists():
        Path("interrupted").touch()
        raise KeyboardInterrupt


async def interrupts(bench):
    await steps(bench)
    raise KeyboardInterrupt


async def naps(bench):
    await steps(bench)
    time.sleep(600)


async def naps_again(bench):
    await steps(bench)
    if Path("napped").exists():
        time.sleep(600)
    Path("napped").touch()
    raise Failure("not good enough")


@pytest.fixture(autouse=True)
def toys(monkeypatch, tmp_path):
    """Small cases beside the others; everything generated goes to tmp_path."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    cases.load()
    bodies = (steps, draws, fails, breaks, interrupts, kills, kills_twice, interrupts_once, naps)
    bodies = (*bodies, naps_again)
    for body in bodies:
        case = cases.Case(f"toy.{body.__name__}", body, "a toy", body is draws)
        monkeypatch.setitem(cases.CASES, case.name, case)
    # Cases of the project that take long.
    monkeypatch.setattr(hyp, "VALUES", 100)
    monkeypatch.setattr(check, "MAX_FAILURES", 100)
    yield
    for user in (hyp.USER, kvm.USER):
        cases.CASES.pop(user, None)


@pytest.fixture
def run(capsys):
    """Runs a command line in this process: (exit code, lines of output, lines of errors)."""

    def go(*words):
        code = main(["-j", "1", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return go


@pytest.fixture
def faulty(monkeypatch):
    """Hardware whose trace says SS = 1 after each event."""
    adapter = work.adapter(SIM).Adapter
    cycle, play = adapter.cycle, adapter.play

    async def wrong(self, stimulus):
        return await cycle(self, stimulus) | 1 << ROW["ss_after"].lsb

    async def wrong_lanes(self, steps):
        async for step, rows in play(self, steps):
            yield step, {**rows, "ss_after": Planes.constant(1)}

    monkeypatch.setattr(adapter, "cycle", wrong)
    monkeypatch.setattr(adapter, "play", wrong_lanes)


def names_run(path="out.json"):
    return [(test["name"], test["seed"]) for test in json.loads(Path(path).read_text())["tests"]]


def results(path):
    """All that a run wrote, but for the time that it took."""
    content = json.loads(Path(path).read_text())
    del content["seconds"]
    for test in content["tests"]:
        del test["seconds"]
    return content


# Passing and failing


def test_a_pass(run):
    code, out, err = run("toy.steps")
    assert (code, err) == (0, [])
    assert len(out) == 2
    assert out[0].startswith(f"PASS toy.steps [{SIM}, seed 1]: 4 cycles, ")
    assert out[1].startswith("PASS: 1 tests, 4 cycles, coverage ")


def test_a_failure_is_told_with_all_that_it_takes_to_look_into_it(run, faulty):
    code, out, err = run("toy.steps", "--seed", 5)
    assert (code, err) == (1, [])
    assert out[0].startswith(f"FAIL toy.steps [{SIM}, seed 5]: 4 cycles, ")
    assert "  cycle 1: the hardware is not as the model says" in out
    (marked,) = [line for line in out if line.endswith("!!!")]
    assert marked.split() == ["ss_after", "1", "0", "!!!"]
    at = out.index("  the events before it:")
    assert out[at + 1 : at + 3] == [
        "    cycle 0: start at EL1, PSTATE.D=0 SS=1",
        "    cycle 1: EL1 0x0 execute; active-not-pending -> active-pending",
    ]
    assert f"  reproduce: python -m tb.run toy.steps --sim {SIM} --seed 5 -w" in out
    stem = f"sim_build/waves/toy.steps.{SIM}.5"
    assert f"  waveform:  gtkwave {stem}.vcd {stem}.gtkw" in out
    assert Path(f"{stem}.vcd").stat().st_size > 0
    assert Path(f"{stem}.gtkw").stat().st_size > 0
    assert out[-1].startswith("FAIL: 1 of 1 tests, 4 cycles, coverage ")


def test_the_command_to_reproduce_fails_in_the_same_way(run, faulty):
    _, first, _ = run("toy.draws", "--seed", 3, "--seeds", 2)
    commands = [line for line in first if line.startswith("  reproduce: ")]
    assert len(commands) == 2
    words = shlex.split(commands[1].removeprefix("  reproduce: "))
    assert words[:3] == ["python", "-m", "tb.run"]
    code, again, _ = run(*words[3:], "--json", "out.json")
    assert code == 1
    assert names_run() == [("toy.draws", 4)]
    assert commands[1] in again


def test_a_test_that_breaks_is_no_pass(run):
    code, out, _ = run("toy.breaks", "toy.steps")
    assert code == 1
    assert any(line.startswith(f"ERROR toy.breaks [{SIM}, seed 1]: ") for line in out)
    assert any(line.startswith("  RuntimeError: [broken] (test_run.py:") for line in out)
    assert out[-1].startswith("FAIL: 1 of 2 tests, ")


def test_an_illegal_bin_fails_the_run(run, monkeypatch):
    monkeypatch.setattr("tb.totals.illegal_hits", lambda counts: ["transition: never"])
    code, out, _ = run("toy.steps")
    assert code == 1
    assert out[-3] == "illegal: the model never does this: transition: never"
    assert out[-2] == "page: sim_build/report/index.html"
    assert out[-1].startswith("FAIL: 1 tests passed, but illegal bins were hit, ")


def test_processes_and_one_process_give_the_same(run):
    patterns = ("toy.steps", "toy.draws", "tables.syndrome", "directed.reset_state")
    for path, workers in (("one.json", 1), ("more.json", 2)):
        code, _, _ = run(*patterns, "-j", workers, "--seeds", 2, "--json", path)
        assert code == 0
    assert results("one.json") == results("more.json")
    assert len(names_run("one.json")) == 6


# Which tests


@pytest.mark.parametrize(
    ("patterns", "selected"),
    [
        (["toy.steps"], ["toy.steps"]),
        (["steps"], ["toy.steps"]),
        (["toy.s*", "toy.dra?s"], ["toy.draws", "toy.steps"]),
        (["toy.steps", "steps", "toy.steps"], ["toy.steps"]),
        (["reset_state"], ["directed.reset_state"]),
    ],
)
def test_patterns_select_by_name_part_and_glob(run, patterns, selected):
    assert run(*patterns, "--json", "out.json")[0] == 0
    assert [name for name, _ in names_run()] == selected


def test_patterns_may_stand_on_both_sides_of_an_option(run):
    assert run("toy.steps", "-w", "toy.draws", "-q", "reset_state", "--json", "out.json")[0] == 0
    assert [name for name, _ in names_run()] == ["directed.reset_state", "toy.draws", "toy.steps"]


def test_a_file_of_cases_is_selected_by_its_name(run):
    code, out, _ = run("-l", "lockstep", "tables")
    assert code == 0
    listed = [line.split()[2] for line in out if line.startswith("  ")]
    assert sorted(listed) == sorted(
        n for n in cases.CASES if n.startswith(("lockstep.", "tables."))
    )
    assert len(listed) > 3


def test_a_part_of_a_word_selects_nothing(run):
    assert run("step")[0] == 2


def test_the_list_has_every_test_and_runs_none(run):
    code, out, err = run("-l")
    assert (code, err) == (0, [])
    listed = [line.split()[2] for line in out if line.startswith("  not run ")]
    assert sorted(listed) == sorted(cases.CASES)
    at = out.index("a toy: not run")
    (line,) = [line for line in out[at:] if " toy.draws" in line]
    assert line.endswith(" toy.draws (random)")
    assert out[-1] == f"{len(cases.CASES)} tests: not run"
    assert not Path("sim_build").exists()


def test_the_plan_has_what_the_tests_last_gave(run):
    run("toy.steps", "toy.fails", "-q")
    code, out, err = run("-l", "toy.steps", "toy.fails", "toy.draws")
    assert (code, err) == (0, [])
    hit = json.loads(Path("sim_build/last.json").read_text())["bins"]
    bins = f"{len(hit)} bins"
    assert len(hit) > 3
    assert out == [
        f"a toy: {bins}, 1 passed, 1 failed, 1 not run",
        f"  passed {'':12}{len(hit):4} bins  toy.steps",
        f"  {'not run':28}  toy.draws (random)",
        f"  failed {'':12}{0:4} bins  toy.fails (failed: seed 1 on {SIM})",
        f"3 tests: {bins}, 1 passed, 1 failed, 1 not run",
    ]
    last = Path("sim_build/last.json")
    last.write_text(last.read_text().replace(VERSION, "another"))
    _, out, _ = run("-l", "toy.steps")
    assert out[1] == f"  passed (other code){len(hit):4} bins  toy.steps"
    _, out, _ = run("-l", "-v", "toy.steps")
    named = [line.strip() for line in out if line.startswith("      ")]
    assert named == hit


def test_random_tests_run_with_every_seed_and_the_others_once(run):
    assert (
        run("toy.steps", "toy.draws", "--seed", "0x10", "--seeds", 3, "--json", "out.json")[0] == 0
    )
    assert names_run() == [
        ("toy.draws", 16),
        ("toy.draws", 17),
        ("toy.draws", 18),
        ("toy.steps", 16),
    ]


def test_x_stops_at_the_first_failure(run):
    tests = ("toy.fails", "toy.breaks", "toy.steps")
    for options, last in (((), "FAIL: 2 of 3 tests, "), (("-x",), "FAIL: 1 of 1 tests, ")):
        code, out, _ = run(*tests, *options, "-q")
        assert code == 1
        assert out[-1].startswith(last)
        assert (f"ERROR toy.breaks [{SIM}, seed 1]" in out) is (not options)


# What failed


def test_what_failed_runs_again_and_nothing_else(run, monkeypatch):
    assert run("toy.steps", "toy.fails", "toy.draws", "-q")[0] == 1
    code, _, err = run("--rerun-failed", "--json", "out.json")
    assert (code, err) == (1, [])
    assert names_run() == [("toy.fails", 1)]
    monkeypatch.setitem(cases.CASES, "toy.fails", cases.Case("toy.fails", steps, "a toy", False))
    code, out, _ = run("--rerun-failed")
    assert code == 0
    assert out[-1].startswith("PASS: 1 tests, ")
    nothing = "nothing to run: none of these tests failed when it last ran here"
    assert run("--rerun-failed") == (2, [], [f"error: {nothing}; leave out --rerun-failed"])
    assert not list(Path("sim_build/journal").iterdir())


def test_what_failed_can_be_listed(run):
    assert run("toy.steps", "toy.fails", "-q")[0] == 1
    code, out, _ = run("-l", "--rerun-failed")
    assert code == 0
    assert [line.split()[3] for line in out if line.startswith("  ")] == ["toy.fails"]


def test_failures_that_were_not_asked_for_are_named(run):
    run("toy.fails", "toy.breaks", "--sim", "pysim", "-q")
    nothing = "nothing to run: none of these tests failed when it last ran here"
    asked = "ask for toy.fails (pysim), toy.breaks (pysim), or leave out --rerun-failed"
    assert run("--rerun-failed", "toy.steps") == (2, [], [f"error: {nothing}; {asked}"])


def test_a_result_is_not_lost_for_the_record_of_it(run):
    Path("sim_build/last.json").mkdir(parents=True)
    code, out, err = run("toy.steps", "--json", "out.json", "-q")
    assert (code, err) == (0, [])
    why = "sim_build/last.json: Is a directory"
    assert out[:-1] == [f"--rerun-failed will not know of this run: {why}"]
    assert names_run() == [("toy.steps", 1)]


def test_what_failed_is_known_when_the_run_breaks_off(run, monkeypatch):
    run_unit = work.run_unit

    def broken(unit):
        if unit.jobs[0].case == "toy.steps":
            raise SimulatorError("it broke")
        return run_unit(unit)

    monkeypatch.setattr(work, "run_unit", broken)
    failed = {"bins": [], "tests": {}, "failed": [[SIM, "toy.fails", 1, None]]}
    Path("sim_build").mkdir()
    Path("sim_build/last.json").write_text(json.dumps(failed))
    assert run("toy.fails", "toy.steps", "-q")[0] == 2
    assert json.loads(Path("sim_build/last.json").read_text())["tests"]["toy.fails"]


def test_the_seed_and_the_simulator_that_failed_run_again(run, monkeypatch):
    bad = cases.Case("toy.draws", fails, "a toy", True)
    good = cases.CASES["toy.draws"]
    monkeypatch.setitem(cases.CASES, "toy.draws", bad)
    assert run("toy.draws", "--sim", "pysim", "--seed", 6, "--seeds", 2)[0] == 1
    monkeypatch.setitem(cases.CASES, "toy.draws", good)
    assert run("toy.draws", "--sim", "pysim", "--seed", 6)[0] == 0
    code, _, _ = run("--rerun-failed", "--json", "out.json")
    assert code == 0
    assert [
        (test["sim"], test["seed"]) for test in json.loads(Path("out.json").read_text())["tests"]
    ] == [("pysim", 7)]


def test_only_what_is_selected_runs_again(run):
    run("toy.fails", "toy.breaks", "-q")
    assert run("--rerun-failed", "breaks", "--json", "out.json")[0] == 1
    assert names_run() == [("toy.breaks", 1)]
    assert run("--rerun-failed", "toy.steps")[0] == 2


def test_what_failed_runs_first(run):
    tests = ("toy.breaks", "toy.steps", "toy.fails", "-j", 1)
    run("toy.fails", "-q")
    code, out, _ = run(*tests, "-x")
    assert code == 1
    assert out[0] == "first: 1 that failed when they last ran"
    assert out[1].startswith("FAIL toy.fails ")
    assert out[-1].startswith("FAIL: 1 of 1 tests, ")


def test_failures_are_counted_by_cause(run):
    _, out, _ = run("toy.fails", "toy.draws", "toy.breaks", "--seeds", 2, "-q")
    assert "failures by cause:" in out
    causes = out[out.index("failures by cause:") + 1 :]
    assert causes[0].split() == ["tests", "cause", "the", "first"]
    assert causes[1].startswith("  1      ") and "RuntimeError: [broken] " in causes[1] + causes[2]


def test_failures_of_one_cause_are_one_line(run, faulty):
    _, out, _ = run("toy.steps", "toy.draws", "--seeds", 2, "-q")
    causes = out[out.index("failures by cause:") + 1 :]
    first = f"toy.draws [{SIM}, seed 1]"
    assert re.split(" {2,}", causes[1]) == ["", "3", "the hardware differs in ss_after", first]


def test_one_failure_needs_no_table_of_causes(run):
    assert "failures by cause:" not in run("toy.fails", "-q")[1]


def test_what_failed_runs_first_whatever_its_design(run):
    failed = {"bins": [], "tests": {}, "failed": [["pysim", "toy.steps", 1, None]]}
    Path("sim_build").mkdir()
    Path("sim_build/last.json").write_text(json.dumps(failed))
    code, out, _ = run("core.one_step_of_a_guest", "toy.steps", "toy.fails", "--sim", "pysim", "-x")
    assert code == 1
    passed = [line.split()[1] for line in out if line.startswith("PASS ")]
    assert (out[0], passed[0]) == ("first: 1 that failed when they last ran", "toy.steps")


def test_the_run_for_the_waveform_is_ended_too(run):
    code, out, _ = run("toy.naps_again", "--timeout", "5")
    assert code == 1
    assert "  not good enough" in out
    assert "no waveform of toy.naps_again: it took too long when it ran for that" in out


@pytest.mark.parametrize("simulator", [SIM, "pysim"])
def test_a_test_that_does_not_end_is_ended(run, simulator):
    tests = ("toy.steps", "toy.naps", "--sim", simulator, "--timeout", "5")
    code, out, err = run(*tests)
    assert (code, err) == (1, [])
    assert any(line.startswith(f"PASS toy.steps [{simulator}, ") for line in out)
    said = "it had not ended after 5 s, and was ended"
    assert f"  {said}; give more with --timeout, if it only needs longer" in out
    command = f"python -m tb.run toy.naps --sim {simulator} --seed 1 -w --timeout 5"
    assert f"  reproduce: {command}" in out
    assert out[-1].startswith("FAIL: 1 of 2 tests, ")


@pytest.mark.parametrize("waves", [False, True])
def test_the_time_of_a_test_has_not_that_of_a_build(run, monkeypatch, waves):
    """With waves it is a build of its own, which a test that fails needs."""

    def slow(task, vcd, design):
        if bool(vcd) == waves and not Path("built").exists():
            time.sleep(6)
            Path("built").touch()
        return adapter.run(task, vcd, design)

    adapter = work.adapter("pysim")
    monkeypatch.setattr(work, "adapter", lambda _: SimpleNamespace(run=slow, missing=lambda: None))
    code, out, _ = run("toy.fails", "--timeout", "5")
    assert code == 1
    assert "  not good enough" in out
    assert any(line.startswith("  waveform:  ") for line in out)


# What is printed and written


def test_q_prints_the_verdict_only_where_all_pass(run):
    code, out, _ = run("toy.steps", "toy.draws", "-q")
    assert code == 0
    assert len(out) == 1
    assert out[0].startswith("PASS: 2 tests, ")


def test_q_prints_failures_too(run):
    code, out, _ = run("toy.steps", "toy.fails", "-q")
    assert code == 1
    assert [line for line in out if line.startswith("PASS")] == []
    assert f"FAIL toy.fails [{SIM}, seed 1]" in out
    assert "  not good enough" in out
    assert out[-1].startswith("FAIL: 1 of 2 tests, ")


def test_v_lists_every_hole(run):
    _, out, _ = run("toy.steps")
    assert not any(line.startswith("coverage:") for line in out)
    _, out, _ = run("toy.steps", "-v")
    (at,) = [at for at, line in enumerate(out) if line.startswith("coverage: ")]
    assert len(out) - at - 2 == int(out[at].split()[1]) > 100


@pytest.mark.parametrize("option", ["-w", "-w=all"])
def test_w_writes_a_waveform_of_every_test(run, option):
    code, _, _ = run(option, "toy.steps", "toy.draws")
    assert code == 0
    written = {path.name for path in Path("sim_build/waves").iterdir()}
    assert written >= {
        f"toy.{name}.{SIM}.1.{ending}" for name in ("draws", "steps") for ending in ("gtkw", "vcd")
    }


@pytest.fixture
def viewed(monkeypatch, tmp_path):
    """What a viewer in the place of GTKWave was told to open, when it has been told."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gtkwave"
    program.write_text('#!/bin/sh\necho "$@" > opened.part && mv opened.part opened\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":none")

    def opened():
        until = time.monotonic() + 60
        while not Path("opened").exists() and time.monotonic() < until:
            time.sleep(0.05)
        return Path("opened").read_text().split()

    return opened


def test_g_opens_the_waveform_of_the_first_test(run, viewed):
    assert run("-g", "toy.steps", "toy.draws")[0] == 0
    assert viewed() == [f"sim_build/waves/toy.draws.{SIM}.1.gtkw"]


def test_g_opens_the_waveform_of_what_failed(run, viewed):
    assert run("toy.steps", "toy.draws", "toy.fails", "-g")[0] == 1
    assert viewed() == [f"sim_build/waves/toy.fails.{SIM}.1.gtkw"]


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("PATH", "no viewer of waveforms is installed (apt-get install gtkwave)"),
        ("DISPLAY", "there is no display to open a waveform on (DISPLAY is not set)"),
    ],
)
def test_g_without_a_viewer_runs_nothing(run, viewed, monkeypatch, variable, said):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv(variable, "")
    assert run("toy.steps", "-g", "--sim", "pysim") == (2, [], [f"error: -g: {said}"])


def test_what_was_left_undone_beside_the_tests_is_said_once(run, monkeypatch):
    no_fst = "no FST is written: vcd2fst is not installed (apt-get install gtkwave)"
    monkeypatch.setattr("tb.dump.write_fst", lambda vcd: no_fst)
    code, out, _ = run("-w", "toy.steps", "toy.draws", "-q")
    assert code == 0
    assert out[:-1] == [no_fst]


def test_a_pass_leaves_no_waveform_unless_asked(run):
    assert run("toy.steps", "-w=fail")[0] == 0
    files = [path.name for path in Path("sim_build").rglob("*") if path.is_file()]
    assert files == ["last.json"]


def test_json_and_junit_say_the_same(run):
    code, _, _ = run("toy.steps", "toy.fails", "--json", "out.json", "--junit", "out.xml")
    assert code == 1
    content = json.loads(Path("out.json").read_text())
    assert content["verdict"] == "fail"
    assert {test["name"]: test["status"] for test in content["tests"]} == {
        "toy.fails": "failed",
        "toy.steps": "passed",
    }
    assert content["not_run"] == []
    xml = JUnitXml.fromfile("out.xml")
    xml.update_statistics()
    assert (xml.tests, xml.failures, xml.errors) == (2, 1, 0)


def test_a_simulator_that_is_missing_is_not_run_and_said(run, monkeypatch):
    class Missing:
        @staticmethod
        def missing():
            return "pip install 'softstep[sims]'"

    adapter = work.adapter
    monkeypatch.setattr(work, "adapter", lambda n: adapter(n) if n == SIM else Missing)
    code, out, _ = run("toy.steps", "--sim", "all", "--json", "out.json")
    assert code == 0
    assert f"not run: verilator: {Missing.missing()}" in out
    not_run = json.loads(Path("out.json").read_text())["not_run"]
    others = [name for name in work.SIMULATORS if name != SIM]
    assert not_run == [{"name": name, "reason": Missing.missing()} for name in others]
    code, out, err = run("toy.steps", "--sim", "icarus")
    assert (code, out, err) == (2, [], [f"error: icarus cannot run: {Missing.missing()}"])


def test_every_simulator_runs_every_test(run, monkeypatch):
    adapter = work.adapter
    monkeypatch.setattr(work, "adapter", lambda name: adapter("pysim"))
    code, out, _ = run("steps", "fails", "--sim", "all", "--json", "out.json", "--junit", "out.xml")
    assert code == 1
    content = json.loads(Path("out.json").read_text())
    assert sorted((test["sim"], test["name"], test["status"]) for test in content["tests"]) == [
        (simulator, f"toy.{name}", status)
        for simulator in sorted(work.SIMULATORS)
        for name, status in (("fails", "failed"), ("steps", "passed"))
    ]
    assert {suite.name for suite in JUnitXml.fromfile("out.xml")} == set(work.SIMULATORS)
    assert "  reproduce: python -m tb.run toy.fails --sim icarus --seed 1 -w" in out
    assert out[-1].startswith("FAIL: 4 of 8 tests, ")


def test_colour_is_for_terminals(monkeypatch, capfd):
    monkeypatch.setenv("TERM", "xterm")
    assert main(["toy.steps", "-j", "1"]) == 0
    assert "\x1b" not in capfd.readouterr().out
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main(["toy.steps", "-j", "1"]) == 0
        text = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "\x1b[32mPASS\x1b[0m toy.steps" in text
    assert "1/1" in text


# What cannot be run

VECTORS_ALONE = "--vectors runs a file: give only -o, --sim, -j and -q with it"
MERGE_ALONE = "--merge reads files: give only --json, --junit, --report, -v and -q with it"
NO_SHARDS = ("0/3", "4/3", "1/0", "1", "1/", "/2", "a/b", "1/2/3", "1.5/2", "²/3")

ASSEMBLER = shutil.which("aarch64-linux-gnu-gcc") or importlib.util.find_spec("ziglang")


def make(name, content):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nosuch", "no test matches 'nosuch'; python -m tb.run -l lists them"),
        ("toy.steps nosuch*", "no test matches 'nosuch*'; python -m tb.run -l lists them"),
        ("-j 0", "argument -j: '0' is not a whole number from 1 on; "),
        ("-j 1.5", "argument -j: '1.5' is not a whole number from 1 on; "),
        ("--seeds -2", "argument --seeds: '-2' is not a whole number from 1 on; "),
        ("--seed one", "argument --seed: 'one' is not a whole number; "),
        ("--sim foo", "argument --sim: invalid choice: 'foo' (choose from "),
        ("-w=some", "argument -w: invalid choice: 'some' (choose from "),
        ("--bogus", "unrecognized arguments: --bogus; "),
        ("--json", "argument --json: expected one argument; "),
        ("toy.steps --json no/x", "no/x: cannot be written; give a file in an existing directory"),
        ("toy.steps --junit no/x", "no/x: cannot be written; give a file in an existing directory"),
        ("toy.steps --json .", ".: cannot be written; give a file in an existing directory"),
        ("--vectors in.csv", "--vectors needs -o OUT, the file for the answers"),
        ("--vectors no.csv -o x", "no.csv: not a file; --vectors takes a CSV file"),
        ("--vectors . -o x", ".: not a file; --vectors takes a CSV file"),
        ("--vectors in.csv -o no/x", "no/x: cannot be written: No such file or directory"),
        ("--vectors bad.csv -o x", "bad.csv:3: column 'el': '9' is not one of 0, 1, 2, 3"),
        ("--vectors junk -o x", "junk:1: unknown column"),
        ("--vectors in.csv -o x steps", VECTORS_ALONE),
        ("--vectors in.csv -o x --json y", VECTORS_ALONE),
        ("--vectors in.csv -o x --junit y", VECTORS_ALONE),
        ("--vectors in.csv -o x --resume", VECTORS_ALONE),
        ("--vectors in.csv -o x --shard 1/2", VECTORS_ALONE),
        ("--vectors in.csv -o x --dask y:1", VECTORS_ALONE),
        *((f"--shard {text}", f"argument --shard: '{text}' is not I/N ") for text in NO_SHARDS),
        (
            "toy.steps --shard 2/2",
            "--shard 2/2: nothing to run: there are 1 tests, so give at most ",
        ),
        ("--merge", "argument --merge: expected at least one argument; "),
        ("--merge no.json", "no.json: cannot be read: No such file or directory"),
        ("--merge junk", "junk: not the result of a run, or not all of it; give files that "),
        ("--merge junk --json no/x", "no/x: cannot be written; give a file in an existing "),
        ("--merge junk --seed 3", MERGE_ALONE),
        ("steps --merge junk", MERGE_ALONE),
        ("--merge junk --resume", MERGE_ALONE),
        ("--merge junk --vectors in.csv -o x", VECTORS_ALONE),
        ("--timeout 0", "argument --timeout: '0' is not a number of seconds above 0; "),
        ("--timeout inf", "argument --timeout: 'inf' is not a number of seconds above 0; "),
        ("--timeout soon", "argument --timeout: 'soon' is not a number of seconds above 0; "),
        (
            "toy.steps --timeout 1 --dask x:1",
            "--timeout ends processes of this machine: leave it out with --dask",
        ),
        (
            "--rerun-failed --resume",
            "--rerun-failed is for what is left: leave out --resume and --shard",
        ),
        ("-l --junit x.xml", "-l lists tests: give only tests, --hyp, --elf, --rerun-failed and "),
        (
            "--rerun-failed --seed 2",
            "--rerun-failed takes the seeds that failed: leave out --seed and --seeds",
        ),
        ("--rerun-failed", "nothing to run: none of these tests failed when it last ran here; "),
        ("toy.steps --resume", "nothing to resume: no run was stopped here; leave out --resume"),
        ("toy.steps -o x", "-o OUT goes with --vectors IN"),
        ("toy.steps --hyp=", "--hyp needs the name of a file"),
        (
            "--hyp no.S",
            "no.S: no such file, nor one of the sequences here: v1, bic, callout, upstream",
        ),
        ("--hyp .", ".: cannot be read: Is a directory"),
        ("--hyp empty", "empty: the file is empty: raw A64 code is 4 bytes an instruction"),
        ("--hyp odd", "odd: a file of raw words has 5 bytes: A64 code is a multiple of 4"),
        ("--hyp junk", "junk: 0xfffefdfc at 0x40080000 is no instruction that is known here"),
        (
            "--hyp undefined",
            "undefined: 0x00000000 at 0x40080000 is no instruction that is known here",
        ),
        ("--hyp elf", "elf: a damaged ELF file: "),
    ],
)
def test_a_user_error_is_one_line(run, capsys, words, said):
    make("in.csv", VECTORS)
    make("bad.csv", VECTORS.replace("\n1,0", "\n9,0"))
    make("junk", bytes(range(252, 256)) * 5)
    make("odd", b"12345")
    make("empty", b"")
    make("undefined", bytes(4))
    make("elf", b"\x7fELF")
    try:
        code, out, err = run(*words.split())
    except SystemExit as stopped:  # argparse's own
        captured = capsys.readouterr()
        code, out, err = stopped.code, captured.out.splitlines(), captured.err.splitlines()
    assert (code, out) == (2, [])
    (line,) = err
    assert line.startswith(f"error: {said}")
    assert not Path("x").exists()


@pytest.mark.skipif(not ASSEMBLER, reason="no A64 assembler")
def test_a_syntax_error_in_a_source_is_one_line(run):
    code, out, err = run("--hyp", make("bad.S", "\tmov x1, x2\n\tbogus x1\n"))
    assert (code, out) == (2, [])
    (line,) = err
    assert line.startswith("error: bad.S:2: ")


def test_a_file_that_may_not_be_read_is_one_line(run, monkeypatch):
    path = Path(make("secret", b"1234"))

    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert run("--hyp", path) == (2, [], ["error: secret: cannot be read: Permission denied"])


def test_a_directory_that_cannot_be_made_is_one_line(run):
    make("sim_build", "a file")
    code, _, err = run("toy.steps", "-w")
    assert code == 2
    (line,) = err
    assert line.startswith("error: sim_build")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SimulatorError("icarus: the build failed; see log"), "icarus: the build failed; see log"),
        (runner.WorkerDied("a worker process was killed"), "a worker process was killed"),
    ],
)
def test_a_simulator_that_breaks_is_one_line(run, monkeypatch, error, said):
    def broken(unit):
        raise error

    monkeypatch.setattr(work, "run_unit", broken)
    assert run("toy.steps") == (2, [], [f"error: {said}"])


# Vector files


@pytest.mark.parametrize("workers", [1, 2])
def test_vectors_give_what_the_model_gives(run, workers):
    source = Path(make("in.csv", "# a comment\n" + VECTORS))
    code, out, err = run("--vectors", source, "-o", "hw.csv", "-j", workers)
    assert (code, err) == (0, [])
    assert len(out) == 1
    assert out[0].startswith(f"PASS: 2 lines on {SIM}, ")
    assert out[0].endswith(" s: hw.csv")
    run_vectors(source, Path("model.csv"), model_answer)
    assert Path("hw.csv").read_bytes() == Path("model.csv").read_bytes()


def test_a_file_name_with_brackets_is_told_whole(run):
    make("in.csv", VECTORS)
    code, out, _ = run("--vectors", "in.csv", "-o", "out[red].csv")
    assert code == 0
    assert out[0].endswith(" s: out[red].csv")


def test_vectors_name_the_lines_that_differ(run, faulty):
    make("in.csv", VECTORS)
    code, out, _ = run("--vectors", "in.csv", "-o", "out.csv")
    assert code == 1
    assert out[:2] == [f"line {at}: ss_after: hardware 1, model 0" for at in (2, 3)]
    assert out[2].startswith(f"FAIL: 2 differences from the model, 2 lines on {SIM}, ")
    assert len(Path("out.csv").read_text().splitlines()) == 3


# The user's own sequence


def v1_words():
    return (TREE / "model" / "hyp" / "v1.words").read_text()


def test_a_sequence_of_the_users_own(run):
    words = [int(line.split()[0], 16) for line in v1_words().splitlines()[1:]]
    make("mine.bin", b"".join(word.to_bytes(4, "little") for word in words))
    code, out, err = run("--hyp", "mine.bin", "--json", "out.json")
    assert (code, err) == (0, [])
    assert names_run() == [("hyp.user", 1)]
    assert out[-1].startswith("PASS: 1 tests, ")


def test_a_sequence_that_fails_is_reproduced_with_its_file(run):
    make("my seq.words", "0xd503201f  // nop\n")
    code, out, _ = run("--hyp", "my seq.words", "-w=fail")
    assert code == 1
    (line,) = [line for line in out if line.startswith("  reproduce: ")]
    assert (
        line
        == f"  reproduce: python -m tb.run hyp.user --sim {SIM} --seed 1 -w --hyp 'my seq.words'"
    )
    assert Path(f"sim_build/waves/hyp.user.{SIM}.1.vcd").exists()


# Being interrupted


def test_an_interrupt_gives_the_summary_so_far(run):
    code, out, err = run("-w", "toy.steps", "toy.interrupts")
    assert (code, err) == (2, [])
    assert out[0].startswith("PASS toy.steps ")
    assert out[-1].startswith("INTERRUPTED: 1 of 2 tests, 0 failed, 4 cycles, ")


def test_an_interrupt_before_any_result_is_told_as_such(run):
    code, out, _ = run("toy.interrupts", "--json", "out.json")
    assert code == 2
    assert len(out) == 1
    assert out[0].startswith("INTERRUPTED: 0 of 1 tests, 0 failed, 0 cycles, ")
    assert json.loads(Path("out.json").read_text())["verdict"] == "interrupted"


def group_is_gone(group):
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_ctrl_c_gives_the_summary_so_far_and_leaves_nothing_behind(tmp_path):
    command = [sys.executable, "-m", "tb.run", "directed", "lockstep", "-w", "-j", "2"]
    process = subprocess.Popen(
        [*command, "--seeds", "500"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TREE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    first = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    out, err = process.communicate(timeout=600)
    assert first.startswith("PASS directed.")
    assert process.returncode == 2
    assert err == ""
    verdict = out.splitlines()[-1]
    done, total = re.match(r"INTERRUPTED: (\d+) of (\d+) tests, 0 failed, ", verdict).groups()
    shown = {line for line in [first.strip(), *out.splitlines()] if line.startswith("PASS ")}
    assert len(shown) <= int(done) < int(total)
    assert group_is_gone(process.pid)


# Workers that die


@pytest.mark.parametrize("workers", [1, 2])
def test_a_test_that_kills_three_workers_is_reported_and_the_rest_go_on(run, workers):
    tests = ("toy.kills", "toy.steps", "toy.draws", "directed.isv*")
    code, out, err = run(*tests, "-j", workers, "--json", "out.json", "--seed", 9)
    assert (code, err) == (1, [])
    at = out.index(f"ERROR toy.kills [{SIM}, seed 9]")
    assert out[at + 1 : at + 3] == [
        "  it killed its worker process 3 times; did it run out of memory?",
        f"  reproduce: python -m tb.run toy.kills --sim {SIM} --seed 9 -w",
    ]
    bad = {test["name"]: test["status"] for test in results("out.json")["tests"]}
    assert [name for name, status in bad.items() if status != "passed"] == ["toy.kills"]
    assert len(bad) > 5


def test_a_test_whose_worker_was_killed_is_run_again(run):
    code, out, err = run("toy.kills_twice", "toy.steps", "-q")
    assert (code, err) == (0, [])
    assert out[-1].startswith("PASS: 2 tests, ")


# Parts, and going on


def test_three_shards_merged_are_the_whole(run):
    tests = ("toy.steps", "toy.draws", "toy.fails", "directed.isv*", "--seeds", 4)
    assert run(*tests, "--json", "whole.json", "--junit", "whole.xml")[0] == 1
    files = [f"{at}.json" for at in (1, 2, 3)]
    codes = [run(*tests, "--shard", f"{at}/3", "--json", f"{at}.json")[0] for at in (1, 2, 3)]
    assert sorted(codes) == [0, 0, 1]
    words = ("--merge", files[2], files[0], files[1], "--json", "merged.json")
    code, out, err = run(*words, "--junit", "merged.xml")
    assert (code, err) == (1, [])
    assert results("merged.json") == results("whole.json")
    assert f"FAIL toy.fails [{SIM}, seed 1]" in out
    total = len(names_run("whole.json"))
    assert out[-1].startswith(f"FAIL: 1 of {total} tests, ")
    whole, merged = (JUnitXml.fromfile(f"{name}.xml") for name in ("whole", "merged"))
    for xml in (whole, merged):
        xml.update_statistics()
        assert [(case.name, case.classname) for suite in xml for case in suite] == [
            (f"{test['name']}[seed {test['seed']}]", SIM) for test in results("whole.json")["tests"]
        ]
    assert (merged.tests, merged.failures) == (whole.tests, whole.failures) == (total, 1)


def test_all_shards_that_pass_are_a_pass(run):
    for at in (1, 2):
        run("toy.steps", "toy.draws", "--shard", f"{at}/2", "--json", f"{at}.json")
    code, out, err = run("--merge", "1.json", "2.json")
    assert (code, err) == (0, [])
    assert len(out) == 1
    assert out[0].startswith("PASS: 2 tests, ")
    code, out, err = run("--merge", "2.json")
    said = "error: shard 1 of 2 is missing; give the files of all shards"
    assert (code, out, err) == (2, [], [said])


def test_a_shard_tells_no_holes(run):
    _, out, _ = run("--shard", "90/95")
    assert not any(line.startswith("coverage:") for line in out)


def test_a_run_that_was_stopped_goes_on_where_it_was(run):
    tests = ("toy.interrupts_once", "toy.steps", "toy.fails", "toy.draws", "--seeds", 3)
    code, out, _ = run(*tests, "--json", "out.json")
    assert code == 2
    assert results("out.json")["verdict"] == "interrupted"
    assert out[-1].endswith("; the same with --resume goes on")
    done = len(results("out.json")["tests"])
    code, out, err = run(*tests, "--resume", "--json", "out.json")
    assert (code, err) == (1, [])
    assert out[0] == f"resumed: {done} of 6 tests were done before"
    assert len([line for line in out if line.startswith("PASS toy.")]) == 6 - done
    assert out[-1].startswith("FAIL: 1 of 6 tests, ")
    assert run(*tests, "--json", "whole.json")[0] == 1
    assert results("out.json") == results("whole.json")
    code, _, err = run(*tests, "--resume")
    said = "error: nothing to resume: no run was stopped here; leave out --resume"
    assert (code, err) == (2, [said])


def test_a_failure_from_before_is_shown_again_with_its_waveform(run):
    tests = ("toy.steps", "toy.fails", "toy.interrupts_once")
    _, out, _ = run(*tests, "-w")
    before = [line for line in out if line.startswith("  ")]
    assert any(line.startswith("  waveform: ") for line in before)
    code, out, _ = run(*tests, "-w", "--resume", "-q")
    assert code == 1
    assert [line for line in out if line.startswith("  ")] == before


def test_another_run_is_not_resumed(run):
    assert run("toy.interrupts_once", "toy.draws")[0] == 2
    code, out, err = run("toy.interrupts_once", "toy.draws", "--seed", 2, "--resume")
    assert (code, out) == (2, [])
    text = "error: nothing to resume: the run that was stopped here had seed 1, not 2; "
    assert err == [f"{text}ask for the same, or leave out --resume"]


def test_a_run_that_was_killed_goes_on(run, tmp_path):
    words = ["directed.e*", "lockstep.events", "-j", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tb.run", *words],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        process.stdout.readline()
        process.kill()
    code, out, err = run(*words, "--resume", "--json", "out.json")
    assert (code, err) == (0, [])
    done, total = map(int, re.match(r"resumed: (\d+) of (\d+) tests", out[0]).groups())
    assert 0 < done < total
    assert run(*words, "--json", "whole.json")[0] == 0
    assert results("out.json") == results("whole.json")


def test_a_full_disk_is_one_line_and_loses_nothing(run, tmp_path):
    words = ("directed.d*", "--sim", "pysim")  # it writes nothing else
    for limit, file in ((2000, "sim_build/journal/"), (40_000, "out.json")):
        done = subprocess.run(
            [sys.executable, "-c", FULL, str(limit), *words, "--json", "out.json"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(TREE)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: {file}")
        assert line.endswith(": File too large")
        assert not (tmp_path / "out.json").exists()
    code, out, _ = run(*words, "--resume", "--json", "out.json")
    total = len(names_run())
    assert (code, out[0]) == (0, f"resumed: {total} of {total} tests were done before")


def test_a_full_standard_output_is_one_line():
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, as in a shell
        done = subprocess.run(
            [sys.executable, "-m", "tb.run", "reset_state"],
            env={**os.environ, "PYTHONPATH": str(TREE)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    said = "error: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_reader_that_has_seen_enough_gets_no_mismatch(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "tb.run", "directed.d*"],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    with process:
        assert process.stderr.read() == ""
    assert process.returncode == 2


#: a run in which no file can be larger than so many bytes
FULL = """
import resource, sys
from tb.run import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


# The whole thing


def test_a_fault_in_the_hardware_is_found_shown_and_reproduced(tmp_path):
    for part in ("hw", "model", "tb"):
        ignored = shutil.ignore_patterns("tests", "__pycache__")
        shutil.copytree(TREE / part, tmp_path / part, ignore=ignored)
    step = tmp_path / "hw" / "step.py"
    right, wrong = "& ~source.enabled & after.enabled", "& source.enabled & after.enabled"
    assert step.read_text().count(right) == 1
    step.write_text(step.read_text().replace(right, wrong))

    def run_it(*words):
        return subprocess.run(
            [sys.executable, "-m", "tb.run", "-j", "1", *words],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )

    case = "directed.eret_keeps_the_ss_it_has_just_loaded"
    done = run_it(case, "-q")
    assert (done.returncode, done.stderr) == (1, "")
    out = done.stdout.splitlines()
    marked = [line.split() for line in out if line.endswith("!!!")]
    assert marked == [
        ["ss_after", "0", "1", "!!!"],
        ["state_after", "active-pending", "active-not-pending", "!!!"],
    ]
    (waves,) = [line.split()[2:] for line in out if line.startswith("  waveform:")]
    assert all((tmp_path / path).is_file() for path in waves)
    (command,) = [line for line in out if line.startswith("  reproduce: ")]
    again = run_it(*shlex.split(command)[4:])
    assert again.returncode == 1
    assert command in again.stdout.splitlines()
