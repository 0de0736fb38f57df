"""The reference PE: an A64 core with its memory, a row of the retire trace at a time."""

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import NamedTuple

from model.a64 import interpreter, routing, stepping, system
from model.a64.decode import Instruction
from model.a64.entry import ESR, NO_ENTRY, Entry, SetPSTATEFromPSR, TakeException
from model.a64.exceptions import ExceptionRecord, SynchronousException
from model.a64.pseudocode import read_slot
from model.a64.state import State
from model.a64.stepping import Before, Outcome, View
from model.a64.trace import Inputs, Row
from model.arch import (
    EL,
    RAM_BASE,
    RAM_SIZE,
    RESET_VECTOR,
    Event,
    ExceptionClass,
    Last,
    Retire,
    StepState,
)

QUIET = Inputs()

_ILLEGAL_STATE = ExceptionRecord(ExceptionClass.ILLEGAL_STATE)


class _Happening(NamedTuple):
    """What comes next, or has come: an instruction that has completed, or an exception to take."""

    kind: Retire
    event: Event = Event.EXECUTE
    word: int = 0
    instruction: Instruction | None = None  #: that has completed, without an exception
    record: ExceptionRecord | None = None  #: None for IRQ, FIQ and the Software Step exception
    target: EL = EL.EL0  #: of the exception, where software step does not say
    address: int = 0  #: the instruction after it, or the exception's return address


def branches_to_itself(row: Row) -> bool:
    """Whether a row is the end of a program: a completed instruction that comes next again."""
    return row.kind == Retire.INSTRUCTION and row.pc_after == row.pc


