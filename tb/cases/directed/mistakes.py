"""The mistakes that implementers make, one test each for what is right instead."""

from itertools import product

from model.arch import HCR_EL2, Event, Last, Mode
from tb.cases import case
from tb.cases.directed import (
    CALLS,
    EL0,
    EL1,
    EL2,
    EL3,
    GUEST,
    HYP,
    INACTIVE,
    KDE,
    KERNEL,
    NOT_PENDING,
    OSLK,
    PENDING,
    SDD,
    SECURE_EL2,
    SPSR_SS,
    SS,
    TGE,
    TO_GUEST,
    USER,
)
from tb.testbench import Testbench


@case("D2.12.4, mistake 1")
async def eret_keeps_the_ss_it_has_just_loaded(tb: Testbench) -> None:
    """The advance after the exception return does not eat its SS: one instruction is stepped."""
    await tb.start(**TO_GUEST)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS)
    tb.expect(row, el_after=EL1, ss_after=1, state_after=NOT_PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=0, ss_after=0, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, el_after=EL2, esr=0xCB000022)


@case("D2.12.4, mistake 2")
async def eret_writes_0_to_ss_if_debug_was_enabled_at_the_source(tb: Testbench) -> None:
    """SS is loaded only from where debug exceptions are disabled."""
    for d, ss_after, state_after in ((0, 0, PENDING), (1, 1, NOT_PENDING)):
        await tb.start(**HYP, d=d, ss=1)
        row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS)
        tb.expect(row, enabled=1 - d, el_after=EL1, ss_after=ss_after, state_after=state_after)


@case("D2.12.4, mistake 3")
async def illegal_eret_can_still_set_ss(tb: Testbench) -> None:
    """An illegal return counts as one to the current EL, and drops nothing."""
    await tb.start(**HYP, d=1)
    row = await tb.do(Event.ERET, spsr=Mode.EL3h | SPSR_SS)
    tb.expect(row, el_after=EL2, il_after=1, d_after=0, ss_after=1, state_after=NOT_PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, illegal_state=1, spsr_ss=1, il_after=0)


@case("D2.5, mistake 4")
async def d_and_kde_do_not_count_below_eld(tb: Testbench) -> None:
    """Below ELd debug exceptions are enabled whatever D and KDE are."""
    for below, d, kde in product((USER, GUEST, GUEST | {"el": EL0}), (0, 1), (0, KDE)):
        await tb.start(**below | {"mdscr_el1": SS | kde}, d=d, ss=1)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, enabled=1, state=NOT_PENDING, state_after=PENDING)


@case("D2.12.3, mistake 5")
async def state_follows_daifclr(tb: Testbench) -> None:
    """A DAIFClr at ELd enables debug exceptions, and so makes a step pending."""
    await tb.start(**KERNEL, d=1)
    row = await tb.do(Event.EXECUTE, d_write=0)
    tb.expect(row, state=INACTIVE, d_after=0, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1)


@case("D2.12.3, mistake 5")
async def state_follows_a_write_of_mdscr(tb: Testbench) -> None:
    """A write of MDSCR_EL1.SS starts stepping, or ends it, with no further event."""
    await tb.start(**GUEST | {"mdscr_el1": 0})
    row = await tb.do(Event.EXECUTE, mdscr_write=SS)
    tb.expect(row, state=INACTIVE, state_after=PENDING)
    await tb.start(**GUEST, ss=1)
    row = await tb.do(Event.EXECUTE, mdscr_write=0)
    tb.expect(row, state=NOT_PENDING, ss_after=0, state_after=INACTIVE)


@case("D2.12.3, mistake 5")
async def state_follows_an_exception_entry(tb: Testbench) -> None:
    """An exception entry changes the EL and D, and with them the state."""
    await tb.start(**USER, ss=1)
    row = await tb.do(Event.EXCEPTION, target_el=EL1)
    tb.expect(row, state=NOT_PENDING, state_after=INACTIVE)
    await tb.start(**GUEST, ss=1)
    row = await tb.do(Event.EXCEPTION, target_el=EL1)
    tb.expect(row, state=NOT_PENDING, state_after=PENDING)


@case("D2.12.3, mistake 5")
async def state_follows_the_controls(tb: Testbench) -> None:
    """TDE, TGE, the locks and SDD change the state with no event at all."""
    await tb.start(**GUEST, ss=1, oslsr_el1=OSLK)
    await tb.idle()
    tb.expect(tb.cycles[-1].row, enabled=0, state=INACTIVE)
    tb.change(oslsr_el1=0)
    await tb.idle()
    tb.expect(tb.cycles[-1].row, enabled=1, state=NOT_PENDING)
    tb.change(mdcr_el2=0)
    await tb.idle()
    tb.expect(tb.cycles[-1].row, eld=EL1, enabled=0, state=INACTIVE)
    tb.change(hcr_el2=TGE)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, eld=EL2, enabled=1, state=NOT_PENDING, state_after=PENDING)


@case("D2.5, mistake 6")
async def os_lock_is_bit_1_of_oslsr(tb: Testbench) -> None:
    """OSLSR_EL1.OSLK disables debug exceptions; bit 0, of OSLM, and the others do not."""
    await tb.start(**GUEST, ss=1, oslsr_el1=1 << 1)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, enabled=0, state=INACTIVE, state_after=INACTIVE)
    await tb.start(**GUEST, ss=1, oslsr_el1=(1 << 64) - 1 - (1 << 1))
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, enabled=1, state=NOT_PENDING, state_after=PENDING)


