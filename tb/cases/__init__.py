"""The tests: coroutines over a testbench, one file a topic. They run on every simulator.

A case is named `topic.function`, the topic its file or package, or `topic.member` where one
function makes several.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

from tb.harness import UNIT, Design

Body = Callable[[Any], Awaitable[None]]  #: of a `tb.testbench.Testbench`, or its design's own


@dataclass(frozen=True, slots=True)
class Case:
    """A test and where it stands in the plan."""

    name: str
    body: Body
    source: str  #: what it checks: a section of the manual, a table
    random: bool  #: worth running with more than one seed
    bulk: bool = False  #: takes so many cycles that only the compiled simulator can
    design: Design = UNIT  #: what it tests
    listing: Callable[[], Mapping[int, str]] = dict  #: address to instruction, for its waveform


CASES: dict[str, Case] = {}


def register(
    name: str,
    body: Body,
    source: str,
    random: bool = False,
    bulk: bool = False,
    design: Design = UNIT,
    listing: Callable[[], Mapping[int, str]] = dict,
) -> None:
    """Add a case. ValueError if the name is taken."""
    if name in CASES:
        raise ValueError(f"two cases are named {name}")
    CASES[name] = Case(name, body, source, random, bulk, design, listing)


def case(
    source: str, random: bool = False, bulk: bool = False, design: Design = UNIT
) -> Callable[[Body], Body]:
    """Decorator: the coroutine is a case, named for its topic (file or package) and itself."""

    def decorate(body: Body) -> Body:
        topic = body.__module__.removeprefix(f"{__name__}.").split(".")[0]
        register(f"{topic}.{body.__name__}", body, source, random, bulk, design)
        return body

    return decorate


def load() -> None:
    """Import every file of cases."""
    for module in walk_packages(__path__, f"{__name__}."):
        import_module(module.name)
