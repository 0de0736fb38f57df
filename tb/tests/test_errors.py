"""What a user can do wrong is one line, exit code 2 and no traceback; and `errors.txt` has it all.

The list is whole if each place in the code that raises what a command line catches is in it, under
the module, or in NOT_LISTED with the reason.
"""

import ast
import contextlib
import os
import re
import shlex
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import tb
from tb import cases
from tb.tests.situations import arranged, make_files

TREE = Path(tb.__file__).parents[1]
LIST = Path(__file__).with_name("errors.txt")
ANY = "…"  #: in a line: what differs

_A_FINDING = "a guest or a sequence comes to it in a test, and it is told as what failed there"
_AS_MADE = "the design alone decides it, and that is what is tested"
_OF_EMIT = "the text is one of hw.emit's"
_MISSING = "the text is what is missing: tb.regression has it, or the benchmark its own line"
_ALL_OF_IT = "all texts are listed, but here they are made elsewhere in the module"

#: Module to its messages that are not among its errors, with the reason.
NOT_LISTED: dict[str, dict[str, str]] = {
    "model.a64.exceptions": {
        "pc …: … is undefined at …": _A_FINDING,
        "pc …: … at … is trapped to …": _A_FINDING,
        "pc …: … at …": _A_FINDING,
        "pc …: access by sp …: it is not a multiple of 16": _A_FINDING,
        "pc …: no instruction can be fetched: it is not a multiple of 4": _A_FINDING,
        "pc …: no instruction can be fetched: no memory is mapped there": _A_FINDING,
        "pc …: …: …": _A_FINDING,
    },
    "model.a64.interpreter": {
        "pc …: … #… takes an exception": _A_FINDING,
        "pc …: the end, …, is not reached after … instructions": _A_FINDING,
    },
    "model.dump": {"…: …": "the rules for a value are those of model.columns"},
    "model.hyp.assemble": {"…": _ALL_OF_IT},
    "model.programs.build": {"…": _ALL_OF_IT},
    "model.vectors": {"…:…: …": _ALL_OF_IT, "…": _ALL_OF_IT},
    "hw.lanes": {"Yosys left a cell … among the gates": _AS_MADE},
    "tb.cases.hyp": {"…: …": "what the words may be is model.a64.decode's"},
    "tb.cases.kvm": {"…": "there is one text, of model.programs.load"},
    "tb.mutate": {"…": _MISSING},
    "tb.mutation.equivalence": {"…": _OF_EMIT},
    "tb.mutation.mutants": {"…": _OF_EMIT},
    "tb.mutation.unit": {"…": _OF_EMIT},
    "tb.proofs.gates": {"Yosys left a cell … among the gates": _AS_MADE},
    "tb.prove": {"there are no claims": "the project has some"},
    "tb.qemu": {"…": _MISSING},
    "tb.run": {"…": _ALL_OF_IT},
    "tb.sims.cocotb_sim": {"…": f"{_MISSING}; or {_OF_EMIT}"},
    "tb.sims.compiled": {"…": f"{_MISSING}; or {_OF_EMIT}"},
    "tb.sims.view": {"…": _OF_EMIT},
    "tb.sims.words": {"…": _OF_EMIT},
    "tb.viewer": {"…": "the text is what is missing: tb.run has it"},
    "tb.watch": {
        "…: the file is empty: write the sequence there": "it goes on then: tb.tests.tb.test_watch"
    },
}


class Row(NamedTuple):
    """An error of the list."""

    module: str
    command: str
    situation: str
    line: str

    def __str__(self) -> str:
        return f"{self.command} # {self.situation}" if self.situation else self.command


def read() -> Iterator[Row]:
    """The list."""
    module, command, situation = "", "", ""
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            module = line.strip("[]")
        elif line.startswith("$ "):
            command, _, situation = line.removeprefix("$ ").partition("  # ")
        elif line.startswith("error: "):
            yield Row(module, command, situation, line)


def pattern(text: str) -> re.Pattern[str]:
    """What a text with ANY in it matches."""
    return re.compile(".*".join(map(re.escape, text.split(ANY))))


ROWS = list(read())


# Each error is told as it should be


@pytest.fixture
def here(monkeypatch, tmp_path):
    """The list's files are in the working directory, and nothing else is."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "PYTHONWARNINGS"):
        monkeypatch.delenv(name, raising=False)
    make_files()
    cases.load()


def run(row: Row, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(exit code, output, errors) of a command."""
    command, full, _ = row.command.partition(" > /dev/full")
    name, *words = shlex.split(command)
    if full:
        return _with_full_output(name, words)
    with arranged(row.situation) if row.situation else contextlib.nullcontext():
        try:
            code = import_module(name).main(words)
        except SystemExit as stopped:  # argparse's own
            code = stopped.code
    return code, *capsys.readouterr()


