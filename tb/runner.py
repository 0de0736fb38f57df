"""Runs work over processes, and gives the results in order."""

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Not concurrent.futures: it can wait for ever for a worker that was ended amid a result.
_FORK = multiprocessing.get_context("fork")


class WorkerDied(Exception):
    """A worker process ended before it gave its result."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(slots=True)
class _Task(Generic[T]):
    item: T
    answer: tuple[bool, Any] | None = None  #: (True, the result) or (False, what the work raised)


class _Worker(Generic[T]):
    """A process that does one task at a time, in a process group with all that it starts."""

    def __init__(self, work: Callable[[T], Any], others: Sequence["_Worker[T]"]):
        self.connection, end = _FORK.Pipe()
        self.task: _Task[T] | None = None
        inherited = [other.connection for other in others] + [self.connection]
        self._process = _FORK.Process(target=_serve, args=(work, end, inherited), daemon=True)
        self._process.start()
        end.close()

    def begin(self, task: _Task[T]) -> None:
        """Hand over a task. OSError if the process has died."""
        self.task = task
        self.connection.send(task.item)

    def finish(self) -> None:
        """Take the answer to the task. EOFError or OSError if the process has died."""
        assert self.task is not None
        self.task.answer = self.connection.recv()
        self.task = None

    def end(self) -> None:
        """Kill it, and the simulators that it has started."""
        self.connection.close()
        self._process.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # type: ignore[arg-type]  # it has started
        self._process.join()


def _serve(work: Callable[[T], R], end: Connection, inherited: Sequence[Connection]) -> None:
    os.setpgid(0, 0)  # Ctrl-C goes to the group of the terminal: the parent alone answers to it
    for connection in inherited:
        connection.close()
    with contextlib.suppress(EOFError, OSError):  # the parent is gone, or wants no more
        while True:
            item = end.recv()
            try:
                result = work(item)
            except Exception as error:
                end.send((False, error))
            else:
                end.send((True, result))


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
    pool: list[_Worker[T]] = []
    try:
        for _ in range(workers):
            pool.append(_Worker(work, pool))
        yield from _in_order(pool, iter(items))
    except (EOFError, ConnectionError):
        mend = "run again, with a smaller -j if memory ran out"
        raise WorkerDied(f"a worker process was killed; {mend}") from None
    finally:
        for worker in pool:
            worker.end()


def _in_order(pool: Sequence[_Worker[T]], items: Iterator[T]) -> Iterator[tuple[T, Any]]:
    under_way: deque[_Task[T]] = deque()
    more = True
    while more or under_way:
        for worker in pool:
            if more and worker.task is None and len(under_way) < 2 * len(pool):
                more = _begin_next(worker, items, under_way)
        busy = {worker.connection: worker for worker in pool if worker.task}
        for connection in wait(list(busy)) if busy else ():
            busy[connection].finish()  # type: ignore[index]  # wait returns what it was given
        while under_way and under_way[0].answer:
            well, value = under_way[0].answer
            if not well:
                raise value
            yield under_way.popleft().item, value


def _begin_next(worker: _Worker[T], items: Iterator[T], under_way: deque[_Task[T]]) -> bool:
    """Whether there was another item for the worker."""
    for item in items:
        under_way.append(_Task(item))
        worker.begin(under_way[-1])
        return True
    return False
