"""Claims about the core: it steps one instruction, and then takes the Software Step exception.

The instruction words are symbolic: the fetch port answers anything, the data port, the pins and
the choices are anything in every cycle. The proofs are by induction over clock cycles, so there is
no bound on what comes before: they are about every state that the core can come to, and more.

What has no say in it is cut, and its outputs are free: the general registers that are read, the
results, flags and branches of the ALU, the multiplier and the divider, and what loads and stores
work out. Free is any value, another one in every cycle; what holds with every value holds with the
right one, so the proof is of more than the core. Decoder, sequencer, fetch, system registers,
exclusive monitor and all of the control side with the step unit are the core's own.

Nothing is assumed, of the state neither: each proof begins at reset. What sequencer, fetch and step
unit keep consistent with the row before, and an induction needs to know, is in `Machine.keep`: it
is asserted with the claims that need it.

That the claims are about something is shown by `PROGRAMS`, run from reset in Amaranth's simulator
on the very design that the solver is given: each precondition is met in one of them. They find most
faults, too, and sooner than the solver, which looks for a counterexample `DEPTH` cycles deep.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Assert, Cat, ClockDomain, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw.core.core import Core
from hw.core.exceptions import Cause
from hw.core.sysregs import STORED
from hw.core.timing import LATENCY, TimingClass
from model.arch import EL, SYSREGS, Access, Retire, StepState
from tb.failures import value_text
from tb.proofs.claims import Outcome, Status, stated_by
from tb.proofs.manual import Controls, either, one_of
from tb.proofs.yosys import Answer, Check, Cycles, EngineError, Problem, Verdict, ask, not_proved
from tb.scoreboard import Difference

DEPTH = 3  #: the greatest length of an induction

LOWER, SAME = 0x32, 0x33  #: EC
IFSC = 0b100010
NOP, ERET = 0xD503201F, 0xD69F03E0
ISB, ISB_MASK = 0xD50330DF, 0xFFFFF0FF  #: any CRm
LOAD_EXCLUSIVE, LOAD_EXCLUSIVE_MASK = 0x08400000, 0x3FC00000  #: LDXR, LDAXR, LDXP, LDAXP
ENTRY = LATENCY[TimingClass.EXCEPTION_ENTRY].cycles
LONGEST = max(latency.cycles for latency in LATENCY.values())

#: Parts of the core whose outputs are free.
CUT = ("registers", "execute", "divider", "load_store")

WHEN, EXPECTED, FOUND = "when_", "expected_", "found_"

#: A fault to be found: it is given the core, its module and the control side's, to add to.
Fault = Callable[[Core, Module, Module], None]


def _own(module: Module, name: str) -> Signal:
    """The signal of that name that a module drives."""
    (found,) = (signal for signal in module._driving if signal.name == name)
    return found


def _opened(part: wiring.Component) -> Module:
    """A component's module, elaborated here and now: what is in it can be named."""
    module: Module = part.elaborate(None)
    _replace(part, module)
    return module


def _replace(part: wiring.Component, module: Module) -> None:
    part.__dict__["elaborate"] = lambda platform: module


def _ports(path: str, part: Any, flow: Any) -> Iterable[tuple[str, Value]]:
    for names, member, port in part.signature.flatten(part):
        if member.flow == flow:
            yield "__".join((path, *names)), Value.cast(port)


