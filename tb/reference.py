"""`python -m tb.reference`: docs/reference.md, from the parsers and the formats themselves.

With `--check` it only compares. Exit code: 0 done, or the same; 1 not the same; 2 it could not run.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import starmap
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data, wiring

import hw.core.trace
import hw.registers
import hw.step
import hw.trace
from model import arch, tables
from model.columns import COLUMNS, Kind, problems, to_lines
from model.hyp.assemble import DIRECTORY as SEQUENCES
from model.programs.load import DIRECTORY as PROGRAMS
from model.vectors import OUTPUTS
from tb import regression, report, waves
from tb.arguments import rewriter, stop, stop_at
from tb.page import page
from tb.prove import DIRECTORY as PROOFS

PATH = Path(__file__).parents[1] / "docs" / "reference.md"

SAME, OTHER = 0, 1

#: The modules that are command lines. Each has its `parser`.
COMMANDS = (
    "tb.run",
    "tb.watch",
    "tb.prove",
    "tb.mutate",
    "tb.bench",
    "tb.reference",
    "model.explain",
    "model.hyp.assemble",
    "model.programs.build",
    "hw.emit",
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return rewriter("python -m tb.reference", "Write docs/reference.md anew.")


# Markdown


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what would be taken for its own marks is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _code(text: object) -> str:
    return f"`{text}`"


def _block(text: str) -> str:
    return f"```\n{text.rstrip()}\n```\n"


# Command lines: only what argparse says of itself, as its layout is not the same in all versions


def _command(name: str) -> Iterator[str]:
    p: argparse.ArgumentParser = import_module(name).parser()
    actions = [action for action in p._actions if "--help" not in action.option_strings]
    yield f"### {p.prog}\n"
    raw = p.formatter_class is argparse.RawDescriptionHelpFormatter
    text = _block if raw else "{}\n".format
    yield text(p.description or "")
    yield table(("argument", "what"), [(_argument(action), _help(action)) for action in actions])
    yield text(p.epilog or "")


def _argument(action: argparse.Action) -> str:
    value = action.metavar or "|".join(map(str, action.choices or ()))
    if not action.option_strings:
        return _code(f"{value}…" if action.nargs == "*" else value)
    takes = action.nargs != 0 and value
    more = "…" if action.nargs == "+" else ""
    return ", ".join(_code(f"{each} {value}{more}" if takes else each) for each in _strings(action))


def _strings(action: argparse.Action) -> Sequence[str]:
    return sorted(action.option_strings, key=len)


def _help(action: argparse.Action) -> str:
    return (action.help or "") % vars(action)


# What comments say in the source


class Said(NamedTuple):
    """A name in a source, and the comment on its line; without a name, one on lines of its own."""

    name: str
    comment: str


_MEMBER = re.compile(r'    +"?(\w+)"?: (?:In|Out)\(.*\),?(?:  # (.*))?')
_CONSTANT = re.compile(r"    (\w+) = \w+(?:  #: (.*))?")
_HEADING = re.compile(r"    +# (.*)")


def _body(module: ModuleType, name: str) -> list[str]:
    """The lines of the class or signature of that name, up to its first method or its end."""
    lines = Path(str(module.__file__)).read_text(encoding="utf-8").splitlines()
    start = next(at for at, line in enumerate(lines) if re.match(rf"(class )?{name}(\(| = )", line))
    body = lines[start + 1 :]
    end = next(at for at, line in enumerate(body) if re.match(r"\S|    (def|@)", line))
    return body[:end]


def said(module: ModuleType, name: str, pattern: re.Pattern[str] = _MEMBER) -> Iterator[Said]:
    """The names in it with their comments, and comments between them as headings."""
    heading: list[str] = []
    for line in _body(module, name):
        if found := _HEADING.fullmatch(line):
            heading.append(found[1])
        elif found := pattern.fullmatch(line):
            if heading:
                yield Said("", " ".join(heading))
                heading = []
            yield Said(found[1], found[2] or "")


# Ports and traces


@dataclass(frozen=True, slots=True)
class Group:
    """A signature in the source, or a component's own ports."""

    module: ModuleType
    name: str
    prefix: str = ""

    @property
    def members(self) -> wiring.SignatureMembers:
        """As Amaranth has them."""
        found = getattr(self.module, self.name)
        if isinstance(found, wiring.Signature):
            return found.members
        return wiring.Signature(found.__annotations__).members

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """(name, bits, meaning); of a component's groups only what is a port itself."""
        for name, comment in said(self.module, self.name):
            if not name:
                yield f"*{comment}*", "", ""
            elif self.members[name].is_port:
                yield _code(self.prefix + name), _bits(self.members[name].shape), comment


