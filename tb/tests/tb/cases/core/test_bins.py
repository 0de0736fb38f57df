"""The case that hits every legal bin of the core's coverage does, on its way through the bench."""

import asyncio

import numpy as np

from tb import cases
from tb.core import coverage
from tb.core.testbench import CoreTestbench
from tb.tests.tb.core.reference import ReferenceSimulator


def test_every_legal_bin_is_hit_and_no_other():
    cases.load()
    case = cases.CASES["core.every_legal_bin"]
    tb = CoreTestbench(ReferenceSimulator(), case.name, 1)

    async def counts():
        await case.body(tb)
        return await tb.finish()

    found = asyncio.run(counts())
    assert np.array_equal(found > 0, coverage.legal())
    assert tb.checked > 10_000
