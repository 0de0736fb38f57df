"""Scenarios: their guests end by themselves, and places in them have names."""

import pytest

from model.kvm.session import Session
from tb.kvm import play
from tb.kvm.hosts import HOSTS, upstream
from tb.kvm.play import on_reference
from tb.kvm.quick import QuickEngine
from tb.kvm.scenarios import BY_NAME, MOST_EVENTS, SCENARIOS
from tb.sims import run_now


async def undebugged(guest):
    session = Session(QuickEngine(), upstream(), guest)
    await session.start()
    await session.free_run(MOST_EVENTS)
    return session


@pytest.mark.parametrize("name", BY_NAME)
def test_its_guest_ends_without_debugging(name):
    session = run_now(undebugged(BY_NAME[name].guest))
    assert session.over
    assert 5 < len(session.events) < MOST_EVENTS


@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])
def test_upstream_breaks_nothing_and_goes_the_guests_own_way(name):
    scenario = BY_NAME[name]
    session = run_now(on_reference(scenario, upstream))
    assert session.watch.broken == []
    assert session.over
    if name not in ("breakpoints", "own_breakpoints"):
        assert play.pcs(session) == play.pcs(run_now(undebugged(scenario.guest)))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", ["plain", "trapped", "mmio", "calls", "interrupts"])
def test_the_quick_engine_gives_the_same_verdict(host, name):
    whole = run_now(on_reference(BY_NAME[name], HOSTS[host]))
    quick = run_now(on_reference(BY_NAME[name], HOSTS[host], quick=True))
    assert play.verdict(quick) == play.verdict(whole)
    assert play.pcs(quick) == play.pcs(whole)


def test_an_instruction_has_the_name_of_the_label_before_it():
    scenario = BY_NAME["mmio"]
    load = scenario.guest.image.symbols["load"]
    entry = scenario.guest.image.entry
    assert scenario.symbol(load) == "load"
    assert scenario.symbol(scenario.guest.image.symbols["store"] + 4) == "store + 1"
    assert scenario.symbol(entry) == "start"
    assert scenario.symbol(entry + 4) == "start + 1"
