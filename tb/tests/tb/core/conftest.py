"""What tests of the core's bench share."""

import pytest

from model.a64.processor import Processor
from tb.core.lockstep import columns
from tb.core.random_program import generate
from tb.core.random_themes import THEMES

SEEDS = range(2 * len(THEMES))
ROWS = 2500


def run(program):
    """The rows of a random program on the reference."""
    processor = Processor()
    for address, content in program.program.segments():
        processor.write_memory(address, content)
    return [processor.step(given) for given in program.inputs]


@pytest.fixture(scope="session")
def on_reference():
    """Gives the rows of a random program on the reference."""
    return run


@pytest.fixture(scope="session")
def random_columns():
    """Columns of the trace of random programs, two of each theme, on the reference."""
    return {seed: columns(run(generate(seed, ROWS))) for seed in SEEDS}
