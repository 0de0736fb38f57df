"""A guest-entry sequence's machine code on the interpreter, and what it makes of the hardware.

The sequence runs at EL2, each of its instructions an event; the exception return that follows loads
what it left in SPSR_EL2; then a guest runs. Stepped, the guest must execute exactly one instruction
before the Software Step exception comes to EL2; otherwise none may come to EL2 at all.
"""

from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace

from model.a64 import A64Error
from model.a64.decode import UndefinedWord
from model.a64.interpreter import step
from model.a64.state import State
from model.arch import EL, MDSCR_EL1, Event, Mode, SPSR_ELx, StepState
from model.hyp import SequenceError, sequences
from model.hyp.assemble import NAMES
from model.hyp.check import SETUP, check, check_known
from model.hyp.entry import PRESERVING, TEXT, Entry, run_entry
from model.hyp.words import Sequence
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP
from model.kvm.vcpu import Vcpu, set_guest_debug
from tb.cases import register
from tb.lanes import disassembly
from tb.testbench import Failure, Testbench

#: The guest: arithmetic, a load, a store, a barrier, a branch back to the first instruction.
GUEST = (
    0x91000400,  # add x0, x0, #1
    0xF9400023,  # ldr x3, [x1]
    0xD5033FDF,  # isb
    0xF9000043,  # str x3, [x2]
    0xD503201F,  # nop
    0x17FFFFFB,  # b   . - 20
)
GUEST_START = 0x8000_0000
GUEST_DATA = 0x9000_0000
GUEST_LENGTH = 12  #: instructions that the guest runs where nothing stops it

#: random values that the sequence alone runs with, beside every meaningful combination
VALUES = 20_000

#: the case of --hyp FILE
USER = "hyp.user"

ESR_STEPPED = 0xCB000022  #: from a lower EL, ISV = 1, EX = 0 (§7)

CONTROLS = {
    "no guest debug": 0,
    "ENABLE": KVM_GUESTDBG_ENABLE,
    "ENABLE | SINGLESTEP": KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
}


@dataclass(frozen=True, slots=True)
class Situation:
    """What user space asked for, and what the guest had before."""

    asked: str  #: a key of CONTROLS
    mode: Mode
    d: int  #: PSTATE.D of the guest
    ss: int  #: PSTATE.SS of the guest
    mdscr: int  #: MDSCR_EL1 of the guest

    def vcpu(self) -> Vcpu:
        """The saved state."""
        spsr = self.mode | SPSR_ELx.D.put(self.d) | SPSR_ELx.SS.put(self.ss)
        vcpu = Vcpu(spsr=spsr, mdscr_el1=self.mdscr)
        set_guest_debug(vcpu, CONTROLS[self.asked])
        return vcpu

    def __str__(self) -> str:
        guest = f"guest at {self.mode.name}, PSTATE.D = {self.d}, PSTATE.SS = {self.ss}"
        return f"guest_debug = {self.asked}; {guest}, MDSCR_EL1 = {self.mdscr:#x}"


def situations() -> list[Situation]:
    """Every combination that can make a difference."""
    mdscrs = (0, MDSCR_EL1.SS.mask, MDSCR_EL1.KDE.mask, MDSCR_EL1.SS.mask | MDSCR_EL1.KDE.mask)
    modes = (Mode.EL0t, Mode.EL1h)
    return [Situation(*values) for values in product(CONTROLS, modes, (0, 1), (0, 1), mdscrs)]


def _guest() -> State:
    guest = State(el=EL.EL1, pc=GUEST_START)
    code = b"".join(word.to_bytes(4, "little") for word in GUEST)
    guest.memory.map(GUEST_START, code, writable=False)
    guest.memory.map(GUEST_DATA, bytes(16))
    guest.x[1] = guest.x[2] = GUEST_DATA
    return guest


async def _enter(tb: Testbench, sequence: Sequence, situation: Situation) -> None:
    """The hypervisor's side: restore, run the sequence, return to the guest."""
    vcpu = situation.vcpu()
    setup = SETUP.get(sequence.name)
    if setup:
        setup(vcpu)
    try:
        entry = run_entry(sequence, vcpu, seed=tb.rng.getrandbits(32))
    except A64Error as error:
        raise Failure(f"{situation}: {error}") from None
    await tb.start(el=EL.EL2, d=1, mdscr_el1=vcpu.mdscr_el1, mdcr_el2=vcpu.mdcr_el2)
    await _instructions(tb, entry)
    end = entry.retired[-1].next_pc if entry.retired else TEXT
    await tb.do(Event.ERET, pc=end, spsr=entry.spsr)


