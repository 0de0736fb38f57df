"""Random programs: reproducible, never caught in a loop, and worth their rows."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from model.arch import EL, Last, Retire, StepState
from tb.core.program import UNDEFINED, text
from tb.core.random_layout import BODY, BODY_WORDS, TABLES
from tb.core.random_program import generate
from tb.core.random_themes import THEMES

DIGEST = """
from tb.tests.tb.core.test_random_program import digest
print(digest(5, 300))
"""


def digest(seed, length):
    program = generate(seed, length)
    return hashlib.sha256(repr((program.program.segments(), program.inputs)).encode()).hexdigest()


def test_a_seed_gives_the_same_program_in_another_process():
    other = {**os.environ, "PYTHONHASHSEED": "7"}
    found = subprocess.run(
        [sys.executable, "-c", DIGEST], env=other, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == digest(5, 300)


def test_seeds_and_lengths_give_different_programs():
    assert len({digest(seed, length) for seed in (0, 1, len(THEMES)) for length in (200, 300)}) == 6


@pytest.mark.parametrize("length", [1, 100, 3000])
def test_it_has_inputs_for_every_row(length):
    program = generate(3, length)
    assert program.length == len(program.inputs) == length


def test_too_long_a_program_is_an_error():
    with pytest.raises(ValueError, match="of 1000000 rows is too long"):
        generate(1, 1_000_000)


def test_a_wfi_always_ends():
    """With wfx_ends = 0 it ends by a pin alone, and the inputs stay while it waits."""
    inputs = [given for seed in range(8) for given in generate(seed, 2000).inputs]
    assert all(given.wfx_ends or given.irq or given.fiq or given.serror for given in inputs)
    assert not all(given.wfx_ends for given in inputs)


def test_code_and_tables_do_not_overlap():
    for length in (1, 2500, 20_000):
        program = generate(length, length).program
        assert not program.code.keys() & program.data.keys()
        assert max(address for address in program.code if address < TABLES) < BODY + 4 * (
            BODY_WORDS * len(EL)
        )


def test_no_program_is_caught_in_a_loop(random_columns):
    """Half of the rows are handlers: their addresses come often, but no address all the time."""
    for seed, columns in random_columns.items():
        addresses, hits = np.unique(columns["pc"], return_counts=True)
        assert hits.max() < 0.15 * len(columns["pc"]), f"seed {seed}"
        assert len(addresses) > 250, f"seed {seed}"


def test_steps_interrupts_and_returns_are_frequent(random_columns):
    merged = {
        name: np.concatenate([columns[name] for columns in random_columns.values()])
        for name in ("kind", "state", "el", "last", "event")
    }
    rows = len(merged["kind"])
    frequent = {
        "exceptions": (merged["kind"] != Retire.INSTRUCTION).sum(),
        "interrupts": (merged["kind"] >= Retire.SERROR).sum(),
        "steps": (merged["state"] == StepState.ACTIVE_NOT_PENDING).sum(),
        "steps at EL2": ((merged["state"] != StepState.INACTIVE) & (merged["el"] == 2)).sum(),
    }
    chances = {name: count / rows for name, count in frequent.items()}
    assert chances["exceptions"] > 0.05
    assert chances["interrupts"] > 0.01
    assert chances["steps"] > 0.015
    assert chances["steps at EL2"] > 0.001
    assert set(merged["last"].tolist()) == set(Last)


def test_most_of_the_body_is_defined():
    program = generate(8, 2500).program
    body = {at: value for at, value in program.code.items() if BODY <= at < TABLES}
    undefined = [at for at, value in body.items() if text(value, at) == UNDEFINED]
    assert 0 < len(undefined) < 0.05 * len(body)
