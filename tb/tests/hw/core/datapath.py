"""The datapath in Amaranth's simulator, on words and states of the reference."""

from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from amaranth.hdl import Module, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw.core.decode import Decoder, Operation
from hw.core.execute import NZCV, Execute
from hw.core.memory import AbortSyndrome, LoadStore
from model.a64.decode import Reserved, Row
from model.a64.interpreter import DECODER
from model.a64.state import MASK64, SP, State
from model.arch import EL, SCTLR_ELx

PC = 0x4000_1000
WORDS_PER_ROW = 30

#: Values where carries, signs and widths end.
EDGES = (0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 63) - 1, MASK64)


class Given(data.Struct):
    """What the datapath is given beside the word."""

    pc: 64
    n: 64
    m: 64
    a: 64
    nzcv: NZCV
    checks_alignment: 1
    loaded: 128


class Seen(data.Struct):
    """What comes out of execute, load and store."""

    result: 64
    nzcv_after: NZCV
    taken: 1
    target: 64
    address: 64
    size: 3
    stored: 128
    misaligned: 1
    written_back: 64
    value: 64
    value2: 64
    read: 128
    syndrome: AbortSyndrome


class Datapath(wiring.Component):
    """Decoder, execute, load and store, as the core has them beside each other."""

    word: In(32)
    given: In(Given)
    operation: Out(Operation)
    seen: Out(Seen)

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = Decoder()
        m.submodules.execute = execute = Execute()
        m.submodules.memory = memory = LoadStore()
        m.d.comb += [
            decoder.word.eq(self.word),
            self.operation.eq(decoder.operation),
            execute.operation.eq(decoder.operation),
            execute.pc.eq(self.given.pc),
            execute.n.eq(self.given.n),
            execute.m.eq(self.given.m),
            execute.a.eq(self.given.a),
            execute.nzcv.eq(self.given.nzcv),
            memory.operation.eq(decoder.operation),
            memory.pc.eq(self.given.pc),
            memory.base.eq(self.given.n),
            memory.offset.eq(execute.operand2),
            memory.rt.eq(self.given.a),
            memory.rt2.eq(self.given.m),
            memory.checks_alignment.eq(self.given.checks_alignment),
            memory.loaded.eq(self.given.loaded),
        ]
        for name, _ in data.Layout.cast(Seen):
            part = execute if name in execute.signature.members else memory
            m.d.comb += getattr(self.seen, name).eq(getattr(part, name))
        return m


@dataclass
class Case:
    """A word on a state, and what is in memory wherever it looks."""

    row: Row
    word: int
    state: State
    content: bytes = bytes(16)

    def __str__(self) -> str:
        return f"{self.row.name}: {self.word:#010x}"


class Packed:
    """A struct as bits. Amaranth's own access to a field takes longer than the simulation."""

    def __init__(self, shape: Any):
        layout = data.Layout.cast(shape)
        self._places = [(field.offset, field.width) for _, field in layout]
        self._tuple = namedtuple("Fields", [name for name, _ in layout])  # type: ignore[misc]

    def unpack(self, bits: int) -> Any:
        """The fields, each a plain number: what is a struct in the struct stays bits."""
        values = (bits >> offset & (1 << width) - 1 for offset, width in self._places)
        return self._tuple(*values)

    def pack(self, *values: int) -> int:
        """The bits of all fields in order."""
        placed = zip(values, self._places, strict=True)
        return sum(value << offset for value, (offset, _) in placed)


OPERATION, GIVEN, SEEN, SYNDROME = map(Packed, (Operation, Given, Seen, AbortSyndrome))


class Answer(NamedTuple):
    """What the datapath makes of a case: the fields of Operation and Seen."""

    operation: Any
    seen: Any


def operations(words: Sequence[int]) -> list[Any]:
    """The Operation of each word."""
    decoder = Decoder()
    operation = Value.cast(decoder.operation)
    found = []

    async def bench(context):
        for word in words:
            context.set(decoder.word, word)
            found.append(OPERATION.unpack(context.get(operation)))

    _simulate(decoder, bench)
    return found


def answers(cases: Sequence[Case]) -> list[Answer]:
    """What the datapath makes of each case."""
    datapath = Datapath()
    operation_bits, given_bits, seen_bits = map(
        Value.cast, (datapath.operation, datapath.given, datapath.seen)
    )
    found = []

    async def bench(context):
        for case in cases:
            context.set(datapath.word, case.word)
            operation = OPERATION.unpack(context.get(operation_bits))
            context.set(given_bits, GIVEN.pack(*given(case, operation)))
            found.append(Answer(operation, SEEN.unpack(context.get(seen_bits))))

    _simulate(datapath, bench)
    return found


def _simulate(component: wiring.Component, bench: Any) -> None:
    simulator = Simulator(component)
    simulator.add_testbench(bench)
    simulator.run()


def given(case: Case, operation: Any) -> tuple[int, ...]:
    """Given: the registers that the decoder asks for, and what surrounds them."""
    state = case.state

    def register(number: int, is_sp: int = 0) -> int:
        return 0 if number == SP and not is_sp else state.x[number]

    return (
        state.pc,
        register(operation.rn, operation.rn_sp),
        register(operation.rm),
        register(operation.ra),
        state.nzcv,
        SCTLR_ELx.A.get(state.sysregs["SCTLR_EL1"]),
        int.from_bytes(case.content, "little"),
    )


def random_word(row: Row, rng: Random) -> int:
    """A word of the row that is not reserved."""
    while True:
        fields = {name: rng.getrandbits(field.width) for name, field in row.fields.items()}
        try:
            row.build(**fields)
        except Reserved:
            continue
        return row.value | sum(row.fields[name].put(value) for name, value in fields.items())


def random_state(rng: Random) -> State:
    """At EL1, about to execute at PC, with random registers."""
    state = State(el=EL.EL1, pc=PC, nzcv=rng.getrandbits(4))
    for n in range(32):
        anything = rng.getrandbits(64)
        state.x[n] = rng.choice((anything, anything & ~0xF, rng.randrange(64), rng.choice(EDGES)))
    return state


def random_cases(rows: Sequence[Row], rng: Random, count: int = WORDS_PER_ROW) -> list[Case]:
    """So many cases of each row. The reference will execute the word at PC."""
    cases = []
    for row in rows:
        for _ in range(count):
            case = Case(row, random_word(row, rng), random_state(rng), rng.randbytes(16))
            case.state.code[PC] = DECODER.decode(case.word, PC)
            cases.append(case)
    return cases
