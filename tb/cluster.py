"""Work on a Dask cluster: one task at a time on each worker, as in the processes of one machine.

Dask would hand a worker several tasks, and hold its death against all of them.
"""

import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from model.hyp import SequenceError
from tb import work
from tb.cases import CASES, hyp
from tb.plan import VERSION, Plan, sequence_digest
from tb.runner import TICK, Task
from tb.sims import SimulatorError
from tb.work import Result, Unit

PATIENCE = 60.0  #: seconds to wait for a worker where there is none
TIMEOUT = 10.0  #: seconds for the scheduler to answer

#: cases and working directory belong to the process, a worker may have many threads
_ONE_AT_A_TIME = threading.Lock()


class ClusterError(Exception):
    """The cluster cannot do the work: one line that says what and the mend."""


def missing() -> str | None:
    """What is not installed, with the mend."""
    if find_spec("distributed"):
        return None
    return "distributed is not installed (pip install 'softstep[dask]')"


# What runs on a worker


def stamp(directory: str, user_sequence: str | None) -> tuple[str, str | None]:
    """Version of the code and of the user's sequence, as this process has them."""
    with _ONE_AT_A_TIME, _inside(directory if user_sequence else None):
        return VERSION, sequence_digest(user_sequence)


def run_unit(directory: str, unit: Unit) -> list[Result]:
    """`work.run_unit` in a process that other runs use too; files are those of the directory."""
    with _ONE_AT_A_TIME, _inside(directory if unit.hyp or unit.waves else None):
        CASES.pop(hyp.USER, None)
        return work.run_unit(unit)


@contextlib.contextmanager
def _inside(directory: str | None) -> Any:
    if directory is None:
        yield
        return
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


# What runs here


class Cluster:
    """A crew (`tb.runner.Crew`) of all workers that a scheduler has, or gets later."""

    def __init__(self, address: str, plan: Plan, do: Callable[[str, Unit], Any] = run_unit):
        from distributed import Client

        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        directory = str(Path.cwd())
        self._address = address
        self._work = functools.partial(do, directory)
        self._stamp = functools.partial(stamp, directory, plan.hyp)
        self._wanted = (plan.version, plan.sequence)
        self._workers: set[str] = set()
        self._tasks: dict[str, tuple[Any, Task[Unit]]] = {}  #: worker to its future and task
        try:
            self._client = Client(address, timeout=TIMEOUT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            why = str(error).splitlines()[0]
            mend = "give the address that `dask scheduler` prints, as tcp://HOST:PORT"
            raise ClusterError(f"no Dask scheduler answers at {address}: {why}; {mend}") from None
        try:
            self._await_workers()
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """How many workers there are now."""
        return len(self._workers)

    def close(self) -> None:
        """Take back what has not begun, and leave."""
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self._client.cancel([future for future, _ in self._tasks.values()])
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)

    def idle(self) -> bool:
        """Whether a worker has nothing to do."""
        if not self._workers:
            self._await_workers()
        return bool(self._workers - self._tasks.keys())

    def begin(self, task: Task[Unit]) -> None:
        """Give a task to an idle worker."""
        worker = min(self._workers - self._tasks.keys())
        future = self._client.submit(self._work, task.item, workers=[worker], pure=False)
        self._tasks[worker] = future, task

    def wait(self) -> list[tuple[Task[Unit], Any]]:
        """Tasks that have come to their end within TICK, with the result; None: the worker died."""
        from distributed import wait

        futures = [future for future, _ in self._tasks.values()]
        with contextlib.suppress(TimeoutError):
            wait(futures, timeout=TICK, return_when="FIRST_COMPLETED")
        done = [worker for worker, (future, _) in self._tasks.items() if future.done()]
        if not done:
            self._look_for_workers()
            done = [worker for worker in self._tasks if worker not in self._workers]
        return [self._finish(worker) for worker in done]

    def _finish(self, worker: str) -> tuple[Task[Unit], Any]:
        from distributed import KilledWorker

        future, task = self._tasks.pop(worker)
        if not future.done():  # its worker is gone
            future.cancel()
            return task, None
        try:
            return task, future.result(timeout=TIMEOUT)
        except KilledWorker:
            return task, None
        except SimulatorError as error:
            raise SimulatorError(f"dask worker {worker}: {error}") from None
        except Exception as error:
            raise ClusterError(f"dask worker {worker}: {_line(error)}") from None

    def _await_workers(self) -> None:
        deadline = time.monotonic() + PATIENCE
        self._look_for_workers()
        while not self._workers:
            if time.monotonic() > deadline:
                mend = f"start some (dask worker {self._address}), then use --resume"
                raise ClusterError(
                    f"the Dask scheduler at {self._address} has had no worker for "
                    f"{PATIENCE:.0f} s; {mend}"
                )
            time.sleep(TICK)
            self._look_for_workers()

    def _look_for_workers(self) -> None:
        try:
            workers = set(self._client.nthreads())
        except (OSError, RuntimeError, ValueError):
            mend = "start it again, then use --resume"
            raise ClusterError(f"the Dask scheduler at {self._address} is gone; {mend}") from None
        new = {worker for worker in workers - self._workers if self._is_right(worker)}
        self._workers = (self._workers & workers) | new

    def _is_right(self, worker: str) -> bool:
        """Whether a worker is there and has this code. ClusterError if it has another."""
        try:
            found = self._client.run(self._stamp, workers=[worker], on_error="return")[worker]
        except Exception:  # it is gone again
            return False
        if found == self._wanted:
            return True
        if isinstance(found, OSError) and not isinstance(found, FileNotFoundError):
            return False  # it is gone again
        if isinstance(found, ModuleNotFoundError):
            raise ClusterError(f"dask worker {worker} has not this code ({found}): {_MEND}")
        if isinstance(found, FileNotFoundError | SequenceError):
            mend = "with --hyp, workers must see the same files as this process"
            raise ClusterError(f"dask worker {worker}: {_line(found)}; {mend}")
        if isinstance(found, Exception):
            raise ClusterError(f"dask worker {worker}: {_line(found)}")
        if found[0] == self._wanted[0]:
            raise ClusterError(f"dask worker {worker} has another file for --hyp than this process")
        versions = f"({found[0]}, here {self._wanted[0]})"
        raise ClusterError(
            f"dask worker {worker} has another version of the code {versions}: {_MEND}"
        )


_MEND = "start it again, from the directory that this command runs from or with PYTHONPATH set"


def _line(error: Exception) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
