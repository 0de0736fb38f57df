"""Work on a Dask cluster: one task at a time on each worker, as in the processes of one machine.

Dask would hand a worker several tasks, and hold its death against all of them.
"""

import contextlib
import functools
import logging
import os
import re
import threading
import time
from concurrent.futures import CancelledError
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from model.hyp import SequenceError
from tb import work
from tb.cases import CASES, hyp, kvm
from tb.plan import VERSION, Plan, sequence_digest
from tb.runner import TICK, Task
from tb.sims import SimulatorError
from tb.work import Result, Unit

PATIENCE = 60.0  #: seconds to wait for a worker where there is none
TIMEOUT = 10.0  #: seconds for the scheduler to answer

#: [tcp://]HOST:PORT
_ADDRESS = re.compile(r"((tcp|tls)://)?(\[[0-9A-Fa-f:.]+\]|[^\s/:]+):\d{1,5}")
_GIVE = "give the one that `dask scheduler` prints, as tcp://HOST:PORT"
_MEND = "start it again, from the directory that this command runs from or with PYTHONPATH set"

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
        for user in (hyp.USER, kvm.USER):
            CASES.pop(user, None)
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

    def __init__(self, address: str, plan: Plan):
        if not _ADDRESS.fullmatch(address):
            raise ClusterError(f"--dask: {address!r} is not an address; {_GIVE}")
        if why := missing():
            raise ClusterError(f"dask cannot run: {why}")
        from distributed import Client

        _silence()
        directory = str(Path.cwd())
        self._address = address
        self._work = functools.partial(run_unit, directory)
        self._stamp = functools.partial(stamp, directory, plan.hyp)
        self._wanted = (plan.version, plan.sequence)
        self._workers: set[str] = set()
        self._news = threading.Event()  #: a task has come to its end
        self._tasks: dict[str, tuple[Any, Task[Unit]]] = {}  #: worker to its future and task
        try:
            self._client = Client(address, timeout=TIMEOUT, set_as_default=False)
        except OSError:
            raise ClusterError(f"no Dask scheduler answers at {address}; {_GIVE}") from None
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
        future.add_done_callback(lambda _: self._news.set())
        self._tasks[worker] = future, task

    def wait(self) -> list[tuple[Task[Unit], Any]]:
        """Tasks that have come to their end within TICK, with the result (see `tb.runner.Crew`)."""
        self._news.wait(TICK)
        self._news.clear()
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
        except CancelledError:  # nobody but a scheduler that ends does that
            return task, self._gone()
        except SimulatorError as error:
            return task, SimulatorError(f"dask worker {worker}: {error}")
        except Exception as error:
            return task, ClusterError(f"dask worker {worker}: {_line(error)}")

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
            raise self._gone() from None
        new = {worker for worker in workers - self._workers if self._is_right(worker)}
        self._workers = (self._workers & workers) | new

    def _gone(self) -> ClusterError:
        mend = "start it again, then use --resume"
        return ClusterError(f"the Dask scheduler at {self._address} is gone; {mend}")

    def _is_right(self, worker: str) -> bool:
        """Whether a worker is there and has this code. ClusterError if it has another."""
        try:
            found = self._client.run(self._stamp, workers=[worker], on_error="return")[worker]
        except Exception:  # it is gone again
            return False
        if found == self._wanted:
            return True
        if isinstance(found, Exception):
            if "ModuleNotFoundError" in repr(found):
                raise ClusterError(f"dask worker {worker} has not this code: {_MEND}")
            if isinstance(found, FileNotFoundError | PermissionError | SequenceError):
                mend = "with --hyp, workers must see the files that this process sees"
                raise ClusterError(f"dask worker {worker}: {_line(found)}; {mend}")
            if isinstance(found, OSError):
                return False  # it is gone again
            raise ClusterError(f"dask worker {worker}: {_line(found)}")
        if found[0] == self._wanted[0]:
            raise ClusterError(f"dask worker {worker} has another file for --hyp than this process")
        versions = f"({found[0]}, here {self._wanted[0]})"
        raise ClusterError(
            f"dask worker {worker} has another version of the code {versions}: {_MEND}"
        )


def _silence() -> None:
    """Whatever Dask would log is said in one line, or no matter."""
    for name in logging.root.manager.loggerDict:
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _line(error: Exception) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
