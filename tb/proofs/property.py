"""A property of the step unit: what must be in the retire trace, and when.

A property is a function that is given a `Unit` and says what it expects; its docstring is the
claim. The unit's inputs are free: every event, write, choice, load and change of the controls, in
every order. All that is relied on is that an enumeration's value is a member.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Assert, Assume, Const, Cover, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.step import StepUnit
from model.arch import Event, Last, StepState
from tb.harness import ROW
from tb.proofs import counterexample
from tb.proofs.claims import Outcome, stated_by
from tb.proofs.manual import Controls, ProgramStatus, either, field, one_of
from tb.proofs.yosys import Problem, not_proved, settle

#: rows of the trace: members by their own names, other outputs as in `tb.harness`
_TRACE = "trace__"


class Unit:
    """The step unit in a cycle, in the words of the specification."""

    def __init__(self, unit: wiring.Component, m: Module):
        self.m = m
        self._unit = unit
        ports = {
            "__".join(path): (member.flow == In, Value.cast(port))
            for path, member, port in unit.signature.flatten(unit)
        }
        self.inputs = {name: port for name, (given, port) in ports.items() if given}
        outputs = {name: port for name, (given, port) in ports.items() if not given}
        fields = {"out_pstate__" + name: port for name, port in _pstate(outputs["pstate"]).items()}
        named = {
            name.removeprefix(_TRACE) if name.startswith(_TRACE) else f"out_{name}": port
            for name, port in outputs.items()
        }
        #: what the trace and the outputs show: names of `tb.harness.ROW`
        self.row = SimpleNamespace(**{name: (named | fields)[name] for name in ROW})
        self.shown: dict[str, Value] = dict(outputs)
        self._expectations = 0

        given = SimpleNamespace(**self.inputs)
        self.given = given
        self.halted = given.halted
        self.happens = given.event__valid  #: an event does
        self.kind = given.event__kind
        self.spsr = ProgramStatus(given.event__spsr)
        self.load = _pstate(given.load__pstate)
        self.controls = Controls(m, unit.controls)  # as the PE sees them before the event ...
        self.controls_after = Controls(m, unit.controls_after)  # ... and once it has happened
        self.seen = _mdscr(self.row.mdscr_el1)
        self.written = _mdscr(self.row.mdscr_el1_written)
        m.d.comb += Assume(self.kind <= max(Event))
        m.d.comb += Assume(given.load__last <= max(Last))

    # What happens: the first that applies (the definition of the vector file, "Meaning")

    @property
    def pending(self) -> Value:
        """The state is active-pending."""
        return self.row.state == StepState.ACTIVE_PENDING

    @property
    def not_pending(self) -> Value:
        """The state is active-not-pending: an instruction is stepped."""
        return self.row.state == StepState.ACTIVE_NOT_PENDING

    def is_(self, *kinds: Event) -> Value:
        """An event of one of these kinds is told."""
        return self.happens & one_of(self.kind, *kinds)

    @property
    def step(self) -> Value:
        """The Software Step exception comes, before anything else but an interrupt by choice."""
        interrupt_first = (self.kind == Event.INTERRUPT) & self.given.choice__async_first
        return self.happens & self.pending & ~interrupt_first

    @property
    def interrupted(self) -> Value:
        """Another exception comes in place of the instruction."""
        return self.is_(Event.EXCEPTION, Event.INTERRUPT) & ~self.step

    @property
    def illegal_state(self) -> Value:
        """The Illegal Execution state exception comes in place of the instruction."""
        instruction = ~one_of(self.kind, Event.EXCEPTION, Event.INTERRUPT, Event.DEBUG_EXIT)
        return self.happens & ~self.step & self.row.il & instruction

    def instruction(self, *kinds: Event) -> Value:
        """An instruction of one of these kinds gets to be executed."""
        return self.is_(*kinds) & ~self.step & ~self.row.il

    @property
    def completes(self) -> Value:
        """An instruction that takes no exception and is no exception return completes."""
        return self.instruction(Event.EXECUTE, Event.LOAD_EXCLUSIVE, Event.ISB)

    @property
    def calls(self) -> Value:
        """SVC, HVC or SMC completes."""
        return self.instruction(Event.SVC, Event.HVC, Event.SMC)

    @property
    def returns(self) -> Value:
        """An exception return is executed, or the PE leaves Debug state."""
        leaves = self.is_(Event.DEBUG_EXIT) & ~self.step
        return either(self.instruction(Event.ERET), leaves)

    @property
    def enters(self) -> Value:
        """An exception is taken, whichever."""
        return either(self.step, self.interrupted, self.illegal_state, self.calls)

    # Afterwards

    @property
    def writes_mdscr(self) -> Value:
        """The instruction executed writes MDSCR_EL1."""
        return self.completes & self.given.event__mdscr_write

    @property
    def synchronises(self) -> Value:
        """The event is a context synchronisation event (section 4)."""
        return either(self.enters, self.returns, self.instruction(Event.ISB))

    @property
    def written_after(self) -> SimpleNamespace:
        """MDSCR_EL1 as written, once the event has happened."""
        value = Mux(self.writes_mdscr, self.given.event__mdscr_value, self.row.mdscr_el1_written)
        return _mdscr(value)

    @property
    def seen_after(self) -> SimpleNamespace:
        """MDSCR_EL1 as the PE sees it then."""
        sees = either(self.synchronises, self.writes_mdscr & self.given.choice__mdscr_seen)
        bits = ((getattr(self.written_after, n), getattr(self.seen, n)) for n in ("ss", "kde"))
        return SimpleNamespace(
            **{n: Mux(sees, *values) for n, values in zip(("ss", "kde"), bits, strict=True)}
        )

    @property
    def continues(self) -> Value:
        """An event happened in the cycle before, and no state was loaded over what came of it."""
        return self.was(self.happens & ~self.given.load__enable)

    # What is expected

    def expect(self, when: Value, /, **fields: Any) -> None:
        """Fields of `ROW` must have these values in a cycle in which `when` holds, and one can."""
        number = self._expectations
        self._expectations += 1
        happens = Signal(name=f"when_{number}")
        self.m.d.comb += happens.eq(when)
        self.shown[happens.name] = happens
        self.m.d.comb += Cover(happens)
        for name, value in fields.items():
            expected = Signal(ROW[name].width, name=f"expected_{number}__{name}")
            self.m.d.comb += expected.eq(value)
            self.m.d.comb += Assert(~happens | (getattr(self.row, name) == expected))
            self.shown[expected.name] = expected

    def expect_outputs(self, row: SimpleNamespace) -> None:
        """The outputs that say again what the trace does, or the event, must agree with `row`."""
        pstate = ("el", "nrw", "d", "ss", "il")
        self.expect(
            Const(1),
            valid=self.happens,
            out_state=row.state,
            out_pending=row.state == StepState.ACTIVE_PENDING,
            out_mdscr_el1=row.mdscr_el1_written,
            **{f"out_pstate__{name}": getattr(row, name) for name in pstate},
        )
        self.expect(self.happens, event=self.kind, pc=self.given.event__pc)

    def of(self, row: SimpleNamespace) -> "Unit":
        """The same inputs, with what another design shows: what these words say is then of it."""
        other = copy(self)
        other.row = row
        other.seen, other.written = _mdscr(row.mdscr_el1), _mdscr(row.mdscr_el1_written)
        return other

    def assume(self, condition: Value) -> None:
        """The unit is never told anything else."""
        self.m.d.comb += Assume(condition)

    def lemma(self, condition: Value) -> None:
        """This holds, too: the induction needs to know it."""
        self.m.d.comb += Assert(condition)

    def cover(self, condition: Value) -> None:
        """This must be possible."""
        self.m.d.comb += Cover(condition)

    def was(self, value: Any, init: int = 0) -> Value:
        """A value as it was in the cycle before; in the first cycle, `init`."""
        before = Signal(Shape.cast(Value.cast(value).shape()), init=init)
        self.m.d.sync += before.eq(value)
        return before


def _pstate(value: Value) -> dict[str, Value]:
    """The members of `hw.registers.PSTATE`."""
    bits = {"el": value[:2]}
    return bits | {name: value[2 + n] for n, name in enumerate(("nrw", "d", "ss", "il"))}


def _mdscr(value: Value) -> SimpleNamespace:
    return SimpleNamespace(**{n: field("mdscr_el1", value, n.upper()) for n in ("ss", "kde")})


Property = Callable[[Unit], None]
Design = Callable[[], wiring.Component]  #: makes a component with the step unit's ports

DEPTH = 3  #: cycles: a state is loaded, an event changes it, and it is looked at


@dataclass(frozen=True, slots=True)
class Rule:
    """A property with its name."""

    name: str
    write: Property

    def prove(self, place: Path, limit: float, design: Design = StepUnit) -> Outcome:
        """Prove it, unbounded, of a step unit; see `tb.proofs.claims.Claim`."""
        unit = design()
        m = Module()
        m.submodules.unit = unit
        words = Unit(unit, m)
        self.write(words)
        problem = Problem(m, words.inputs, words.shown)
        outcome, cycles = settle(problem, DEPTH, place, limit)
        if not cycles:
            return outcome
        differences = counterexample.differences(cycles[-1])
        wrong = ", ".join(each.field for each in differences)
        vcd = place / f"{self.name}.vcd"
        try:
            waves = counterexample.write(vcd, cycles)
        except OSError as error:
            return not_proved(f"{error.filename or vcd}: {error.strerror}")
        return replace(
            outcome,
            reason=f"{wrong or 'what is held'}: not as the specification says",
            differences=differences,
            history=counterexample.history(cycles),
            waves=waves,
        )


RULES: dict[str, Rule] = {}


def rule(group: str, source: str) -> Callable[[Property], Property]:
    """Register a property of the step unit as a claim."""

    def add(write: Property) -> Property:
        name = f"{group}.{write.__name__}"
        RULES[name] = Rule(name, write)
        stated_by(write, group, source, partial(prove, name))
        return write

    return add


def prove(name: str, place: Path, limit: float) -> Outcome:
    """Prove a rule of the step unit."""
    return RULES[name].prove(place, limit)
