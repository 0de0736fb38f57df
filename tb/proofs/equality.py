"""Claims that the hardware is the reference model: every output, for every input.

The combinational blocks are gone through input by input, with numpy. The unit is held against
`model.machine`, made a circuit of, in every state that it can come to; and against the manual's
tables, by `tb.proofs.specification`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Const, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.emit import EmitError
from hw.registers import Controls as ControlPorts
from hw.routing import ControlDecoder, DebugRouting, ExceptionReturn, IllegalStateTarget
from hw.step import StepStateMachine
from hw.syndrome import SoftwareStepSyndrome
from model import rules
from model.arch import EL, Last, SPSR_ELx
from model.machine import PE, Input, derive, take
from model.planes import Planes
from model.rules import Controls
from tb.cases.exhaustive import CONTROLS, LEVELS, Space
from tb.proofs.claims import Claim, Method, Outcome, Status, register
from tb.proofs.gates import Gates, planes_of, value_of
from tb.proofs.property import Unit, rule
from tb.proofs.yosys import not_proved
from tb.scoreboard import DERIVED, EFFECT, STATE, Difference

Bits = Any  #: a `Planes`, where the rules' types speak of arrays
Values = Mapping[str, Bits]

# The blocks, input by input


class BehindControls(wiring.Component):
    """A block of `hw.routing` with the decoder of the control registers before it."""

    def __init__(self, decoder: wiring.Component, block: wiring.Component):
        own = {n: member for n, member in block.signature.members.items() if n != "effective"}
        super().__init__({"controls": In(ControlPorts), **own})
        self._decoder, self._block, self._own = decoder, block, own

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = self._decoder
        m.submodules.block = block = self._block
        wiring.connect(m, wiring.flipped(self.controls), decoder.controls)
        m.d.comb += block.effective.eq(decoder.effective)
        for name, member in self._own.items():
            mine, its = getattr(self, name), getattr(block, name)
            m.d.comb += its.eq(mine) if member.flow == In else mine.eq(its)
        return m


@dataclass(frozen=True, slots=True)
class Parts:
    """The hardware's blocks."""

    decoder: Callable[[], wiring.Component] = ControlDecoder
    routing: Callable[[], wiring.Component] = DebugRouting
    exception_return: Callable[[], wiring.Component] = ExceptionReturn
    illegal_state: Callable[[], wiring.Component] = IllegalStateTarget
    state: Callable[[], wiring.Component] = StepStateMachine
    syndrome: Callable[[], wiring.Component] = SoftwareStepSyndrome


@dataclass(frozen=True, slots=True)
class Block:
    """A block with all its inputs, and what the model says of its outputs."""

    sizes: Mapping[str, int]  #: input to how many values it has
    build: Callable[[Parts], wiring.Component]
    model: Callable[[Values], Values]  #: output to its values
    meant: Callable[[Values], dict[str, Bits]] = lambda values: {}  #: where outputs mean something

    def prove(self, place: Path, parts: Parts) -> Outcome:
        """Go through every input."""
        try:
            place.mkdir(parents=True, exist_ok=True)
            gates = Gates(self.build(parts), place)
        except EmitError as error:
            return not_proved(str(error))
        except OSError as error:
            return not_proved(f"{error.filename or place}: {error.strerror}")
        space = Space(self.sizes)
        for first in range(0, 1 << space.bits, space.lanes):
            values = space.inputs(first)
            found, said = gates.outputs(_ports(values)), self.model(values)
            meant = self.meant(values)
            wrong: Bits = Planes.constant(0)
            for name, value in said.items():
                wrong |= (found[name] != value) & meant.get(name, 1)
            if wrong.any():
                lane = int(wrong.values(space.lanes).argmax())
                return self._refuted(values, found, said, meant, lane, space.count)
        return Outcome(Status.PROVED, inputs=space.count)

    def _refuted(
        self, values: Values, found: Values, said: Values, meant: Values, lane: int, inputs: int
    ) -> Outcome:
        at = {n: (found[n].at(lane), said[n].at(lane)) for n in said}
        where = [n for n, (is_, must) in at.items() if is_ != must]
        where = [n for n in where if n not in meant or meant[n].at(lane)]
        given = [f"{name}={values[name].at(lane):#x}" for name in self.sizes]
        return Outcome(
            Status.REFUTED,
            f"{', '.join(where)}: not as the model says",
            inputs=inputs,
            differences=[Difference(name, *at[name]) for name in where],
            history=[f"given {', '.join(given)}"],
        )


def _registers(values: Values) -> dict[str, Bits]:
    """The control registers, put together of their bits."""
    result: dict[str, Bits] = {}
    for name, place in CONTROLS.items():
        value = values.get(name, Planes.constant(0))
        if place is None:
            result[name] = value
        else:
            register_, field = place
            whole = result.get(register_, Planes.constant(0))
            result[register_] = whole | (value << field.lsb)
    return result


def _ports(values: Values) -> dict[str, Bits]:
    """The hardware's inputs."""
    controls = {f"controls__{name}": value for name, value in _registers(values).items()}
    return {**values, **controls, "spsr": _spsr(values)}


def _spsr(values: Values) -> Bits:
    zero: Bits = Planes.constant(0)
    return values.get("M", zero) | values.get("nRW", zero) << SPSR_ELx.nRW.lsb


def _controls(values: Values) -> Controls:
    registers = _registers(values)
    halted = values.get("halted", Planes.constant(0))
    return Controls.from_registers(**registers, halted=halted)


def _routing(values: Values) -> Values:
    c, el = _controls({**values, "KDE": values["kde"]}), values["el"]
    zero: Bits = Planes.constant(0)
    eld, enabled, _ = derive(c, el, values["d"], zero)
    return {"eld": eld, "enabled": enabled, "eld_aarch32": rules.ELUsingAArch32(c, eld)}


