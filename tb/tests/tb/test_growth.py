"""How time and memory grow: sizes, ratios, lines."""

import pytest

from tb import growth, work
from tb.growth import Point, Series


def test_sizes_are_ten_times_the_one_before():
    cycles, all_lanes, lanes, seeds = growth.series(4, 1 << 18)
    assert list(cycles.tasks) == [10048, 100480, 1004800, 10048000, 100480000]
    assert list(all_lanes.tasks) == [1 << 20, 10 << 20, 100 << 20]
    assert list(lanes.tasks) == [64, 640, 6400, 64000, 640000]
    assert list(seeds.tasks) == [1, 10, 100, 1000, 10000]
    for each in (cycles, all_lanes):
        for size, task in each.tasks.items():
            assert task.seeds * task.lanes * task.steps == size
    for each in (cycles, all_lanes, lanes, seeds):
        assert all(task.played == task.lanes for task in each.tasks.values())


def test_a_size_is_compared_with_the_one_before():
    grown = Series("seeds", "seed", {}, [Point(1, 0.002, 50), Point(10, 0.022, 50.4)])
    assert grown.ratios() == [None, pytest.approx(1.1)]
    name, first, second = grown.lines()
    assert name == "seeds"
    assert " ".join(first.split()) == "1 2 ms 2 ms a seed 50 MiB"
    assert " ".join(second.split()) == "10 22 ms 2.2 ms a seed x 1.10 linear 50 MiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(123.4, "123 s"), (0.5, "500 ms"), (1.5e-5, "15 us"), (1.23e-7, "123 ns")],
)
def test_times_are_short(seconds, text):
    assert growth._time(seconds) == text


def test_a_point_is_measured():
    if why := work.adapter("compiled").missing():
        pytest.skip(why)
    *_, seeds = growth.series(1, 64)
    growth.measure(seeds, 10)
    (point,) = seeds.points
    assert point.size == 10
    assert point.seconds > 0
    assert 10 < point.peak < 1024
