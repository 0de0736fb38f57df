"""Builds are kept: made once for what they depend on, by one process, and whole or not at all."""

import multiprocessing
import os
import signal
import time

import pytest

from tb.sims import builds
from tb.sims.builds import kept

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def sim_build(tmp_path, monkeypatch):
    monkeypatch.setattr(builds, "SIM_BUILD", tmp_path / "sim_build")
    return tmp_path / "sim_build"


def fill(place):
    """A build: says that it was made."""
    (place / "made").write_text("here")


def never(place):
    raise AssertionError("it is built already")


def test_a_build_is_made_once_and_used_again(sim_build):
    place = kept("toy", ("source", 1), fill)
    assert place.parent == sim_build / "toy"
    assert [path.name for path in place.iterdir()] == ["made"]
    assert kept("toy", ("source", 1), never) == place


@pytest.mark.parametrize("other", [("source", 2), ("sourc", "e1"), ()])
def test_what_depends_on_something_else_is_a_build_of_its_own(other):
    first = kept("toy", ("source", 1), fill)
    assert kept("toy", other, fill) != first
    assert kept("toy", ("source", 1), never) == first


def test_each_simulator_has_its_own():
    first, other = (kept(name, "source", fill) for name in ("toy", "other"))
    assert first != other
    assert first.name == other.name


def test_a_build_that_fails_is_not_used_and_tried_again(sim_build):
    def fails(place):
        (place / "log").write_text("why")
        raise ValueError("the compiler")

    for _ in range(2):
        with pytest.raises(ValueError, match="the compiler"):
            kept("toy", "source", fails)
        (log,) = sim_build.glob("toy/*/log")  # for who wants to know; the one before is gone
        assert log.read_text() == "why"
    place = kept("toy", "source", fill)
    assert sorted(path.name for path in place.parent.iterdir()) == [
        place.name,
        f"{place.name}.lock",
    ]


def test_a_build_that_was_killed_half_way_is_not_used(sim_build):
    def half(place):
        (place / "made").write_text("he")
        os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=kept, args=("toy", "source", half))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.read_text() for path in sim_build.glob("toy/*/made")] == ["he"]
    place = kept("toy", "source", fill)
    assert [path.read_text() for path in sim_build.glob("toy/*/made")] == ["here"]
    assert (place / "made").exists()


def test_what_is_left_of_another_build_stays():
    first = kept("toy", "source", fill)
    under_way = first.with_name("0123456789abcdef-somebody")
    under_way.mkdir()
    kept("toy", "another", fill)
    assert under_way.exists()


def test_one_process_builds_and_the_others_wait_for_it(tmp_path):
    def slow(place):
        with (tmp_path / "times").open("a") as file:
            file.write("x")
        time.sleep(0.3)
        fill(place)

    def use():
        assert (kept("toy", "source", slow) / "made").read_text() == "here"

    processes = [FORK.Process(target=use) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "times").read_text() == "x"