@case("D2.5, mistake 6")
async def os_lock_does_not_block_brk(tb: Testbench) -> None:
    """A BRK is an exception like any other: the OS Lock only silences the step."""
    await tb.start(**USER, ss=1, oslsr_el1=OSLK)
    row = await tb.do(Event.EXCEPTION, target_el=EL1)
    tb.expect(row, state=INACTIVE, step_exception=0, el_after=EL1, spsr_saved=1, spsr_ss=1)


@case("D2.12.5, mistake 7")
async def stepped_daifset_raises_no_step_exception(tb: Testbench) -> None:
    """A stepped write of D = 1 at ELd makes the machine inactive: no exception follows."""
    await tb.start(**KERNEL, ss=1)
    row = await tb.do(Event.EXECUTE, d_write=1)
    tb.expect(row, state=NOT_PENDING, d_after=1, ss_after=0, state_after=INACTIVE)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=0, state=INACTIVE)


@case("D1.10, mistake 8")
async def calls_save_0_in_spsr_ss(tb: Testbench) -> None:
    """SVC, HVC and SMC complete before their exception is taken: they save SS = 0."""
    for call, target in zip(CALLS, (EL1, EL2, EL3), strict=True):
        for start in (GUEST, GUEST | {"mdscr_el1": 0}):
            await tb.start(**start, ss=1)
            row = await tb.do(call, target_el=target)
            tb.expect(row, el_after=target, spsr_saved=1, spsr_ss=0, ss_after=0)


@case("D1.10, mistake 8")
async def trapped_smc_saves_1_in_spsr_ss(tb: Testbench) -> None:
    """A trapped instruction has not completed and returns to itself: it saves SS = 1."""
    await tb.start(**GUEST, ss=1, hcr_el2=HCR_EL2.TSC.put(1))
    row = await tb.do(Event.EXCEPTION, target_el=EL2)
    tb.expect(row, el_after=EL2, spsr_saved=1, spsr_ss=1, ss_after=0)


@case("D2.12.6, mistake 9")
async def ec_is_chosen_by_the_el_at_the_exception(tb: Testbench) -> None:
    """A step that starts at EL2 and ends at EL1 is reported from a lower EL."""
    await tb.start(**HYP, ss=1)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h)
    tb.expect(row, state=NOT_PENDING, el_after=EL1, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, el_after=EL2, esr=0xCB000022)
    await tb.start(**HYP, ss=1)
    row = await tb.do(Event.ERET, spsr=Mode.EL2h)
    tb.expect(row, state=NOT_PENDING, el_after=EL2, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, el_after=EL2, esr=0xCF000022)


@case("D2.12.3, mistake 10")
async def step_outranks_every_synchronous_exception(tb: Testbench) -> None:
    """A pending step comes before an instruction abort, the illegal state and every instruction."""
    events = set(Event) - {Event.DEBUG_EXIT}
    for event, il, async_first in product(sorted(events), (0, 1), (0, 1)):
        if event == Event.INTERRUPT and async_first:
            continue
        await tb.start(**KERNEL, il=il)
        row = await tb.do(event, target_el=EL3, async_first=async_first)
        tb.expect(row, state=PENDING, step_exception=1, illegal_state=0, esr=0xCE000022)
        tb.expect(row, el_after=EL1, d_after=1, ss_after=0, il_after=0, spsr_saved=1, spsr_ss=0)


@case("D2.12.4, mistake 11")
async def eret_judges_the_destination_in_its_own_security_state(tb: Testbench) -> None:
    """From EL3, which is Secure, to Non-secure state: neither SDD nor EL3's ELd counts."""
    await tb.start(**TO_GUEST | {"el": EL3}, mdcr_el3=SDD)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS)
    tb.expect(row, eld=EL1, el_after=EL1, ss_after=1, state_after=NOT_PENDING)
    await tb.start(**SECURE_EL2, el=EL3, mdscr_el1=SS, mdcr_el3=SDD)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS)
    tb.expect(row, eld=EL2, el_after=EL1, ss_after=0, state_after=INACTIVE)


@case("D2.12.6, mistake 12")
async def ex_is_not_left_over_from_an_earlier_step(tb: Testbench) -> None:
    """EX tells of the last step only, even where the one before stepped a load-exclusive."""
    await tb.start(**TO_GUEST)
    for event, esr in (
        (Event.LOAD_EXCLUSIVE, 0xCB000062),
        (Event.EXECUTE, 0xCB000022),
        (Event.LOAD_EXCLUSIVE, 0xCB000062),
        (Event.ISB, 0xCB000022),
    ):
        await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS)
        row = await tb.do(event)
        tb.expect(row, state=NOT_PENDING, state_after=PENDING)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, step_exception=1, esr=esr)


@case("D2.12.6, mistake 12")
async def ex_is_0_whenever_isv_is_0(tb: Testbench) -> None:
    """With ISV = 0 the syndrome says nothing of a load-exclusive."""
    for last, isv, esr in (
        (Last.OTHER_EXCEPTION_EX, 0, 0xCA000022),
        (Last.OTHER_EXCEPTION_EX, 1, 0xCB000062),
        (Last.OTHER_EXCEPTION, 0, 0xCA000022),
        (Last.OTHER_EXCEPTION, 1, 0xCB000022),
    ):
        await tb.start(**GUEST, last=last)
        row = await tb.do(Event.EXECUTE, isv_choice=isv)
        tb.expect(row, step_exception=1, esr=esr)
