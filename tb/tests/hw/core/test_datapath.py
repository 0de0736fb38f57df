"""Decoder, execute, load and store: every instruction row of the reference, on random states."""

from random import Random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw.core.decode import Decoder, Group, Operation
from hw.core.divide import Divider
from hw.core.execute import NZCV, Execute
from hw.core.memory import ExclusiveMonitor, LoadStore
from model.a64.decode import Reserved, Row, UndefinedWord
from model.a64.instructions import ROWS
from model.a64.interpreter import DECODER, step
from model.a64.state import MASK64, SP, State
from model.arch import EL

PC = 0x4000_1000
DATA = 0x5000_0000
DATA_SIZE = 0x1_0000
WORDS_PER_ROW = 12

EDGES = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 63) - 1, MASK64]

#: Groups whose results are not the datapath's: they are the system registers', or there are none.
SYSTEM = {Group.MRS, Group.MSR, Group.DAIFSET, Group.DAIFCLR, Group.SPSEL, Group.CLREX}
SYSTEM |= {Group.BARRIER, Group.ISB, Group.NOP, Group.WFE, Group.WFI, Group.SEV}
SYSTEM |= {Group.SVC, Group.HVC, Group.SMC, Group.BRK, Group.ERET, Group.PREFETCH}


class Datapath(wiring.Component):
    """Decoder, execute, load and store, as the core has them beside each other."""

    word: In(32)
    pc: In(64)
    n: In(64)
    m: In(64)
    a: In(64)
    nzcv: In(NZCV)
    checks_alignment: In(1)
    loaded: In(128)

    operation: Out(Operation)

    def __init__(self):
        super().__init__()
        self.execute, self.memory = Execute(), LoadStore()

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = Decoder()
        m.submodules.execute = execute = self.execute
        m.submodules.memory = memory = self.memory
        m.d.comb += [
            decoder.word.eq(self.word),
            self.operation.eq(decoder.operation),
            execute.operation.eq(decoder.operation),
            execute.pc.eq(self.pc),
            execute.n.eq(self.n),
            execute.m.eq(self.m),
            execute.a.eq(self.a),
            execute.nzcv.eq(self.nzcv),
            memory.operation.eq(decoder.operation),
            memory.pc.eq(self.pc),
            memory.base.eq(self.n),
            memory.offset.eq(execute.operand2),
            memory.rt.eq(self.a),
            memory.rt2.eq(self.m),
            memory.checks_alignment.eq(self.checks_alignment),
            memory.loaded.eq(self.loaded),
        ]
        return m


@pytest.fixture(scope="module")
def simulate():
    """Runs testbenches over one datapath."""
    datapath = Datapath()

    def run(bench):
        simulator = Simulator(datapath)

        async def body(context):
            await bench(datapath, context)

        simulator.add_testbench(body)
        simulator.run()

    return run


def random_word(row: Row, rng: Random) -> int:
    """A word of the row that is not reserved."""
    while True:
        fields = {name: rng.getrandbits(field.width) for name, field in row.fields.items()}
        try:
            row.build(**fields)
        except Reserved:
            continue
        return row.value | sum(row.fields[name].put(value) for name, value in fields.items())


def random_value(rng: Random) -> int:
    return rng.choice(EDGES) if rng.random() < 0.3 else rng.getrandbits(64)


def random_state(rng: Random) -> State:
    """At EL1, with random registers; some are near the middle of the data, some small."""
    state = State(el=EL.EL1, pc=PC)
    for n in range(32):
        near = DATA + DATA_SIZE // 2 + rng.randrange(-64, 64)
        state.x[n] = rng.choice((near, rng.randrange(64), random_value(rng)))
    state.x[SP] &= ~0xF  # or its accesses would fault
    state.nzcv = rng.getrandbits(4)
    return state