class Machine:
    """The core in a cycle, and the row of the trace that was the last to retire before it."""

    def __init__(self, m: Module, fault: Fault | None = None):
        self.m = m
        core = Core()
        top = _opened(core)
        parts: Any = top.submodules
        control = _opened(parts.control)
        inner: Any = control.submodules
        self._registers = _opened(inner.registers)
        self._sequencer = _opened(parts.sequencer)
        if fault:
            fault(core, top, control)
        m.submodules.core = core
        self.inputs = dict(_ports("core", core, In))
        for name in CUT:
            part = getattr(parts, name)
            self.inputs |= _free(name, part)
            _replace(part, Module())

        self.row: Any = core.retire
        self.now: Any = parts.control.pstate  # PSTATE
        self.parts, self.step = parts, inner.step_unit
        self.control: Any = parts.control
        self.system: Any = inner.registers
        self.effective: Any = inner.effective
        self.request: Any = core.data.request
        self.retires = core.retire.valid
        self.shown: dict[str, Value] = dict(_ports("row", core.retire, In))
        self.shown |= dict(_ports("row", core.retire, Out))
        self.controls = Controls(m, self.step.controls)
        self._held, self._met = list[Signal](), list[Signal]()
        #: the row before, and whether there is one
        self.before = SimpleNamespace(
            **{name: self.at_end(getattr(self.row, name)) for name in _KEPT},
            there=self.at_end(Const(1)),
        )

    # Words

    def at_end(self, value: Any) -> Signal:
        """A value as it was at the end of the row before."""
        kept = Signal(Shape.cast(Value.cast(value).shape()))
        with self.m.If(self.retires):
            self.m.d.sync += kept.eq(value)
        return kept

    def was(self, value: Any) -> Signal:
        """A value as it was in the cycle before; in the first cycle, 0."""
        kept = Signal(Shape.cast(Value.cast(value).shape()))
        self.m.d.sync += kept.eq(value)
        return kept

    def stored(self, name: str) -> Value:
        """A system register as it is stored."""
        return _own(self._registers, name.lower())

    @property
    def stored_names(self) -> Sequence[str]:
        """The system registers that are stored."""
        return [*STORED, "SP_EL3"]

    @property
    def elapsed(self) -> Value:
        """The sequencer's count of the row's cycles before this one."""
        return _own(self._sequencer, "elapsed")

    @property
    def pending(self) -> Value:
        """The state is active-pending."""
        return self.row.state == StepState.ACTIVE_PENDING

    @property
    def inactive(self) -> Value:
        """The state is inactive."""
        return self.row.state == StepState.INACTIVE

    @property
    def not_pending(self) -> Value:
        """The state is active-not-pending."""
        return self.row.state == StepState.ACTIVE_NOT_PENDING

    @property
    def step_exception(self) -> Value:
        """What this row writes says that it is a Software Step exception."""
        return (
            (self.row.kind == Retire.SYNCHRONOUS)
            & self.row.sets_esr
            & one_of(self.row.esr[26:32], LOWER, SAME)
        )

    @property
    def target(self) -> Value:
        """Section 7: the EL that a Software Step exception is taken to."""
        el = self.now.el
        return Mux(el == EL.EL2, EL.EL2, Mux(self.controls.goes_to_el2(el), EL.EL2, EL.EL1))

    @property
    def unseen(self) -> Value:
        """Something written to a control register is not seen yet."""
        trace, system = self.step.trace, self.system
        late = [
            Value.cast(getattr(system.controls, n)) != Value.cast(getattr(system.controls_after, n))
            for n in ("mdcr_el2", "hcr_el2", "oslsr_el1")
        ]
        return either(Value.cast(trace.mdscr_el1) != Value.cast(trace.mdscr_el1_written), *late)

    # What is claimed

    def expect(self, when: Value, /, **fields: tuple[Any, Any]) -> None:
        """Each must be as said, (what is, what must be), in each cycle with `when`. One can be."""
        number = len(self._held)
        happens = Signal(name=f"{WHEN}{number}")
        self.m.d.comb += happens.eq(when)
        self.shown[happens.name] = happens
        self._met.append(happens)
        holds = []
        for name, (found, must) in fields.items():
            is_, expected = Value.cast(found), Value.cast(must)
            shown = Signal(len(is_), name=f"{FOUND}{number}__{name}")
            right = Signal(len(is_), name=f"{EXPECTED}{number}__{name}")
            self.m.d.comb += [shown.eq(is_), right.eq(expected)]
            holds.append(shown == right)
            self.shown |= {shown.name: shown, right.name: right}
        held = Signal(name=f"held_{number}")
        self.m.d.comb += held.eq(~happens | Cat(*holds).all())
        self._held.append(held)

    def anything(self, name: str, count: int) -> Signal:
        """A number below `count`, or one that is none: each, in each cycle."""
        number = Signal(range(count), name=name)
        self.inputs[name] = number
        return number

    def cover(self, condition: Value) -> None:
        """This must be possible."""
        met = Signal(name=f"met_{len(self._met)}")
        self.m.d.comb += met.eq(condition)
        self._met.append(met)

    @property
    def met(self) -> Value:
        """What must be possible, and is the case in this cycle: a bit each."""
        return Cat(*self._met)

    @property
    def held(self) -> Value:
        """That each expectation is met in this cycle: a bit each."""
        return Cat(*self._held)

    def keep(self) -> None:
        """What holds between any two rows. It holds at reset, and is kept."""
        before, now = self.before, self.now
        self.expect(
            before.there,
            pc=(self.parts.fetch.pc, before.pc_after),
            state=(self.row.state, before.state_after),
            **{name: (getattr(now, name), getattr(before, name + "_after")) for name in _PSTATE},
        )
        # What the step unit knows of the row before.
        stepped = before.there & (before.state == StepState.ACTIVE_NOT_PENDING)
        self.expect(stepped, last=(self.row.last, self._last()))
        not_stepped = before.there & (before.state == StepState.INACTIVE)
        self.expect(not_stepped, last=(self.row.last, 0))
        self.expect(Const(1), nrw=(self.step.pstate.nrw, 0))

    def _last(self) -> Value:
        """What an active-not-pending row before was, as `model.arch.Last` has it."""
        before = self.before
        completed = before.kind == Retire.INSTRUCTION
        open_ = is_isb(before.word) | is_eret(before.word)
        instruction = Mux(is_load_exclusive(before.word), 2, Mux(open_, 3, 1))
        return Mux(completed, instruction, 4)


