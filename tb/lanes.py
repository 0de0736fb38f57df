"""Lanes of a waveform: what its ports mean, as text, in each row.

Values are ports by name, as a VCD has them: bits, and enumerations by the names of their members.
The lanes are written into the VCD (`tb.dump.annotate`), where every viewer and the page find them.
"""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from typing import Any

from model.arch import ESR_ELx, ExceptionClass
from tb.core import program

Values = Mapping[str, str]  #: port to its value
Text = Callable[[Values], str]  #: what a lane says: "" for nothing
Listing = Mapping[int, str]  #: address to the instruction there

#: events that are exceptions themselves
_CALLS = frozenset({"SVC", "HVC", "SMC", "EXCEPTION", "INTERRUPT"})

_GUEST = ("EL0", "EL1")
_HYPERVISOR = ("EL2", "EL3")  #: and the firmware


def number(values: Values, port: str) -> int | None:
    """A port's value; None if it is unknown, or not there."""
    try:
        return int(values.get(port, ""), 2)
    except ValueError:
        return None


def unit(listing: Listing) -> dict[str, Text]:
    """The step unit's: each cycle is a row. It knows no instructions, the listing may."""

    def instruction(values: Values) -> str:
        instead = any(values.get(port) == "1" for port in ("step_exception", "illegal_state"))
        if instead or values.get("event__kind") == "INTERRUPT":
            return ""
        return listing.get(number(values, "event__pc") or 0) or _unit_event(values)

    # What the unit would do without an event is no matter.
    happens = partial(_when, "event__valid")
    return {
        "guest": happens(_at(_GUEST, instruction)),
        "hypervisor": happens(_at(_HYPERVISOR, instruction)),
        "state": _name("state"),
        "EL": _name("el"),
        "event": _unit_event,
        "exception": happens(_unit_exception),
        "PC": happens(_hex("event__pc")),
        "EC": happens(_when("step_exception", _exception_class)),
        "ESR": happens(_when("step_exception", _hex("esr"))),
        "MDSCR_EL1": _hex("mdscr_el1"),
        "state_after": happens(_name("state_after")),
        "EL_after": happens(_name("el_after")),
    }


def core(listing: Listing) -> dict[str, Text]:
    """The core's: a row is an instruction that completes, or an exception that is taken."""

    def instruction(values: Values) -> str:
        word, pc = number(values, "word"), number(values, "pc") or 0
        return (listing.get(pc) or disassembly(word, pc)) if word else ""

    return {
        "guest": _at(_GUEST, instruction),
        "hypervisor": _at(_HYPERVISOR, instruction),
        "state": _name("state"),
        "EL": _name("el"),
        "event": _name("event"),
        "exception": _core_exception,
        "PC": _hex("pc"),
        "EC": _when("sets_esr", _exception_class),
        "ESR": _when("sets_esr", _hex("esr")),
        "state_after": _name("state_after"),
        "EL_after": _name("el_after"),
    }


def _hex(port: str) -> Text:
    def text(values: Values) -> str:
        value = number(values, port)
        return "" if value is None else f"{value:#x}"

    return text


def _name(port: str) -> Text:
    """Of a member of an enumeration, as Arm and the report write it."""
    return lambda values: _written(values.get(port, ""))


def _written(name: str) -> str:
    return name if name.startswith("EL") else name.lower().replace("_", "-")


def _when(port: str, text: Text) -> Text:
    return lambda values: text(values) if values.get(port) == "1" else ""


def _at(levels: tuple[str, ...], text: Text) -> Text:
    return lambda values: text(values) if values.get("el") in levels else ""


def _unit_event(values: Values) -> str:
    if values.get("event__valid") != "1":
        return "load" if values.get("load__enable") == "1" else ""
    return _name("event__kind")(values)


def _unit_exception(values: Values) -> str:
    what = ""
    if values.get("step_exception") == "1":
        what = "step exception"
    elif values.get("illegal_state") == "1":
        what = "illegal state"
    elif values.get("event__kind") in _CALLS:
        what = _unit_event(values)
    return f"{what} to {values.get('el_after', '?')}" if what else ""


def _core_exception(values: Values) -> str:
    kind = values.get("kind", "")
    if kind == "INSTRUCTION":
        return ""
    what = _exception_class(values) if values.get("sets_esr") == "1" else _written(kind)
    if what.startswith("softstep"):
        what = "step exception"
    return f"{what} to {values.get('target_el', '?')}"


def _exception_class(values: Values) -> str:
    esr = number(values, "esr")
    if esr is None:
        return "?"
    value = ESR_ELx.EC.get(esr)
    try:
        return ExceptionClass(value).name.lower()
    except ValueError:
        return f"EC {value:#x}"


@cache
def _capstone() -> Any:
    try:
        import capstone
    except ImportError:
        return None
    return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)


@lru_cache(maxsize=10_000)
def disassembly(word: int, address: int) -> str:
    """A word as an assembler has it, or, if Capstone does not know it, as the reference's row."""
    if machine := _capstone():
        found = next(machine.disasm_lite(word.to_bytes(4, "little"), address), None)
        if found:
            return f"{found[2]} {found[3]}".strip()
    return program.text(word, address)
