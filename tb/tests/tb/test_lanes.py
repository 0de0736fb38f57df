"""What lanes say of ports."""

import pytest

from model.arch import EL, ESR_ELx, Event, ExceptionClass, Retire
from tb import lanes
from tb.core.program import NOP, UNDEFINED, word

PC = 0x8000_0000


def bits(number, width=64):
    return f"{number:0{width}b}"


def esr(exception_class):
    return bits(ESR_ELx.EC.put(exception_class))


def unit(listing=None, **ports):
    """The step unit's lanes in a cycle with an event."""
    values = {"event__valid": "1", "event__kind": "EXECUTE", "event__pc": bits(PC), "el": "EL1"}
    values |= {"state": "ACTIVE_NOT_PENDING", "el_after": "EL1"} | ports
    return {name: text(values) for name, text in lanes.unit(listing or {}).items()}


def core(listing=None, **ports):
    """The core's lanes in a row."""
    values = {"kind": "INSTRUCTION", "word": bits(NOP, 32), "pc": bits(PC), "el": "EL1"} | ports
    return {name: text(values) for name, text in lanes.core(listing or {}).items()}


@pytest.fixture
def without_capstone(monkeypatch):
    monkeypatch.setattr(lanes, "_capstone", lambda: None)
    lanes.disassembly.cache_clear()
    yield
    lanes.disassembly.cache_clear()


@pytest.mark.parametrize("el", EL)
def test_an_instruction_is_the_guests_or_the_hypervisors(el):
    for shown in (unit({PC: "nop"}, el=el.name), core({PC: "nop"}, el=el.name)):
        here, there = ("guest", "hypervisor") if el <= EL.EL1 else ("hypervisor", "guest")
        assert (shown[here], shown[there]) == ("nop", "")


def test_the_unit_names_the_event_where_no_instruction_is_known():
    assert unit({PC + 4: "nop"}, event__kind="LOAD_EXCLUSIVE")["guest"] == "load-exclusive"


def test_the_core_disassembles_what_is_not_listed():
    assert core(word=bits(word("B", imm26=2), 32))["guest"].lower().startswith("b")


def test_without_an_event_the_unit_says_its_state_alone():
    outputs = {"step_exception": "1", "esr": esr(ExceptionClass.SOFTSTEP_LOWER), "el_after": "EL2"}
    shown = unit(event__valid="0", state_after="INACTIVE", mdscr_el1=bits(1), **outputs)
    said = {lane: text for lane, text in shown.items() if text}
    assert said == {"state": "active-not-pending", "EL": "EL1", "MDSCR_EL1": "0x1"}
    assert unit(event__valid="0", load__enable="1")["event"] == "load"


def test_the_step_exception_comes_instead_of_the_instruction():
    raised = {"step_exception": "1", "esr": esr(ExceptionClass.SOFTSTEP_LOWER), "el_after": "EL2"}
    shown = unit({PC: "nop"}, **raised)
    assert (shown["guest"], shown["exception"]) == ("", "step exception to EL2")
    assert (shown["EC"], shown["ESR"]) == ("softstep_lower", "0xc8000000")


def test_what_comes_instead_of_the_instruction_is_not_the_instruction():
    assert unit({PC: "nop"}, illegal_state="1")["guest"] == ""
    assert unit({PC: "nop"}, event__kind="INTERRUPT")["guest"] == ""
    assert unit({PC: "nop"}, event__kind="EXCEPTION")["guest"] == "nop"


def test_every_event_that_is_an_exception_is_one():
    raised = {event for event in Event if unit(event__kind=event.name)["exception"]}
    assert raised == {Event.SVC, Event.HVC, Event.SMC, Event.EXCEPTION, Event.INTERRUPT}
    assert unit(event__kind="SVC")["exception"] == "svc to EL1"
    assert unit(illegal_state="1")["exception"] == "illegal state to EL1"


def test_an_exception_of_the_core_has_its_class_and_target():
    raised = {"kind": "SYNCHRONOUS", "sets_esr": "1", "target_el": "EL2"}
    for exception_class in ExceptionClass:
        shown = core(**raised, esr=esr(exception_class))
        is_step = exception_class in (ExceptionClass.SOFTSTEP_LOWER, ExceptionClass.SOFTSTEP_SAME)
        name = exception_class.name.lower()
        assert shown["exception"] == f"{'step exception' if is_step else name} to EL2"
        assert shown["EC"] == name
    assert core(**raised, esr=esr(0x3F))["EC"] == "EC 0x3f"


def test_an_interrupt_of_the_core_has_no_class():
    shown = core(kind=Retire.VIRQ.name, word=bits(0, 32), target_el="EL1")
    assert (shown["exception"], shown["EC"], shown["guest"]) == ("virq to EL1", "", "")
    assert core()["exception"] == ""


def test_what_is_not_known_is_not_said():
    for shown in (lanes.unit({}), lanes.core({})):
        assert {text({}) for name, text in shown.items() if name != "exception"} == {""}
        assert all(
            isinstance(text({"el": "x", "pc": "x", "esr": "x"}), str) for text in shown.values()
        )


def test_without_capstone_an_instruction_is_the_references_row(without_capstone):
    assert lanes.disassembly(NOP, 0).startswith("NOP")
    assert lanes.disassembly(0, 0) == UNDEFINED


def test_capstone_disassembles():
    pytest.importorskip("capstone", reason="not run: capstone is not installed")
    assert lanes.disassembly(word("B", imm26=2), 0x1000) == "b #0x1008"
