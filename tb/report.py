"""What a run prints and writes: a line a test, failures in full, the verdict; JSON and JUnit."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from model.files import writing
from tb import failures, totals
from tb.bins import Counts
from tb.plan import Plan
from tb.work import ERROR, PASSED, Result

#: what results hold whose counts were added up: thousands would take much memory
_ADDED = totals.none()


@dataclass(slots=True)
class Report:
    """All that a run found."""

    plan: Plan
    results: list[Result] = field(default_factory=list)
    counts: Counts = field(default_factory=totals.none)  #: over all tests and simulators
    not_run: list[tuple[str, str]] = field(default_factory=list)  #: (name, reason)
    notes: list[str] = field(default_factory=list)  #: what was left undone beside the tests
    seconds: float = 0.0
    interrupted: bool = False  #: by Ctrl-C, before all had run

    def add(self, result: Result) -> None:
        """One more result."""
        self.counts += result.counts
        result.counts = _ADDED
        self.results.append(result)

    @property
    def bad(self) -> list[Result]:
        """Tests that did not pass."""
        return [result for result in self.results if result.status != PASSED]

    @property
    def illegal(self) -> list[str]:
        """Bins that were hit though the model never hits them."""
        return totals.illegal_hits(self.counts)

    @property
    def passed(self) -> bool:
        """All ran, nothing failed, and nothing happened that cannot."""
        everything = len(self.results) == self.plan.share > 0
        return everything and not (self.interrupted or self.bad or self.illegal)


# On the terminal


def print_result(console: Console, result: Result) -> None:
    """One line."""
    mark = "[green]PASS[/]" if result.status == PASSED else f"[bold red]{_word(result)}[/]"
    name = f"{result.name} [dim]\\[{result.simulator}, seed {result.seed}][/]"
    inputs = f"all {result.inputs:,} inputs, " if result.inputs else ""
    console.print(f"{mark} {name}: {inputs}{result.cycles:,} cycles, {result.seconds:.2f} s")


def _word(result: Result) -> str:
    return "ERROR" if result.status == ERROR else "FAIL"


def reproduce(result: Result, plan: Plan) -> str:
    """The command that runs a test again."""
    command = f"python -m tb.run {result.name} --sim {result.simulator} --seed {result.seed} -w"
    files = {"--hyp": plan.hyp, "--elf": plan.elf}
    if result.killed and result.seconds:  # its time was over
        command += f" --timeout {result.seconds:g}"
    given = [f" {option} {shlex.quote(file)}" for option, file in files.items() if file]
    return command + "".join(given)


def print_failure(console: Console, result: Result, plan: Plan) -> None:
    """All that a failing test has to say."""
    console.print(
        f"\n[bold red]{_word(result)}[/] {result.name} \\[{result.simulator}, seed {result.seed}]",
    )
    lines = [*result.failure.splitlines(), f"reproduce: {reproduce(result, plan)}"]
    if result.waves:
        lines.append(f"waveform:  gtkwave {result.waves.with_suffix('.vcd')} {result.waves}")
    for line in lines:
        style = "bold" if line.endswith("!!!") else ""
        console.print("  " + line, style=style, markup=False)


def tables(report: Report) -> dict[tuple[str, str, int], list[list[str]]]:
    """What tests found out, by title, simulator and seed: a header, then rows.

    Rows of one table may come from several tests.
    """
    merged: dict[tuple[str, str, int], list[list[str]]] = {}
    for result in report.results:
        for table in result.tables:
            key = (table.title, result.simulator, result.seed)
            merged.setdefault(key, [table.header]).extend(table.rows)
    return merged


def print_tables(console: Console, report: Report) -> None:
    """What tests found out."""
    for (title, simulator, seed), rows in tables(report).items():
        console.print(f"\n{escape(title)} [dim]\\[{simulator}, seed {seed}][/]")
        print_table(console, rows)


def print_summary(
    console: Console, report: Report, verbose: bool, page: Path | None = None
) -> None:
    """What was not run, the coverage of the core by group, all holes, and, last, the verdict.

    `page` is the page of the run, if there is one.
    """
    everything = report.plan.whole and report.plan.shards == 1
    for name, reason in report.not_run:
        console.print(f"not run: {name}: {reason}", markup=False)
    notes = [note for result in report.results for note in result.notes] + report.notes
    for note in dict.fromkeys(notes):
        console.print(note, markup=False)
    groups = totals.of_core_by_group(report.counts)
    if groups:
        figures = ", ".join(f"{name} {hit}/{of}" for name, hit, of in groups)
        console.print(f"coverage of the core: {figures}")
    holes = totals.holes(report.counts)
    if holes and (everything or verbose):
        shown = holes if verbose else holes[:10]
        console.print(f"coverage: {len(holes)} legal bins were not hit:")
        for hole in shown:
            console.print(f"  {hole}", markup=False)
        if len(holes) > len(shown):
            console.print(f"  ... and {len(holes) - len(shown)} more (-v lists all)")
    for bin_name in report.illegal:
        console.print(f"[bold red]illegal[/]: the model never does this: {bin_name}")
    if len(report.bad) > 1:
        console.print("\nfailures by cause:")
        print_table(console, causes(report.bad))
    if page is not None:
        console.print(f"page: {page}", markup=False)
    console.print(verdict(report))


def causes(bad: Sequence[Result]) -> list[list[str]]:
    """Failures by what they have in common, the most frequent first: a header, then rows."""
    found: dict[str, list[Result]] = {}
    for result in bad:
        found.setdefault(failures.cause(result.failure), []).append(result)
    rows = [["tests", "cause", "the first"]]
    for cause, results in sorted(found.items(), key=lambda item: -len(item[1])):
        first = f"{results[0].name} [{results[0].simulator}, seed {results[0].seed}]"
        rows.append([str(len(results)), cause, first])
    return rows


def print_table(console: Console, rows: Sequence[Sequence[str]]) -> None:
    """A header, then rows: ruled on a terminal, in plain columns elsewhere."""
    if not console.is_terminal:
        for line in failures.table(rows):
            console.print(line.rstrip(), markup=False)
        return
    header, *rest = rows
    table = RichTable(*map(escape, header), box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rest:
        table.add_row(*map(escape, row))
    console.print(table)


def verdict(report: Report) -> str:
    """The last line."""
    total, of, bad = len(report.results), report.plan.share, len(report.bad)
    legal = totals.legal(report.counts)
    hit = legal - len(totals.holes(report.counts))
    figures = (
        f"{sum(result.cycles for result in report.results):,} cycles, "
        f"coverage {hit}/{legal} bins, seed {report.plan.seed}, {report.seconds:.1f} s"
    )
    if report.interrupted:
        done = f"{total} of {of} tests, {bad} failed, {figures}"
        goes_on = "the same" if report.plan.only else "the same with --resume"
        return f"[bold red]INTERRUPTED[/]: {done}; {goes_on} goes on"
    if report.passed:
        return f"[bold green]PASS[/]: {total} tests, {figures}"
    if bad:
        return f"[bold red]FAIL[/]: {bad} of {total} tests, {figures}"
    if total < of:
        return f"[bold red]FAIL[/]: only {total} of {of} tests gave a result, {figures}"
    return f"[bold red]FAIL[/]: {total} tests passed, but illegal bins were hit, {figures}"


# Files


def verdict_word(report: Report) -> str:
    """The verdict, for programs."""
    if report.interrupted:
        return "interrupted"
    return "pass" if report.passed else "fail"


def write_json(path: Path, report: Report) -> None:
    """All of the report as one JSON object, which `tb.merge` reads. Raises OSError."""
    holes = totals.holes(report.counts)
    legal = totals.legal(report.counts)
    content: dict[str, Any] = {
        "verdict": verdict_word(report),
        "run": report.plan.record(),
        "seconds": round(report.seconds, 3),
        "tests": [
            {
                "name": result.name,
                "sim": result.simulator,
                "seed": result.seed,
                "cycles": result.cycles,
                "inputs": result.inputs,
                "status": result.status,
                "seconds": round(result.seconds, 3),
                "failure": result.failure,
                "tables": [asdict(table) for table in result.tables],
            }
            for result in report.results
        ],
        "not_run": [{"name": name, "reason": reason} for name, reason in report.not_run],
        "coverage": {
            "bins": legal,
            "hit": legal - len(holes),
            "holes": holes,
            "illegal": report.illegal,
            "counts": {str(at): int(report.counts[at]) for at in np.flatnonzero(report.counts)},
        },
    }
    write(path, json.dumps(content, indent=2) + "\n")


def write_junit(path: Path, report: Report) -> None:
    """JUnit XML: a suite for each simulator. Raises OSError."""
    xml = JUnitXml("softstep")
    for simulator in dict.fromkeys(result.simulator for result in report.results):
        suite = TestSuite(simulator)
        for result in report.results:
            if result.simulator == simulator:
                suite.add_testcase(_junit_case(result))
        xml.add_testsuite(suite)
    if report.not_run:
        suite = TestSuite("not run")
        for name, reason in report.not_run:
            case = TestCase(name)
            case.result = [Skipped(reason)]
            suite.add_testcase(case)
        xml.add_testsuite(suite)
    write(path, xml.tostring().decode())


def write(path: Path, text: str) -> None:
    """A whole file, or none. Raises OSError, with the file's name."""
    with writing(path) as file:
        file.write(text)


def _junit_case(result: Result) -> TestCase:
    case = TestCase(f"{result.name}[seed {result.seed}]", result.simulator, result.seconds)
    kind = Error if result.status == ERROR else Failure
    if result.status != PASSED:
        found = kind((result.failure.splitlines() or [""])[0])
        found.text = result.failure
        case.result = [found]
    return case


def by_name(results: Sequence[Result]) -> list[Result]:
    """In an order that does not depend on which worker was faster."""
    return sorted(results, key=lambda result: (result.simulator, result.name, result.seed))
