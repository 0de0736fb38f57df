"""Every legal bin of the core's functional coverage, hit once on purpose."""

from tb.cases import case
from tb.core.rows import packed
from tb.core.testbench import CoreTestbench
from tb.core.witnesses import witnesses
from tb.harness import CORE


@case("coverage: a short program for each bin", bulk=True, design=CORE)
async def every_legal_bin(tb: CoreTestbench) -> None:
    """Each is run up to a branch to itself, or for as many rows as it has inputs."""
    for witness in witnesses():
        inputs = packed(witness.inputs)
        await tb.run(witness.program.segments(), inputs, max_rows=len(inputs))
