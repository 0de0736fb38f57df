"""Runs units over processes, and gives their results as they come."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class WorkerDied(Exception):
    """A worker process ended before it gave its result."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _start_worker() -> None:
    # Ctrl-C goes to every process of the terminal; only the parent answers to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def over_processes(
    work: Callable[[T], R], items: Iterable[T], workers: int
) -> Iterator[tuple[T, R]]:
    """(item, work(item)) for each item, in order; some are under way at once.

    `items` may be endless: no more are taken than the workers can soon use. Raises WorkerDied if a
    worker is killed, and whatever `work` raises.
    """
    if workers == 1:
        for item in items:
            yield item, work(item)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _start_worker)
    under_way: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            under_way.append((item, pool.submit(work, item)))
            if len(under_way) > 2 * workers:
                yield _oldest(under_way)
        while under_way:
            yield _oldest(under_way)
    except BrokenProcessPool:
        mend = "run again, with a smaller -j if memory ran out"
        raise WorkerDied(f"a worker process was killed; {mend}") from None
    finally:
        if under_way:  # a failure or Ctrl-C: nobody waits for the rest
            for process in multiprocessing.active_children():
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _oldest(under_way: deque[tuple[T, Future[R]]]) -> tuple[T, R]:
    item, future = under_way[0]
    result = future.result()
    under_way.popleft()
    return item, result
