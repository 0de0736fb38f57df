"""What each test gave when it last ran: to run it again, or first, and for the test plan."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tb import report, totals
from tb.cases import hyp, kvm
from tb.cases.core import elf
from tb.plan import VERSION, Plan
from tb.work import PASSED, Job, Result


class Failed(NamedTuple):
    """A job that did not pass, and has not run since."""

    simulator: str
    case: str
    seed: int
    file: str | None = None  #: the user's own, if the case is that


@dataclass(slots=True)
class Outcome:
    """What became of a test in the last run that it was in, over all seeds and simulators."""

    passed: bool
    bins: set[str]  #: that it hit when it last passed
    version: str  #: of the code


class Last:
    """The file with what the tests last gave, and what they give in this run.

    A file that cannot be read counts as none: it is made anew.
    """

    def __init__(self, path: Path):
        self._path = path
        self.tests: dict[str, Outcome] = {}
        self.failed: dict[Failed, None] = {}  # in the order in which they failed
        self._read()
        self._new: dict[str, Outcome] = {}  #: results of this run
        self._ran: dict[Failed, bool] = {}  #: jobs of this run, and whether they passed

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
            content = json.loads(self._path.read_text())
            names = content["bins"]
            tests = {
                name: Outcome(**{**each, "bins": {names[at] for at in each["bins"]}})
                for name, each in content["tests"].items()
            }
            self.failed = {Failed(*job): None for job in content["failed"]}
            self.tests = tests

    def add(self, result: Result, plan: Plan) -> None:
        """One more result of this run."""
        job = as_kept(result.simulator, Job(result.name, result.seed), plan)
        outcome = self._new.setdefault(result.name, Outcome(True, set(), VERSION))
        passed = result.status == PASSED
        outcome.passed &= passed
        outcome.bins |= {_name(at) for at in np.flatnonzero(result.counts).tolist()}
        self._ran[job] = passed

    def write(self) -> None:
        """Keep what this run gave, beside what others give at the same time. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self._path.parent):
            self._read()
            self._merge()
            report.write(self._path, json.dumps(self._content()) + "\n")

    def _content(self) -> dict[str, Any]:
        """Bins are numbers in a list of the file's own: another version has others."""
        names = sorted({name for outcome in self.tests.values() for name in outcome.bins})
        number = {name: at for at, name in enumerate(names)}
        tests = {
            name: {**asdict(outcome), "bins": sorted(number[each] for each in outcome.bins)}
            for name, outcome in self.tests.items()
        }
        return {"bins": names, "tests": tests, "failed": list(self.failed)}

    def _merge(self) -> None:
        for name, outcome in self._new.items():
            before = self.tests.get(name)
            if not outcome.passed and before:
                outcome.bins |= before.bins  # what it covers is known of a test that passes only
            self.tests[name] = outcome
        for job, passed in self._ran.items():
            self.failed.pop(job, None)
            if not passed:
                self.failed[job] = None


def as_kept(simulator: str, job: Job, plan: Plan) -> Failed:
    """A job of a plan, as it is kept if it fails."""
    files = {hyp.USER: plan.hyp, kvm.USER: plan.hyp, elf.USER: plan.elf}
    return Failed(simulator, job.case, job.seed, files.get(job.case))


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One process at a time."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@cache
def _name(at: int) -> str:
    return totals.name(at)