def set_operands(datapath, context, state: State, word: int) -> None:
    """The word, and the register values that the decoder asks for."""
    context.set(datapath.word, word)
    operation = datapath.operation
    sp = {SP: state.x[SP]} if context.get(operation.rn_sp) else {SP: 0}
    n, m, a = (context.get(getattr(operation, name)) for name in ("rn", "rm", "ra"))
    context.set(datapath.n, sp.get(n, state.x[n]))
    context.set(datapath.m, 0 if m == 31 else state.x[m])
    context.set(datapath.a, 0 if a == 31 else state.x[a])
    context.set(datapath.pc, state.pc)
    context.set(datapath.nzcv, {bit: state.nzcv >> at & 1 for at, bit in enumerate("vczn")})


def written(state: State, before: list[int]) -> dict[int, int]:
    return {n: state.x[n] for n in range(32) if state.x[n] != before[n]}


def test_exactly_the_words_of_the_reference_are_defined(simulate, rng):
    async def bench(datapath, context):
        for row in ROWS:
            if row.name in ("MRS", "MSR (register)"):
                continue  # which system registers there are, is not the decoder's
            for _ in range(WORDS_PER_ROW):
                word = row.value | rng.getrandbits(32) & ~row.mask & 0xFFFF_FFFF
                if rng.random() < 0.3:
                    word ^= 1 << rng.randrange(32)
                if word >> 20 in (0xD51, 0xD53):
                    continue
                try:
                    DECODER.decode(word, 0)
                    defined = True
                except UndefinedWord:
                    defined = False
                context.set(datapath.word, word)
                group = Group(context.get(datapath.operation.group))
                assert (group != Group.UNDEFINED) == defined, f"{row.name}: {word:#010x} {group}"

    simulate(bench)


def test_random_words_that_are_no_instruction_are_undefined(simulate, rng):
    async def bench(datapath, context):
        undefined = 0
        for _ in range(1000):
            word = rng.getrandbits(32)
            context.set(datapath.word, word)
            if context.get(datapath.operation.group) == Group.UNDEFINED:
                undefined += 1
                if word >> 20 in (0xD51, 0xD53):
                    continue
                with pytest.raises(UndefinedWord):
                    DECODER.decode(word, 0)
        assert undefined > 300

    simulate(bench)


def test_results_flags_and_branches_are_the_reference_s(simulate, rng):
    checked = set()

    async def bench(datapath, context):
        for row in ROWS:
            for _ in range(WORDS_PER_ROW):
                word = random_word(row, rng)
                context.set(datapath.word, word)
                group = Group(context.get(datapath.operation.group))
                if group in SYSTEM or group in (Group.MEMORY, Group.DIVIDE):
                    continue
                checked.add(row.name)
                state = random_state(rng)
                before = state.x.copy()
                set_operands(datapath, context, state, word)
                state.memory.map(PC, word.to_bytes(4, "little"))
                step(state)
                what = f"{row.name}: {word:#010x}"
                check_result(datapath, context, state, before, what)

    simulate(bench)
    assert len(checked) == 74


def check_result(datapath, context, state, before, what):
    operation, execute = datapath.operation, datapath.execute
    found = before.copy()
    if context.get(operation.writes_rd):
        rd = context.get(operation.rd)
        if rd != 31 or context.get(operation.rd_sp):
            found[rd] = context.get(execute.result)
    assert found[:32] == state.x[:32], what
    flags = context.get(datapath.nzcv)
    if context.get(operation.sets_flags):
        flags = context.get(execute.nzcv_after)
    assert sum(flags[bit] << at for at, bit in enumerate("vczn")) == state.nzcv, what
    pc = context.get(execute.target) if context.get(execute.taken) else PC + 4
    assert pc == state.pc, what


def test_accesses_are_the_reference_s(simulate, rng):
    checked = set()

    async def bench(datapath, context):
        for row in ROWS:
            done = 0
            while done < WORDS_PER_ROW:
                word = random_word(row, rng)
                context.set(datapath.word, word)
                if context.get(datapath.operation.group) != Group.MEMORY:
                    break
                if context.get(datapath.operation.exclusive):
                    break
                state = random_state(rng)
                content = rng.randbytes(DATA_SIZE)
                if one_access(datapath, context, state, word, content, row.name):
                    done += 1
                    checked.add(row.name)
                elif context.get(datapath.operation.literal):
                    done += 1

    simulate(bench)
    assert len(checked) == 60


