"""Every legal bin of the functional coverage, hit once on purpose."""

from model.arch import Event
from tb import coverage
from tb.cases import case
from tb.testbench import Testbench, columns_of


@case("D2.12")
async def every_legal_bin(tb: Testbench) -> None:
    """Random sequences may miss a rare combination; this test goes to each."""
    for line in coverage.witnesses().values():
        state, given = columns_of(line)
        await tb.start(**state)
        await tb.do(Event(given.pop("event")), None, **given)
