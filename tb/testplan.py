"""The test plan: requirement, the tests that hold it, the bins they hit, their last result."""

import re
from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape

from model.kvm.properties import Property
from tb.cases import CASES
from tb.last import Last, Outcome
from tb.plan import VERSION

_KVM = "KVM guest debug, "


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
            _show_test(console, name, last, verbose)
    console.print(f"{len(names)} tests: {_summary(names, last)}")


def _show_test(console: Console, name: str, last: Last, verbose: bool) -> None:
    outcome = last.tests.get(name)
    seeds = " [dim](random)[/]" if CASES[name].random else ""
    console.print(f"  {_columns(outcome)}  {escape(name)}{seeds}{_failures(name, last)}")
    if verbose and outcome:
        for each in sorted(outcome.bins):
            console.print(f"      {each}", markup=False)


def _columns(outcome: Outcome | None) -> str:
    """The last result, and the bins, always as wide."""
    if outcome is None:
        return f"[dim]{'not run':28}[/]"
    word, style = ("passed", "green") if outcome.passed else ("failed", "bold red")
    other = "" if outcome.version == VERSION else "(other code)"
    return f"[{style}]{word}[/] [dim]{other:12}[/]{len(outcome.bins):4} bins"


def _failures(name: str, last: Last) -> str:
    """What of a test has failed and has not run since, in a few words."""
    jobs = [job for job in last.failed if job.case == name]
    if not jobs:
        return ""
    first = jobs[0]
    file = f", {first.file}" if first.file else ""
    more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    return f" [red]({escape(f'failed: seed {first.seed} on {first.simulator}{file}{more}')})[/]"


def _sorted_as(requirement: str) -> list[tuple[int, str]]:
    """Sections by their numbers: D2.5 comes before D2.12."""
    return [(int(part), "") if part.isdecimal() else (0, part)
            for part in re.findall(r"\d+|\D+", requirement)]  # fmt: skip


def _summary(names: Sequence[str], last: Last) -> str:
    """Of some tests: the bins that they hit together, and how many of them passed."""
    outcomes = [last.tests[name] for name in names if name in last.tests]
    if not outcomes:
        return "not run"
    bins = {each for one in outcomes for each in one.bins}
    failed = sum(not each.passed for each in outcomes)
    parts = [f"{len(bins):,} bins", f"{len(outcomes) - failed} passed"]
    parts += [f"[bold red]{failed} failed[/]"] if failed else []
    parts += [f"{len(names) - len(outcomes)} not run"] if len(outcomes) < len(names) else []
    return ", ".join(parts)
