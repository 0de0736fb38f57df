"""The case that hits every legal bin does, on the hardware."""

from tb import cases, coverage
from tb.sims import pysim
from tb.testbench import Testbench


def test_every_legal_bin_is_hit_and_no_other():
    cases.load()

    async def task(simulator):
        await simulator.reset()
        tb = Testbench(simulator, "bins.every_legal_bin", 1)
        await cases.CASES["bins.every_legal_bin"].body(tb)
        return await tb.finish()

    counts = pysim.run(task)
    assert coverage.holes(counts) == []
    assert coverage.illegal_hits(counts) == []
