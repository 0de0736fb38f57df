"""The cases of guest debugging: they pass, and a host with a defect fails them."""

import shutil
from pathlib import Path

import pytest

import model.hyp
from model.hyp import SequenceError
from tb import cases
from tb.cases import hyp, kvm
from tb.kvm import scenarios
from tb.kvm.catalogue import EmulatedRunsOn, _variant
from tb.kvm.hosts import HOSTS
from tb.work import FAILED, PASSED, Job, Unit, adapter, load_cases, run_unit

V1 = Path(model.hyp.__file__).parent / "v1.words"


@pytest.fixture(autouse=True)
def loaded():
    if why := adapter("compiled").missing():
        pytest.skip(f"not run: {why}")
    load_cases(None)
    yield
    for user in (hyp.USER, kvm.USER):
        cases.CASES.pop(user, None)


def run(name, simulator="compiled", file=None):
    (result,) = run_unit(Unit(simulator, (Job(name, 1),), file, design="core"))
    return result


@pytest.mark.parametrize("name", ["plain", "calls", "two_vcpus", "ten_thousand_steps", "random"])
def test_it_passes_on_the_core(name):
    result = run(f"kvm.{name}")
    assert (result.status, result.failure) == (PASSED, "")
    assert result.cycles > 5000


def test_the_first_steps_pass_on_amaranths_simulator():
    result = run("kvm.first_steps", "pysim")
    assert (result.status, result.failure) == (PASSED, "")


def test_a_host_that_breaks_more_than_is_known_fails_its_scenario(monkeypatch):
    monkeypatch.setitem(HOSTS, "upstream", _variant(EmulatedRunsOn, advance_first=False))
    result = run("kvm.trapped")
    first, *rest = result.failure.splitlines()
    assert (result.status, first) == (FAILED, "upstream breaks P1, P6 in trapped")
    assert any("instructions in one KVM_RUN, not 1 (loop)" in line for line in rest)


def test_the_users_sequence_goes_through_all_scenarios(tmp_path, monkeypatch):
    few = tuple(scenarios.BY_NAME[name] for name in ("plain", "trapped", "own_on_and_off"))
    monkeypatch.setattr(kvm, "SCENARIOS", few)
    file = tmp_path / "mine.words"
    shutil.copy(V1, file)
    result = run(kvm.USER, file=str(file))
    # Debugged without steps, v1 takes away the bits of a guest that steps itself, for good.
    assert result.failure.splitlines()[0].endswith(
        "breaks P4 in a host that breaks nothing by itself"
    )
    (table,) = result.tables
    found = {row[0]: row[2:] for row in table.rows}
    assert found["P1"] == ["breaks, in trapped", "keeps"]
    assert found["P3"] == ["breaks, in plain", "keeps"]
    assert found["P4"][1] == "breaks, in own_on_and_off"
    assert found["P2"] == ["keeps", "keeps"]


def test_a_sequence_that_does_not_fit_is_one_line(tmp_path):
    file = tmp_path / "long.words"
    file.write_text("0xd503201f\n" * 300)
    with pytest.raises(SequenceError, match="300 words: no more than 255 fit"):
        kvm.register_user(str(file))
