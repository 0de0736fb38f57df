"""Every legal bin of the core's coverage has a program that hits it."""

import numpy as np
import pytest

from model.a64.processor import Processor, branches_to_itself
from model.arch import Event
from tb import bins
from tb.core import coverage
from tb.core.coverage import GROUPS
from tb.core.lockstep import columns
from tb.core.witnesses import witnesses


@pytest.fixture(scope="module")
def runs():
    """Each witness with its rows on the reference."""
    found = []
    for witness in witnesses():
        processor = Processor()
        for address, content in witness.program.segments():
            processor.write_memory(address, content)
        found.append((witness, processor.run(witness.inputs)))
    return found


def test_together_they_hit_every_legal_bin_and_no_other(runs):
    counts = sum((coverage.count(columns(rows)) for _, rows in runs), coverage.none())
    hit = counts > 0
    wrong = np.flatnonzero(hit != coverage.legal())
    assert [bins.name(GROUPS, int(at)) for at in wrong] == []


def test_each_comes_to_the_el_and_hits_something_there(runs):
    for witness, rows in runs:
        assert any(row.event == Event.ERET for row in rows), witness.name
        assert len(rows) <= len(witness.inputs)


def test_most_end_at_a_branch_to_itself(runs):
    ended = [witness.name for witness, rows in runs if branches_to_itself(rows[-1])]
    assert len(ended) > 0.75 * len(runs)
    sweeps = [rows for witness, rows in runs if witness.name.startswith("system registers")]
    assert all(branches_to_itself(rows[-1]) for rows in sweeps)
