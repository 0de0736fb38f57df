"""What the tests gave when they last ran."""

import json

import pytest

from tb import totals
from tb.last import Failed, Last, Outcome
from tb.plan import VERSION, Plan
from tb.work import FAILED, PASSED, Result

PLAN = Plan(("pysim",), ("a", "b"))


def result(name, seed=1, status=PASSED, bins=(), simulator="pysim"):
    counts = totals.none()
    counts[list(bins)] = 5
    return Result(name, simulator, seed, status, 1, 0.0, counts)


def names(*bins):
    return set(map(totals.name, bins))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sim_build" / "last.json"


def written(path, *results, plan=PLAN):
    last = Last(path)
    for each in results:
        last.add(each, plan)
    last.write()
    return Last(path)


def test_results_of_a_test_are_added_up(path):
    last = written(
        path,
        result("a", 1, PASSED, [3, 7]),
        result("a", 2, FAILED, [1]),
        result("a", 1, PASSED, [7], simulator="icarus"),
    )
    assert last.tests == {"a": Outcome(False, names(1, 3, 7), VERSION)}
    assert list(last.failed) == [Failed("pysim", "a", 2)]


def test_a_run_says_nothing_of_the_tests_that_are_not_in_it(path):
    written(path, result("a", 1, PASSED, [3]), result("b", 1, FAILED))
    last = written(path, result("b", 1, PASSED, [4]))
    assert last.tests == {
        "a": Outcome(True, names(3), VERSION),
        "b": Outcome(True, names(4), VERSION),
    }
    assert list(last.failed) == []


def test_a_test_that_passes_hits_what_it_hits_now(path):
    written(path, result("a", 1, PASSED, [3, 4]))
    assert written(path, result("a", 1, PASSED, [4, 5])).tests["a"].bins == names(4, 5)


def test_a_test_that_fails_has_the_bins_that_it_had(path):
    written(path, result("a", 1, PASSED, [3, 4]))
    assert written(path, result("a", 1, FAILED)).tests["a"].bins == names(3, 4)


def test_a_seed_has_failed_until_it_has_passed(path):
    written(path, result("a", 57, FAILED))
    last = written(path, result("a", 1))
    assert last.tests["a"].passed
    assert list(last.failed) == [Failed("pysim", "a", 57)]
    assert not written(path, result("a", 57)).failed


def test_two_runs_at_once_lose_nothing_of_each_other(path):
    long, short = Last(path), Last(path)
    long.add(result("a", 1, FAILED, [3]), PLAN)
    short.add(result("b", 1, FAILED), PLAN)
    short.write()
    long.write()
    last = Last(path)
    assert set(last.failed) == {Failed("pysim", "a", 1), Failed("pysim", "b", 1)}
    assert set(last.tests) == {"a", "b"}


def test_a_file_of_the_users_is_not_another(path):
    def own(file):
        return Plan(("pysim",), ("hyp.user",), hyp=file)

    written(path, result("hyp.user", 1, FAILED), plan=own("bad.S"))
    last = written(path, result("hyp.user"), plan=own("good.S"))
    assert list(last.failed) == [Failed("pysim", "hyp.user", 1, "bad.S")]
    assert not written(path, result("hyp.user"), plan=own("bad.S")).failed


def test_bins_have_the_names_of_their_version(path):
    written(path, result("a", 1, PASSED, [3]), result("b", 1, PASSED, [3, 4]))
    content = json.loads(path.read_text())
    content["bins"] = ["a bin that there was" for _ in content["bins"]]
    path.write_text(json.dumps(content))
    assert Last(path).tests["a"].bins == {"a bin that there was"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"bins": [], "tests": {"a": {}}, "failed": []}',
        '{"bins": [], "tests": {"a": {"passed": true, "bins": [7], "version": "x"}}, "failed": []}',
        '{"bins": [], "tests": {"a": {"passed": true, "bins": 7, "version": "x"}}, "failed": []}',
        '{"bins": [], "tests": {}, "failed": [["a"]]}',
    ],
)
def test_a_file_that_is_something_else_counts_as_none(path, content):
    path.parent.mkdir()
    path.write_text(content)
    assert not Last(path).tests
    last = written(path, result("a", 1, FAILED))
    assert list(last.tests) == ["a"]
    assert list(last.failed) == [Failed("pysim", "a", 1)]
