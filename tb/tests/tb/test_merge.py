"""Files of shards, as one run."""

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from tb import report, totals
from tb.merge import MergeError, merge
from tb.plan import VERSION, Plan
from tb.report import Report
from tb.testbench import Table
from tb.work import FAILED, PASSED, Result

SHARDS = 3
NAMES = tuple(f"toy.t{at}" for at in range(7))
PLAN = Plan(("pysim",), NAMES, tests=len(NAMES), shards=SHARDS)


def result(at):
    counts = totals.none()
    counts[at : at + 2] = 1 << 40
    status, failure = (FAILED, "bad\n  [worse]") if at == 4 else (PASSED, "")
    tables = [Table("found", ["what", "how"], [["x", str(at)]])] if at == 2 else []
    return Result(NAMES[at], "pysim", 1, status, 100 + at, 0.5, counts, failure, tables=tables)


def write(path, plan, numbers):
    found = Report(plan, not_run=[("icarus", "not there")], seconds=1.0)
    for at in numbers:
        found.add(result(at))
    report.write_json(path, found)
    return path


def shard(at, **change):
    return replace(PLAN, shard=at, **change)


@pytest.fixture
def files(tmp_path):
    return [
        write(tmp_path / f"{at}.json", shard(at), range(at - 1, len(NAMES), SHARDS))
        for at in range(1, SHARDS + 1)
    ]


def without_seconds(path):
    content = json.loads(path.read_text())
    del content["seconds"]
    return content


def test_shards_in_any_order_are_the_whole(files, tmp_path):
    numbers = range(len(NAMES))
    whole = write(tmp_path / "whole.json", replace(PLAN, shards=1), numbers)
    for order in permutations(files):
        merged = merge(order)
        report.write_json(tmp_path / "merged.json", merged)
        assert without_seconds(tmp_path / "merged.json") == without_seconds(whole)
        assert merged.counts.tolist() == sum(result(at).counts for at in numbers).tolist()
        assert merged.seconds == SHARDS
    assert not merged.passed


def test_one_file_of_a_whole_run_is_that_run(tmp_path):
    whole = write(tmp_path / "whole.json", replace(PLAN, shards=1), range(len(NAMES)))
    report.write_json(tmp_path / "again.json", merge([whole]))
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(whole.read_text())


def refused(*paths):
    with pytest.raises(MergeError) as caught:
        merge(paths)
    return str(caught.value)


def test_a_missing_shard_is_named(files):
    text = "shard 1, 3 of 3 is missing; give the files of all shards"
    assert refused(files[1]) == text


def test_a_shard_that_is_there_twice_is_named(files, tmp_path):
    again = tmp_path / "again.json"
    again.write_bytes(files[1].read_bytes())
    text = f"{files[1]} and {again} are both shard 2/3; give each shard once"
    assert refused(*files, again) == text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 2}, "seed 2, not 1"),
        ({"seeds": 9}, "seeds 9, not 1"),
        ({"simulators": ("icarus",)}, "simulators icarus, not pysim"),
        ({"cases": NAMES[:-1]}, "other tests"),
        ({"hyp": "a.S"}, "hyp a.S, not None"),
        ({"shards": 4}, "shards 4, not 3"),
    ],
)
def test_a_file_of_another_run_is_told_with_what_differs(files, change, said):
    write(files[1], shard(2, **change), (1, 4))
    text = f"{files[1]}: not of the same run as {files[0]}: {said}; merge only files of one run"
    assert refused(*files) == text


def test_a_file_of_other_code_is_told(files):
    write(files[2], shard(3, version="old"), (2, 5))
    text = "written by another version of the code"
    mend = "run the shard again with this one"
    assert refused(*files) == f"{files[2]}: {text} (old, here {VERSION}); {mend}"


def test_a_shard_that_was_not_finished_is_told(files):
    write(files[0], shard(1), (0, 3))
    text = "only 2 of its 3 tests were run; finish shard 1/3 with --resume"
    assert refused(*files) == f"{files[0]}: {text}"


def test_a_test_in_two_shards_is_told(files):
    write(files[0], shard(1), (0, 3, 1))
    assert refused(*files).endswith(": a test is in there twice; run the shards again")


def damage(content, *path, value=None):
    *path, last = path
    for step in path:
        content = content[step]
    if value is None:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    "change",
    [
        (("run",), None),
        (("run", "seed"), None),
        (("run", "version"), None),
        (("run", "simulators"), None),
        (("run", "shard"), 0),
        (("run", "shard"), 4),
        (("run",), []),
        (("tests",), 5),
        (("tests", 0, "name"), None),
        (("tests", 0, "status"), "fine"),
        (("tests", 0, "cycles"), "many"),
        (("coverage", "counts"), None),
        (("coverage", "counts"), {"999999": 1}),
        (("coverage", "counts"), {"x": 1}),
        (("seconds",), "long"),
    ],
)
def test_what_is_not_the_result_of_a_run_is_told(files, change):
    path, value = change
    content = json.loads(files[0].read_text())
    damage(content, *path, value=value)
    files[0].write_text(json.dumps(content))
    mend = "give files that python -m tb.run --json wrote, whole"
    assert refused(*files) == f"{files[0]}: not the result of a run, or not all of it; {mend}"


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"verdict": "pass"', "\udcff"])
def test_a_file_of_something_else_is_told(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert refused(path).startswith(f"{path}: not the result of a run, or not all of it; ")


def test_a_truncated_file_is_told(files):
    files[0].write_bytes(files[0].read_bytes()[:-200])
    assert refused(*files).startswith(f"{files[0]}: not the result of a run, or not all of it; ")


def test_a_file_that_is_not_there_is_told(files, tmp_path):
    assert (
        refused(tmp_path / "no") == f"{tmp_path / 'no'}: cannot be read: No such file or directory"
    )


def test_counts_are_exact(files):
    assert int(np.max(merge(files).counts)) == 1 << 41
