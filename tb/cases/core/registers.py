"""All 64 bits of the system registers: the tests of single fields leave most of them 0."""

import random
from collections.abc import Iterator, Mapping, Sequence

from model.a64.processor import QUIET
from model.arch import (
    EL,
    HCR_EL2,
    MDSCR_EL1,
    RESET_VECTOR,
    SCR_EL3,
    SYSREGS,
    Mode,
    Retire,
    SPSR_ELx,
)
from tb.cases import case
from tb.core.lockstep import Lockstep
from tb.core.machine import Limits
from tb.core.program import ERET, MASK64, NOP, WORD_BYTES, Code, Program, mov, mrs, msr, word
from tb.core.rows import inputs, packed
from tb.core.testbench import CoreTestbench
from tb.harness import CORE
from tb.testbench import Failure

CODE = RESET_VECTOR + 0x1000
VECTORS = RESET_VECTOR + 0x4000
SP = 31
PAIRS = 4  #: of values, each with its complement, that all registers are given
CONTROLLED = 200  #: programs with any control registers
LONG = 1000  #: cycles: no row but one that waits takes so many

_STOP = word("B")  #: branches to itself
_ROWS_AFTER = 6  #: of an exception, and of what comes of it

#: What EL3 cannot write or read, or what changes by itself; and SPSel, with which SP_EL0 goes away.
_NOT_KEPT = (
    *("OSLAR_EL1", "OSLSR_EL1", "MIDR_EL1", "MPIDR_EL1", "CurrentEL", "PMCCNTR_EL0"),
    "SPSel",
)
KEPT = [name for name in SYSREGS if name not in _NOT_KEPT]

CONTROLS = (
    *("SCTLR_EL1", "SCTLR_EL2", "SCTLR_EL3", "HCR_EL2", "MDCR_EL2", "MDSCR_EL1"),
    *("MDCR_EL3", "SCR_EL3", "SDER32_EL3", "OSDLR_EL1"),
)

_MODES = {EL.EL1: Mode.EL1h, EL.EL2: Mode.EL2h, EL.EL3: Mode.EL3h}
_CALLS = {EL.EL1: "SVC", EL.EL2: "HVC", EL.EL3: "SMC"}
_USUAL = SCR_EL3.NS.mask | SCR_EL3.HCE.mask


def _values(rng: random.Random) -> Iterator[int]:
    """Any values, each followed by its complement: every bit is 0 once, and 1 once."""
    for _ in range(PAIRS):
        value = rng.getrandbits(64)
        yield from (value, value ^ MASK64)


@case("system registers", random=True, bulk=True, design=CORE)
async def every_bit_is_kept(tb: CoreTestbench) -> None:
    """Each is written and read back, and all are read when all have been written."""
    code = Code(RESET_VECTOR)
    for mask in _values(tb.rng):
        for name in KEPT:
            # Read after an even and an odd number of cycles: what flips in each would flip back.
            code.put(*mov(1, tb.rng.getrandbits(64) ^ mask), msr(name, 1))
            code.put(mrs(2, name), NOP, mrs(2, name))
        code.put(*(mrs(2, name) for name in KEPT))
        for value in (mask, mask ^ MASK64):
            _stack_pointers(code, value)
    code.put(_STOP)
    rows = await tb.run(Program(code.image()).segments(), max_rows=len(code.words))
    tb.expect(rows.row(-1), kind=Retire.INSTRUCTION, pc=code.at - WORD_BYTES)


@case("cycle counter", random=True, bulk=True, design=CORE)
async def the_cycle_counter_counts(tb: CoreTestbench) -> None:
    """It goes on from what is written, by the cycles that pass: the reference is told its value."""
    for value in _values(tb.rng):
        code = Code(RESET_VECTOR)
        code.put(*mov(1, value), msr("PMCCNTR_EL0", 1), *(mrs(2, "PMCCNTR_EL0") for _ in range(3)))
        code.put(_STOP)
        rows = await tb.run(Program(code.image()).segments(), max_rows=len(code.words))
        written = rows.row(-5)
        for at in (-4, -3, -2):
            row = rows.row(at)
            tb.expect(row, cycle_count=value + row.cycle - written.cycle - 1 & MASK64)


def _stack_pointers(code: Code, value: int) -> None:
    """Each of the two that EL3 can use is written and read as an operand."""
    for select in (0, 1):
        code.put(*mov(1, select), msr("SPSel", 1), *mov(1, value ^ -select & MASK64))
        code.add("ADD (immediate)", sf=1, Rn=1, Rd=SP)
        code.add("ADD (immediate)", sf=1, Rn=SP, Rd=2)