_PSTATE = ("el", "sp", "nzcv", "daif", "ss", "il")
_HISTORY = tuple(f"row__{name}" for name in ("valid", "el", "pc", "state", "kind", "word"))
_KEPT = (
    *("pc", "state", "kind", "word", "pc_after", "state_after"),
    *(f"{name}_after" for name in _PSTATE),
)


def _free(name: str, part: wiring.Component) -> dict[str, Value]:
    """What a part that is cut gives the others."""
    found = dict(_ports(name, part, Out))
    if name == "registers":  # its ports are all inputs, with an input the other way round inside
        found = {f"{name}__{n}": Value.cast(getattr(part, n).value) for n in ("n", "m", "a")}
    return found


# Words of instructions: from the manual's encodings, not from the core's decoder


def is_eret(word: Value) -> Value:
    """ERET."""
    return word == ERET


def is_isb(word: Value) -> Value:
    """ISB."""
    return (word & ISB_MASK) == (ISB & ISB_MASK)


def is_load_exclusive(word: Value) -> Value:
    """LDXR, LDAXR, LDXP, LDAXP of any size."""
    return (word & LOAD_EXCLUSIVE_MASK) == LOAD_EXCLUSIVE


# Programs: what the preconditions are seen to be met by


@dataclass(frozen=True, slots=True)
class Step:
    """A row of a program: what the core is given while it lasts."""

    word: int = NOP
    value: int = 0  #: of every register that is read
    irq: bool = False  #: with the choice to take it first


def _msr(name: str, value: int) -> Step:
    return Step(0xD5100000 | SYSREGS[name].number << 5, value)


SS, D, KDE, MDSCR_SS = 1 << 21, 1 << 9, 1 << 13, 1
EL0T, EL1H, EL2H = 0b0000, 0b0101, 0b1001
NS_HCE, TDE = 0x101, 1 << 8
LDXR, SDIV, SVC, WFI = 0xC85F7C20, 0x9AC20C20, 0xD4000001, 0xD503207F

STORE = 0xF8008420  #: STR X0, [X1], #8
_RETURN = Step(ERET)
_UNLOCK = _msr("OSLAR_EL1", 0)  #: the OS Lock is set at reset
_PENDING = (Step(STORE), _msr("TPIDR_EL0", 1), Step(LDXR), Step())  #: what must not be executed


def _again(el: int, spsr: int, *steps: Step) -> list[Step]:
    """From a handler: return with this SPSR, and what comes then."""
    return [_msr(f"SPSR_EL{el}", spsr), _RETURN, *steps]


