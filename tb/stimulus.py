"""Constrained-random stimulus for many lanes: PEs to start from, register changes, events.

What is drawn is legal by `model.columns.problems`, but that exceptions to an EL which uses AArch32
are drawn too. It leans to where step exceptions can come. The reference model plays along: what a
lane does next depends on where it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

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
from model.machine import PE, Input, after, take
from model.planes import WORD, ZEROS, Planes, Row
from model.rules import Controls, EL2Enabled, IsSecureEL2Enabled, select
from tb.scoreboard import Move
from tb.testbench import EVENT, control_ports, event_ports, load_ports

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

#: the lowest EL that can change a control register
_CHANGED_FROM = {
    "oslsr_el1": EL.EL1,
    "mdcr_el2": EL.EL2,
    "hcr_el2": EL.EL2,
    "mdcr_el3": EL.EL3,
    "sder32_el3": EL.EL3,
    "scr_el3": EL.EL3,
}

_STAY = 7  #: steps, on average, before the PEs are put somewhere else
_NOISE = 256  #: rows of noise to draw registers from
_FINENESS = 6  #: bits of a chance


Bits = Any  #: a `Planes`, where the rules' types speak of arrays


class Dice:
    """Random values for many lanes."""

    def __init__(self, seed: int, lanes: int):
        bits = np.random.SFC64(seed)
        self._raw, self._words = bits.random_raw, lanes // WORD
        self._once = np.random.Generator(bits)
        self._noise = self.number(_NOISE).rows

    def number(self, width: int) -> Bits:
        """Any number of `width` bits."""
        return Planes(list(self._raw(width * self._words).reshape(width, -1)))

    def chance(self, of_one: float) -> Bits:
        """A bit. The chance is as fine as `_FINENESS` bits can make it."""
        return self.number(_FINENESS) < round(of_one * (1 << _FINENESS))

    def choice(self, weights: Mapping[Any, float]) -> Bits:
        """One of some values."""
        number, total = self.number(_FINENESS), sum(weights.values())
        (result, so_far), *others = weights.items()
        for value, weight in others:
            beyond = number >= round(so_far / total * (1 << _FINENESS))
            result = select(beyond, Planes.constant(value), result)
            so_far += weight
        return result

    def noise(self) -> list[Row]:
        """The rows of a value of 64 bits that means nothing: as often as not, 0 in all lanes."""
        if self.once(0.5):
            return [ZEROS] * 64
        first = int(self._once.integers(_NOISE))
        return [self._noise[(first + n) % _NOISE] for n in range(64)]

    def once(self, of_one: float) -> bool:
        """Whether something happens, in all lanes."""
        return bool(self._once.random() < of_one)

    def one_of(self, names: Sequence[str]) -> str:
        """One of some, for all lanes."""
        return names[int(self._once.integers(len(names)))]

    def register(self, name: str) -> Bits:
        """A register: the bits that matter by their chance, noise elsewhere."""
        fields, chances = _CHANCES[name]
        rows = self.noise()
        for bit, chance in chances.items():
            (rows[fields.fields()[bit].lsb],) = self.chance(chance).rows
        return Planes(rows)


def sequence(
    seed: int, lanes: int, steps: int, idle: float = 0, changes: float = 0
) -> Iterator[Move]:
    """A step that puts the PEs somewhere, and then `steps` events in every lane.

    `idle` and `changes` are the chances of an idle cycle and of a register change, before each.
    """
    dice = Dice(seed, lanes)
    pe = start(dice)
    yield first_move(lanes, pe)
    for _ in range(steps):
        if dice.once(changes):
            pe = change(dice, pe)
        if dice.once(idle):
            given = event(dice, pe)
            yield move(lanes, pe, given, Planes(dice.noise()), happens=False, load=None)
        load = start(dice) if dice.once(1 / _STAY) else None
        pe = halt(dice, pe)
        made = move(lanes, pe, event(dice, pe), Planes(dice.noise()), happens=True, load=load)
        yield made
        assert made.effect
        pe = load or after(pe, made.effect)


def first_move(lanes: int, pe: PE) -> Move:
    """The step that puts the PEs somewhere."""
    zero: Bits = Planes.constant(0)
    ports = control_ports(pe) | _load_ports(pe) | {"event__valid": zero}
    return Move(lanes, None, None, None, zero, False, pe, ports)


def move(lanes: int, pe: PE, given: Input, pc: Bits, happens: bool, load: PE | None) -> Move:
    """A step in which `given` happens, or nothing does. All are planes."""
    ports = control_ports(pe) | event_ports(given)
    ports |= {EVENT["pc"]: pc, "event__valid": Planes.constant(happens)}
    ports |= _load_ports(load) if load else {"load__enable": Planes.constant(0)}
    return Move(lanes, pe, given, take(pe, given), pc, happens, load, ports)


def _load_ports(pe: PE) -> dict[str, Planes]:
    return load_ports(pe) | {"load__enable": Planes.constant(1)}


# What is drawn


def start(dice: Dice) -> PE:
    """PEs to start from."""
    zero: Any = Planes.constant(0)
    registers = {name: dice.register(name) for name in _CHANCES if name != "spsr"}
    pe = PE(
        el=zero,
        nrw=zero,
        d=dice.chance(0.15),
        ss=dice.chance(0.6),
        il=dice.chance(0.03),
        **registers,
        mdscr_el1_written=registers["mdscr_el1"],
        double_lock=dice.chance(0.02),
        halted=zero,
        el1_aarch32=zero,
        el2_aarch32=zero,
        have_el2=dice.chance(0.9),
        have_el3=dice.chance(0.9),
        have_sel2=dice.chance(0.9),
        last=dice.choice(dict.fromkeys(Last, 1)),
    )
    pe = _widths(dice, pe)
    el = dice.choice({EL.EL0: 8, EL.EL1: 8, EL.EL2: 3, EL.EL3: 1})
    el = _usable(pe.controls(), el, otherwise=Planes.constant(EL.EL1))
    return in_its_width(replace(pe, el=el))


def in_its_width(pe: PE) -> PE:
    """PEs with PSTATE.nRW as their EL has it; EL0 is as EL1."""
    el: Bits = pe.el
    aarch32 = ((el <= EL.EL1) & pe.el1_aarch32) | ((el == EL.EL2) & pe.el2_aarch32)
    return replace(pe, nrw=aarch32)


def _widths(dice: Dice, pe: PE) -> PE:
    """EL2 uses AArch32 only where EL1 does, and never in Secure state."""
    c, el1 = pe.controls(), dice.chance(0.15)
    secure_el2 = ~c.ns & IsSecureEL2Enabled(c)
    return replace(pe, el1_aarch32=el1, el2_aarch32=el1 & ~secure_el2 & dice.chance(0.2))


def _usable(c: Controls, el: Bits, otherwise: Bits) -> Bits:
    """An EL where it can be used."""
    not_there = ((el == EL.EL2) & ~EL2Enabled(c)) | ((el == EL.EL3) & ~c.have_el3)
    return select(not_there, otherwise, el)


def change(dice: Dice, pe: PE) -> PE:
    """Change some of what software at this EL, or the system, can change between two events."""
    name = dice.one_of(list(_CHANGED_FROM))
    by = (pe.el >= _CHANGED_FROM[name]) & dice.chance(0.5)
    changed: Any = select(by, dice.register(name), getattr(pe, name))
    pe = replace(pe, **{name: changed}, double_lock=pe.double_lock ^ dice.chance(0.1))
    if name != "scr_el3":
        return pe
    new: Any = _widths(dice, pe)
    old: Any = pe
    return replace(
        pe,
        el1_aarch32=select(by, new.el1_aarch32, old.el1_aarch32),
        el2_aarch32=select(by, new.el2_aarch32, old.el2_aarch32),
    )


def halt(dice: Dice, pe: PE) -> PE:
    """Now and then, take a PE into Debug state. It is left by the next event."""
    return replace(pe, halted=~pe.nrw & dice.chance(0.04))


def spsr(dice: Dice, pe: PE) -> Bits:
    """An SPSR: mostly of a mode that exists and whose width fits."""
    aarch32 = pe.el1_aarch32 | dice.chance(0.2)
    of_aarch32 = dice.choice(dict.fromkeys([*Mode32, Mode.EL2h, Mode.EL3h], 1))
    mode: Bits = select(aarch32, of_aarch32, dice.choice(dict.fromkeys(Mode, 1)))
    mode = select(dice.chance(0.1), dice.number(5), mode)
    return Planes([mode.row(n) for n in range(5)] + dice.register("spsr").rows[5:])


def event(dice: Dice, pe: PE) -> Input:
    """An event that can happen now."""
    kind = dice.choice(_WEIGHTS)
    stays = (kind == Event.ERET) & (pe.nrw | (pe.el == EL.EL0))
    kind = select(stays, Planes.constant(Event.EXECUTE), kind)
    kind = select(pe.halted, Planes.constant(Event.DEBUG_EXIT), kind)
    el: Bits = pe.el
    lowest: Bits = select(el == EL.EL0, Planes.constant(EL.EL1), el)
    target = dice.choice({EL.EL1: 1, EL.EL2: 1, EL.EL3: 1})
    target = select(target < lowest, lowest, target)
    executes = kind == Event.EXECUTE
    mdscr_write = executes & (pe.el >= EL.EL1) & dice.chance(0.3)
    return Input(
        event=kind,
        target_el=_usable(pe.controls(), target, otherwise=lowest),
        spsr=spsr(dice, pe),
        d_write=executes & ~pe.nrw & ~mdscr_write & dice.chance(0.3),
        d_value=dice.number(1),
        mdscr_write=mdscr_write,
        mdscr_value=dice.register("mdscr_el1"),
        mdscr_seen=dice.number(1),
        async_first=dice.number(1),
        isv_choice=dice.number(1),
    )