async def _instructions(tb: Testbench, entry: Entry) -> None:
    for retired in entry.retired:
        event, written = retired.instruction.event, {}
        if "MDSCR_EL1" in retired.sysregs:
            written = {"mdscr_write": retired.sysregs["MDSCR_EL1"][1]}
        if event is not Event.ERET:
            # Whether the write is seen at once or at the exception return must make no difference.
            seen = tb.rng.getrandbits(1)
            await tb.do(event, None, pc=retired.pc, mdscr_seen=seen, **written)


async def _run_guest(tb: Testbench) -> tuple[int, SimpleNamespace | None]:
    """(instructions executed, the row of the step exception if one came)."""
    guest = _guest()
    for executed in range(GUEST_LENGTH):
        if tb.now.state == StepState.ACTIVE_PENDING:
            return executed, await tb.do(Event.EXECUTE, pc=guest.pc)
        pc = guest.pc
        await tb.do(step(guest), pc=pc)
    return GUEST_LENGTH, None


def _stepped(
    tb: Testbench, situation: Situation, executed: int, row: SimpleNamespace | None
) -> None:
    """Exactly one instruction, then the exception to EL2."""
    if row is None or executed != 1:
        what = "no step exception came" if row is None else f"{executed} instructions ran before it"
        raise Failure(f"{situation}: the guest must run exactly one instruction: {what}")
    elr = GUEST_START + 4
    tb.expect(row, step_exception=1, el_after=EL.EL2, esr=ESR_STEPPED, pc=elr, spsr_ss=0)


async def _one(tb: Testbench, sequence: Sequence, situation: Situation) -> None:
    await _enter(tb, sequence, situation)
    executed, row = await _run_guest(tb)
    if CONTROLS[situation.asked] & KVM_GUESTDBG_SINGLESTEP:
        _stepped(tb, situation, executed, row)
    elif row is not None and row.el_after == EL.EL2:
        raise Failure(
            f"{situation}: nobody asked for a step, but after {executed} of the guest's "
            f"instructions a Software Step exception came to EL2 (ESR_EL2 = {row.esr:#x})"
        )
    elif situation.asked == "ENABLE" and row is not None and sequence.name not in PRESERVING:
        raise Failure(
            f"{situation}: while it is debugged the guest must not step itself, but a Software "
            f"Step exception came to EL{row.el_after}"
        )


async def run_sequence(tb: Testbench, sequence: Sequence) -> None:
    """A sequence alone, against the statement of what it must do; then each situation."""
    findings = check(sequence, VALUES, tb.rng.getrandbits(32))
    tb.say(str(finding) for finding in findings)
    for situation in situations():
        await _one(tb, sequence, situation)
    if findings:
        raise Failure(f"{sequence.name} does not do what guest entry must")


def listing(sequence: Sequence) -> dict[int, str]:
    """The instructions by their addresses: the source's lines, where they are known."""
    words = {TEXT + 4 * n: word for n, word in enumerate(sequence.words)}
    words |= {GUEST_START + 4 * n: word for n, word in enumerate(GUEST)}
    lines = {TEXT + 4 * n: line for n, line in enumerate(sequence.listing)}
    return {pc: lines.get(pc) or disassembly(word, pc) for pc, word in words.items()}


def _register() -> None:
    for name in NAMES:

        async def body(tb: Testbench, name: str = name) -> None:
            await run_sequence(tb, sequences.load(name))

        def named(name: str = name) -> dict[int, str]:
            return listing(sequences.load(name))

        register(f"hyp.{name}", body, "D2.12, guest entry", random=True, listing=named)


def register_user(path: str) -> None:
    """Add the case USER, the user's own sequence. SequenceError if the file cannot be used."""
    sequence = sequences.load(path)
    try:
        check_known(sequence)
    except UndefinedWord as error:
        raise SequenceError(f"{path}: {error}") from None

    async def body(tb: Testbench) -> None:
        await run_sequence(tb, sequence)

    register(USER, body, "D2.12, guest entry", random=True, listing=lambda: listing(sequence))


_register()
