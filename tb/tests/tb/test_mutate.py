"""Mutants: which are drawn, what kills them, what a solver says, and the command."""

import json
from pathlib import Path

import pytest

from tb import mutate
from tb.mutate import EQUIVALENT, KILLED, OPEN, SURVIVES, Fate, Found, main
from tb.mutation import bench, core, equivalence, mutants, unit
from tb.mutation.mutants import CORE_TARGET, UNIT_TARGET, Mutant
from tb.sims import compiled

needs_compiler = pytest.mark.skipif(bool(compiled.missing()), reason=str(compiled.missing()))


def _unit(number, mode, cell, port, bit):
    where = f"-module design.unit -cell {cell} -port {port} -portbit {bit}"
    return Mutant("unit", number, f"mutate -mode {mode} {where} -src hw/step.py:1")


STATE = _unit(1, "inv", "state_now", "state", 0)
#: EC is 0x32 or 0x33: bit 29 of the syndrome is 0 as it is, bit 31 is not.
NOTHING, EC = (_unit(n, "const0", "syndrome", "esr", bit) for n, bit in ((2, 29), (3, 31)))
RESET = _unit(4, "inv", "stepped", "last_after", 2)


# Drawn


def test_the_same_seed_draws_the_same_mutants():
    some = mutants.draw(UNIT_TARGET, 40, 7)
    assert some == mutants.draw(UNIT_TARGET, 40, 7)
    assert [m.command for m in some] != [m.command for m in mutants.draw(UNIT_TARGET, 40, 8)]
    assert [m.number for m in some] == list(range(1, len(some) + 1))
    assert 36 <= len(some) <= 40


def test_mutants_have_lines_of_the_hardware():
    root = Path(__file__).parents[3]
    for target in (UNIT_TARGET, CORE_TARGET):
        some = mutants.draw(target, 60, 1)
        places = [place for mutant in some for place in mutant.places]
        assert sum(bool(mutant.places) for mutant in some) > 0.8 * len(some)
        for place in places:
            file, line = place.split(":")
            assert 1 <= int(line) <= len((root / file).read_text().splitlines())


def test_the_cores_mutants_are_of_its_control_alone():
    for mutant in mutants.draw(CORE_TARGET, 60, 1):
        module = mutant.command.split("-module ")[1].split()[0]
        assert module.startswith("design.control")
        assert not module.startswith("design.control.step_unit")


def test_a_mutant_is_told_in_words():
    assert STATE.what == "unit: state_now.state[0] is inverted"
    assert STATE.places == ["hw/step.py:1"]
    command = "mutate -mode cnot1 -module design.unit.now -cell $4 -port Y -portbit 2 -ctrlbit 1"
    wire = " -wire enabled -wirebit 2"
    what = Mutant("unit", 1, command + wire).what
    assert what == "unit.now: $4.Y[2] (enabled[2]) is inverted where bit 1 is 1"


# The step unit


@pytest.fixture(scope="module")
def built():
    """A netlist with four mutants."""
    if why := compiled.missing():
        pytest.skip(why)
    return unit.build([STATE, NOTHING, EC, RESET])


def test_what_is_killed_and_what_is_not(built):
    answers = unit.in_lanes(built, [STATE, NOTHING, EC], ["exhaustive.decision"])
    assert answers == {STATE: "exhaustive.decision", NOTHING: None, EC: "exhaustive.decision"}


def test_tests_that_go_cycle_by_cycle_kill_too(built):
    assert unit.alone(built, STATE)
    assert unit.alone(built, EC)
    assert unit.alone(built, NOTHING) is None


def test_a_test_that_kills_all_ends_there(built, monkeypatch):
    steps = []
    kill = unit._Copies.kill
    monkeypatch.setattr(
        unit._Copies, "kill", lambda self, move: steps.append(move) or kill(self, move)
    )
    unit.in_lanes(built, [STATE], ["lockstep.events"])
    assert len(steps) < 10


def test_a_unit_that_fails_itself_is_no_measure(built, monkeypatch):
    monkeypatch.setattr(unit.scoreboard, "wrong_lane", lambda move, rows: 0)
    with pytest.raises(bench.BrokenDesign, match="itself fails"):
        unit.in_lanes(built, [STATE], ["exhaustive.syndrome"])


# The solver


def test_the_solver_tells_what_is_equivalent():
    assert equivalence.proved([STATE, NOTHING, EC, RESET]) == [False, True, False, False]


def test_nothing_that_tests_kill_is_proved_equivalent(built):
    some = mutants.draw(UNIT_TARGET, 40, 3)
    answers = unit.in_lanes(unit.build(some), some, ["exhaustive.decision"])
    killed = [mutant for mutant, by in answers.items() if by]
    assert len(killed) > 10
    assert not any(equivalence.proved(killed))


