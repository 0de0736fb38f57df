"""The page of a run: one HTML file that needs nothing else, made from the report.

`page.html` is its template; the style and the script beside it go into the file.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.text import Text

from model.kvm.properties import JUDGED
from tb import report as reports
from tb import totals
from tb.cases import CASES, catalogue
from tb.kvm.hosts import HOSTS
from tb.page import covered, defects, proved, wave
from tb.page.packed import Pictures
from tb.page.wave import Wave
from tb.regression import SIM_BUILD
from tb.report import Report
from tb.work import PASSED, Result

PATH = SIM_BUILD / "report" / "index.html"

MOST_PASSED = 5000  #: tests that passed which are listed
MOST_DRAWN = 8_000_000  #: bytes of the page that pictures take: a thousand of them or so
MOST_BYTES = 200_000_000  #: of a VCD that is read

FAILED = "where the test failed"
MARKED = "where the defect shows"  #: what a test that passes marks


@dataclass(frozen=True, slots=True)
class Picture:
    """A waveform on the page."""

    test: int  #: number of the test
    topic: str  #: what it stands under in the list of them
    title: str
    files: list[str]  #: relative to the page
    command: str
    drawn: int | None  #: its number for the script
    what: str  #: what is marked
    cut: str
    why_not: str
    differences: list[list[str]]  #: a header, then rows; or nothing


@dataclass(frozen=True, slots=True)
class Table:
    """A table that tests made."""

    title: str
    run: str
    header: list[str]
    rows: list[list[str]]
    of_sequences: bool  #: they are its columns


def write(report: Report, path: Path = PATH) -> Path:
    """Write the page; returns its path. Raises OSError."""
    text = html(report, path).encode("utf-8", "replace").decode()  # names of files may be no text
    path.parent.mkdir(parents=True, exist_ok=True)
    reports.write(path, text)
    return path


def html(report: Report, path: Path = PATH) -> str:
    """The page, as it is to stand at `path`."""
    tests = _listed(report)
    drawn = Pictures(MOST_DRAWN)
    pictures = [
        _picture(at, each, path, drawn) for at, each in enumerate(tests) if _has_waves(each)
    ]
    step_unit = covered.unit(report.counts)
    core = covered.core(report.counts)
    nodes, arrows = covered.states(step_unit) if step_unit is not None else ([], [])
    matrices = [covered.unit_matrix(step_unit)] if step_unit is not None else []
    matrices += covered.core_matrices(core) if core is not None else []
    tables = list(_tables(report))
    return _environment().get_template("page.html").render(
        verdict=Text.from_markup(reports.verdict(report)).plain,
        word=reports.verdict_word(report),
        plan=report.plan,
        not_run=report.not_run,
        illegal=report.illegal,
        causes=reports.causes(report.bad)[1:] if len(report.bad) > 1 else [],
        tests=[
            {
                "result": result,
                "passed": result.status == PASSED,
                "source": CASES[result.name].source if result.name in CASES else "",
                "command": reports.reproduce(result, report.plan),
            }
            for result in tests
        ],
        left_out=len(report.results) - len(tests),
        pictures=pictures,
        by_topic=[list(group) for _, group in groupby(pictures, attrgetter("topic"))],
        pictured={picture.test for picture in pictures},
        waves=drawn.json,
        defects=list(defects.rows(tests)),
        properties=JUDGED,
        nodes=nodes,
        arrows=arrows,
        matrices=matrices,
        parts=list(covered.parts(report.counts)),
        bins=totals.legal(report.counts),
        holes=len(totals.holes(report.counts)),
        sequences=sorted((each for each in tables if each.of_sequences), key=lambda t: len(t.rows)),
        tables=[table for table in tables if not table.of_sequences],
        proofs=proved.proofs(lambda file: _relative(file, path)),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    loader = PackageLoader("tb.page", ".")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("page.css", "page.js"):
        source, _, _ = loader.get_source(environment, name)
        environment.globals[name.replace(".", "_")] = Markup(source)
    return environment


def _listed(report: Report) -> list[Result]:
    """Those that did not pass first."""
    passed = [result for result in report.results if result.status == PASSED]
    return [*report.bad, *passed[:MOST_PASSED]]


# Waveforms


def _has_waves(result: Result) -> bool:
    return result.waves is not None and result.waves.with_suffix(".vcd").is_file()


def _picture(at: int, result: Result, path: Path, drawn: Pictures) -> Picture:
    assert result.waves is not None
    save_file = result.waves
    vcd = save_file.with_suffix(".vcd")
    found, why_not = _read(vcd, result)
    number = drawn.add(found) if found else None
    if found and number is None:
        why_not = f"the page has {MOST_DRAWN // 1_000_000} MB of pictures without it"
    return Picture(
        at,
        result.name.partition(".")[0] if result.status == PASSED else "failed",
        f"{result.name} [{result.simulator}, seed {result.seed}]",
        [_relative(each, path) for each in (vcd, save_file)],
        f"gtkwave {vcd} {save_file}",
        number,
        found.what if found else "",
        found.cut if found else "",
        why_not,
        differences(result.failure),
    )


def _read(vcd: Path, result: Result) -> tuple[Wave | None, str]:
    """What is drawn, or why nothing is."""
    if vcd.stat().st_size > MOST_BYTES:
        return None, f"more than {MOST_BYTES // 1_000_000} MB"
    what, cycle = (FAILED, result.mismatch) if result.status != PASSED else (MARKED, result.marked)
    design = CASES[result.name].design.name
    try:
        found = wave.read(vcd, design, None if cycle is None else (what, cycle))
    except (OSError, ValueError, LookupError):  # what it says is on the page, without a picture
        return None, "its file cannot be read"
    return found, "" if found else "nothing happened"


def _relative(file: Path, page: Path) -> str:
    """A link from the page to a file."""
    return quote(Path(os.path.relpath(file, page.parent)).as_posix())


def differences(failure: str) -> list[list[str]]:
    """The table in a failure's text that has the hardware beside the model: header, then rows."""
    lines = iter(failure.splitlines())
    header = next((line for line in lines if re.match(r" +field +hardware +\w", line)), None)
    if header is None:
        return []
    starts = [found.start() for found in re.finditer(r"\S+(?: \S+)*", header)]
    ends = [*starts[1:], None]
    found = [header.split()[:3]]
    for line in lines:
        cells = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        if not line.startswith(" " * starts[0]) or not cells[0] or not cells[1]:
            break
        found.append([*cells[:2], cells[2].removesuffix("!!!").strip(), cells[2][-3:]])
    return [row if at == 0 else _marked(row) for at, row in enumerate(found)]


def _marked(row: list[str]) -> list[str]:
    return [*row[:3], "differs" if row[3] == "!!!" else ""]


# Tables


def _tables(report: Report) -> Iterator[Table]:
    """Those of the known defects have a place of their own."""
    for (title, simulator, seed), (header, *rows) in reports.tables(report).items():
        run = f"{simulator}, seed {seed}"
        if header[0] == "sequence":
            yield Table(f"{title}: side by side", run, *_side_by_side(header, rows), True)
        elif title != catalogue.TITLE:
            yield Table(title, run, header, rows, set(HOSTS) <= set(header))


def _side_by_side(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The sequences as columns; a row for each of the rest, by its second column."""
    sequences = list(dict.fromkeys(row[0] for row in rows))
    cells = {(row[0], row[1], what): value for row in rows
             for what, value in zip(header[2:], row[2:], strict=True)}  # fmt: skip
    keys = dict.fromkeys((row[1], what) for row in rows for what in header[2:])
    found = [
        [*key, *values]
        for key in keys
        if set(values := [cells.get((name, *key), "-") for name in sequences]) != {"-"}
    ]
    return [header[1], "cycles", *sequences], found
