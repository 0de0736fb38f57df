"""Constrained-random stimulus: PEs to start from, register changes, events.

What is drawn is legal by `model.columns.problems`, but that exceptions to an EL which uses AArch32
are drawn too. It leans to where step exceptions can come. Values are vector file columns.
"""

import random

from model.arch import (
    EL,
    HCR_EL2,
    MDCR_EL2,
    MDCR_EL3,
    MDSCR_EL1,
    OSLSR_EL1,
    SCR_EL3,
    SDER32_EL3,
    Event,
    Last,
    Mode,
    Mode32,
    Register,
    SPSR_ELx,
)
from tb.testbench import Testbench

Columns = dict[str, int]

#: chance that a bit is 1. A register's other bits are noise: they must not matter.
_CHANCES: dict[str, tuple[type[Register], dict[str, float]]] = {
    "mdscr_el1": (MDSCR_EL1, {"SS": 0.92, "KDE": 0.8}),
    "mdcr_el2": (MDCR_EL2, {"TDE": 0.7}),
    "hcr_el2": (HCR_EL2, {"TGE": 0.15}),
    "scr_el3": (SCR_EL3, {"NS": 0.7, "EEL2": 0.6}),
    "mdcr_el3": (MDCR_EL3, {"SDD": 0.15}),
    "sder32_el3": (SDER32_EL3, {"SUIDEN": 0.5}),
    "oslsr_el1": (OSLSR_EL1, {"OSLK": 0.03}),
    "spsr": (SPSR_ELx, {"SS": 0.75, "D": 0.25, "IL": 0.05}),
}

#: events that leave the PE where it is come often, so that the others find something stepped
_WEIGHTS = {
    Event.EXECUTE: 6,
    Event.LOAD_EXCLUSIVE: 3,
    Event.ISB: 2,
    Event.SVC: 1,
    Event.HVC: 1,
    Event.SMC: 1,
    Event.EXCEPTION: 2,
    Event.INTERRUPT: 3,
    Event.ERET: 10,
}


def _flag(rng: random.Random, chance: float) -> int:
    return int(rng.random() < chance)


def register(rng: random.Random, name: str) -> int:
    """A value for a register column: the bits that matter by their chance, noise elsewhere."""
    fields, chances = _CHANCES[name]
    value = rng.getrandbits(fields.WIDTH) if _flag(rng, 0.5) else 0
    for bit, chance in chances.items():
        field = fields.fields()[bit]
        value = value & ~field.mask | field.put(_flag(rng, chance))
    return value


def spsr(rng: random.Random, controls: Columns) -> int:
    """An SPSR: mostly of a mode that exists and whose width fits."""
    value = register(rng, "spsr") & ~(SPSR_ELx.M.mask | SPSR_ELx.nRW.mask)
    if _flag(rng, 0.1):
        return value | rng.getrandbits(5)
    modes: list[int] = list(Mode)
    if controls["el1_aarch32"] or _flag(rng, 0.2):
        modes = [*Mode32, Mode.EL2h, Mode.EL3h]
    return value | rng.choice(modes)


def el2_enabled(c: Columns) -> bool:
    """EL2 can be used below EL3."""
    nonsecure = not c["have_el3"] or c["scr_el3"] & SCR_EL3.NS.mask
    return bool(c["have_el2"] and (nonsecure or _secure_el2(c)))


def _secure_el2(c: Columns) -> bool:
    implemented = c["have_el2"] and c["have_el3"] and c["have_sel2"]
    return bool(implemented and c["scr_el3"] & SCR_EL3.EEL2.mask)


def _widths(rng: random.Random, c: Columns) -> Columns:
    """EL2 uses AArch32 only where EL1 does, and never in Secure state."""
    el1 = _flag(rng, 0.15)
    secure = c["have_el3"] and not c["scr_el3"] & SCR_EL3.NS.mask
    el2 = el1 and not (secure and _secure_el2(c)) and _flag(rng, 0.2)
    return {"el1_aarch32": el1, "el2_aarch32": int(el2)}


def els(c: Columns) -> list[int]:
    """The ELs that can be used."""
    usable = {EL.EL2: el2_enabled(c), EL.EL3: c["have_el3"]}
    return [int(el) for el in EL if usable.get(el, True)]


def start(rng: random.Random) -> Columns:
    """A PE to start from: every column but those of the event."""
    c = {name: register(rng, name) for name in _CHANCES if name != "spsr"}
    c |= {name: _flag(rng, 0.9) for name in ("have_el2", "have_el3", "have_sel2")}
    c |= _widths(rng, c)
    c |= {"double_lock": _flag(rng, 0.02), "il": _flag(rng, 0.03), "last": rng.choice(list(Last))}
    low_first = [8, 8, 3, 1]
    el = rng.choices(els(c), [low_first[el] for el in els(c)])[0]
    c |= {"el": el, "d": _flag(rng, 0.15), "ss": _flag(rng, 0.6)}
    return c


def change(rng: random.Random, tb: Testbench) -> None:
    """Change some of what software at this EL, or the system, can change between two events."""
    c, el = tb.controls, tb.now.el
    names = ["oslsr_el1"] if el >= EL.EL1 else []
    names += ["mdcr_el2", "hcr_el2"] if el >= EL.EL2 else []
    names += ["mdcr_el3", "sder32_el3"] if el == EL.EL3 else []
    if names:
        name = rng.choice(names)
        tb.change(**{name: register(rng, name)})
    if el == EL.EL3:
        tb.change(scr_el3=register(rng, "scr_el3"))
        tb.change(**_widths(rng, tb.controls))
    if _flag(rng, 0.1):
        tb.change(double_lock=1 - c["double_lock"])


def event(rng: random.Random, tb: Testbench) -> tuple[Event, Columns]:
    """An event that can happen now, with its columns."""
    now, c = tb.now, tb.controls
    choices = {name: _flag(rng, 0.5) for name in ("isv_choice", "async_first", "mdscr_seen")}
    if c["halted"]:
        return Event.DEBUG_EXIT, choices | {"spsr": spsr(rng, c)}
    weights = dict(_WEIGHTS)
    if now.nrw or now.el == EL.EL0:
        del weights[Event.ERET]
    kind = rng.choices(list(weights), list(weights.values()))[0]
    columns = choices | {"spsr": spsr(rng, c)}
    columns["target_el"] = rng.choice([el for el in els(c) if el >= max(now.el, EL.EL1)])
    if kind is Event.EXECUTE:
        columns |= _write(rng, tb)
    return kind, columns


def _write(rng: random.Random, tb: Testbench) -> Columns:
    """What the instruction executed writes, if anything."""
    if tb.now.el >= EL.EL1 and _flag(rng, 0.3):
        return {"mdscr_write": register(rng, "mdscr_el1")}
    if not tb.now.nrw and _flag(rng, 0.3):
        return {"d_write": _flag(rng, 0.5)}
    return {}


def halt(rng: random.Random, tb: Testbench) -> None:
    """Now and then, take the PE into Debug state. It is left by the next event."""
    if not tb.now.nrw and _flag(rng, 0.04):
        tb.change(halted=1)
