"""Guest entry: the point of the world switch where a sequence runs, and what it must do there."""

import struct
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from model.a64.interpreter import Retired, record
from model.a64.state import SLOTS, SP, State
from model.arch import EL, MDSCR_EL1, RESET_VALUES, SCR_EL3, SPSR_ELx
from model.hyp.words import Sequence
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_SW_BP
from model.kvm.vcpu import GUEST_DEBUG, Vcpu

TEXT = 0x4008_0000  #: where the sequence is
VCPU = 0x4800_0000  #: where the vcpu is
VCPU_SIZE = 0x100

#: What EL2 code relies on without looking: stack alignment is checked, no other alignment is, and
#: firmware has enabled HVC.
_CONTROLS = {
    "SCTLR_EL2": RESET_VALUES["SCTLR_EL2"],
    "SCR_EL3": SCR_EL3.NS.mask | SCR_EL3.HCE.mask,
}

_SPSR_SS = SPSR_ELx.SS.mask
_MDSCR_SS = MDSCR_EL1.SS.mask

#: Sequences that do not suppress the guest's own stepping whenever the host debugs.
PRESERVING = ("upstream",)

#: Instructions after which a sequence counts as endless.
MAX_STEPS = 1000


class Scenario(NamedTuple):
    """What a sequence finds at guest entry. Each value has 64 bits."""

    doubleword: int  #: at GUEST_DEBUG in the vcpu: guest_debug, and above it the 32 bits after it
    spsr: int
    mdscr: int

    @property
    def guest_debug(self) -> int:
        """KVM_GUESTDBG_*, 32 bits."""
        return self.doubleword & 0xFFFF_FFFF


def statement(guest_debug: int, spsr: int, mdscr: int) -> tuple[int, int]:
    """What guest entry must make of SPSR_EL2 and MDSCR_EL1 (64 bits each).

    With ENABLE in guest_debug (32 bits), SS of both is SINGLESTEP. Every other bit survives.
    """
    if not guest_debug & KVM_GUESTDBG_ENABLE:
        return spsr, mdscr
    if guest_debug & KVM_GUESTDBG_SINGLESTEP:
        return spsr | _SPSR_SS, mdscr | _MDSCR_SS
    return spsr & ~_SPSR_SS, mdscr & ~_MDSCR_SS


