"""Loads and stores: addresses, data, checks and syndromes; the exclusive monitor."""

from collections import Counter

import pytest
from amaranth.sim import Simulator

from hw.core.decode import Group
from hw.core.memory import ExclusiveMonitor
from model.a64.exceptions import MisalignedAccess, UnmappedAccess
from model.a64.interpreter import step
from model.a64.loads_stores import ROWS as LOADS_STORES
from model.a64.state import MASK64, SP, State
from model.arch import EL, HCR_EL2, SCR_EL3, AbortISS, ExceptionClass, FaultStatus, SCTLR_ELx
from tb.tests.hw.core.datapath import (
    SYNDROME,
    WORDS_PER_ROW,
    Answer,
    Case,
    answers,
    operations,
    random_cases,
)

ROWS = [row for row in LOADS_STORES if not row.name.startswith("PRF")]


def cases_of_loads_and_stores(rng, count=WORDS_PER_ROW) -> list[Case]:
    """Cases in which no SP is misaligned, as that is not looked at here; half with SCTLR.A."""
    cases = random_cases(ROWS, rng, count)
    for case in cases:
        case.state.x[SP] &= ~0xF
        case.state.sysregs["SCTLR_EL1"] |= SCTLR_ELx.A.put(rng.getrandbits(1))
    return cases


def mark(case: Case, answer: Answer) -> None:
    """What a store-exclusive needs marked, to store."""
    if answer.operation.exclusive and answer.operation.store:
        case.state.exclusive = (answer.seen.address, 1 << answer.seen.size)


def registers_after(case: Case, answer: Answer) -> list[int]:
    """The registers, with what a store-exclusive that passes writes to its status."""
    operation, seen = answer
    found = case.state.x[: SP + 1]
    written = [(operation.rd, operation.writes_rd, 0 if operation.store else seen.value)]
    written.append((operation.rm, operation.pair and not operation.store, seen.value2))
    for register, is_written, value in written:
        if is_written and register != SP:
            found[register] = value
    if operation.writeback:
        found[operation.rn] = seen.written_back
    return found


def check(case: Case, answer: Answer) -> str:
    """One case against the reference, which executes it; what was found."""
    operation, seen = answer
    state, size = case.state, 1 << seen.size
    if seen.address > MASK64 + 1 - size:
        return "beyond the last address"  # the reference has no memory there
    content = case.content[:size]
    held = state.memory.map(seen.address, content)
    mark(case, answer)
    found = registers_after(case, answer)
    try:
        step(state)
    except MisalignedAccess as fault:
        assert seen.misaligned, case
        assert fault.record.vaddress == seen.address, case
        return "misaligned"
    assert not seen.misaligned, case
    assert found == state.x[: SP + 1], case
    if operation.store:
        assert seen.stored == int.from_bytes(held, "little"), case
        return "stored"
    assert seen.read == int.from_bytes(content, "little"), case
    if operation.exclusive:
        assert state.exclusive == (seen.address, size), case
    return "loaded"


def test_every_row_is_one_access_as_the_reference_s(rng):
    cases = cases_of_loads_and_stores(rng, WORDS_PER_ROW + 10)
    found = Counter()
    for case, answer in zip(cases, answers(cases), strict=True):
        found[case.row.name, check(case, answer)] += 1
    for row in ROWS:
        done = sum(found[row.name, what] for what in ("loaded", "stored", "misaligned"))
        assert done >= WORDS_PER_ROW, row.name
        assert found[row.name, "loaded"] or found[row.name, "stored"], row.name


def test_what_else_the_core_asks_of_an_operation(rng):
    cases = random_cases(ROWS, rng, 3)
    for case, operation in zip(cases, operations([case.word for case in cases]), strict=True):
        assert operation.group == Group.MEMORY, case
        assert operation.rn_sp == ("Rn" in case.row.fields), case
        assert operation.ordered == case.row.name.startswith(("LDA", "STL")), case


def test_pairs_and_writeback_at_the_edges_of_the_offset():
    """The smallest, the largest and no offset, around an address that carries into bit 32."""
    base = 0xFFFF_FFF0
    texts = {0xA8C0_0C41: 7, 0xA9C0_0C41: 7, 0x28C0_0C41: 7, 0xF840_0441: 9, 0xF840_0C41: 9}
    lowest_bits = {7: 15, 9: 12}
    cases = []
    for word, width in texts.items():
        for offset in (0, 1, (1 << width - 1) - 1, 1 << width - 1, (1 << width) - 1):
            state = State(el=EL.EL1)
            state.x[2] = base
            offset_word = word | offset << lowest_bits[width]
            row = next(row for row in ROWS if row.matches(offset_word))
            cases.append(Case(row, offset_word, state, bytes(range(0xF0, 0x100))))
    found = {check(case, answer) for case, answer in zip(cases, answers(cases), strict=True)}
    assert found == {"loaded"}


