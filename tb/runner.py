"""Runs work over processes, and gives the results as they come or in order.

A worker that dies is replaced. What to do about its task, the caller says.
"""

import contextlib
import math
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Not concurrent.futures: it can wait for ever for a worker that was ended amid a result.
_FORK = multiprocessing.get_context("fork")

DEATHS = 3  #: a task that has killed so many workers is not given to another

TICK = 0.5  #: seconds that nothing can be told for


class WorkerDied(Exception):
    """There are no workers for a task: it has killed those that it was given to, or none start."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(slots=True)
class Task(Generic[T]):
    """Something to do."""

    item: T
    deaths: int = 0  #: workers that died of it
    result: Any = None
    begun: float = 0.0  #: when, on the monotonic clock


class TookTooLong(Exception):
    """A task was ended, with its worker, when its time was over."""


class Crew(Protocol[T]):
    """Workers that do one task at a time each: so the task that killed one is known."""

    def idle(self) -> bool:
        """Whether a worker has nothing to do."""
        ...

    def begin(self, task: Task[T]) -> None:
        """Give a task to an idle worker."""
        ...

    def wait(self) -> list[tuple[Task[T], Any]]:
        """Tasks that have come to their end within TICK, with the result.

        That is what the work gave or raised, or TookTooLong; None: the worker died.
        """
        ...


def as_done(
    crew: Crew[T], take: Callable[[], Task[T] | None], tick: Callable[[], None] = lambda: None
) -> Iterator[tuple[Task[T], Any]]:
    """(task, result) as they come, the result as `Crew.wait` has it.

    `take` gives the next task, or None if there is none for now; `tick` is called every TICK.
    """
    under_way = 0
    while True:
        while crew.idle() and (task := take()):
            crew.begin(task)
            under_way += 1
        if not under_way:
            return
        for task, result in crew.wait():
            under_way -= 1
            task.deaths += result is None
            yield task, result
        tick()


def over_processes(
    work: Callable[[T], R], items: Iterable[T], workers: int
) -> Iterator[tuple[T, R]]:
    """(item, work(item)) for each item, in order; some are under way at once.

    `items` may be endless: no more are taken than the workers can soon use. Raises WorkerDied if an
    item has killed DEATHS workers, and whatever `work` raises.
    """
    source = iter(items)
    window: deque[Task[T]] = deque()  #: tasks begun and not yet given out
    again: list[Task[T]] = []

    def take() -> Task[T] | None:
        if again:
            return again.pop()
        if len(window) < 2 * workers:
            for item in source:
                window.append(Task(item))
                return window[-1]
        return None

    with contextlib.closing(Processes(work, workers)) as crew:
        for task, result in as_done(crew, take):
            task.result = result
            if task.deaths == DEATHS:
                mend = "run again, with a smaller -j if memory ran out"
                raise WorkerDied(f"{DEATHS} worker processes were killed by the same work; {mend}")
            if result is None:
                again.append(task)
            while window and window[0].result is not None:
                done = window.popleft()
                if isinstance(done.result, BaseException):
                    raise done.result
                yield done.item, done.result


class _Worker(Generic[T]):
    """A process that does one task at a time, in a process group with all that it starts."""

    def __init__(self, work: Callable[[T], Any], others: Sequence["_Worker[T]"]):
        self.connection, end = _FORK.Pipe()
        self.task: Task[T] | None = None
        inherited = [other.connection for other in others] + [self.connection]
        self._process = _FORK.Process(target=_serve, args=(work, end, inherited), daemon=True)
        self._process.start()
        end.close()

    def end(self) -> None:
        """Kill it, and the simulators that it has started."""
        self.connection.close()
        self._process.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # type: ignore[arg-type]  # it has started
        self._process.join()


def _serve(work: Callable[[T], Any], end: Connection, inherited: Sequence[Connection]) -> None:
    os.setpgid(0, 0)  # Ctrl-C goes to the group of the terminal: the parent alone answers to it
    for connection in inherited:
        connection.close()
    with contextlib.suppress(EOFError, OSError):  # the parent is gone, or wants no more
        while True:
            item = end.recv()
            try:
                result = work(item)
            except (Exception, KeyboardInterrupt) as error:
                result = error
            end.send(result)


class Processes(Generic[T]):
    """A crew of processes of this machine, which end a task after `limit` seconds."""

    def __init__(self, work: Callable[[T], Any], size: int, limit: float = math.inf):
        self.size = size
        self._work = work
        self._limit = limit
        self._workers: list[_Worker[T]] = []
        try:
            for _ in range(size):
                self._workers.append(_Worker(work, self._workers))
        except OSError as error:
            self.close()
            why = f"{size} worker processes cannot be started: {error.strerror}"
            raise WorkerDied(f"{why}; give a smaller -j") from None

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self._workers:
            worker.end()

    def idle(self) -> bool:
        """Whether a worker has nothing to do."""
        return any(worker.task is None for worker in self._workers)

    def begin(self, task: Task[T]) -> None:
        """Give a task to an idle worker."""
        worker = next(worker for worker in self._workers if worker.task is None)
        try:
            worker.connection.send(task.item)
        except OSError:  # it died with nothing to do
            worker = self._replace(worker)
            worker.connection.send(task.item)
        worker.task = task
        task.begun = time.monotonic()

    def wait(self) -> list[tuple[Task[T], Any]]:
        """Tasks that have come to their end within TICK, with the result (see `Crew`)."""
        busy = {worker.connection: worker for worker in self._workers if worker.task}
        # `wait` gives back what it is given, though its types also allow sockets and files.
        done = [self._finish(busy[each]) for each in wait(list(busy), TICK)]  # type: ignore[index]  # what wait() gives is in it
        late = time.monotonic() - self._limit
        return done + [
            self._end(each) for each in self._workers if each.task and each.task.begun < late
        ]

    def _finish(self, worker: _Worker[T]) -> tuple[Task[T], Any]:
        task = worker.task
        assert task is not None
        try:
            result = worker.connection.recv()
        except (EOFError, ConnectionError):
            self._replace(worker)
            return task, None
        worker.task = None
        return task, result

    def _end(self, worker: _Worker[T]) -> tuple[Task[T], Any]:
        task = worker.task
        assert task is not None
        self._replace(worker)
        return task, TookTooLong()

    def _replace(self, worker: _Worker[T]) -> _Worker[T]:
        worker.end()
        self._workers.remove(worker)
        self._workers.append(_Worker(self._work, self._workers))
        return self._workers[-1]
