"""The datapath in Amaranth's simulator, on words and states of the reference."""

from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
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

WORDS_PER_ROW = 30

#: Values where carries, signs and widths end.
EDGES = (0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 63) - 1, MASK64)

#: The fields of a word that number a register.
REGISTERS = ("Rd", "Rt", "Rt2", "Rn", "Rm", "Ra", "Rs")


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

    def __post_init__(self) -> None:
        """The reference will find the word at pc."""
        self.state.code[self.state.pc] = DECODER.decode(self.word, self.state.pc)

    def __str__(self) -> str:
        return f"{self.row.name}: {self.word:#010x}"


class Packed:
    """A struct as bits. Amaranth's own access to a field takes longer than the simulation."""

    def __init__(self, shape: Any):
        layout = data.Layout.cast(shape)
        self._places = [(field.offset, field.width) for _, field in layout]
        self._tuple = namedtuple("Fields", [name for name, _ in layout])  # type: ignore[misc]  # the names are known when it runs

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


class _Simulated:
    """A combinational component in a simulator: built once, and run on one list after the other."""

    def __init__(self, component: Any, work: Callable[[Any, Any, Any], Any]):
        self._component, self._work = component, work
        self._items: Sequence[Any] = ()
        self._found: list[Any] = []
        self._simulator = Simulator(component)
        self._simulator.add_testbench(self._bench)
        self._ran = False

    async def _bench(self, context):
        self._found = [self._work(self._component, context, item) for item in self._items]

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        """What `work` returns for each item."""
        if self._ran:  # a bench that has not begun cannot be begun anew
            self._simulator.reset()
        self._items, self._ran = items, True
        self._simulator.run()
        return self._found


def operations(words: Sequence[int]) -> list[Any]:
    """The Operation of each word."""
    return _decoder()(words)


def answers(cases: Sequence[Case]) -> list[Answer]:
    """What the datapath makes of each case."""
    return _datapath()(cases)


@cache
def _decoder() -> _Simulated:
    return _Simulated(Decoder(), _decode)


@cache
def _datapath() -> _Simulated:
    return _Simulated(Datapath(), _answer)


def _decode(part: Decoder | Datapath, context: Any, word: int) -> Any:
    context.set(part.word, word)
    return OPERATION.unpack(context.get(Value.cast(part.operation)))


def _answer(datapath: Datapath, context: Any, case: Case) -> Answer:
    operation = _decode(datapath, context, case.word)
    context.set(Value.cast(datapath.given), GIVEN.pack(*given(case, operation)))
    return Answer(operation, SEEN.unpack(context.get(Value.cast(datapath.seen))))


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
        fields = random_fields(row, rng)
        try:
            row.build(**fields)
        except Reserved:
            continue
        return word_of(row, fields)


def random_fields(row: Row, rng: Random) -> dict[str, int]:
    """Fields of a word of the row, in which registers are often the same, or number 31."""
    fields = {name: rng.getrandbits(field.width) for name, field in row.fields.items()}
    registers = [name for name in REGISTERS if name in fields]
    for name in registers:
        if rng.random() < 0.3:
            fields[name] = rng.choice((31, fields[rng.choice(registers)]))
    return fields


def word_of(row: Row, fields: dict[str, int]) -> int:
    """The word of the row that has these fields."""
    return row.value | sum(row.fields[name].put(value) for name, value in fields.items())


def random_state(rng: Random) -> State:
    """At EL1, with random registers, anywhere."""
    state = State(el=EL.EL1, pc=rng.getrandbits(64) & ~0b11, nzcv=rng.getrandbits(4))
    for n in range(32):
        anything = rng.getrandbits(64)
        state.x[n] = rng.choice((anything, anything & ~0xF, rng.randrange(64), rng.choice(EDGES)))
    return state


def random_cases(rows: Sequence[Row], rng: Random, count: int = WORDS_PER_ROW) -> list[Case]:
    """So many cases of each row."""
    return [
        Case(row, random_word(row, rng), random_state(rng), rng.randbytes(16))
        for row in rows
        for _ in range(count)
    ]
