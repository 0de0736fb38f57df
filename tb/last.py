"""What each test gave when it last ran: to run it again, or first, and for the test plan."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tb import report
from tb.plan import VERSION
from tb.work import PASSED, Job, Result


@dataclass(slots=True)
class Outcome:
    """What became of a test in the last run that it was in, over all seeds and simulators."""

    passed: int
    failed: int
    bins: list[int]  #: of `tb.totals`, that it hit
    version: str  #: of the code


class Last:
    """The file with what the tests last gave. One that cannot be read counts as none: it is made
    anew, and nothing depends on it but what is run first.
    """

    def __init__(self, path: Path):
        self._path = path
        self._new: set[str] = set()  #: tests that this run has results of
        self.tests: dict[str, Outcome] = {}
        self.failed: dict[tuple[str, Job], None] = {}  #: that did not pass, and have not run since
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
            content = json.loads(path.read_text())
            tests = {name: Outcome(**tested) for name, tested in content["tests"].items()}
            self.failed = {(simulator, Job(*job)): None for simulator, *job in content["failed"]}
            self.tests = tests

    def add(self, result: Result) -> None:
        """One more result of this run."""
        if result.name not in self._new:
            self._new.add(result.name)
            self.tests[result.name] = Outcome(0, 0, [], VERSION)
        tested = self.tests[result.name]
        tested.bins = sorted({*tested.bins, *np.flatnonzero(result.counts).tolist()})
        job = result.simulator, Job(result.name, result.seed)
        self.failed.pop(job, None)
        if result.status == PASSED:
            tested.passed += 1
        else:
            tested.failed += 1
            self.failed[job] = None

    def first(self, jobs: Sequence[tuple[str, Job]]) -> list[tuple[str, Job]]:
        """The jobs, those first that failed."""
        return sorted(jobs, key=lambda job: job not in self.failed)

    def write(self) -> None:
        """Keep it for the next run. Raises OSError."""
        content = {
            "tests": {name: asdict(tested) for name, tested in self.tests.items()},
            "failed": [[simulator, job.case, job.seed] for simulator, job in self.failed],
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        report.write(self._path, json.dumps(content) + "\n")