def _bits(shape: Any) -> str:
    width = Shape.cast(shape).width
    name = getattr(shape, "__name__", "")
    return f"{width} ({name})" if name else str(width)


UNIT_INPUTS = (
    ("event", Group(hw.step, "EventPort", "event__")),
    ("choices", Group(hw.step, "Choices", "choice__")),
    ("controls", Group(hw.registers, "Controls", "controls__")),
    ("load", Group(hw.step, "Load", "load__")),
)
UNIT_PORTS = Group(hw.step, "StepUnit")
UNIT_TRACE = Group(hw.trace, "Trace", "trace__")
CORE_TRACE = Group(hw.core.trace, "CoreTrace", "retire__")

ENUMERATIONS = ("Event", "Last", "StepState", "Retire", "Access")

REGISTERS: tuple[tuple[str, Any], ...] = (
    ("PSTATE", hw.registers.PSTATE),
    ("SPSR_ELx", hw.registers.SPSR_ELx),
    ("MDSCR_EL1", hw.registers.MDSCR_EL1),
    ("MDCR_EL2", hw.registers.MDCR_EL2),
    ("HCR_EL2", hw.registers.HCR_EL2),
    ("SCR_EL3", hw.registers.SCR_EL3),
    ("MDCR_EL3", hw.registers.MDCR_EL3),
    ("SDER32_EL3", hw.registers.SDER32_EL3),
    ("OSLSR_EL1", hw.registers.OSLSR_EL1),
    ("ESR of a step exception", hw.registers.StepESR),
)


def _enumerations() -> Iterator[tuple[str, str, str, str]]:
    for name in ENUMERATIONS:
        comments = dict(said(arch, name, _CONSTANT))
        for member in getattr(arch, name):
            yield name, str(int(member)), _code(member.name), comments[member.name]


def _registers() -> Iterator[tuple[str, str]]:
    for name, shape in REGISTERS:
        fields = [(field.offset, field.width, name) for name, field in data.Layout.cast(shape)]
        yield name, ", ".join(starmap(_field, sorted(fields)))


def _field(lsb: int, width: int, name: str) -> str:
    return f"{name} [{lsb}]" if width == 1 else f"{name} [{lsb + width - 1}:{lsb}]"


def _hardware() -> Iterator[str]:
    header = ("port", "bits", "meaning")
    yield "## Ports of the step unit\n"
    yield (
        "In Verilog the names are as here, beside `clk` and `rst`; in Amaranth `event__kind` is "
        "`unit.event.kind`. `controls_after__…` has the members of `controls__…`.\n"
    )
    for name, group in UNIT_INPUTS:
        yield f"**{name}**, in\n"
        yield table(header, group.rows())
    yield "**its own**: `halted` in, the others out\n"
    yield table(header, UNIT_PORTS.rows())
    yield "## The retire trace of the step unit\n"
    yield "One row for each event, out, in the cycle of the event.\n"
    yield table(header, UNIT_TRACE.rows())
    yield "## The retire trace of the core\n"
    yield (
        "One row for each instruction that completes and each exception that is taken. What does "
        "not apply is 0.\n"
    )
    yield table(header, CORE_TRACE.rows())
    yield "## Values and fields\n"
    yield table(("enumeration", "value", "name", "meaning"), _enumerations())
    yield "The fields that have a function here; the other bits of a register have none.\n"
    yield table(("register", "fields"), _registers())


# The vector file


_VALUES = {
    Kind.FLAG: "0, 1",
    Kind.EL: "0 to 3",
    Kind.REGISTER: "64 bits, `0x…` or decimal",
    Kind.EVENT: "an Event, in lower case",
    Kind.LAST: "a Last, in lower case",
}

_OUTPUTS = {
    "eld": "debug target",
    "enabled": "debug exceptions are enabled from the current EL",
    "state": "step state before the event",
    "step_exception": "the Software Step exception was taken instead of the event",
    "el_after": "EL after it",
    "d_after": "PSTATE.D after it",
    "ss_after": "PSTATE.SS after it",
    "il_after": "PSTATE.IL after it",
    "state_after": "step state after it",
    "esr": "ESR of the step exception; empty if there was none",
    "spsr_ss": "PSTATE.SS that an exception saved; empty if none was, or to AArch32",
}


def _default(kind: Kind, default: int | None) -> str:
    if default is None:
        return ""
    return arch.Last(default).text if kind is Kind.LAST else str(default)


