"""What the tests gave when they last ran."""

import pytest

from tb import totals
from tb.last import Last, Outcome
from tb.plan import VERSION
from tb.work import FAILED, PASSED, Job, Result


def result(name, seed=1, status=PASSED, bins=(), simulator="pysim"):
    counts = totals.none()
    counts[list(bins)] = 5
    return Result(name, simulator, seed, status, 1, 0.0, counts)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sim_build" / "last.json"


def written(path, *results):
    last = Last(path)
    for each in results:
        last.add(each)
    last.write()
    return Last(path)


def test_results_of_a_test_are_added_up(path):
    last = written(
        path,
        result("a", 1, PASSED, [3, 7]),
        result("a", 2, FAILED, [1]),
        result("a", 1, PASSED, [7], simulator="icarus"),
    )
    assert last.tests == {"a": Outcome(2, 1, [1, 3, 7], VERSION)}
    assert list(last.failed) == [("pysim", Job("a", 2))]


def test_a_run_says_nothing_of_the_tests_that_are_not_in_it(path):
    written(path, result("a", 1, FAILED, [3]), result("b", 1, FAILED))
    last = written(path, result("b", 1, PASSED, [4]))
    assert last.tests == {"a": Outcome(0, 1, [3], VERSION), "b": Outcome(1, 0, [4], VERSION)}
    assert list(last.failed) == [("pysim", Job("a", 1))]


def test_a_seed_has_failed_until_it_has_passed(path):
    written(path, result("a", 57, FAILED))
    last = written(path, result("a", 1))
    assert last.tests["a"].failed == 0
    assert list(last.failed) == [("pysim", Job("a", 57))]
    assert not written(path, result("a", 57)).failed


def test_what_failed_comes_first_and_the_rest_stays_in_order(path):
    last = written(path, result("c", 1, FAILED), result("b", 2, FAILED))
    jobs = [("pysim", Job(name, seed)) for name in "abc" for seed in (1, 2)]
    failed = [("pysim", Job("b", 2)), ("pysim", Job("c", 1))]
    assert last.first(jobs) == [*failed, *(job for job in jobs if job not in failed)]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"tests": {"a": {}}, "failed": []}'])
def test_a_file_that_is_something_else_counts_as_none(path, content):
    path.parent.mkdir()
    path.write_text(content)
    last = written(path, result("a", 1, FAILED))
    assert list(last.tests) == ["a"]
    assert list(last.failed) == [("pysim", Job("a", 1))]
