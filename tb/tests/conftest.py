"""What all tests share."""

import os
import sys
from dataclasses import fields, replace
from random import Random

import numpy as np
import pytest

from model.columns import Lines
from model.rules import U8, U64, Bool
from tb import stimulus

_DTYPES = {Bool: np.bool_, U8: np.uint8, U64: np.uint64}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Where everything is installed (CI), a test that is skipped has found nothing: it fails."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where every tool is installed: {call.excinfo.value}"


@pytest.fixture(autouse=True)
def users_cases_end_with_their_test():
    """What --hyp and --elf register is for a run, and a process of tests makes many."""
    yield
    if cases := sys.modules.get("tb.cases"):
        for name in ("hyp.user", "kvm.user", "core.elf"):
            cases.CASES.pop(name, None)


@pytest.fixture
def seed():
    """The seed of a random test: $SEED, or 1. It is printed with a failure."""
    value = int(os.environ.get("SEED", "1"))
    print(f"SEED={value}")
    return value


@pytest.fixture
def rng(seed):
    """A generator made from the seed."""
    return Random(seed)


@pytest.fixture
def np_rng(seed):
    """The same for arrays."""
    return np.random.default_rng(seed)


def _in_arrays(part, lanes):
    """A PE, an Input or an Effect of planes, in arrays."""
    values = {field.name: getattr(part, field.name).values(lanes) for field in fields(part)}
    dtypes = {field.name: _DTYPES[field.type] for field in fields(part)}
    return replace(part, **{name: values[name].astype(dtypes[name]) for name in values})


def _lines(move):
    parts = (_in_arrays(part, move.lanes) for part in (move.pe, move.given))
    return Lines(*parts, np.ones(move.lanes, dtype=bool))


@pytest.fixture
def lines_of():
    """Gives the lanes of a step, which is not the first, as the lines of a vector file."""
    return _lines


@pytest.fixture
def drawn():
    """Gives PEs to start from, and an event for each, as random sequences have them: lines."""

    def draw(seed, count):
        _, move = stimulus.sequence(seed, count, steps=1)
        return _lines(move)

    return draw
