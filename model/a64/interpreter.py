"""Executes machine code on a state, one instruction at a time."""

from dataclasses import dataclass

from model.a64 import A64Error, exceptions
from model.a64.decode import Decoder, Instruction
from model.a64.instructions import ROWS
from model.a64.state import REGISTER_NAMES, State
from model.a64.system import CALLS
from model.arch import EL, Event

DECODER = Decoder(ROWS)

#: Register name to its value before and after.
Changes = dict[str, tuple[int, int]]

#: Of what `Retired.registers` tells of.
_NAMES = (*REGISTER_NAMES, "nzcv", "daif", "spsel", *(f"SP_{el.name}" for el in EL))


class StepLimit(A64Error):
    """The code did not come to its end within the number of instructions allowed."""


class UntakenException(A64Error):
    """An instruction takes an exception in a run of code where nobody takes it."""


@dataclass(frozen=True, slots=True)
class Retired:
    """An executed instruction and what it changed (memory is not recorded)."""

    pc: int
    next_pc: int
    instruction: Instruction
    registers: Changes  #: x0 to x30, sp, nzcv, daif, spsel, and SP_EL0 to SP_EL3
    sysregs: Changes

    @property
    def word(self) -> int:
        """The machine code word, 32 bits."""
        return self.instruction.word

    @property
    def branched(self) -> bool:
        """Whether it did not go on to the word after it."""
        return self.next_pc != self.pc + 4

    def changed(self, register: str, mask: int) -> bool:
        """Whether it changed a bit under the mask of a register or system register."""
        changes = self.registers if register in self.registers else self.sysregs
        before, after = changes.get(register, (0, 0))
        return (before ^ after) & mask != 0


def step(state: State) -> Event:
    """Execute the instruction at pc, and return what has happened.

    After Event.ERET, pc is ELR_ELx; the rest of PSTATE is as it was, for the caller to restore.
    After SVC, HVC, SMC and EXCEPTION (a BRK), pc is the return address, and the caller takes the
    exception; the immediate is in the fields of `fetch(state)` before.
    SynchronousException, of which UndefinedWord is one, when it does not complete; pc is then still
    the address of that instruction.
    """
    pc = state.pc
    try:
        instruction = state.code[pc]
    except KeyError:
        instruction = fetch(state)
    target = instruction.execute(state)
    state.pc = pc + 4 if target is None else target
    return instruction.event


def fetch(state: State) -> Instruction:
    """The instruction at pc, decoded and kept in `state.code` where memory cannot change."""
    pc = state.pc
    instruction = DECODER.decode(fetch_word(state), pc)
    found = state.memory.find(pc, 4)
    if found and not found.writable:
        state.code[pc] = instruction
    return instruction


def fetch_word(state: State) -> int:
    """The 32-bit word at pc. MisalignedAccess or UnmappedAccess if there is none."""
    pc = state.pc
    if pc & 0b11:
        raise exceptions.pc_alignment_fault(state)
    found = state.memory.find(pc, 4)
    if found is None:
        raise exceptions.instruction_abort(state)
    return found.load(pc, 4)


def run(state: State, end: int, max_steps: int) -> None:
    """Execute up to the address `end`, or up to and with an ERET.

    StepLimit if neither comes within `max_steps` instructions; UntakenException, with pc still its
    address, at an SVC, HVC, SMC or BRK; otherwise errors as `step`.
    """
    code = state.code
    for _ in range(max_steps):
        pc = state.pc
        if pc == end:
            return
        # From here as in `step`: the call alone would be a quarter of the time.
        try:
            instruction = code[pc]
        except KeyError:
            instruction = fetch(state)
        execute = instruction.execute
        target = execute(state)
        if target is None:
            state.pc = pc + 4
            continue
        state.pc = target
        if instruction.event is Event.ERET:
            return
        if instruction.event in CALLS:
            raise _untaken(state, pc, instruction)
    _check_ended(state, end, max_steps)


def record(state: State, end: int, max_steps: int) -> list[Retired]:
    """As `run`, and return what each instruction changed: some twenty times slower."""
    retired: list[Retired] = []
    registers = _registers(state)
    while len(retired) < max_steps and state.pc != end:
        last, registers = _retire(state, registers)
        if last.instruction.event in CALLS:
            raise _untaken(state, last.pc, last.instruction)
        retired.append(last)
        if last.instruction.event is Event.ERET:
            return retired
    _check_ended(state, end, max_steps)
    return retired


def _untaken(state: State, pc: int, instruction: Instruction) -> UntakenException:
    state.pc = pc
    imm16 = instruction.fields["imm16"]
    return UntakenException(f"pc {pc:#x}: {instruction.name} #{imm16:#x} takes an exception")


def _check_ended(state: State, end: int, max_steps: int) -> None:
    if state.pc != end:
        raise StepLimit(
            f"pc {state.pc:#x}: the end, {end:#x}, is not reached after {max_steps} instructions"
        )


def _retire(state: State, before: dict[str, int]) -> tuple[Retired, dict[str, int]]:
    """As `step`; what the instruction changed of the registers as they were, and how they are."""
    pc = state.pc
    sysregs = state.sysregs.copy()
    instruction = state.code.get(pc) or fetch(state)
    step(state)
    after = _registers(state)
    changes = _changes(before, after), _changes(sysregs, state.sysregs)
    return Retired(pc, state.pc, instruction, *changes), after


def _registers(state: State) -> dict[str, int]:
    x = state.x[: len(REGISTER_NAMES)]
    values = (*x, state.nzcv, state.daif, state.spsel, *state.stack_pointers())
    return dict(zip(_NAMES, values, strict=True))


def _changes(before: dict[str, int], after: dict[str, int]) -> Changes:
    return {name: (old, after[name]) for name, old in before.items() if old != after[name]}


def last_change(retired: list[Retired], register: str, mask: int) -> Retired | None:
    """The last instruction that changed a bit under the mask of a register, or None.

    `register` is a name such as "x3", "sp", "nzcv" or "MDSCR_EL1".
    """
    for candidate in reversed(retired):
        if candidate.changed(register, mask):
            return candidate
    return None
