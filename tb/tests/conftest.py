"""What all tests share."""

import os
from random import Random

import numpy as np
import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Where everything is installed (CI), a test that is skipped has found nothing: it fails."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where every tool is installed: {call.excinfo.value}"


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
