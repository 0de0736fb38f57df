"""A run from its plan to its results, with workers that die at will."""

import argparse

import pytest

from tb import cases, coverage, regression
from tb.plan import Plan, UsageError
from tb.work import ERROR, PASSED, Result

NAMES = ("toy.a", "toy.b", "toy.bad")


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for name in NAMES:
        monkeypatch.setitem(cases.CASES, name, cases.Case(name, None, "a toy", True))


class Crew:
    """One worker, that dies of toy.bad so many times."""

    size = 1

    def __init__(self, deaths):
        self.deaths = deaths
        self.given = []
        self.task = None

    def idle(self):
        return self.task is None

    def begin(self, task):
        self.task = task
        self.given.append([job.case for job in task.item.jobs])

    def wait(self):
        task, self.task = self.task, None
        jobs = task.item.jobs
        if self.deaths and any(job.case == "toy.bad" for job in jobs):
            self.deaths -= 1
            return [(task, None)]
        none = coverage.none()
        return [(task, [Result(j.case, "icarus", j.seed, PASSED, 1, 0.0, none) for j in jobs])]


def results(crew):
    plan = Plan(("icarus",), NAMES, tests=3)
    options = argparse.Namespace(first=False, waves="fail", timeout=None)
    found = regression._results(crew, plan, [plan.jobs()], options, lambda: None)
    return {result.name: result.status for result in found}


@pytest.mark.parametrize("deaths", [0, 1, 2])
def test_what_a_dead_worker_had_is_run_again(deaths):
    crew = Crew(deaths)
    assert results(crew) == dict.fromkeys(NAMES, PASSED)
    assert crew.given[0] == list(NAMES)
    assert len(crew.given) == (1 if deaths == 0 else 3 + deaths)


def test_the_job_that_kills_is_found_and_only_that_one_blamed():
    crew = Crew(100)
    assert results(crew) == {"toy.a": PASSED, "toy.b": PASSED, "toy.bad": ERROR}
    assert 100 - crew.deaths == 3
    assert crew.given[1:] == [["toy.a"], ["toy.b"], ["toy.bad"], ["toy.bad"]]


def test_a_shard_without_tests_is_refused():
    options = argparse.Namespace(
        sim="pysim",
        seed=1,
        seeds=1,
        hyp=None,
        elf=None,
        patterns=[],
        shard=(4, 4),
        rerun_failed=False,
    )
    with pytest.raises(UsageError, match="there are 3 tests, so give at most so many shards"):
        regression.plan(NAMES, options, [])
    options.shard = (3, 3)
    assert regression.plan(NAMES, options, []).share == 1
