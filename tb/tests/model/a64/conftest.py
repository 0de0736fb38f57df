"""Random tests take their seed from SEED and print it: SEED=n pytest repeats a failure."""

import os
import random

import pytest


@pytest.fixture
def seed() -> int:
    value = int(os.environ.get("SEED", "20141125"))
    print(f"SEED={value}")
    return value


@pytest.fixture
def rng(seed: int) -> random.Random:
    return random.Random(seed)