def one_access(datapath, context, state, word, content, name) -> bool:
    """Whether the access was inside the data: then it is checked."""
    set_operands(datapath, context, state, word)
    operation, memory = datapath.operation, datapath.memory
    address, size = context.get(memory.address), 1 << context.get(memory.size)
    literal = context.get(operation.literal)
    start = address - 8 if literal else DATA
    if not literal and not DATA <= address <= DATA + DATA_SIZE - size:
        return False
    if context.get(operation.ordered) and address % size:
        assert context.get(memory.misaligned)
        return False
    if literal and abs(address - PC) < 64:
        return False
    content = content[:32] if literal else content
    held = state.memory.map(start, content)
    state.memory.map(PC, word.to_bytes(4, "little"))
    offset = address - start
    context.set(datapath.loaded, int.from_bytes(content[offset : offset + size], "little"))
    found = state.x.copy()
    step(state)
    what = f"{name}: {word:#010x}"
    if context.get(operation.store):
        stored = context.get(memory.stored)
        assert stored == int.from_bytes(held[offset : offset + size], "little"), what
        assert bytes(held[:offset] + held[offset + size :]) == (
            content[:offset] + content[offset + size :]
        ), what
    else:
        assert bytes(held) == content
        loads = [(context.get(operation.rd), context.get(memory.value))]
        if context.get(operation.pair):
            loads.append((context.get(operation.rm), context.get(memory.value2)))
        for register, value in loads:
            if register != 31:
                found[register] = value
    if context.get(operation.writeback):
        found[context.get(operation.rn)] = context.get(memory.written_back)
    assert found[:32] == state.x[:32], what
    return True


#: word, what ISS of a stage 2 abort says: SAS, SSE, SRT, SF, AR; None without ISV
SYNDROMES = {
    "ldrb w3, [x1]": (0x39400023, (0, 0, 3, 0, 0)),
    "ldrsb w3, [x1]": (0x39C00023, (0, 1, 3, 0, 0)),
    "ldrsb x3, [x1]": (0x39800023, (0, 1, 3, 1, 0)),
    "ldrsh x3, [x1]": (0x79800023, (1, 1, 3, 1, 0)),
    "ldr w3, [x1]": (0xB9400023, (2, 0, 3, 0, 0)),
    "ldrsw x3, [x1]": (0xB9800023, (2, 1, 3, 1, 0)),
    "ldr x3, [x1]": (0xF9400023, (3, 0, 3, 1, 0)),
    "str wzr, [x1]": (0xB900003F, (2, 0, 31, 0, 0)),
    "strh w3, [x1]": (0x79000023, (1, 0, 3, 0, 0)),
    "str x30, [x1, x2]": (0xF822683E, (3, 0, 30, 1, 0)),
    "ldar w3, [x1]": (0x88DFFC23, (2, 0, 3, 0, 1)),
    "stlr x3, [x1]": (0xC89FFC23, (3, 0, 3, 1, 1)),
    "ldr x3, [x1], #8": (0xF8408423, None),
    "str x3, [x1, #8]!": (0xF8008C23, None),
    "ldp x3, x4, [x1]": (0xA9401023, None),
    "stp x3, x4, [x1]": (0xA9001023, None),
    "ldxr x3, [x1]": (0xC85F7C23, None),
    "stxr w2, x3, [x1]": (0xC8027C23, None),
}


def test_the_syndrome_describes_loads_and_stores_of_one_register(simulate):
    async def bench(datapath, context):
        for text, (word, expected) in SYNDROMES.items():
            context.set(datapath.word, word)
            found = context.get(datapath.memory.syndrome)
            fields = (expected is not None, *(expected or (0, 0, 0, 0, 0)))
            names = ("isv", "sas", "sse", "srt", "sf", "ar")
            assert tuple(found[name] for name in names) == fields, text

    simulate(bench)


