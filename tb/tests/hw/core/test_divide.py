"""Divide: quotients, and when they are there."""

from amaranth.sim import Simulator

from hw.core.decode import Group
from hw.core.divide import Divider
from hw.core.timing import LATENCY, TimingClass
from model.a64.data_processing import ROWS
from model.a64.interpreter import step
from model.a64.state import SP
from tb.tests.hw.core.datapath import EDGES, given, operations, random_cases


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


def quotients(divisions):
    """What a divider makes of each (dividend, divisor, bits, is signed), one after the other."""
    divider = Divider()
    simulator = Simulator(divider)
    simulator.add_clock(1e-6)
    found = []

    async def bench(context):
        for n, by, bits, is_signed in divisions:
            context.set(divider.dividend, n)
            context.set(divider.divisor, by)
            context.set(divider.signed, is_signed)
            context.set(divider.sf, bits == 64)
            context.set(divider.start, 1)
            await context.tick()
            context.set(divider.start, 0)
            # The operands are needed no longer.
            context.set(divider.dividend, ~n)
            context.set(divider.divisor, ~by)
            context.set(divider.sf, bits == 32)
            await context.tick().repeat(bits // 4 - 1)
            assert not context.get(divider.done)
            await context.tick()
            assert context.get(divider.done)
            found.append(context.get(divider.quotient))

    simulator.add_testbench(bench)
    simulator.run()
    return found


def test_quotients_at_every_pair_of_edges():
    divisions = [
        (n, by, bits, is_signed)
        for n in EDGES
        for by in EDGES
        for bits in (32, 64)
        for is_signed in (False, True)
    ]
    for division, found in zip(divisions, quotients(divisions), strict=True):
        assert found == quotient(*division), division


def test_quotients_of_divisors_of_all_lengths(rng):
    divisions = [
        (rng.getrandbits(64), rng.getrandbits(length), bits, is_signed)
        for length in range(1, 65)
        for bits in (32, 64)
        for is_signed in (False, True)
    ]
    for division, found in zip(divisions, quotients(divisions), strict=True):
        assert found == quotient(*division), division


def test_the_rows_are_the_reference_s(rng):
    cases = random_cases([row for row in ROWS if row.name in ("UDIV", "SDIV")], rng)
    found = operations([case.word for case in cases])
    divisions = []
    for case, operation in zip(cases, found, strict=True):
        assert operation.group == Group.DIVIDE, case
        _, n, by, *_ = given(case, operation)
        divisions.append((n, by, 64 if operation.sf else 32, operation.signed))
    for case, operation, value in zip(cases, found, quotients(divisions), strict=True):
        expected = case.state.x.copy()
        if operation.rd != SP:
            expected[operation.rd] = value
        step(case.state)
        assert expected[: SP + 1] == case.state.x[: SP + 1], case


def test_a_divider_is_done_within_its_latency():
    """The first cycle of a row starts it, and the one after those of the bits has the quotient."""
    for timing, bits in ((TimingClass.DIVIDE_32, 32), (TimingClass.DIVIDE_64, 64)):
        assert LATENCY[timing].cycles >= 1 + bits // 4 + 1