#: From reset, at EL3, each.
PROGRAMS: Sequence[Sequence[Step]] = (
    # EL1 steps EL0.
    [
        *(Step(SDIV), Step(SVC), _msr("MDSCR_EL1", MDSCR_SS)),
        *_again(3, SS | EL0T, Step(NOP), _PENDING[0]),
        *_again(1, SS | EL0T, Step(LDXR), _PENDING[1]),
        *_again(1, SS | EL0T, Step(ISB), _PENDING[2]),
        *_again(1, SS | EL0T, Step(SVC)),
        *_again(1, SS | EL0T, Step(NOP), Step(irq=True)),
        *_again(1, EL0T, _PENDING[3]),
        *(Step(), Step(WFI)),
    ],
    # EL1 steps itself, and a return from it.
    [
        *(_msr("MDSCR_EL1", MDSCR_SS | KDE), _msr("SPSR_EL1", SS | EL0T)),
        *_again(3, SS | EL1H, _RETURN, _PENDING[0]),
        *_again(1, SS | EL1H, Step(NOP), _PENDING[1]),
        Step(),
    ],
    # EL2 steps EL0, that calls EL1, and itself.
    [
        *(_msr("SCR_EL3", NS_HCE), _msr("MDCR_EL2", TDE), _msr("MDSCR_EL1", MDSCR_SS | KDE)),
        *_again(3, SS | EL0T, Step(SVC), _PENDING[2]),
        *_again(2, SS | EL2H, Step(NOP), _PENDING[3]),
        Step(),
    ],
)


class _Run:
    """The programs, run in Amaranth's simulator from reset."""

    def __init__(self, m: Module, domain: ClockDomain, machine: Machine):
        self._machine, self._reset = machine, domain.rst
        met, held = Signal(len(machine.met)), Signal(len(machine.held))
        m.d.comb += [met.eq(machine.met), held.eq(machine.held)]
        self._met, self._held = met, held
        self._seen = 0
        self._cycles: list[dict[str, int]] = []
        self._wrong = False
        self._simulator = Simulator(m)
        self._simulator.add_clock(1e-6)
        self._simulator.add_testbench(self._programs)

    def done(self) -> tuple[list[int], Cycles]:
        """The covers that are not met, and the cycles to the one in which something is wrong."""
        self._simulator.run()
        unmet = [n for n in range(len(self._met)) if not self._seen >> n & 1]
        return unmet, self._cycles if self._wrong else ()

    async def _programs(self, context: Any) -> None:
        for program in PROGRAMS:
            context.set(self._reset, 1)
            await context.tick()
            context.set(self._reset, 0)
            self._cycles = []
            for step in (_UNLOCK, *program):
                await self._row(context, step)
                if self._wrong:
                    return

    async def _row(self, context: Any, step: Step) -> None:
        """Until the row retires."""
        inputs = self._machine.inputs
        for name in ("n", "m", "a"):
            context.set(inputs[f"registers__{name}"], step.value)
        context.set(inputs["core__fetch__response__word"], step.word)
        context.set(inputs["core__pins__irq"], step.irq)
        context.set(inputs["core__choice__async_first"], step.irq)
        retires = False
        left = 2 * LONGEST
        while not (retires or self._wrong) and left:
            retires = bool(context.get(self._machine.retires))
            self._look(context)
            await context.tick()
            left -= 1

    def _look(self, context: Any) -> None:
        self._seen |= context.get(self._met)
        shown = self._machine.shown
        self._wrong = context.get(self._held) != (1 << len(self._held)) - 1
        names = shown if self._wrong else _HISTORY
        self._cycles.append({name: context.get(shown[name]) for name in names})


# The claims