#: word, the number of bytes that the address must be a multiple of: always, and with SCTLR.A
ALIGNMENTS = {
    "ldrb w3, [x1]": (0x39400023, 1, 1),
    "ldrh w3, [x1]": (0x79400023, 1, 2),
    "str x3, [x1]": (0xF9000023, 1, 8),
    "ldp w3, w4, [x1]": (0x29401023, 1, 4),
    "stp x3, x4, [x1]": (0xA9001023, 1, 8),
    "ldar w3, [x1]": (0x88DFFC23, 4, 4),
    "stlr x3, [x1]": (0xC89FFC23, 8, 8),
    "ldxr w3, [x1]": (0x885F7C23, 4, 4),
    "ldxp w3, w4, [x1]": (0x887F1023, 8, 8),
    "ldxp x3, x4, [x1]": (0xC87F1023, 16, 16),
    "stxr w2, x3, [x1]": (0xC8027C23, 8, 8),
}


def test_misaligned_is_what_must_be_aligned_and_is_not(simulate):
    async def bench(datapath, context):
        for text, (word, *sizes) in ALIGNMENTS.items():
            context.set(datapath.word, word)
            for checked, size in enumerate(sizes):
                context.set(datapath.checks_alignment, checked)
                for address in range(DATA, DATA + 17):
                    context.set(datapath.n, address)
                    wrong = context.get(datapath.memory.misaligned)
                    assert wrong == (address % size != 0), (text, checked, address)

    simulate(bench)


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def quotient(n: int, by: int, bits: int, is_signed: bool) -> int:
    """UDIV, SDIV (C6.2): towards zero, 0 if by 0."""
    n, by = n & (1 << bits) - 1, by & (1 << bits) - 1
    if is_signed:
        n, by = signed(n, bits), signed(by, bits)
    if by == 0:
        return 0
    whole = abs(n) // abs(by)
    return (whole if (n < 0) == (by < 0) else -whole) & (1 << bits) - 1


def test_quotients_are_rounded_towards_zero_and_in_time(rng):
    divider = Divider()
    simulator = Simulator(divider)
    simulator.add_clock(1e-6)

    async def bench(context):
        pairs = [(n, by) for n in EDGES for by in EDGES]
        pairs += [(rng.getrandbits(64), rng.getrandbits(rng.randrange(1, 65))) for _ in range(60)]
        for n, by in pairs:
            bits, is_signed = rng.choice((32, 64)), rng.getrandbits(1)
            context.set(divider.dividend, n)
            context.set(divider.divisor, by)
            context.set(divider.signed, is_signed)
            context.set(divider.sf, bits == 64)
            context.set(divider.start, 1)
            await context.tick()
            context.set(divider.start, 0)
            await context.tick().repeat(bits // 4)
            assert context.get(divider.done)
            expected = quotient(n, by, bits, bool(is_signed))
            assert context.get(divider.quotient) == expected, (n, by, bits, is_signed)

    simulator.add_testbench(bench)
    simulator.run()


def test_the_monitor_passes_what_is_marked_until_it_is_cleared():
    monitor = ExclusiveMonitor()
    simulator = Simulator(monitor)
    simulator.add_clock(1e-6)

    async def bench(context):
        context.set(monitor.address, 0x1000)
        context.set(monitor.size, 3)
        assert not context.get(monitor.passes)
        context.set(monitor.mark, 1)
        await context.tick()
        context.set(monitor.mark, 0)
        assert context.get(monitor.marked)
        assert context.get(monitor.passes)
        context.set(monitor.address, 0x1008)
        assert not context.get(monitor.passes)
        context.set(monitor.address, 0x1000)
        context.set(monitor.size, 2)
        assert not context.get(monitor.passes)
        context.set(monitor.size, 3)
        assert context.get(monitor.passes)
        context.set(monitor.clear, 1)
        await context.tick()
        assert not context.get(monitor.marked)
        assert not context.get(monitor.passes)

    simulator.add_testbench(bench)
    simulator.run()
