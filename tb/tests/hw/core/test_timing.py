"""The latency table: whole, within what the core can do, and each figure with where it is from."""

import re

import pytest

from hw.core.timing import LATENCY, TimingClass

#: The memory answers in the cycle after the request.
ACCESS = 2
#: What the core needs at least; 1 where nothing is said.
MINIMUM = {
    TimingClass.DIVIDE_32: 12,
    TimingClass.DIVIDE_64: 20,
    TimingClass.LOAD: ACCESS,
    TimingClass.LOAD_PAIR: ACCESS,
    TimingClass.STORE: ACCESS,
    TimingClass.STORE_RELEASE: ACCESS,
    TimingClass.STORE_EXCLUSIVE: ACCESS,
    TimingClass.BRANCH_TAKEN: ACCESS,
    TimingClass.ISB: ACCESS,
    TimingClass.EXCEPTION_ENTRY: ACCESS + 1,  # of a load that faults, once the answer is there
    TimingClass.EXCEPTION_RETURN: ACCESS,
}

#: Execution latencies of the guide's A64 tables: section, first and last of the range.
GUIDE = {
    TimingClass.ALU: ("4.3", 1, 1),
    TimingClass.ALU_SHIFTED: ("4.3", 2, 2),
    TimingClass.BITFIELD: ("4.7", 1, 2),
    TimingClass.MULTIPLY_32: ("4.5", 3, 3),
    TimingClass.MULTIPLY_64: ("4.5", 4, 5),
    TimingClass.MULTIPLY_HIGH: ("4.5", 6, 6),
    TimingClass.DIVIDE_32: ("4.5", 3, 12),
    TimingClass.DIVIDE_64: ("4.5", 3, 20),
    TimingClass.LOAD: ("4.8", 3, 3),
    TimingClass.LOAD_PAIR: ("4.8", 3, 4),
    TimingClass.STORE_RELEASE: ("4.9", 2, 2),
    TimingClass.STORE_EXCLUSIVE: ("4.9", 4, 4),
    TimingClass.BRANCH_NOT_TAKEN: ("4.2", 1, 1),
}
ASSUMED = [member for member in TimingClass if member not in GUIDE]
CITED = re.compile(
    r"Arm Cortex-A55 Software Optimization Guide, issue 4\.0, section (\d\.\d+)(: .+)?"
)


def test_every_class_has_a_row_in_order():
    assert list(LATENCY) == list(TimingClass)
    assert [int(member) for member in TimingClass] == list(range(len(LATENCY)))


@pytest.mark.parametrize("member", TimingClass, ids=lambda member: member.name)
def test_the_core_can_do_it(member):
    assert LATENCY[member].cycles >= MINIMUM.get(member, 1)


@pytest.mark.parametrize("member", GUIDE, ids=lambda member: member.name)
def test_a_figure_of_the_guide_names_its_section_and_is_the_upper_end(member):
    section, first, last = GUIDE[member]
    row = LATENCY[member]
    cited = CITED.fullmatch(row.source)
    assert cited, row.source
    assert (cited[1], row.cycles) == (section, last)
    assert ("upper end" in row.source) == (first != last)


@pytest.mark.parametrize("member", ASSUMED, ids=lambda member: member.name)
def test_any_other_figure_is_marked_assumed_with_a_reason(member):
    assert re.fullmatch(r"assumed: \w.{9,}", LATENCY[member].source)