# The core


@needs_compiler
def test_mutants_of_the_core():
    def made(number, mode, cell, port, bit):
        where = f"-module design.control -cell {cell} -port {port} -portbit {bit}"
        return Mutant("core", number, f"mutate -mode {mode} {where}")

    vector = made(1, "inv", "vector", "lower", 0)
    nothing = made(2, "const0", "vector", "vbar", 0)  # its low bits are no part of a vector
    some = [vector, nothing]
    place = core.build(some)
    assert dict(core.first(place, some)) == {vector: "core.random_programs", nothing: None}
    name = "core.an_exception_and_its_return"
    assert core.later(place, some, name) == {vector: name, nothing: None}
    assert equivalence.proved(some) == [False, True]


# The command


def _last(capsys):
    return capsys.readouterr().out.splitlines()[-1]


@needs_compiler
def test_a_run_is_the_same_with_the_same_seed(tmp_path, capsys):
    reports = []
    for workers in ("1", "2"):
        file = tmp_path / "report.json"
        code = main(["unit", "-n", "10", "--seed", "5", "-j", workers, "--json", str(file)])
        report = json.loads(file.read_text())
        assert code == (0 if report["verdict"] == "pass" else 1)
        assert report.pop("seconds") > 0
        reports.append(report)
        assert _last(capsys).startswith("PASS: " if code == 0 else "FAIL: ")
    assert reports[0] == reports[1]
    assert {mutant["status"] for mutant in reports[0]["mutants"]} <= {KILLED, EQUIVALENT, SURVIVES}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("killed", "same", "survive", "code"), [(97, 1, 2, 0), (96, 1, 3, 1), (0, 1, 0, 0)]
)
def test_the_exit_code_and_the_verdict(killed, same, survive, code, monkeypatch, capsys):
    statuses = [KILLED] * killed + [EQUIVALENT] * same + [SURVIVES] * survive
    fates = [Fate(STATE, Path(), status) for status in statuses]
    monkeypatch.setattr(mutate, "run", lambda found, *_: found.fates.extend(fates))
    monkeypatch.setattr(mutate.cxx, "missing", lambda: None)
    assert main([]) == code
    out = capsys.readouterr().out.splitlines()
    assert out[-1].startswith(("PASS: ", "FAIL: ")[code])
    assert f"{killed} killed, {same} proved equivalent, {survive} survive" in out[-1]
    shown = [line for line in out if line.startswith("survives: ")]
    assert shown == ["survives: hw/step.py:1: unit: state_now.state[0] is inverted"] * survive


def test_interrupted_there_is_what_there_is(monkeypatch, capsys, tmp_path):
    def stops(found, *_):
        found.fates += [Fate(STATE, Path(), KILLED), Fate(EC, Path(), OPEN)]
        raise KeyboardInterrupt

    monkeypatch.setattr(mutate, "run", stops)
    monkeypatch.setattr(mutate.cxx, "missing", lambda: None)
    file = tmp_path / "report.json"
    assert main(["--json", str(file)]) == 2
    last = _last(capsys)
    assert last.startswith("FAIL: interrupted: 100.0 % of 2 mutants: 1 killed, ")
    assert "1 not decided" in last
    assert json.loads(file.read_text())["interrupted"] is True


def _stops(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        raise SystemExit(main(words))
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_missing_tools_are_named(monkeypatch, capsys):
    monkeypatch.setattr(mutate.cxx, "missing", lambda: "pyosys is not installed (pip install it)")
    assert "pyosys is not installed" in _stops(capsys)


@pytest.mark.parametrize("words", [("-n", "0"), ("--seed", "-1"), ("-j", "x"), ("divider",)])
def test_what_cannot_be_is_one_line(words, capsys):
    _stops(capsys, *words)


def test_a_file_that_cannot_be_written_is_said_at_once(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(mutate, "run", lambda *_: pytest.fail("it ran"))
    assert "cannot be written" in _stops(capsys, "--json", str(tmp_path / "no" / "file"))


def test_a_broken_design_cannot_be_measured(monkeypatch, capsys):
    def breaks(*_):
        raise bench.BrokenDesign("the step unit itself fails its tests")

    monkeypatch.setattr(mutate, "run", breaks)
    monkeypatch.setattr(mutate.cxx, "missing", lambda: None)
    assert "itself fails" in _stops(capsys)


def test_the_score_is_of_those_that_are_decided():
    found = Found(4, 1, [Fate(STATE, Path(), status) for status in (KILLED, SURVIVES, OPEN, OPEN)])
    assert found.score == 0.5
    assert not found.enough
    assert Found(1, 1).score == 0.0
