"""The state machine, and when a write of MDSCR_EL1 is seen."""

from itertools import product

from model.arch import EL, Event, Mode
from tb.cases import case
from tb.cases.directed import (
    CALLS,
    EL0,
    EL1,
    EL3,
    GUEST,
    HYP,
    INACTIVE,
    INSTRUCTIONS,
    KDE,
    KERNEL,
    NOT_PENDING,
    OSLK,
    PENDING,
    SPSR_SS,
    SS,
    TDE,
    TO_GUEST,
    USER,
    Columns,
)
from tb.testbench import Testbench

# The state machine


@case("D2.12.3")
async def mdscr_ss_and_pstate_ss_make_the_state(tb: Testbench) -> None:
    """Enabled, MDSCR_EL1.SS = 0 is inactive; with 1, PSTATE.SS says whether a step is pending."""
    for mdscr_ss, ss, state in (
        (0, 0, INACTIVE),
        (0, 1, INACTIVE),
        (SS, 1, NOT_PENDING),
        (SS, 0, PENDING),
    ):
        await tb.start(**KERNEL | {"mdscr_el1": KDE | mdscr_ss}, ss=ss)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, enabled=1, state=state, step_exception=state == PENDING)


@case("D2.12.3")
async def there_is_no_software_step_while_eld_uses_aarch32(tb: Testbench) -> None:
    """With ELd using AArch32 the state is inactive; the width of an EL below it does not matter."""
    for el1_aarch32, el2_aarch32, mdcr_el2, state in (
        (0, 0, 0, NOT_PENDING),
        (0, 0, TDE, NOT_PENDING),
        (1, 0, 0, INACTIVE),
        (1, 0, TDE, NOT_PENDING),
        (1, 1, 0, INACTIVE),
        (1, 1, TDE, INACTIVE),
    ):
        widths = {"el1_aarch32": el1_aarch32, "el2_aarch32": el2_aarch32}
        await tb.start(**USER, ss=1, mdcr_el2=mdcr_el2, **widths)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, enabled=1, state=state)


@case("D2.12.5")
async def ss_clears_in_every_state(tb: Testbench) -> None:
    """An instruction that completes clears PSTATE.SS, in inactive too."""
    inactive: list[Columns] = [
        GUEST | {"mdscr_el1": 0},
        KERNEL | {"d": 1},
        GUEST | {"oslsr_el1": OSLK},
        {"el": EL3, "mdscr_el1": SS},
        {"el": EL0},
    ]
    for start, event in product([*inactive, GUEST, KERNEL], INSTRUCTIONS):
        await tb.start(**start, ss=1)
        row = await tb.do(event)
        tb.expect(row, step_exception=0, ss=1, ss_after=0)


@case("D2.12.5")
async def ss_clears_whatever_mdscr_then_reads(tb: Testbench) -> None:
    """A stepped write that turns MDSCR_EL1.SS off clears PSTATE.SS as any instruction does."""
    for seen, state_after in ((0, PENDING), (1, INACTIVE)):
        await tb.start(**GUEST, ss=1)
        row = await tb.do(Event.EXECUTE, mdscr_write=0, mdscr_seen=seen)
        tb.expect(row, state=NOT_PENDING, ss_after=0, state_after=state_after)


@case("D2.12.5")
async def an_instruction_keeps_el_d_and_il(tb: Testbench) -> None:
    """An instruction that writes none of them leaves them alone."""
    for el, d, event in product(EL, (0, 1), INSTRUCTIONS):
        await tb.start(el=el, d=d)
        row = await tb.do(event)
        tb.expect(row, el_after=el, nrw_after=0, d_after=d, il_after=0, spsr_saved=0, esr=0)


@case("D2.12.5")
async def daifset_below_eld_changes_nothing(tb: Testbench) -> None:
    """D does not count below ELd: a stepped DAIFSet there is followed by its step exception."""
    await tb.start(**GUEST, ss=1)
    row = await tb.do(Event.EXECUTE, d_write=1)
    tb.expect(row, d_after=1, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, esr=0xCB000022)


# When a write of MDSCR_EL1 is seen


@case("D2.12.2")
async def mdscr_write_is_seen_at_once(tb: Testbench) -> None:
    """The one view that is allowed: SS and KDE count from the next instruction on."""
    for old, new, state_after in (
        (0, SS | KDE, PENDING),
        (SS, SS | KDE, PENDING),
        (KDE, SS | KDE, PENDING),
        (KDE, SS, INACTIVE),
    ):
        await tb.start(el=EL1, mdscr_el1=old)
        row = await tb.do(Event.EXECUTE, mdscr_write=new, mdscr_seen=1)
        tb.expect(row, state=INACTIVE, state_after=state_after, mdscr_el1=old)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, mdscr_el1=new, mdscr_el1_written=new, step_exception=state_after == PENDING)