@case("D1.10, addresses", random=True, bulk=True, design=CORE)
async def every_bit_of_an_address(tb: CoreTestbench) -> None:
    """Vectors, return addresses and faulting addresses that are anywhere."""
    for value in _values(tb.rng):
        for el, call in _CALLS.items():
            below = min(el, EL.EL2)
            await _run(tb, below, [word(call)], {f"VBAR_{el.name}": value})
        for el in (EL.EL1, EL.EL2, EL.EL3):
            for each in (word("LDR (unsigned offset)", sz=1, Rn=1, Rt=2), word("BR", Rn=1)):
                await _run(tb, el, [each], {}, value)
                await _run(tb, el, [each], {"HCR_EL2": HCR_EL2.VM.mask}, value)
            await _run(tb, el, [], {"ELR_EL3": value})


@case("bits without a function", random=True, bulk=True, design=CORE)
async def every_bit_of_the_controls(tb: CoreTestbench) -> None:
    """Control registers with any bits, and one of them written anew by what may be stepped."""
    for _ in range(CONTROLLED):
        registers = {name: tb.rng.getrandbits(64) for name in CONTROLS}
        registers["MDSCR_EL1"] |= tb.rng.choice((0, MDSCR_EL1.SS.mask | MDSCR_EL1.KDE.mask))
        registers["SCR_EL3"] |= tb.rng.choice((0, _USUAL))
        registers["HCR_EL2"] &= ~tb.rng.choice((0, HCR_EL2.TGE.mask | HCR_EL2.VM.mask))
        registers["OSDLR_EL1"] &= ~1
        el = tb.rng.choice((EL.EL1, EL.EL2))
        flags = SPSR_ELx.SS.mask | tb.rng.choice((0, SPSR_ELx.D.mask))
        written = tb.rng.choice((*CONTROLS, "OSLAR_EL1"))
        registers["SPSR_EL3"] = int(_MODES[el]) | flags
        words = [msr(written, 1), NOP, word("SVC")]
        await _run(tb, el, words, registers, x1=tb.rng.getrandbits(64))


@case("WFI and WFE", bulk=True, design=CORE)
async def a_wait_lasts_until_an_interrupt(tb: CoreTestbench) -> None:
    """WFI and WFE wait where nothing says that they end, and no other instruction does."""
    for wait in ("WFI", "WFE"):
        code = Code(RESET_VECTOR)
        code.put(NOP, NOP, word(wait), NOP, _STOP)
        held = await tb.begin(Program(code.image()).segments(), inputs(wfx_ends=0))
        await _comes_to(tb, held, WORD_BYTES, f"the row before {wait}")
        tb.machine.give(inputs(wfx_ends=0, irq=1))
        # The wait itself has begun without: what it is, is decided in its first cycle.
        held.give(inputs(wfx_ends=0, irq=[0, 1]))
        await _comes_to(tb, held, 4 * WORD_BYTES, f"the end after {wait}")


async def _comes_to(tb: CoreTestbench, held: Lockstep, offset: int, what: str) -> None:
    """In the next cycles, rows come up to one at an address, and no more."""
    rows = await tb.advance(held, Limits(100, tb.machine.cycles + LONG))
    last = rows.row(-1).pc if len(rows) else None
    if last != RESET_VECTOR + offset:
        at = "none" if last is None else f"one at {last:#x}"
        raise Failure(f"in {LONG} cycles, {what} should come last, but there was {at}")


async def _run(
    tb: CoreTestbench, el: EL, words: Sequence[int], registers: Mapping[str, int], x1: int = 0
) -> None:
    """Come to an EL, go on with `words`, and see some rows of what comes then."""
    usual = {f"VBAR_{name.name}": VECTORS for name in _MODES} | {"SCR_EL3": _USUAL}
    values = {**usual, "OSLAR_EL1": 0, "ELR_EL3": CODE, "SPSR_EL3": int(_MODES[el]), **registers}
    boot = Code(RESET_VECTOR)
    for name, value in values.items():
        boot.put(*mov(0, value), msr(name, 0))
    boot.put(*mov(1, x1), ERET)
    code = boot.image() | {VECTORS + offset: _STOP for offset in range(0, 0x800, 0x80)}
    code |= {CODE + WORD_BYTES * n: each for n, each in enumerate([*words, _STOP])}
    rows = len(boot.words) + len(words) + _ROWS_AFTER
    await tb.run(Program(code).segments(), packed([QUIET]), max_rows=rows)