Property = Callable[[Machine], None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A property of the core with its name."""

    name: str
    write: Property

    def prove(self, place: Path, limit: float, fault: Fault | None = None) -> Outcome:
        """Prove it, unbounded; see `tb.proofs.claims.Claim`.

        The programs are run first: they show that the claim is about something.
        """
        start = monotonic()
        unmet, cycles = self.run(fault)
        if cycles:
            return _refuted(len(cycles), cycles)
        if unmet:
            which = f"{'cover' if len(unmet) == 1 else 'covers'} {', '.join(map(str, unmet))}"
            return not_proved(f"no program meets {which}")
        try:
            answer = self.ask(place, limit - (monotonic() - start), fault)
        except EngineError as error:
            return not_proved(str(error))
        if answer.verdict is Verdict.FOUND:
            return _refuted(answer.depth, answer.cycles)
        if answer.verdict is Verdict.OPEN:
            reason = f"no counterexample from reset, and no induction of length {DEPTH}"
            return not_proved(reason)
        return Outcome(Status.PROVED, depth=answer.depth)

    def run(self, fault: Fault | None = None) -> tuple[list[int], Cycles]:
        """Run the programs: the covers that none meets, and the counterexample if there is one."""
        m = Module()
        m.domains.sync = domain = ClockDomain("sync")
        machine = Machine(m, fault)
        self.write(machine)
        return _Run(m, domain, machine).done()

    def ask(
        self, place: Path, limit: float, fault: Fault | None = None, depth: int = DEPTH
    ) -> Answer:
        """What the solver says. Raises EngineError."""
        m = Module()
        machine = Machine(m, fault)
        self.write(machine)
        m.d.comb += Assert(machine.held.all())
        problem = Problem(m, machine.inputs, machine.shown)
        (answer,) = ask(problem.rtlil(), [Check("proof", depth, unbounded=True)], place, limit)
        return answer


def _refuted(depth: int, cycles: Cycles) -> Outcome:
    found = differences(cycles[-1])
    wrong = ", ".join(dict.fromkeys(each.field for each in found))
    reason = f"{wrong}: not as the specification says"
    return Outcome(Status.REFUTED, reason, depth, differences=found, history=history(cycles))


RULES: dict[str, Rule] = {}


def rule(source: str) -> Callable[[Property], Property]:
    """Register a property of the core as a claim."""

    def add(write: Property) -> Property:
        name = f"core.{write.__name__}"
        RULES[name] = Rule(name, write)
        stated_by(write, "core", source, partial(prove, name))
        return write

    return add


def prove(name: str, place: Path, limit: float) -> Outcome:
    """Prove a rule of the core."""
    return RULES[name].prove(place, limit)


def differences(cycle: Any) -> list[Difference]:
    """What is not as expected in a cycle."""
    found = []
    for name, expected in cycle.items():
        number, _, field = name.removeprefix(EXPECTED).partition("__")
        if name.startswith(EXPECTED) and cycle[WHEN + number]:
            value = cycle[f"{FOUND}{number}__{field}"]
            if value != expected:
                found.append(Difference(field, value, expected))
    return found


def history(cycles: Cycles) -> list[str]:
    """The rows that retire, a line each, and the cycle in which it happens."""
    lines = []
    for at, cycle in enumerate(cycles):
        if cycle["row__valid"] or at == len(cycles) - 1:
            row = {name.removeprefix("row__"): value for name, value in cycle.items()}
            kind = Retire(row["kind"]).name.lower() if row["kind"] in list(Retire) else row["kind"]
            what = f"{kind}, word {row['word']:#010x}" if row["valid"] else "under way"
            state = value_text("state", row["state"])
            lines.append(f"cycle {at}: EL{row['el']} PC {row['pc']:#x} {state}: {what}")
    return lines


@rule("sections 4, 6 and 7; D2.12.3 to D2.12.6")
def steps_one_row(c: Machine) -> None:
    """Armed (active-not-pending, no asynchronous exception taken), exactly one row retires; if the
    state is then active-pending and no interrupt is taken first, the next row is the Software Step
    exception, with ELR the PC that the stepped row went on to, SPSR the PSTATE that it left with
    SS = 0, ESR with EC by the EL, ISV = 1 but where it is a free choice, EX = 1 after a
    load-exclusive alone, and the target and vector of section 7."""
    c.keep()
    before, row = c.before, c.row
    armed = before.there & (before.state == StepState.ACTIVE_NOT_PENDING)
    armed &= before.kind <= Retire.SYNCHRONOUS
    then = armed & c.pending & c.retires & (row.kind <= Retire.SYNCHRONOUS)
    completed = before.kind == Retire.INSTRUCTION
    exclusive = completed & is_load_exclusive(before.word)
    chosen = ~completed | is_isb(before.word) | is_eret(before.word)
    _expect_step(c, then, Mux(chosen, row.isv_choice, 1), exclusive)
    for case in (exclusive, chosen, ~completed, completed & ~chosen & ~exclusive):
        c.cover(then & case)


@rule("sections 4 and 5; D2.12.3")
def one_row_is_stepped(c: Machine) -> None:
    """A row that starts active-not-pending does not leave that state to the row after it, unless it
    is an exception return with a write that was not seen before it."""
    c.keep()
    stepped = c.retires & c.not_pending
    returns = (c.row.kind == Retire.INSTRUCTION) & is_eret(c.row.word)
    late = returns & c.unseen
    again = c.row.state_after == StepState.ACTIVE_NOT_PENDING
    c.expect(stepped & ~late, stepped_again=(again, 0))
    c.cover(stepped & returns & ~late)


@rule("sections 4 and 7; D2.12.6")
def unstepped_step_exception(c: Machine) -> None:
    """Where active-pending comes straight from inactive, the Software Step exception is the same
    but for its ESR, which has ISV = 0 and EX = 0."""
    c.keep()
    came = c.before.there & (c.before.state == StepState.INACTIVE)
    then = came & c.pending & c.retires & (c.row.kind <= Retire.SYNCHRONOUS)
    _expect_step(c, then, Const(0), Const(0))


def _expect_step(c: Machine, then: Value, isv: Value, ex: Value) -> None:
    """The row is the Software Step exception after the row before."""
    before, row = c.before, c.row
    el = before.el_after
    ec = Mux(row.target_el == el, SAME, LOWER)
    esr = Cat(Const(IFSC, 6), ex & isv, Const(0, 17), isv, Const(1, 1), ec[:6], Const(0, 32))
    mode = Mux(el == EL.EL0, 0, Cat(before.sp_after, Const(0, 1), el))
    spsr = Cat(
        *(mode[:4], Const(0, 2), before.daif_after, Const(0, 10), before.il_after),
        *(Const(0, 6 + 1), before.nzcv_after, Const(0, 32)),
    )
    base = Mux(c.target == EL.EL2, c.stored("VBAR_EL2"), c.stored("VBAR_EL1"))
    offset = Mux(c.target != el, 0x400, Mux(before.sp_after, 0x200, 0))
    c.expect(
        then,
        kind=(row.kind, Retire.SYNCHRONOUS),
        pc=(row.pc, before.pc_after),
        elr=(row.elr, before.pc_after),
        esr=(row.esr, esr),
        spsr=(row.spsr, spsr),
        target_el=(row.target_el, c.target),
        sets_esr=(row.sets_esr, 1),
        sets_far=(row.sets_far, 0),
        sets_hpfar=(row.sets_hpfar, 0),
        word=(row.word, 0),
        el_after=(row.el_after, c.target),
        ss_after=(row.ss_after, 0),
        il_after=(row.il_after, 0),
        daif_after=(row.daif_after, 0b1111),
        sp_after=(row.sp_after, 1),
        nzcv_after=(row.nzcv_after, before.nzcv_after),
        pc_after=(row.pc_after, (base & ~0x7FF & ((1 << 64) - 1)) | offset),
    )


@rule("section 7; D2.12.5")
def step_exception_is_in_the_registers(c: Machine) -> None:
    """What the trace shows of a Software Step exception is in ELR, SPSR and ESR of its target in
    the cycle after it, and the core is at that EL, with its PC at the vector."""
    c.keep()
    taken = c.was(c.retires & c.step_exception)
    shown = {n: c.was(getattr(c.row, n)) for n in ("elr", "spsr", "esr", "target_el")}
    for el in (EL.EL1, EL.EL2):
        registers = {n: (c.stored(f"{n}_{el.name}"), shown[n]) for n in ("elr", "spsr", "esr")}
        c.expect(
            taken & (shown["target_el"] == el),
            el=(c.now.el, el),
            ss=(c.now.ss, 0),
            pc=(c.parts.fetch.pc, c.before.pc_after),
            **registers,
        )


@rule("section 4; D2.12.3")
def unarmed_takes_no_step_exception(c: Machine) -> None:
    """Inactive or active-not-pending, no Software Step exception is taken."""
    c.expect(c.retires & ~c.pending, step_exception=(c.step_exception, 0))
    c.cover(c.retires & c.inactive & (c.row.kind == Retire.SYNCHRONOUS))
    c.cover(c.retires & c.not_pending & (c.row.kind == Retire.SYNCHRONOUS))


@rule("sections 4 and 6; D2.12.3")
def ss_is_0_after_every_row(c: Machine) -> None:
    """PSTATE.SS is 0 after every row but an exception return that completes, in every state."""
    c.keep()
    returns = (c.row.kind == Retire.INSTRUCTION) & is_eret(c.row.word)
    c.expect(c.retires & ~returns, ss_after=(c.row.ss_after, 0))
    c.cover(c.retires & ~returns & c.now.ss)
    c.cover(c.retires & returns & c.row.ss_after)
    returned = (c.before.kind == Retire.INSTRUCTION) & is_eret(c.before.word)
    c.expect(c.before.there & ~returned, ss=(c.now.ss, 0))


@rule("section 4; D2.12.3")
def pending_executes_nothing(c: Machine) -> None:
    """Active-pending, no instruction executes: the row is the Software Step exception or an
    interrupt, and in no cycle of it does an instruction write a general register, the stack
    pointer, a system register or memory, read memory or change the exclusive monitor."""
    interrupt = c.row.kind > Retire.SYNCHRONOUS
    c.expect(c.pending & c.retires, exception=(interrupt | c.step_exception, 1))
    c.cover(c.pending & c.retires & interrupt)
    registers = c.parts.registers
    c.expect(
        c.pending,
        memory=(c.request.valid, 0),
        mem=(c.row.mem, Access.NONE),
        sys_en=(c.row.sys_en, 0),
        sp_written=(c.control.sp_write, 0),
        monitor=(Cat(c.parts.monitor.mark, c.parts.monitor.clear), 0),
        system_write=(c.system.write, 0),
        mdscr_written=(c.step.event.mdscr_write, 0),
        **{f"x{n}_en": (getattr(c.row, f"x{n}_en"), 0) for n in range(3)},
        **{f"x{n}_written": (getattr(registers, f"w{n}").enable, 0) for n in range(3)},
    )


@rule("section 4; D2.12.3")
def pending_keeps_system_registers(c: Machine) -> None:
    """From one cycle to the next, active-pending, every system register stays as it is, but for the
    cycle counter, and for ELR, SPSR and ESR of the EL that the exception is taken to."""
    c.expect(
        c.pending,
        system_write=(c.system.write, 0),
        sp_written=(c.control.sp_write, 0),
        exception=(one_of(c.control.cause, Cause.INTERRUPT, Cause.STEP), 1),
        mdscr_written=(c.step.event.mdscr_write, 0),
        shown_target=(c.row.target_el, c.system.entry.target_el),
        completes=(c.control.completes, 0),
    )
    kept = [n for n in c.stored_names if n != "PMCCNTR_EL0"]
    which, value, written = c.anything("which", len(kept)), Signal(64), Signal()
    with c.m.Switch(which):
        for number, name in enumerate(kept):
            with c.m.Case(number):
                c.m.d.comb += value.eq(c.stored(name))
                if name[:-1] in ("ELR_EL", "SPSR_EL", "ESR_EL"):
                    to_it = c.row.target_el == int(name[-1])
                    c.m.d.comb += written.eq(c.retires & to_it)
    same = c.was(c.pending & ~written) & (which == c.was(which))
    mdscr = c.step.mdscr_el1
    c.expect(same, value=(value, c.was(value)), mdscr_el1=(mdscr, c.was(mdscr)))


@rule("the latency table of hw.core.timing")
def rows_end(c: Machine) -> None:
    """A row retires after no more cycles than the longest instruction takes, what WFI and WFE wait
    not counted, and an active-pending row after those of an exception entry: what is stepped comes
    to its end, and so does the Software Step exception."""
    sequencer = c.parts.sequencer
    busy = Signal(range(64))
    counts = ~one_of(sequencer.stage, 0) & ~c.retires
    waits = c.control.waits & (sequencer.stage != 2) & ~sequencer.wakes
    with c.m.If(c.retires):
        c.m.d.sync += busy.eq(0)
    with c.m.Elif(counts & ~waits):
        c.m.d.sync += busy.eq(busy + 1)
    c.expect(Const(1), elapsed=(c.elapsed, busy), over=(busy >= LONGEST, 0))
    c.expect(one_of(sequencer.stage, 0, 1, 3), begins=(busy, 0))
    c.expect(busy == LONGEST - 1, retires=(c.retires, 1))
    c.expect(c.pending & (busy >= ENTRY - 1), step_retires=(c.retires, 1))
    c.expect(c.pending & c.retires, step_cycles=(busy + 1, ENTRY))
    c.expect(c.was(c.retires), next_row_begins=(sequencer.begins, 1))
