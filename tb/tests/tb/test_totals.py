"""The bins of all designs in one array."""

import numpy as np
import pytest

from tb import coverage, totals
from tb.core import coverage as core_coverage

PARTS = {"unit": coverage, "core": core_coverage}


def hit(design, at, times=1):
    counts = PARTS[design].none()
    counts[at] = times
    return totals.of(design, counts)


def bin_of(design, legal):
    """The first legal or impossible bin."""
    return int(np.flatnonzero(PARTS[design].legal() == legal)[0])


def test_the_parts_do_not_overlap():
    unit, core = (totals.of(name, np.ones_like(part.none())) for name, part in PARTS.items())
    assert np.array_equal(unit + core, np.ones_like(totals.none()))
    assert (unit.sum(), core.sum()) == (coverage.BINS, core_coverage.BINS)


@pytest.mark.parametrize("design", PARTS)
def test_of_a_design_that_was_covered_all_bins_count(design):
    legal = PARTS[design].legal()
    at = bin_of(design, legal=True)
    counts = hit(design, at)
    assert totals.legal(counts) == legal.sum()
    found = totals.holes(counts)
    assert len(found) == legal.sum() - 1 == len(set(found))
    assert all(name.startswith("core, ") == (design == "core") for name in found)


@pytest.mark.parametrize("design", PARTS)
def test_what_is_impossible_is_told(design):
    at = bin_of(design, legal=False)
    (name,) = totals.illegal_hits(hit(design, at, 3) + hit(design, bin_of(design, legal=True)))
    assert name.startswith("core, ") == (design == "core")
    assert totals.illegal_hits(hit(design, bin_of(design, legal=True))) == []


def test_of_both_designs_the_bins_add_up():
    counts = hit("unit", bin_of("unit", True)) + hit("core", bin_of("core", True))
    assert totals.legal(counts) == coverage.legal().sum() + core_coverage.legal().sum()
    assert len(totals.holes(counts)) == totals.legal(counts) - 2


def test_the_core_is_told_by_group_where_it_was_covered():
    assert totals.of_core_by_group(hit("unit", bin_of("unit", True))) == []
    groups = totals.of_core_by_group(hit("core", np.flatnonzero(core_coverage.legal())[:3]))
    assert groups[:2] == [("instruction", 3, 173), ("exception", 0, 98)]


def test_where_nothing_was_covered_the_step_unit_counts():
    assert totals.legal(totals.none()) == coverage.legal().sum()
    assert totals.holes(totals.none()) == coverage.holes(coverage.none())
    assert totals.illegal_hits(totals.none()) == []
