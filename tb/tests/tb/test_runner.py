"""Work over processes: as it comes or in order, a little ahead, and nothing left behind."""

import contextlib
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tb.runner import (
    DEATHS,
    Processes,
    Task,
    TookTooLong,
    WorkerDied,
    as_done,
    cores,
    over_processes,
)

LONG = 30  #: seconds


def square(number):
    return number * number


def slow_first(number):
    time.sleep(0.2 if number == 0 else 0)
    return number


def who(_):
    return os.getpid()


def fail_at_3(number):
    if number == 3:
        raise ValueError("three is bad")
    return number


def die_at_3(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_at_3_while(directory, number):
    """Until there are two files in the directory."""
    if number == 3 and len(list(directory.iterdir())) < DEATHS - 1:
        (directory / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def tasks(items):
    left = iter(items)
    return lambda: next((Task(item) for item in left), None)


def long_but_the_first(number):
    if number:
        time.sleep(LONG)
    return number


def group_of_the_terminal(_):
    return os.getpgrp() == os.getpgid(os.getppid())


def children():
    """Processes whose parent is this one, zombies too."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.append(int(stat.parent.name))
    return found


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = set(children())
    yield
    assert set(children()) - before == set()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_with_their_items_in_order(workers):
    results = list(over_processes(square, range(20), workers))
    assert results == [(number, number * number) for number in range(20)]


def test_a_slow_item_does_not_change_the_order():
    assert [item for item, _ in over_processes(slow_first, range(6), 2)] == list(range(6))


def test_nothing_to_do_gives_nothing():
    assert list(over_processes(square, [], 2)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_is_another_process(workers):
    pids = {result for _, result in over_processes(who, range(8), workers)}
    assert os.getpid() not in pids


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_bounded_number_is_under_way(workers):
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    for done, _ in enumerate(over_processes(square, items(), workers), 1):
        assert len(taken) <= done + 2 * workers
    assert len(taken) == 100


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_of_the_work_comes_through(workers):
    results = over_processes(fail_at_3, range(100), workers)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three is bad"):
        next(results)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_kills_three_workers_is_told(workers):
    with pytest.raises(WorkerDied) as caught:
        list(over_processes(die_at_3, range(100), workers))
    mend = "run again, with a smaller -j if memory ran out"
    assert str(caught.value) == f"3 worker processes were killed by the same work; {mend}"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_work_of_a_worker_that_dies_is_done_again_in_its_place(workers, tmp_path):
    die_twice = functools.partial(die_at_3_while, tmp_path)
    results = list(over_processes(die_twice, range(20), workers))
    assert results == [(number, number) for number in range(20)]
    assert len(list(tmp_path.iterdir())) == DEATHS - 1


def test_a_worker_that_died_idle_is_replaced():
    others = set(children())
    with contextlib.closing(Processes(square, 1)) as crew:
        (pid,) = set(children()) - others
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        assert [result for _, result in as_done(crew, tasks(range(2)))] == [0, 1]


def test_results_come_as_they_are_done():
    with contextlib.closing(Processes(slow_first, 2)) as crew:
        order = [task.item for task, _ in as_done(crew, tasks(range(4)))]
    assert sorted(order) == list(range(4))
    assert order[-1] == 0


def test_each_death_is_told():
    with contextlib.closing(Processes(die_at_3, 2)) as crew:
        told = [(task.item, task.deaths, result) for task, result in as_done(crew, tasks([3, 1]))]
    assert sorted(told) == [(1, 0, 1), (3, 1, None)]


def test_a_task_is_ended_when_its_time_is_over():
    with contextlib.closing(Processes(long_but_the_first, 2, limit=1)) as crew:
        told = {task.item: result for task, result in as_done(crew, tasks([0, 1, 0]))}
    assert told[0] == 0
    assert isinstance(told[1], TookTooLong)


def test_ticks_come_while_nothing_does():
    class Enough(Exception):
        pass

    ticks = []

    def tick():
        ticks.append(1)
        if len(ticks) == 2:
            raise Enough

    with contextlib.closing(Processes(long_but_the_first, 1)) as crew, pytest.raises(Enough):
        list(as_done(crew, tasks([1]), tick))


def test_what_ends_its_process_in_silence_has_killed_it():
    with pytest.raises(WorkerDied):
        list(over_processes(sys.exit, [0], 2))


def test_more_workers_than_can_be_started_are_told():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))\n"
        "from tb.runner import Processes, WorkerDied\n"
        "try: Processes(abs, 100)\n"
        "except WorkerDied as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text = "100 worker processes cannot be started: Too many open files; give a smaller -j\n"
    assert (said.stdout, said.stderr) == (text, "")


def test_stopping_early_does_not_wait_for_the_rest():
    start = time.perf_counter()
    results = over_processes(long_but_the_first, range(5), 2)
    assert next(results) == (0, 0)
    results.close()
    assert time.perf_counter() - start < LONG / 2


def test_ctrl_c_stops_the_workers():
    def items():
        yield from range(2)
        raise KeyboardInterrupt

    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        list(over_processes(long_but_the_first, items(), 2))
    assert time.perf_counter() - start < LONG / 2


def test_workers_leave_ctrl_c_to_the_parent():
    told = [result for _, result in over_processes(group_of_the_terminal, range(4), 2)]
    assert told == [False] * 4


def test_cores_are_those_this_process_may_use():
    assert 1 <= cores() <= (os.cpu_count() or 1)
