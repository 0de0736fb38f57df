"""A test of the regression on a mutant: whether it fails."""

from collections.abc import Iterable
from typing import Any

from tb.cases import CASES, Case
from tb.core.testbench import CoreTestbench
from tb.harness import CORE, Design
from tb.sims import SimulatorError, run_now
from tb.testbench import Testbench

SEED = 1  #: that the regression runs with, if no other is given


class BrokenDesign(Exception):
    """The design itself, without a mutation, fails a test: then there is nothing to measure."""


def fails(case: Case, simulator: Any) -> bool:
    """Whether a test fails, as `tb.work` sees it: a mismatch, a failure, or any other exception."""
    made = CoreTestbench if case.design is CORE else Testbench

    async def run() -> None:
        tb: Any = made(simulator, case.name, SEED)
        await simulator.reset()
        await case.body(tb)
        await tb.finish()

    try:
        run_now(run())
    except SimulatorError:
        raise
    except Exception:
        return True
    return False


def first_that_fails(cases: Iterable[Case], simulator: Any) -> str | None:
    """The name of the first test that fails, if one does."""
    return next((case.name for case in cases if fails(case, simulator)), None)


def others(design: Design, but: Iterable[str]) -> list[Case]:
    """The regression's tests of a design but for some, in its order."""
    return [case for name, case in CASES.items() if case.design is design and name not in but]
