"""A register dump as NAME=VALUE words: what `python -m model.explain` takes.

Names are the columns of the vector file and the registers of `REGISTERS`, in any case and order.
The words become one line of the vector file, under the same rules (`columns.problems`).
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from model.arch import OSDLR_EL1, Event, SPSR_ELx
from model.columns import BY_NAME, Column, Kind, parse_cell, problems, to_lines
from model.rules import ELFromSPSR, u64

#: The registers of a dump that are no column of the vector file.
REGISTERS = {
    "spsr_el1": "the SPSR of an eret at EL1",
    "spsr_el2": "the SPSR of an eret at EL2",
    "spsr_el3": "the SPSR of an eret at EL3",
    "dspsr_el0": "the SPSR of a debug_exit",
    "osdlr_el1": "its DLK gives double_lock (CORENPDRQ taken as 0)",
    "pstate": "in the layout of an SPSR: gives el, d, ss, il and the width",
    "esr_el1": "only decoded",
    "esr_el2": "only decoded",
}
SPSRS = ("spsr_el1", "spsr_el2", "spsr_el3", "dspsr_el0")
_ESRS = ("esr_el1", "esr_el2")
_REGISTER = Column("", Kind.REGISTER, 0, "")  # how the value of one of REGISTERS is written


class DumpError(Exception):
    """Words that cannot be used: the text says which one, why, and what would be right."""


@dataclass(frozen=True, slots=True)
class Dump:
    """What the words say."""

    values: dict[str, int]  #: vector file columns; those left out have their defaults
    esrs: dict[str, int]  #: ESRs to decode, by register name
    notes: list[str]  #: what was ignored or assumed


def read_words(words: Iterable[str]) -> Dump:
    """The dump that the words give. `event` is `execute` unless given. DumpError if ill-formed."""
    values: dict[str, int] = {}
    source: dict[str, str] = {}
    for word in words:
        for name, value in _claims(word).items():
            if values.setdefault(name, value) != value:
                both = f"{name} = {values[name]:#x} and {value:#x}"
                raise DumpError(f"{source[name]} and {word} disagree ({both}); keep one of them")
            source.setdefault(name, word)
    values.setdefault("event", Event.EXECUTE)
    notes = _choose_spsr(values)
    columns = {name: value for name, value in values.items() if name in BY_NAME}
    for wrong, column, text in problems(to_lines(columns)):
        if wrong:
            raise DumpError(f"{source.get(column, column)}: {text}")
    esrs = {name.upper(): values[name] for name in _ESRS if name in values}
    return Dump(columns, esrs, notes + _without_effect(columns))


def _claims(word: str) -> dict[str, int]:
    """Name (in lower case) to value: the one that the word gives, and the columns it implies."""
    name, value = _split(word)
    if name == "osdlr_el1":
        return {name: value, "double_lock": int(OSDLR_EL1.DLK.get(value))}
    if name == "pstate":
        return {name: value, **_from_pstate(value)}
    return {name: value}


def _split(word: str) -> tuple[str, int]:
    """The word's name in lower case, and its value."""
    given, _, text = word.partition("=")
    name = given.lower()
    # A script that prints every number in hexadecimal may print flags and ELs so too.
    text = re.sub(r"^0x0*(?=[0-9]$)", "", text.lower())
    if not given or not text:
        raise DumpError(f"{word[:60]!r} is not NAME=VALUE, such as MDSCR_EL1=0x1")
    known = [*BY_NAME, *REGISTERS]
    if name not in known:
        close = [match.upper() for match in difflib.get_close_matches(name, known)]
        mend = f"did you mean {' or '.join(close)}?" if close else "-h lists the names"
        raise DumpError(f"{given[:60]!r} is not a name known here; {mend}")
    try:
        return name, parse_cell(BY_NAME.get(name, _REGISTER), text)
    except ValueError as error:
        raise DumpError(f"{given}: {error}") from None


def _from_pstate(value: int) -> dict[str, int]:
    """The columns that PSTATE implies."""
    nrw = int(SPSR_ELx.nRW.get(value))
    # Every EL in the width of PSTATE, so that only M itself can be wrong.
    widths = {"el1_aarch32": nrw, "el2_aarch32": nrw}
    valid, in_m = ELFromSPSR(to_lines(widths).pe.controls(), u64(value))
    if not valid:
        raise DumpError(f"PSTATE={value:#x}: M<4:0> = {value & 0x1F:#07b} names no EL")
    el = int(in_m)
    columns = {"el": el, "ss": int(SPSR_ELx.SS.get(value)), "il": int(SPSR_ELx.IL.get(value))}
    # EL0 has the width of EL1. EL2 in AArch32 means EL1 in AArch32; in AArch64, either.
    if el <= 1 or nrw:
        columns["el1_aarch32"] = nrw
    if el == 2:
        columns["el2_aarch32"] = nrw
    # AArch32 state has no PSTATE.D: the bit there is E.
    if not nrw:
        columns["d"] = int(SPSR_ELx.D.get(value))
    return columns


def spsr_used(event: int, el: int) -> str:
    """The name of the SPSR that the event returns with, or "" if it does not return."""
    if event == Event.DEBUG_EXIT:
        return "DSPSR_EL0"
    return f"SPSR_EL{el}" if event == Event.ERET else ""


def _choose_spsr(values: dict[str, int]) -> list[str]:
    """Make the SPSR that the event returns with the column `spsr`; return remarks for the user."""
    el, event = values.get("el", 1), Event(values["event"])
    used = spsr_used(event, el)
    given = [name for name in SPSRS if name in values]
    if not used:
        unused = [*given, *(["spsr"] if "spsr" in values else [])]
        return [f"{name.upper()} is not used: {event.text} is no return" for name in unused]
    if used.lower() in given:
        value = values[used.lower()]
        if values.setdefault("spsr", value) != value:
            raise DumpError(f"SPSR and {used} disagree: {event.text} returns with {used}; keep one")
        return []
    if "spsr" in values:
        return []
    if given:
        here = f"{event.text} at EL{el}" if event is Event.ERET else event.text
        mend = f"give {used}, or the EL and event that {given[0].upper()} belongs to"
        raise DumpError(f"{given[0].upper()}: {here} returns with {used}; {mend}")
    return [f"{used} is not given: taken as 0"]


def _without_effect(columns: Mapping[str, int]) -> list[str]:
    """Remarks about the registers of an EL that is not implemented."""
    owned = {
        "have_el2": ["mdcr_el2", "hcr_el2"],
        "have_el3": ["scr_el3", "mdcr_el3", "sder32_el3"],
    }
    return [
        f"{name.upper()} has no effect: {have} = 0"
        for have, names in owned.items()
        for name in names
        if name in columns and not columns.get(have, 1)
    ]