def _vectors() -> Iterator[str]:
    yield "## The vector file\n"
    yield (
        "CSV in UTF-8, for `--vectors` of model.explain and of tb.run. The first line names the "
        "columns, in any order; only `event` must be there. Each line is a PE and one event. "
        "Empty lines and lines that begin with `#` are left out.\n"
    )
    rows = [
        (_code(c.name), _VALUES[c.kind], _default(c.kind, c.default), c.meaning) for c in COLUMNS
    ]
    yield table(("column", "values", "if empty", "meaning"), rows)
    yield "What a line must not say:\n"
    nothing = to_lines({"event": np.array([arch.Event.EXECUTE])})
    wrong = [(_code(column), text) for _, column, text in problems(nothing)]
    yield table(("column", "what is wrong"), dict.fromkeys(wrong))
    yield "The file that is written has these columns after those of the line:\n"
    yield table(("column", "meaning"), [(_code(name), _OUTPUTS[name]) for name in OUTPUTS])


# The other files


#: The JSON of `python -m tb.run --json`: path to meaning. [] is each of a list, {} each value.
RUN_JSON = {
    "verdict": "pass, fail or interrupted",
    "run": "what was to be run",
    "run.simulators[]": "in this order",
    "run.cases[]": "names of the tests selected",
    "run.seed": "the first",
    "run.seeds": "how many a random test runs with",
    "run.hyp": "file of --hyp, or null",
    "run.sequence": "digest of what is in it, or null",
    "run.elf": "file of --elf, or null",
    "run.program": "digest of what is in it, or null",
    "run.whole": "every test was selected",
    "run.only": "[simulator, test, seed] of each, if those alone; else null",
    "run.tests": "how many there are in all shards together",
    "run.shard": "this one is the shard-th",
    "run.shards": "of so many",
    "run.version": "digest of the code",
    "seconds": "that the run took",
    "tests[].name": "of the test",
    "tests[].sim": "simulator",
    "tests[].seed": "its seed",
    "tests[].cycles": "clock cycles, over all lanes",
    "tests[].inputs": "of a block, where a test goes through all of them; else 0",
    "tests[].status": "passed, failed or error",
    "tests[].seconds": "that it took",
    "tests[].failure": "what is wrong, in full; else empty",
    "tests[].tables[].title": "of a table that it made",
    "tests[].tables[].header[]": "a cell a column",
    "tests[].tables[].rows[][]": "a cell a column",
    "not_run[].name": "a simulator or test that was not run",
    "not_run[].reason": "and why",
    "coverage.bins": "legal ones",
    "coverage.hit": "so many of them",
    "coverage.holes[]": "names of the others",
    "coverage.illegal[]": "names of bins that were hit though the model never hits them",
    "coverage.counts{}": "number of a bin to how often it was hit; what is not there is 0",
}

#: The same of `python -m tb.prove --json`.
PROVE_JSON = {
    "verdict": "pass, fail or interrupted",
    "seconds": "that the run took",
    "selected[]": "names of the claims",
    "claims[].name": "of the claim",
    "claims[].sentence": "what holds",
    "claims[].source": "who says so",
    "claims[].method": "induction, bounded, exhaustive or symbolic",
    "claims[].status": "proved, refuted or not proved",
    "claims[].reason": "why it is not; else empty",
    "claims[].depth": "cycles or instructions, or null",
    "claims[].inputs": "how many were tried, or null",
    "claims[].seconds": "that it took",
    "claims[].differences[].field": "of a counterexample: what is not as it must be",
    "claims[].differences[].hardware": "what is there",
    "claims[].differences[].expected": "what must be",
    "claims[].history[]": "its lines",
    "claims[].waves": "its waveform, or null",
    "claims[].reproduce": "the command",
}

#: The same of `python -m tb.mutate --json`.
MUTATE_JSON = {
    "verdict": "pass or fail",
    "interrupted": "true or false",
    "score": "share that is killed or proved equivalent, of those decided",
    "seed": "which mutants",
    "seconds": "that the run took",
    "mutants[].target": "unit or core",
    "mutants[].number": "of the mutant",
    "mutants[].places[]": "file and line",
    "mutants[].what": "that was changed",
    "mutants[].command": "of Yosys, that changes it",
    "mutants[].status": "killed, equivalent, survives or not run",
    "mutants[].by": "the test that killed it",
}

#: The same of `python -m tb.bench --json`.
BENCH_JSON = {
    "rounds.NAME.rates[]": "what is measured under that name, a second: one a round",
    "rounds.NAME.ratios.OTHER[]": "the same to what is measured under another, round by round",
    "growth.NAME[].size": "of what grows under that name",
    "growth.NAME[].seconds": "that it took",
    "growth.NAME[].peak": "MiB of memory",
    "not run.NAME": "why it is not",
}

