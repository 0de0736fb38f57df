"""The test plan. What it looks like is in test_run.py."""

import pytest

from tb import cases
from tb.testplan import _sorted_as, requirement


@pytest.mark.parametrize(
    ("source", "held"),
    [
        ("D2.12.3", "D2.12.3"),
        ("D2.12.3, mistake 5", "D2.12.3"),
        ("KVM guest debug, P6: skipped twice", "P6"),
        ("KVM guest debug, P1 to P7: the same, stepped", "P1 to P7"),
        ("hw.step: reset", "hw.step"),
        ("table step-state", "table step-state"),
    ],
)
def test_the_requirement_is_in_the_source_of_a_case(source, held):
    assert requirement(source) == held


def test_sections_are_in_the_order_of_the_manual():
    sections = ["D2.12.3", "P1", "D2.4", "D1.11", "D2.12", "D1.10"]
    in_order = ["D1.10", "D1.11", "D2.4", "D2.12", "D2.12.3", "P1"]
    assert sorted(sections, key=_sorted_as) == in_order


def test_every_case_holds_something():
    cases.load()
    assert all(requirement(case.source).strip() for case in cases.CASES.values())