def statement_of(sequence: str, guest_debug: int, spsr: int, mdscr: int) -> tuple[int, int]:
    """The `statement` that holds for a sequence by its name.

    With `upstream` a guest that is debugged but not stepped keeps stepping itself: both bits are
    its own, unless there are software breakpoints, which need MDCR_EL2.TDE.
    """
    others = KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP
    if sequence in PRESERVING and not guest_debug & others:
        return spsr, mdscr
    return statement(guest_debug, spsr, mdscr)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a sequence has done."""

    spsr: int  #: SPSR_EL2, 64 bits
    mdscr: int  #: MDSCR_EL1, 64 bits
    retired: list[Retired]


def run_entry(sequence: Sequence, vcpu: Vcpu, seed: int = 0) -> Entry:
    """Run a sequence at guest entry, with the vcpu's saved registers restored; `vcpu` is kept.

    All that the sequence must not look at is junk from `seed`. Errors as `interpreter.record`,
    StepLimit after MAX_STEPS instructions.
    """
    rng = Random(seed)
    point = EntryPoint(sequence, rng)
    doubleword = rng.getrandbits(32) << 32 | vcpu.guest_debug
    point.reset(Scenario(doubleword, vcpu.spsr, vcpu.mdscr_el1))
    retired = record(point.state, point.end, MAX_STEPS)
    sysregs = point.state.sysregs
    return Entry(sysregs["SPSR_EL2"], sysregs["MDSCR_EL1"], retired)


@dataclass(frozen=True, slots=True)
class Difference:
    """A register or a byte of the vcpu that is not what it must be."""

    name: str  #: as in `interpreter.Retired`, or "vcpu+0x40"
    expected: int
    found: int


class EntryPoint:
    """The PE at guest entry: at EL2, x0 the vcpu, SPSR_EL2 and MDSCR_EL1 as restored for the guest.

    x1 to x3 and NZCV are the sequence's; x0, x4 to x30, SP, the rest of PSTATE, the vcpu and the
    other system registers are not. Can be reset and run any number of times.
    """

    def __init__(self, sequence: Sequence, rng: Random) -> None:
        self.state = State(el=EL.EL2)
        self.end = TEXT + 4 * len(sequence.words)
        text = struct.pack(f"<{len(sequence.words)}I", *sequence.words)
        self.state.memory.map(TEXT, text, writable=False)
        self._vcpu = self.state.memory.map(VCPU, bytes(VCPU_SIZE))
        # What is to be found again after the run. Nothing but x0 and SP has a meaning.
        self._kept_vcpu = bytearray(rng.randbytes(VCPU_SIZE))
        self._kept_sysregs = {name: rng.getrandbits(64) for name in self.state.sysregs}
        self._kept_sysregs |= _CONTROLS
        self._kept_sps = [rng.getrandbits(64) for _ in EL]
        self._kept_x = [VCPU, *(rng.getrandbits(64) for _ in range(30))]
        self._kept_x += [0] * (SLOTS - len(self._kept_x))
        self._kept_x[SP] = self._kept_sps[EL.EL2] = rng.getrandbits(64) & ~0xF
        self._kept_x4_to_sp = self._kept_x[4 : SP + 1]
        self._kept_daif = 0

    def reset(self, scenario: Scenario) -> None:
        """Go (back) to the first instruction, with the values of a scenario in place."""
        doubleword, spsr, mdscr = scenario
        self._kept_vcpu[GUEST_DEBUG : GUEST_DEBUG + 8] = doubleword.to_bytes(8, "little")
        self._kept_sysregs["SPSR_EL2"] = spsr
        self._kept_sysregs["MDSCR_EL1"] = mdscr
        self._vcpu[:] = self._kept_vcpu
        self.state.sysregs = self._kept_sysregs.copy()
        self.state.late.clear()
        self.state.x = self._kept_x.copy()
        self.state.unused_sps = self._kept_sps.copy()
        self.state.spsel = 1
        self.state.exclusive = None
        # Junk, and the same each time that this scenario runs.
        self.state.nzcv = doubleword >> 60
        self.state.daif = self._kept_daif = doubleword >> 56 & 0xF
        self.state.pc = TEXT

    def is_right(self, spsr: int, mdscr: int) -> bool:
        """Whether these are in SPSR_EL2 and MDSCR_EL1, and all that must survive has."""
        self._kept_sysregs["SPSR_EL2"] = spsr
        self._kept_sysregs["MDSCR_EL1"] = mdscr
        x = self.state.x
        return (
            self.state.sysregs == self._kept_sysregs
            and (self.state.daif, self.state.spsel) == (self._kept_daif, 1)
            and self.state.stack_pointers() == self._kept_sps
            and x[0] == VCPU
            and x[4 : SP + 1] == self._kept_x4_to_sp
            and self._vcpu == self._kept_vcpu
        )

    def differences(self) -> list[Difference]:
        """What the last `is_right` found wrong: of the vcpu, the first byte."""
        found = self.state
        kept_x = {f"x{n}": self._kept_x[n] for n in range(31) if n not in (1, 2, 3)}
        pairs = [
            *((name, kept, found.sysregs[name]) for name, kept in self._kept_sysregs.items()),
            *((name, kept, found.x[int(name[1:])]) for name, kept in kept_x.items()),
            ("sp", self._kept_x[SP], found.sp),
            ("daif", self._kept_daif, found.daif),
            ("spsel", 1, found.spsel),
        ]
        sps = zip(EL, self._kept_sps, found.stack_pointers(), strict=True)
        pairs += [(f"SP_{el.name}", kept, sp) for el, kept, sp in sps if el != EL.EL2]
        pairs += [
            (f"vcpu+{offset:#x}", kept, byte)
            for offset, (kept, byte) in enumerate(zip(self._kept_vcpu, self._vcpu, strict=True))
            if kept != byte
        ][:1]
        return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]
