"""What the step unit has of its own: reset, load, idle cycles."""

from itertools import product

from model.arch import EL, Event, Last
from tb.cases import case
from tb.cases.directed import EL1, EL3, INACTIVE, KDE, KERNEL, NOT_PENDING, PENDING, SS
from tb.testbench import Testbench


@case("hw.step: reset")
async def reset_state(tb: Testbench) -> None:
    """After reset the PE is at EL3, debug exceptions masked, nothing stepped."""
    await tb.idle()
    row = tb.cycles[-1].row
    tb.expect(row, valid=0, el=EL3, nrw=0, d=1, ss=0, il=0, mdscr_el1=0, mdscr_el1_written=0)
    tb.expect(row, last=Last.NOTHING, enabled=0, state=INACTIVE)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, valid=1, el=EL3, step_exception=0, state_after=INACTIVE)


@case("hw.step: load")
async def load_puts_the_pe_anywhere(tb: Testbench) -> None:
    """PSTATE, MDSCR_EL1 and what was stepped are as loaded, whatever happened before."""
    for el, last, (d, ss, il) in product(EL, Last, product((0, 1), repeat=3)):
        for mdscr_el1 in (0, SS, KDE):
            await tb.start(el=el, d=d, ss=ss, il=il, mdscr_el1=mdscr_el1, last=last)
            row = await tb.do(Event.EXECUTE)
            tb.expect(row, el=el, nrw=0, d=d, ss=ss, il=il, last=last)
            tb.expect(row, mdscr_el1=mdscr_el1, mdscr_el1_written=mdscr_el1)
    await tb.start(el=EL1, mdscr_el1=SS, mdscr_el1_written=KDE)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, mdscr_el1=SS, mdscr_el1_written=KDE)
    await tb.start(el=EL1, el1_aarch32=1)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, el=EL1, nrw=1, nrw_after=1)


@case("hw.step: idle")
async def nothing_happens_in_an_idle_cycle(tb: Testbench) -> None:
    """Cycles without an event leave the PE as it is, and the trace invalid."""
    await tb.start(**KERNEL, ss=1)
    await tb.do(Event.EXECUTE, mdscr_write=KDE, mdscr_seen=0)
    for _ in range(3):
        await tb.idle()
        row = tb.cycles[-1].row
        tb.expect(row, valid=0, el=EL1, d=0, ss=0, state=PENDING, last=Last.INSTRUCTION)
        tb.expect(row, mdscr_el1=SS | KDE, mdscr_el1_written=KDE)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, valid=1, step_exception=1, esr=0xCF000022)
    await tb.start(**KERNEL, ss=1)
    await tb.idle()
    row = await tb.do(Event.LOAD_EXCLUSIVE)
    tb.expect(row, ss=1, state=NOT_PENDING, event=Event.LOAD_EXCLUSIVE)
