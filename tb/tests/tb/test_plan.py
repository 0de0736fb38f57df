"""What a run is to do."""

import json
from itertools import chain
from pathlib import Path

import pytest

from hw.step import StepUnit
from tb import cases, plan
from tb.harness import Design
from tb.plan import Plan, difference, from_record, units
from tb.work import Job

SIMULATORS = ("pysim", "icarus")


async def body(bench):
    pass


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for name, random in (("toy.long", True), ("toy.a", False), ("toy.b", False)):
        monkeypatch.setitem(cases.CASES, name, cases.Case(name, body, "a toy", random))


def make(**more):
    return Plan(SIMULATORS, ("toy.long", "toy.a", "toy.b"), 7, 3, **more)


def test_random_tests_run_with_every_seed_and_come_last():
    jobs = [Job("toy.a", 7), Job("toy.b", 7), *(Job("toy.long", seed) for seed in (7, 8, 9))]
    assert make().jobs() == [(simulator, job) for simulator in SIMULATORS for job in jobs]


@pytest.mark.parametrize("shards", [1, 2, 3, 10])
def test_every_job_is_in_one_shard_and_shards_are_even(shards):
    whole = make().jobs()
    parts = [make(tests=len(whole), shard=at + 1, shards=shards) for at in range(shards)]
    assert sorted(chain(*(part.jobs() for part in parts)), key=whole.index) == whole
    assert [part.share for part in parts] == [len(part.jobs()) for part in parts]
    assert max(part.share for part in parts) - min(part.share for part in parts) <= 1


def test_a_plan_comes_back_from_its_record():
    asked = make(hyp="my.S", sequence="12", whole=True, tests=10, shard=2, shards=3)
    assert from_record(json.loads(json.dumps(asked.record()))) == asked


def test_a_plan_may_have_single_jobs_only():
    only = (("icarus", "toy.long", 57), ("pysim", "toy.a", 1))
    asked = make(only=only)
    assert asked.jobs() == [("icarus", Job("toy.long", 57)), ("pysim", Job("toy.a", 1))]
    assert make(only=only, shard=2, shards=2).jobs() == [("pysim", Job("toy.a", 1))]
    assert from_record(json.loads(json.dumps(asked.record()))) == asked


@pytest.mark.parametrize("content", [{}, {"simulators": []}, [], "x", None])
def test_something_else_is_no_record(content):
    with pytest.raises((TypeError, LookupError)):
        from_record(content)


def test_equal_plans_differ_in_nothing():
    assert difference(make().record(), make().record()) is None
    assert difference(make().record(), make(shard=2).record(), but=("shard",)) is None


@pytest.mark.parametrize("workers", [1, 2, 64])
@pytest.mark.parametrize("waves", [None, Path("waves")])
def test_units_have_every_job_once_and_are_small(workers, waves):
    asked = Plan(SIMULATORS, ("toy.long",), seeds=100)
    made = list(units(asked, asked.jobs(), workers, True, waves))
    dealt = [(unit.simulator, job) for unit in made for job in unit.jobs]
    assert sorted(dealt, key=asked.jobs().index) == asked.jobs()
    most = {"pysim": 2, "icarus": 10} if waves is None else {"pysim": 1, "icarus": 1}
    assert all(len(unit.jobs) <= most[unit.simulator] for unit in made)
    assert all(unit.first and unit.waves == waves for unit in made)


def test_a_test_that_is_to_be_alone_has_a_unit_of_its_own():
    asked = Plan(("icarus",), ("toy.a", "toy.b"))
    made = units(asked, asked.jobs(), 1, False, None, alone=True)
    assert [len(unit.jobs) for unit in made] == [1, 1]


def test_short_tests_share_a_unit():
    asked = Plan(("icarus",), ("toy.a", "toy.b"))
    (unit,) = units(asked, asked.jobs(), 1, False, None)
    assert len(unit.jobs) == 2


def test_few_tests_go_to_all_workers():
    asked = Plan(("icarus",), ("toy.long",), seeds=4)
    assert len(list(units(asked, asked.jobs(), 4, False, None))) == 4


def test_the_jobs_of_a_unit_are_for_one_design(monkeypatch):
    other = Design("other", StepUnit, trace="trace")
    monkeypatch.setitem(
        cases.CASES, "toy.o", cases.Case("toy.o", body, "a toy", False, design=other)
    )
    asked = Plan(("icarus",), ("toy.a", "toy.o", "toy.b"))
    made = list(units(asked, asked.jobs(), 1, False, None))
    found = [(unit.design, [job.case for job in unit.jobs]) for unit in made]
    assert found == [("unit", ["toy.a", "toy.b"]), ("other", ["toy.o"])]


def test_designs_take_turns(monkeypatch):
    other = Design("other", StepUnit, trace="trace")
    case = cases.Case("toy.o", body, "a toy", True, design=other)
    monkeypatch.setitem(cases.CASES, "toy.o", case)
    asked = Plan(("pysim",), ("toy.long", "toy.o"), seeds=12)
    made = list(units(asked, asked.jobs(), 1, False, None))
    assert [unit.design for unit in made[:4]] == ["unit", "other", "unit", "other"]
    assert sorted(str(job) for unit in made for job in unit.jobs) == sorted(
        str(job) for _, job in asked.jobs()
    )


def test_the_version_is_that_of_the_sources(tmp_path, monkeypatch):
    for name in ("hw/a.py", "model/manual/b.csv", "tb/tests/c.py", "tb/d.pyc", "tb/.e.swp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(plan, "ROOT", tmp_path)
    before = plan._version()
    for name in ("tb/tests/c.py", "tb/d.pyc", "tb/.e.swp"):
        (tmp_path / name).write_text("2")
    assert plan._version() == before
    (tmp_path / "hw/a.py").write_text("2")
    assert plan._version() != before
    before = plan._version()
    (tmp_path / "model/manual/b.csv").rename(tmp_path / "model/manual/e.csv")
    assert plan._version() != before


def test_the_digest_of_a_sequence_is_of_what_it_is(tmp_path):
    file = tmp_path / "mine.words"
    digests = []
    for text in ("0xd503201f  // nop\n", "0xd503201f  // nop\n", "0xd503201f  // none\n"):
        file.write_text(text)
        digests.append(plan.sequence_digest(str(file)))
    assert digests[0] == digests[1] != digests[2]
    assert plan.sequence_digest(None) is None
