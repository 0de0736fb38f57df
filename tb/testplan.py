"""The test plan: requirement, the tests that hold it, the bins they hit, their last result."""

import re
from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape

from model.kvm.properties import Property
from tb import totals
from tb.cases import CASES
from tb.last import Last, Outcome
from tb.plan import VERSION

_KVM = "KVM guest debug, "

Row = tuple[str, str, str]  #: test, bins, last result


def requirement(source: str) -> str:
    """What a case holds, of the words that say it: a section of the manual, a property, a table.

    `D2.12.3, mistake 5` is `D2.12.3`, and `KVM guest debug, P1 to P7: interrupts` is `P1 to P7`.
    """
    words = source.removeprefix(_KVM)
    return re.split(r"[,:]", words)[0]


def show(console: Console, names: Sequence[str], last: Last, verbose: bool) -> None:
    """Print the plan of the cases; `verbose` names the bins."""
    in_order = sorted(names, key=lambda name: _sorted_as(requirement(CASES[name].source)))
    for what, group in groupby(in_order, lambda name: requirement(CASES[name].source)):
        tests = list(group)
        sentence = f", {Property[what].value}" if what in Property.__members__ else ""
        console.print(f"[bold]{escape(what)}[/]{sentence}: {_summary(tests, last)}")
        for name in tests:
            _show_test(console, name, last.tests.get(name), verbose)
    console.print(f"{len(names)} tests: {_summary(names, last)}")


def _show_test(console: Console, name: str, tested: Outcome | None, verbose: bool) -> None:
    bins = f"{len(tested.bins):4} bins" if tested else ""
    seeds = " [dim](every seed)[/]" if CASES[name].random else ""
    console.print(f"  {_result(tested)}  {bins:9}  {escape(name)}{seeds}")
    if verbose and tested:
        for each in tested.bins:
            console.print(f"      {totals.name(each)}", markup=False)


def _sorted_as(requirement: str) -> list[tuple[int, str]]:
    """Sections by their numbers: D2.5 comes before D2.12."""
    return [(int(part), "") if part.isdecimal() else (0, part)
            for part in re.findall(r"\d+|\D+", requirement)]  # fmt: skip


def _result(tested: Outcome | None) -> str:
    """In so many columns."""
    if tested is None:
        return f"[dim]{'not run':17}[/]"
    word, style = ("failed", "bold red") if tested.failed else ("passed", "green")
    other = "" if tested.version == VERSION else "(other code)"
    return f"[{style}]{word}[/] [dim]{other:10}[/]"


def _summary(names: Sequence[str], last: Last) -> str:
    """Of some tests: the bins that they hit together, and how many of them passed."""
    tested = [last.tests[name] for name in names if name in last.tests]
    if not tested:
        return "not run"
    bins = {each for one in tested for each in one.bins}
    failed = sum(bool(each.failed) for each in tested)
    parts = [f"{len(bins):,} bins", f"{len(tested) - failed} passed"]
    parts += [f"[bold red]{failed} failed[/]"] if failed else []
    parts += [f"{len(names) - len(tested)} not run"] if len(tested) < len(names) else []
    return ", ".join(parts)
