"""The journal of a run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tb
from tb import totals
from tb.journal import Journal, JournalError
from tb.plan import Plan
from tb.testbench import Table
from tb.work import FAILED, PASSED, Result

TREE = Path(tb.__file__).parent.parent
HEADER = Plan(("pysim",), ("toy.one", "toy.two"), seed=1, tests=2).record()


def result(name="toy.one", **more):
    counts = totals.none()
    counts[[3, 70]] = 5, 1 << 40
    return Result(name, "pysim", 1, PASSED, 12, 0.25, counts, **more)


def journal(directory, *results, header=HEADER):
    """A journal that was left with some results in it; its file."""
    left = Journal(directory, header, resume=False)
    for each in results:
        left.add(each)
    left.close(finished=False)
    (path,) = directory.glob("*.jsonl")
    return path


def resumed(directory, header=HEADER):
    again = Journal(directory, header, resume=True)
    again.close(finished=False)
    return again.done


def test_results_come_back_as_they_were(tmp_path):
    waves = Path("sim_build/waves/a.gtkw")
    tables = [Table("title", ["a", "b"], [["1", "2"], ["3", "4"]])]
    bad = result("toy.two", failure="a\n  b [c]", mismatch=3, waves=waves, killed=True)
    bad.tables = tables
    bad.status = FAILED
    journal(tmp_path, result(), bad)
    for before, after in zip((result(), bad), resumed(tmp_path), strict=True):
        assert np.array_equal(before.counts, after.counts)
        before.counts = after.counts = None
        assert before == after


def test_a_result_that_hit_nothing_comes_back(tmp_path):
    empty = result()
    empty.counts = totals.none()
    journal(tmp_path, empty)
    assert resumed(tmp_path)[0].counts.sum() == 0


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_torn_last_line_is_left_out_and_the_next_is_whole(tmp_path, cut):
    path = journal(tmp_path, result(), result("toy.two"))
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal(tmp_path, HEADER, resume=True)
    assert [each.name for each in again.done] == ["toy.one"]
    again.add(result("toy.three"))
    again.close(finished=False)
    assert [each.name for each in resumed(tmp_path)] == ["toy.one", "toy.three"]


def test_a_torn_first_line_is_a_run_that_did_nothing(tmp_path):
    path = journal(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    assert resumed(tmp_path) == []
    again = Journal(tmp_path, HEADER, resume=True)
    again.add(result())
    again.close(finished=False)
    assert len(resumed(tmp_path)) == 1


def test_without_resume_a_run_starts_afresh(tmp_path):
    journal(tmp_path, result())
    journal(tmp_path, result("toy.two"))
    assert [each.name for each in resumed(tmp_path)] == ["toy.two"]


def test_of_a_finished_run_nothing_stays(tmp_path):
    done = Journal(tmp_path, HEADER, resume=False)
    done.add(result())
    done.close(finished=True)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_resume_is_told(tmp_path):
    with pytest.raises(JournalError) as caught:
        Journal(tmp_path / "none", HEADER, resume=True)
    assert str(caught.value) == "nothing to resume: no run was stopped here; leave out --resume"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 5}, "seed 1, not 5"),
        ({"seeds": 7}, "seeds 1, not 7"),
        ({"simulators": ["pysim", "icarus"]}, "simulators pysim, not pysim, icarus"),
        ({"cases": ["toy.one"], "tests": 1}, "other tests"),
        ({"hyp": "my.S", "sequence": "abc"}, "hyp None, not my.S"),
        ({"version": "new"}, f"another version of the code ({HEADER['version']}, not new)"),
    ],
)
def test_another_run_is_told_with_what_differs(tmp_path, change, said):
    journal(tmp_path, result())
    with pytest.raises(JournalError) as caught:
        Journal(tmp_path, {**HEADER, **change}, resume=True)
    mend = "ask for the same, or leave out --resume"
    text = f"nothing to resume: the run that was stopped here had {said}; {mend}"
    assert str(caught.value) == text


def test_a_file_of_something_else_is_no_run(tmp_path):
    (tmp_path / "junk.jsonl").write_bytes(b"\xff[1")
    with pytest.raises(JournalError, match="the run that was stopped here had another plan"):
        Journal(tmp_path, HEADER, resume=True)


def test_two_processes_do_not_write_one_journal(tmp_path):
    text = (
        "import sys, json; from pathlib import Path; from tb.journal import Journal, JournalError\n"
        "try: Journal(Path(sys.argv[1]), json.loads(sys.argv[2]), False)\n"
        "except JournalError as error: print(error)"
    )
    ours = Journal(tmp_path, HEADER, resume=False)
    ours.add(result())
    words = [sys.executable, "-c", text, str(tmp_path), json.dumps(HEADER)]
    said = subprocess.run(words, cwd=TREE, capture_output=True, text=True, check=True).stdout
    assert said.endswith(": another process does this very run; wait for it, or end it\n")
    ours.close(finished=False)
    assert len(resumed(tmp_path)) == 1


def test_a_full_disk_is_told_with_the_file(tmp_path):
    full = Journal(tmp_path, HEADER, resume=False)
    (path,) = tmp_path.iterdir()
    full._file.close()
    full._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115 - the journal closes it
    with pytest.raises(OSError, match="No space left on device") as caught:
        full.add(result())
    assert caught.value.filename == str(path)
    full.close(finished=False)
