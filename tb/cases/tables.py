"""Every row of the manual's tables, on the hardware (`model.tables` has the rows as claims)."""

import random
from collections.abc import Iterator

import numpy as np

from model import tables
from model.arch import Event
from model.tables import Claims
from tb.cases import register
from tb.testbench import Testbench, columns_of

_CASES_OF_A_ROW = 6  #: of the combinations that a row covers; all where it covers no more


def _draw(said: Claims, rng: random.Random) -> Iterator[int]:
    """Some cases of each row."""
    names = np.array(said.names)
    for name in dict.fromkeys(said.names):
        cases = np.flatnonzero(names == name).tolist()
        yield from rng.sample(cases, min(_CASES_OF_A_ROW, len(cases)))


async def _table(tb: Testbench, table: str) -> None:
    said = tables.claims(table)
    for at in _draw(said, tb.rng):
        state, given = columns_of(said.lines, at)
        await tb.start(**state)
        row = await tb.do(Event(given.pop("event")), None, **given)
        expected = {name: int(values[at]) for name, values in said.expected.items()}
        tb.expect(row, **{name: value for name, value in expected.items() if value >= 0})


def _register() -> None:
    for table in tables.TABLES:

        async def body(tb: Testbench, table: str = table) -> None:
            await _table(tb, table)

        register(f"tables.{table}", body, f"table {table}", random=True)


_register()