def _with_full_output(name: str, words: list[str]) -> tuple[int, str, str]:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", name, *words],
            env={**os.environ, "PYTHONPATH": str(TREE)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    return done.returncode, "", done.stderr


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_error_is_one_line_and_exit_code_2(row, here, capsys):
    code, out, err = run(row, capsys)
    assert code == 2
    assert "Traceback" not in out + err
    (line,) = err.splitlines()
    assert pattern(row.line).fullmatch(line), line


# The list is whole


class Site(NamedTuple):
    """Where the code makes an error that a command line catches."""

    module: str
    line: int
    message: str  #: with ANY for what is not a constant

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.message}"


@cache
def modules() -> list[tuple[ModuleType, ast.Module]]:
    """All modules but the tests, each with its source."""
    found = []
    for package in ("model", "hw", "tb"):
        for path in sorted((TREE / package).rglob("*.py")):
            parts = path.relative_to(TREE).with_suffix("").parts
            if parts[:2] != ("tb", "tests") and path.stem not in ("__init__", "cocotb_entry"):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                found.append((import_module(".".join(parts)), tree))
    return found


def evaluated(node: ast.expr, module: ModuleType) -> object:
    """What an expression is in a module; None if it is known only when it runs."""
    try:
        return eval(compile(ast.Expression(node), module.__name__, "eval"), vars(module))
    except Exception:
        return None


@cache
def caught() -> tuple[type[Exception], ...]:
    """What the `main` functions turn into a line, but for Python's own exceptions."""
    found: set[type[Exception]] = {ArgumentTypeError}
    for module, tree in modules():
        mains = [each for each in tree.body if isinstance(each, ast.FunctionDef)]
        for handler in (n for main in mains if main.name == "main" for n in ast.walk(main)):
            if isinstance(handler, ast.ExceptHandler) and handler.type:
                classes = evaluated(handler.type, module)
                classes = classes if isinstance(classes, tuple) else (classes,)
                found |= {each for each in classes if each.__module__ != "builtins"}
    return tuple(found)


def sites() -> Iterator[Site]:
    """Every call of a class that is caught."""
    for module, tree in modules():
        for function, call in _calls(tree):
            made = evaluated(call.func, module)
            if isinstance(made, type) and issubclass(made, caught()) and call.args:
                yield Site(module.__name__, call.lineno, message(call.args[0], function, module))


def _calls(tree: ast.AST, function: ast.AST | None = None) -> Iterator[tuple[ast.AST, ast.Call]]:
    """(the function around it, call)."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Call):
            yield function or tree, child
        inside = child if isinstance(child, ast.FunctionDef) else function
        yield from _calls(child, inside)


def message(node: ast.expr, function: ast.AST, module: ModuleType) -> str:
    """A text's constant parts, ANY between them."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(message(part, function, module) for part in parts)
        case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
            return message(value, function, module)
        case ast.Name(id=name):
            return _named(name, function, module)
    return ANY


def _named(name: str, function: ast.AST, module: ModuleType) -> str:
    """The text of a variable that is assigned once, or of a constant of the module."""
    values = [
        each.value
        for each in ast.walk(function)
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == name
    ]
    if len(values) == 1 and isinstance(values[0], ast.Constant | ast.JoinedStr):
        return message(values[0], function, module)
    constant = getattr(module, name, None)
    return str(constant) if constant in constants() and not values else ANY


@cache
def constants() -> frozenset[str]:
    """The texts that are constants of a module: others may be different each time."""
    return frozenset(
        ast.literal_eval(each.value)
        for _, tree in modules()
        for each in tree.body
        if isinstance(each, ast.Assign)
        and isinstance(each.value, ast.Constant)
        and isinstance(each.value.value, str)
    )


def is_listed(site: Site) -> bool:
    """Whether a line of the module's has the message."""
    lines = [row.line for row in ROWS if row.module == site.module]
    return any(pattern(site.message).search(line) for line in lines)


FULL = (
    "tb.run -l",
    "tb.run directed.reset_state --sim pysim",
    "tb.prove -l",
    "tb.reference --check",
    "model.explain EL=1",
    "hw.emit",
)


@pytest.mark.parametrize("command", FULL)
def test_a_full_standard_output_is_one_line_and_exit_code_2(command, here):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", *command.split()],
            env={**os.environ, "PYTHONPATH": str(TREE)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr == "error: standard output: No space left on device\n"
    assert done.returncode == 2


def test_every_error_that_a_command_line_catches_is_listed():
    unlisted = [
        str(site)
        for site in sites()
        if site.message not in NOT_LISTED.get(site.module, {})
        and not (re.search(r"\w", site.message) and is_listed(site))
    ]
    assert unlisted == []


def test_what_is_said_not_to_be_listed_is_in_the_code():
    known = {(site.module, site.message) for site in sites()}
    stale = [
        (module, text)
        for module, texts in NOT_LISTED.items()
        for text in texts
        if (module, text) not in known
    ]
    assert stale == []