def test_the_syndrome_of_a_stage_2_abort_is_the_reference_s(rng):
    cases = cases_of_loads_and_stores(rng, 10)
    described = Counter()
    for case, answer in zip(cases, answers(cases), strict=True):
        operation, seen = answer
        state = case.state
        state.sysregs["SCR_EL3"] = SCR_EL3.NS.put(1)
        state.sysregs["HCR_EL2"] = HCR_EL2.VM.put(1)
        mark(case, answer)
        if seen.misaligned:
            continue
        with pytest.raises(UnmappedAccess) as fault:
            step(state)
        record = fault.value.record
        syndrome = SYNDROME.unpack(seen.syndrome)
        iss = AbortISS.FSC.put(FaultStatus.TRANSLATION_LEVEL_3)
        iss |= AbortISS.WnR.put(operation.store)
        for name in syndrome._fields:
            iss |= getattr(AbortISS, name.upper()).put(getattr(syndrome, name))
        assert record.ec == ExceptionClass.DABT_LOWER, case
        assert record.iss == iss, case
        assert record.vaddress == seen.address, case
        described[syndrome.isv] += 1
    assert min(described.values()) > 100


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


def at(word: int, base: int, checks_alignment: int = 0) -> Case:
    """A load or store by X1."""
    state = State(el=EL.EL1)
    state.x[1] = base
    state.sysregs["SCTLR_EL1"] |= SCTLR_ELx.A.put(checks_alignment)
    return Case(next(row for row in ROWS if row.matches(word)), word, state)


def test_the_syndrome_describes_loads_and_stores_of_one_register():
    found = answers([at(word, 0) for word, _ in SYNDROMES.values()])
    for (text, (_, expected)), answer in zip(SYNDROMES.items(), found, strict=True):
        syndrome = SYNDROME.unpack(answer.seen.syndrome)
        fields = (int(expected is not None), *(expected or (0, 0, 0, 0, 0)))
        names = ("isv", "sas", "sse", "srt", "sf", "ar")
        assert tuple(getattr(syndrome, name) for name in names) == fields, text


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


def test_misaligned_is_what_must_be_aligned_and_is_not():
    expected = {}
    for text, (word, *sizes) in ALIGNMENTS.items():
        for checked, size in enumerate(sizes):
            for address in range(0x1000, 0x1011):
                expected[text, checked, address] = (word, address % size != 0)
    cases = [at(word, address, checked) for (_, checked, address), (word, _) in expected.items()]
    for (what, (_, wrong)), answer in zip(expected.items(), answers(cases), strict=True):
        assert answer.seen.misaligned == wrong, what


def test_prefetches_are_no_accesses():
    found = operations([0xF980_0020, 0xF880_0020, 0xF8A2_6820, 0xD800_0000])
    assert {operation.group for operation in found} == {Group.PREFETCH}
    assert not any(operation.writes_rd or operation.writeback for operation in found)


def test_the_monitor_passes_what_is_marked_until_it_is_cleared():
    monitor = ExclusiveMonitor()
    simulator = Simulator(monitor)
    simulator.add_clock(1e-6)

    async def bench(context):
        def passes(address, size):
            context.set(monitor.address, address)
            context.set(monitor.size, size)
            return context.get(monitor.passes)

        async def pulse(port):
            context.set(port, 1)
            await context.tick()
            context.set(port, 0)

        assert not passes(0x1000, 3)
        await pulse(monitor.mark)
        assert context.get(monitor.marked)
        for address, size in ((0x1008, 3), (0x1000, 2), (0x1000, 4), (1 << 63 | 0x1000, 3)):
            assert not passes(address, size)
        assert passes(0x1000, 3)
        await context.tick()
        assert passes(0x1000, 3)  # to ask changes nothing
        context.set(monitor.address, 0x2000)
        await pulse(monitor.mark)
        assert not passes(0x1000, 3)
        assert passes(0x2000, 3)
        await pulse(monitor.clear)
        assert not context.get(monitor.marked)
        assert not passes(0x2000, 3)

    simulator.add_testbench(bench)
    simulator.run()