#: JUnit XML: element and attribute to meaning.
JUNIT = {
    "testsuites@name": "softstep",
    "testsuite@name": "a simulator; or `not run`",
    "testcase@name": "NAME[seed SEED]; what was not run has its name alone",
    "testcase@classname": "simulator",
    "testcase@time": "seconds",
    "failure@message": "first line of what is wrong; the text is all of it",
    "error@message": "the same of an error of the bench or the model",
    "skipped@message": "why it was not run",
}

#: The files of a test's waveform.
WAVEFORM = {
    ".vcd": "waveform of a test, with lanes that say in words what happens",
    ".fst": "the same, smaller: where GTKWave's vcd2fst is installed",
    ".gtkw": "its save file for GTKWave",
    ".sucl": "its command file for Surfer",
}
PAGE = "the page of a run with --report, or of one that failed"


def _described(title: str, fields: dict[str, str]) -> Iterator[str]:
    yield f"## {title}\n"
    yield table(("field", "what"), [(_code(path), what) for path, what in fields.items()])


def _files() -> Iterator[str]:
    yield from _described("JSON of python -m tb.run", RUN_JSON)
    yield from _described("JSON of python -m tb.prove", PROVE_JSON)
    yield from _described("JSON of python -m tb.mutate", MUTATE_JSON)
    yield from _described("JSON of python -m tb.bench", BENCH_JSON)
    yield from _described("JUnit XML", JUNIT)
    yield "## Generated files\n"
    rows = [
        *_waveforms(),
        (f"sim_build/{PROOFS.name}/CLAIM/", "of a proof, its waveform among them"),
    ]
    rows += [(regression.LAST.as_posix(), "what each test gave last"), (page.PATH.as_posix(), PAGE)]
    yield table(("path", "what"), [(_code(path), what) for path, what in rows])
    yield "## Words\n"
    yield (
        "A guest-entry sequence (`--hyp FILE.words`): a 32-bit word a line, in hexadecimal, and "
        "after `//` its source, if it is known.\n"
    )
    yield _block(_first_lines(SEQUENCES / "v1.words", 4))
    yield (
        "An image of a program (`model/programs/*.words`): `# entry ADDRESS`, `# symbol NAME "
        "ADDRESS`, `@ADDRESS`, then the words from there on. What is not in it is 0.\n"
    )
    yield _block(_first_lines(PROGRAMS / "self_el0.words", 8))
    yield "## The manual's tables\n"
    yield (
        "`model/manual/*.csv`, typed from the manual and held against the rules. The first line of "
        "each says what it is:\n"
    )
    rows_of_manual = []
    for path in sorted(tables.DIRECTORY.glob("*.csv")):
        what, columns = _first_lines(path, 2).splitlines()
        rows_of_manual.append(
            (_code(path.name), what.removeprefix("# "), columns.replace(",", ", "))
        )
    yield table(("file", "what", "columns"), rows_of_manual)


def _waveforms() -> Iterator[tuple[str, str]]:
    name = waves.path(Path(), "NAME", "SIMULATOR", 1).name.removesuffix("1.vcd")
    for suffix, what in WAVEFORM.items():
        yield f"{regression.WAVES.as_posix()}/{name}SEED{suffix}", what


def _first_lines(path: Path, count: int) -> str:
    return "\n".join(path.read_text(encoding="utf-8").splitlines()[:count])


# The file


def _parts() -> Iterator[str]:
    yield "# Reference\n"
    yield "<!-- Generated: python -m tb.reference writes it. -->\n"
    yield "## Command lines\n"
    yield "A wrong argument is one line on standard error, and exit code 2.\n"
    for name in COMMANDS:
        yield from _command(name)
    yield from _vectors()
    yield from _hardware()
    yield from _files()


def text() -> str:
    """The whole file: the same bytes on every machine."""
    return "\n".join(_parts())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    check = parser().parse_args(argv).check
    name = PATH.relative_to(PATH.parents[1])
    try:
        new = text()
        same = PATH.exists() and PATH.read_text(encoding="utf-8") == new
        if not (same or check):
            report.write(PATH, new)
        if same:
            said = "is as it should be"
        else:
            said = "is not what python -m tb.reference writes" if check else "rewritten"
        print(f"{name}: {said}", flush=True)
    except OSError as error:
        return stop_at(error)
    except KeyboardInterrupt:
        return stop("interrupted")
    return SAME if same or not check else OTHER


if __name__ == "__main__":
    sys.exit(main())
