"""Which host keeps which property, over all scenarios: the table of docs/guest-debug.md."""

from collections.abc import Mapping, Sequence

from model.kvm.properties import JUDGED, Property
from model.kvm.session import Session
from tb.kvm import play
from tb.kvm.hosts import HOSTS, Factory
from tb.kvm.scenarios import SCENARIOS
from tb.sims import run_now

HEADER = ("property", "", *HOSTS)

P1, P2, P3, P4, P5, P6, P7, P8 = Property

#: What the hosts are known to break, and why: see docs/guest-debug.md.
BREAKS: Mapping[str, frozenset[Property]] = {
    "v1": frozenset((P1, P3, P4, P6, P7)),
    "bic": frozenset((P1, P3, P4, P6, P7)),
    "callout": frozenset((P1, P3, P4, P6)),
    "upstream": frozenset(),
}

Broken = Mapping[Property, Sequence[str]]  #: to the scenarios in which it is


def of_host(make: Factory) -> dict[Property, list[str]]:
    """What a host breaks, on the reference."""
    found: dict[Property, list[str]] = {}
    for scenario in SCENARIOS:
        session: Session = run_now(play.on_reference(scenario, make, quick=True))
        for each in sorted(play.broken(session), key=lambda each: each.name):
            found.setdefault(each, []).append(scenario.name)
    return found


def rows(broken: Mapping[str, Broken], cost: Mapping[str, str]) -> list[list[str]]:
    """The table; `cost` is what P8 says of each host."""
    table = [[which.name, which.value, *_of(which, broken)] for which in JUDGED]
    return [*table, [P8.name, P8.value, *(cost[name] for name in broken)]]


def _of(which: Property, broken: Mapping[str, Broken]) -> list[str]:
    return ["breaks" if which in found else "keeps" for found in broken.values()]


def markdown(header: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    """The same as the page has it."""
    lines = [header, ["---"] * len(header), *table]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