def _exception_return(values: Values) -> Values:
    illegal, target = rules.IllegalExceptionReturn(_controls(values), values["el"], _spsr(values))
    return {"illegal": illegal, "target": target}


def _legal(values: Values) -> dict[str, Bits]:
    """An illegal return has no target."""
    return {"target": ~_exception_return(values)["illegal"]}


def _illegal_state(values: Values) -> Values:
    return {"target": rules.IllegalStateTarget(_controls(values), values["el"])}


def _state(values: Values) -> Values:
    width = values["eld_aarch32"]
    c = _controls({"el1_aarch32": width, "SS": values["mdscr_ss"]})
    eld: Bits = Planes.constant(EL.EL1)
    return {"state": rules.SoftwareStepState(c, eld, values["enabled"], values["pstate_ss"])}


def _syndrome(values: Values) -> Values:
    isv, ex = rules.SoftwareStepISVEX(values["last"], values["isv_choice"])
    return {"esr": rules.SoftwareStepSyndrome(values["same_el"], isv, ex)}


_CONTROL_BITS = {name: 2 for name in CONTROLS if name not in ("SS", "KDE")}
_LEVELS = dict.fromkeys(LEVELS, 2)

BLOCKS = {
    "debug_routing": Block(
        {**_CONTROL_BITS, "kde": 2, "halted": 2, "el": 4, "d": 2},
        lambda parts: BehindControls(parts.decoder(), parts.routing()),
        _routing,
    ),
    "exception_return": Block(
        {**_LEVELS, "el": 4, "M": 16, "nRW": 2},
        lambda parts: BehindControls(parts.decoder(), parts.exception_return()),
        _exception_return,
        _legal,
    ),
    "illegal_state_target": Block(
        {**_LEVELS, "el": 4},
        lambda parts: BehindControls(parts.decoder(), parts.illegal_state()),
        _illegal_state,
    ),
    "step_state": Block(
        dict.fromkeys(("eld_aarch32", "enabled", "mdscr_ss", "pstate_ss"), 2),
        lambda parts: parts.state(),
        _state,
    ),
    "syndrome": Block(
        {"last": len(Last), "same_el": 2, "isv_choice": 2},
        lambda parts: parts.syndrome(),
        _syndrome,
    ),
}

_SENTENCES = {
    "debug_routing": (
        "ELd, its width and the enables are the reference model's for every input",
        "D2.4, D2.5",
    ),
    "exception_return": (
        "Which returns are illegal, and where the legal ones go, is as the reference model says",
        "D1.11",
    ),
    "illegal_state_target": (
        "The Illegal Execution state exception's target is the reference model's",
        "D1.12",
    ),
    "step_state": ("The step state is the reference model's for every input", "D2.12.3"),
    "syndrome": ("The step exception's ESR is the reference model's for every input", "D2.12.6"),
}


def prove_block(name: str, place: Path, limit: float, parts: Parts | None = None) -> Outcome:
    """Prove a claim of `BLOCKS`; it takes a second, whatever the limit."""
    return BLOCKS[name].prove(place, parts or Parts())


for _name, (_sentence, _source) in _SENTENCES.items():
    register(
        Claim(
            f"equality.{_name}",
            f"{_sentence}.",
            _source,
            Method.EXHAUSTIVE,
            partial(prove_block, _name),
        )
    )

# The unit


def _pe(u: Unit, prefix: str) -> PE:
    """The PE before the event, from what the trace shows and one view of the controls."""
    columns = {name: getattr(u.row, name) for name in STATE} | {"halted": u.halted}
    others = [field.name for field in fields(PE) if field.name not in columns]
    columns |= {name: u.inputs[prefix + name] for name in others}
    return PE(**{name: planes_of(u.m, value) for name, value in columns.items()})


def _given(u: Unit) -> Input:
    """The event and the choices."""
    ports = {port.rpartition("__")[2]: port for port in u.inputs if "event__" in port}
    ports |= {port.rpartition("__")[2]: port for port in u.inputs if "choice__" in port}
    ports["event"] = ports["kind"]
    names = [field.name for field in fields(Input)]
    return Input(**{name: planes_of(u.m, u.inputs[ports[name]]) for name in names})


@rule("equality", "model.machine")
def unit_is_the_model(u: Unit) -> None:
    """In every cycle of every sequence, each output of the step unit is what the reference model
    makes of the PE and the event: what was done, and the PE after it."""
    pe, given = _pe(u, "controls__"), _given(u)
    effect = take(pe, given, _pe(u, "controls_after__").controls())

    def said(names: Sequence[str], suffix: str = "") -> dict[str, Value]:
        return {name: value_of(getattr(effect, name + suffix)) for name in names}

    happens = u.happens & ~(u.returns & u.row.nrw)  # an exception return is AArch64's
    u.expect(Const(1), **said(DERIVED))
    before = {name: getattr(u.row, name) for name in STATE}
    u.expect_outputs(SimpleNamespace(**before, **said(DERIVED)))
    u.expect(happens, **said(EFFECT))
    target = rules.SoftwareStepTarget(effect.eld, pe.el)
    isv, ex = rules.SoftwareStepISVEX(pe.last, given.isv_choice)
    esr = rules.SoftwareStepSyndrome(target == pe.el, isv, ex)
    u.expect(u.pending, out_target_el=value_of(target), out_esr=value_of(esr))
    left = {name: u.was(value) for name, value in said(STATE, "_after").items()}
    u.expect(u.was(happens & ~u.given.load__enable), **left)
    u.lemma(u.row.last <= max(Last))