@case("D2.12.2")
async def mdscr_write_is_not_seen_before_a_synchronisation(tb: Testbench) -> None:
    """The other view: no other instruction, however many, makes the write seen."""
    for old in (0, SS, KDE):
        await tb.start(el=EL1, mdscr_el1=old)
        row = await tb.do(Event.EXECUTE, mdscr_write=SS | KDE, mdscr_seen=0)
        tb.expect(row, state_after=INACTIVE)
        for event in (Event.EXECUTE, Event.LOAD_EXCLUSIVE, Event.EXECUTE):
            row = await tb.do(event)
            tb.expect(row, mdscr_el1=old, mdscr_el1_written=SS | KDE, enabled=old == KDE)
            tb.expect(row, state=INACTIVE, state_after=INACTIVE)


@case("D2.12.2")
async def isb_makes_an_mdscr_write_seen(tb: Testbench) -> None:
    """The instruction after the ISB is the first that does not execute."""
    await tb.start(el=EL1)
    await tb.do(Event.EXECUTE, mdscr_write=SS | KDE, mdscr_seen=0)
    row = await tb.do(Event.ISB)
    tb.expect(row, state=INACTIVE, mdscr_el1=0, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, mdscr_el1=SS | KDE, esr=0xCE000022)


@case("D2.12.2")
async def exception_entry_makes_an_mdscr_write_seen(tb: Testbench) -> None:
    """Whatever the exception is, its handler runs with what was written."""
    for event in (*CALLS, Event.EXCEPTION, Event.INTERRUPT):
        await tb.start(**GUEST | {"mdscr_el1": 0})
        await tb.do(Event.EXECUTE, mdscr_write=SS, mdscr_seen=0)
        row = await tb.do(event, target_el=EL1)
        tb.expect(row, state=INACTIVE, el_after=EL1, state_after=PENDING)
    await tb.start(**GUEST | {"mdscr_el1": 0}, il=1, mdscr_el1_written=SS)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, illegal_state=1, state=INACTIVE, el_after=EL1, state_after=PENDING)


@case("D2.12.2")
async def step_exception_makes_an_mdscr_write_seen(tb: Testbench) -> None:
    """A stepped write that ends the stepping unseen is seen by the step exception's handler."""
    await tb.start(**GUEST, ss=1)
    row = await tb.do(Event.EXECUTE, mdscr_write=0, mdscr_seen=0)
    tb.expect(row, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, mdscr_el1=SS)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, mdscr_el1=0)


@case("D2.12.2")
async def eret_makes_an_mdscr_write_seen(tb: Testbench) -> None:
    """A hypervisor needs no ISB between its write of MDSCR_EL1.SS and the exception return."""
    await tb.start(**TO_GUEST | {"mdscr_el1": 0})
    await tb.do(Event.EXECUTE, mdscr_write=SS, mdscr_seen=0)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS)
    tb.expect(row, mdscr_el1=0, ss_after=1, state_after=NOT_PENDING)
    await tb.start(**TO_GUEST)
    await tb.do(Event.EXECUTE, mdscr_write=0, mdscr_seen=0)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS)
    tb.expect(row, mdscr_el1=SS, ss_after=0, state_after=INACTIVE)


@case("D2.12.2")
async def eret_judges_its_source_with_what_was_written(tb: Testbench) -> None:
    """The synchronisation comes before the return looks whether debug is enabled at the source."""
    for old, new, ss_after in ((SS, SS | KDE, 0), (KDE, SS, 1), (KDE, SS | KDE, 0)):
        await tb.start(**HYP | {"mdscr_el1": old})
        row = await tb.do(Event.EXECUTE, mdscr_write=new, mdscr_seen=0)
        tb.expect(row, state_after=INACTIVE)
        row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS)
        tb.expect(row, ss_after=ss_after)


@case("D2.12.2")
async def d_write_is_self_synchronising(tb: Testbench) -> None:
    """A write of PSTATE.D is seen at once, whatever the choice for MDSCR_EL1 is."""
    for seen in (0, 1):
        await tb.start(**KERNEL, ss=1)
        row = await tb.do(Event.EXECUTE, d_write=1, mdscr_seen=seen)
        tb.expect(row, state_after=INACTIVE)
        row = await tb.do(Event.EXECUTE, d_write=0, mdscr_seen=seen)
        tb.expect(row, state=INACTIVE, state_after=PENDING)
