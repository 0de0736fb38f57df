"""The catalogue is whole, and each of its entries is what it says."""

import pytest

from model.kvm.properties import Property
from tb.kvm import play
from tb.kvm.catalogue import CATALOGUE
from tb.kvm.play import on_reference
from tb.sims import run_now

#: What each defect is known to break (the project's list of them): one of these at the least.
KNOWN = {
    **dict.fromkeys(("K1", "K2", "K5", "K6"), "P1 P6"),
    **dict.fromkeys(("K3", "K9", "K11", "M7"), "P1"),
    **dict.fromkeys(("K4", "K7"), "P6"),
    **dict.fromkeys(("M4", "M5"), "P1 P2"),
    **dict.fromkeys(("K10", "M6"), "P3"),
    "K8": "P3 P4",
    "M1": "P2",
    "M2": "P1 P4",
    "M3": "P7",
}


def test_every_known_defect_is_there_and_v1_itself():
    names = {defect.name for defect in CATALOGUE}
    assert len(names) == len(CATALOGUE)
    assert names >= KNOWN.keys() | {"v1"}
    for defect in CATALOGUE:
        known = KNOWN.get(defect.name.rstrip("b"))
        assert known is None or defect.property.name in known.split() or defect.name == "K5b"


@pytest.mark.parametrize("defect", CATALOGUE, ids=lambda defect: defect.name)
def test_it_is_caught_where_it_should_be_and_its_twin_is_not_accused(defect):
    faulty = run_now(on_reference(defect.scenario, defect.faulty, quick=True))
    caught = [each for each in faulty.watch.broken if each.property is defect.property]
    assert defect.scenario.symbol(caught[0].pc) == defect.at
    assert play.broken(faulty) == defect.breaks
    twin = run_now(on_reference(defect.twin_scenario, defect.twin, quick=True))
    assert twin.watch.broken == []
    assert len(defect.text) > 60
    assert defect.text.endswith((".", ")"))


def test_the_twin_plays_the_same_scenario_but_for_the_limit():
    others = [each.name for each in CATALOGUE if each.scenario is not each.twin_scenario]
    assert others == ["K11"]


def test_the_sentence_names_property_run_instruction_and_cycle():
    (defect,) = [each for each in CATALOGUE if each.name == "M2"]
    session = run_now(on_reference(defect.scenario, defect.faulty))
    assert play.lines(defect.scenario, session.watch.broken) == [
        "P1: KVM_RUN 0, instruction at 0x40100000, cycle "
        f"{session.watch.broken[0].cycle:,}: {len(session.events)} instructions in one KVM_RUN, "
        "not 1 (start)"
    ]
    assert session.watch.broken[0].property is Property.P1