class Processor:
    """A PE after reset, at EL3, with RAM around it that holds 0.

    `state` may be read and changed between rows. PSTATE.EL and SPSel are changed by its
    `select_sp`.
    """

    def __init__(self) -> None:
        self.state = State(el=EL.EL3, pc=RESET_VECTOR, daif=0b1111)
        self.last = int(Last.NOTHING)  #: a Last: what was before, for a Software Step exception
        self._ram = self.state.memory.map(RAM_BASE, bytes(RAM_SIZE))

    def write_memory(self, address: int, data: bytes) -> None:
        """Put bytes into RAM. ValueError if they do not all fit there."""
        offset = self._offset(address, len(data))
        self._ram[offset : offset + len(data)] = data

    def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of RAM. ValueError if they are not all there."""
        offset = self._offset(address, size)
        return bytes(self._ram[offset : offset + size])

    def _offset(self, address: int, size: int) -> int:
        if not RAM_BASE <= address <= address + size <= RAM_BASE + RAM_SIZE:
            raise ValueError(f"{size} bytes at {address:#x} are not all in RAM")
        return address - RAM_BASE

    def run(
        self,
        inputs: Iterable[Inputs] = repeat(QUIET),
        max_rows: int = 1_000_000,
        stop: Callable[[Row], bool] = branches_to_itself,
    ) -> list[Row]:
        """Rows up to and with the one that `stop` accepts; no more than `max_rows`, or `inputs`."""
        rows: list[Row] = []
        for _, given in zip(range(max_rows), inputs, strict=False):
            rows.append(self.step(given))
            if stop(rows[-1]):
                break
        return rows

    def step(self, given: Inputs = QUIET) -> Row:
        """The next row: one instruction that completes, or one exception that is taken."""
        state = self.state
        el, d = state.el, state.daif >> 3
        view = View.of(state)
        now = stepping.before(view, el, d, state.ss)
        before = (state.pc, int(el), *now, self.last)
        state.access = None
        state.write_seen = given.write_seen
        state.pin_high = given.irq | given.fiq | given.serror
        state.sysregs["PMCCNTR_EL0"] = given.cycle_count

        happening = self._next(given, now)
        outcome = self._outcome(view, d, given, now, happening)
        entry = self._change_state(happening, outcome)
        return Row._make(
            (
                *given[:7],
                _cycle_count(happening.instruction, given),
                *before,
                int(happening.kind),
                happening.word,
                int(happening.event),
                *entry,
                *_registers(state, happening.instruction),
                *_system_register(state, happening.instruction),
                *_memory(state),
                *_after(state, outcome),
            )
        )

    def _next(self, given: Inputs, now: Before) -> _Happening:
        """An interrupt, the Software Step exception, or what the instruction at pc comes to."""
        state = self.state
        interrupt = routing.interrupt(state, given.irq, given.fiq, given.serror)
        if now.state == StepState.ACTIVE_PENDING and not (interrupt and given.async_first):
            return _Happening(Retire.SYNCHRONOUS, address=state.pc)
        if interrupt:
            kind, target = interrupt
            record = ExceptionRecord(ExceptionClass.SERROR) if kind is Retire.SERROR else None
            return _Happening(kind, Event.INTERRUPT, record=record, target=target, address=state.pc)
        try:
            word = interpreter.fetch_word(state)
        except SynchronousException as error:
            return self._exception(error.record, 0)
        if state.il:
            return self._exception(_ILLEGAL_STATE, word, Event.EXECUTE)
        return self._execute(word)

    def _execute(self, word: int) -> _Happening:
        state = self.state
        pc = state.pc
        try:
            instruction = interpreter.DECODER.decode(word, pc)
            branch = instruction.execute(state)
        except SynchronousException as error:
            return self._exception(error.record, word)
        event = instruction.event
        address = pc + 4 if branch is None else branch
        if event not in system.CALLS:
            return _Happening(Retire.INSTRUCTION, event, word, instruction, address=address)
        record = system.call_record(state, event, instruction.fields["imm16"])
        return self._exception(record, word, event, address)

    def _exception(
        self,
        record: ExceptionRecord,
        word: int,
        event: Event = Event.EXCEPTION,
        address: int | None = None,
    ) -> _Happening:
        state = self.state
        target = routing.default_target(state) if record.target is None else record.target
        return _Happening(
            Retire.SYNCHRONOUS,
            event,
            word,
            record=record,
            target=target,
            address=state.pc if address is None else address,
        )

    def _outcome(
        self, view: View, d: int, given: Inputs, now: Before, happening: _Happening
    ) -> Outcome:
        """What software step makes of it; `view`, `d` and `now` are of before the instruction."""
        state = self.state
        event = happening.event
        if happening.instruction is None or event in (Event.ISB, Event.ERET):
            state.late.clear()  # a context synchronisation event
        spsr = _saved(state) if event is Event.ERET else 0
        # The choices, where there is something to choose.
        pending = now.state == StepState.ACTIVE_PENDING
        choices = (given.async_first, given.isv_choice) if pending else (0, 0)
        return stepping.outcome(
            view,
            View.of(state),
            state.el,
            d,
            state.ss,
            state.il,
            self.last,
            event,
            happening.target,
            stepping.spsr_bits(spsr),
            state.daif >> 3,
            *choices,
        )

    def _change_state(self, happening: _Happening, outcome: Outcome) -> Entry:
        """Go on to the next pc and PSTATE, or take the exception."""
        state = self.state
        entry = NO_ENTRY
        if happening.instruction is None:
            entry = self._take(happening, outcome)
        else:
            state.pc = happening.address
            if happening.event is Event.ERET:
                SetPSTATEFromPSR(state, _saved(state), outcome)
        state.ss, state.il, self.last = outcome.ss, outcome.il, outcome.last
        return entry

    def _take(self, happening: _Happening, outcome: Outcome) -> Entry:
        state, record = self.state, happening.record
        target = outcome.el
        vaddress = ipaddress = None
        esr = outcome.esr if outcome.step_exception else None
        if record is not None:
            esr = ESR(record, target == state.el)
            vaddress, ipaddress = record.vaddress, record.ipaddress
        return TakeException(
            state,
            happening.kind,
            target,
            happening.address,
            outcome.spsr_ss,
            esr,
            vaddress,
            ipaddress,
        )


def _saved(state: State) -> int:
    """SPSR_ELx of the current EL."""
    return state.sysregs[f"SPSR_{state.el.name}"]


# Parts of a row

_NOT_WRITTEN = (0, 0, 0)


def _registers(state: State, instruction: Instruction | None) -> tuple[int, ...]:
    """x0_en to x2_value."""
    if instruction is None:
        return _NOT_WRITTEN * 3
    first, second, base = instruction.written
    x = state.x
    return (
        *(_NOT_WRITTEN if first is None else (1, first, x[first])),
        *(_NOT_WRITTEN if second is None else (1, second, x[second])),
        *(_NOT_WRITTEN if base is None else (1, base, x[base])),
    )


def _system_register(state: State, instruction: Instruction | None) -> tuple[int, int, int]:
    """sys_en, sys_reg and sys_value."""
    if instruction is None or instruction.name != system.MSR_REGISTER:
        return _NOT_WRITTEN
    register = system.sysreg_of(instruction.fields)
    return 1, register.number, state.x[read_slot(instruction.fields["Rt"])]


def _cycle_count(instruction: Instruction | None, given: Inputs) -> int:
    """cycle_count of a row."""
    reads = (
        instruction is not None
        and instruction.name == system.MRS
        and system.sysreg_name(instruction.fields) == "PMCCNTR_EL0"
    )
    return given.cycle_count if reads else 0


def _memory(state: State) -> tuple[int, int, int, int]:
    """mem to mem_data."""
    if state.access is None:
        return 0, 0, 0, 0
    access, address, size, data = state.access
    return int(access), address, size.bit_length() - 1, data


def _after(state: State, outcome: Outcome) -> tuple[int, ...]:
    """pc_after to event_after."""
    return (
        state.pc,
        int(state.el),
        state.spsel,
        state.nzcv,
        state.daif,
        state.ss,
        state.il,
        outcome.state,
        int(state.exclusive is not None),
        state.event_register,
    )
