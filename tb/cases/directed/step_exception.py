"""The Software Step exception itself: target and syndrome."""

from model.arch import Event, Last, Mode
from tb.cases import case
from tb.cases.directed import (
    CALLS,
    EL0,
    EL1,
    EL2,
    GUEST,
    HYP,
    INACTIVE,
    INSTRUCTIONS,
    KDE,
    KERNEL,
    NOT_PENDING,
    OSLK,
    PENDING,
    SPSR_IL,
    SPSR_SS,
    SS,
    TDE,
    TGE,
    TO_GUEST,
    USER,
    VECTOR,
)
from tb.testbench import Testbench


@case("D2.12.6")
async def step_exception_target(tb: Testbench) -> None:
    """EL2 from EL2, and from EL0 and EL1 with TDE or TGE; else EL1."""
    for el, tde, tge, target in (
        (EL0, 0, 0, EL1),
        (EL1, 0, 0, EL1),
        (EL0, TDE, 0, EL2),
        (EL1, TDE, 0, EL2),
        (EL2, TDE, 0, EL2),
        (EL0, 0, TGE, EL2),
        (EL1, 0, TGE, EL2),
        (EL2, 0, TGE, EL2),
        (EL2, TDE, TGE, EL2),
    ):
        await tb.start(el=el, mdscr_el1=SS | KDE, mdcr_el2=tde, hcr_el2=tge)
        row = await tb.do(Event.EXECUTE)
        esr = 0xCE000022 if el == target else 0xCA000022
        tb.expect(row, state=PENDING, step_exception=1, el_after=target, esr=esr)


@case("D2.12.6")
async def step_exception_enters_as_any_exception(tb: Testbench) -> None:
    """It saves SS = 0, masks D and clears SS and IL; ELR is the instruction not executed."""
    await tb.start(**GUEST, il=1, el1_aarch32=1)
    row = await tb.do(Event.EXECUTE, pc=VECTOR)
    tb.expect(row, step_exception=1, pc=VECTOR, spsr_saved=1, spsr_ss=0)
    tb.expect(row, el_after=EL2, nrw_after=0, d_after=1, ss_after=0, il_after=0)
    tb.expect(row, state_after=INACTIVE)


@case("D2.12.7")
async def nothing_else_happens_with_a_step_exception(tb: Testbench) -> None:
    """The instruction is not executed: it writes neither PSTATE.D nor MDSCR_EL1, nor returns."""
    await tb.start(**KERNEL)
    row = await tb.do(Event.EXECUTE, d_write=0)
    tb.expect(row, step_exception=1, d_after=1)
    await tb.start(**KERNEL)
    await tb.do(Event.EXECUTE, mdscr_write=0)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, mdscr_el1=SS | KDE, mdscr_el1_written=SS | KDE)
    await tb.start(**HYP)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS | SPSR_IL)
    tb.expect(row, step_exception=1, el_after=EL2, ss_after=0, il_after=0)


@case("D2.12.6")
async def syndrome_after_one_step(tb: Testbench) -> None:
    """The six ESR values: same or lower EL; nothing, an instruction or a load-exclusive stepped."""
    for start, nothing, instruction, exclusive in (
        (KERNEL, 0xCE000022, 0xCF000022, 0xCF000062),
        (HYP, 0xCE000022, 0xCF000022, 0xCF000062),
        (GUEST, 0xCA000022, 0xCB000022, 0xCB000062),
        (USER, 0xCA000022, 0xCB000022, 0xCB000062),
    ):
        for isv_choice in (0, 1):
            await tb.start(**start)
            row = await tb.do(Event.EXECUTE, isv_choice=isv_choice)
            tb.expect(row, esr=nothing)
            await tb.start(**start, ss=1)
            await tb.do(Event.EXECUTE)
            row = await tb.do(Event.EXECUTE, isv_choice=isv_choice)
            tb.expect(row, esr=instruction)
            await tb.start(**start, ss=1)
            await tb.do(Event.LOAD_EXCLUSIVE)
            row = await tb.do(Event.EXECUTE, isv_choice=isv_choice)
            tb.expect(row, esr=exclusive)


@case("D2.12.6")
async def isv_is_free_after_a_stepped_isb(tb: Testbench) -> None:
    """ISV 0 or 1 after a stepped ISB."""
    for isv, esr in ((0, 0xCE000022), (1, 0xCF000022)):
        await tb.start(**KERNEL, ss=1)
        await tb.do(Event.ISB)
        row = await tb.do(Event.EXECUTE, isv_choice=isv)
        tb.expect(row, step_exception=1, esr=esr)


@case("D2.12.6")
async def isv_is_free_after_a_stepped_eret(tb: Testbench) -> None:
    """ISV 0 or 1 after a stepped exception return, legal or not."""
    for isv, esr in ((0, 0xCA000022), (1, 0xCB000022)):
        await tb.start(**GUEST, ss=1)
        row = await tb.do(Event.ERET, spsr=Mode.EL0t | SPSR_SS)
        tb.expect(row, el_after=EL0, ss_after=0, state_after=PENDING)
        row = await tb.do(Event.EXECUTE, isv_choice=isv)
        tb.expect(row, step_exception=1, esr=esr)
        await tb.start(**GUEST, ss=1)
        row = await tb.do(Event.ERET, spsr=Mode.EL3h | SPSR_SS)
        tb.expect(row, el_after=EL1, il_after=1, ss_after=0, state_after=PENDING)
        row = await tb.do(Event.EXECUTE, isv_choice=isv)
        tb.expect(row, step_exception=1, illegal_state=0, esr=esr)


@case("D2.12.6")
async def isv_is_free_after_another_exception(tb: Testbench) -> None:
    """ISV 0 or 1, EX 0, when the stepped instruction took another exception to EL1 first."""
    for isv, esr in ((0, 0xCA000022), (1, 0xCB000022)):
        for event in (*CALLS, Event.EXCEPTION, Event.INTERRUPT):
            await tb.start(**GUEST, ss=1)
            await tb.do(event, target_el=EL1)
            row = await tb.do(Event.EXECUTE, isv_choice=isv)
            tb.expect(row, step_exception=1, esr=esr)


@case("D2.12.6")
async def interrupt_taken_first_keeps_what_was_stepped(tb: Testbench) -> None:
    """After a step and an interrupt to EL1 ISV is free, and EX goes with it."""
    for event, isv, esr in (
        (Event.EXECUTE, 0, 0xCA000022),
        (Event.EXECUTE, 1, 0xCB000022),
        (Event.ISB, 0, 0xCA000022),
        (Event.ISB, 1, 0xCB000022),
        (Event.LOAD_EXCLUSIVE, 0, 0xCA000022),
        (Event.LOAD_EXCLUSIVE, 1, 0xCB000062),
    ):
        for interrupts in (1, 2):
            await tb.start(**GUEST, ss=1)
            await tb.do(event)
            for _ in range(interrupts):
                row = await tb.do(Event.INTERRUPT, target_el=EL1, async_first=1)
                tb.expect(row, state=PENDING, step_exception=0, state_after=PENDING)
            row = await tb.do(Event.EXECUTE, isv_choice=isv)
            tb.expect(row, step_exception=1, esr=esr)


@case("D2.12.6")
async def isv_is_0_if_nothing_was_stepped(tb: Testbench) -> None:
    """Active-pending straight from inactive: ISV = 0, whatever ran before and is chosen."""
    for event in INSTRUCTIONS:
        await tb.start(**KERNEL, d=1, last=Last.LOAD_EXCLUSIVE)
        await tb.do(event)
        row = await tb.do(Event.EXECUTE, d_write=0)
        tb.expect(row, state=INACTIVE, state_after=PENDING)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, step_exception=1, esr=0xCE000022)


@case("D2.12.6")
async def isv_is_0_after_a_return_that_arms_nothing(tb: Testbench) -> None:
    """A return from inactive with SPSR.SS = 0 lands in active-pending: nothing was stepped."""
    for event, halted in ((Event.ERET, 0), (Event.DEBUG_EXIT, 1)):
        await tb.start(**TO_GUEST, last=Last.INSTRUCTION, halted=halted)
        row = await tb.do(event, spsr=Mode.EL1h)
        tb.expect(row, state=INACTIVE, ss_after=0, state_after=PENDING)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, step_exception=1, esr=0xCA000022)


@case("D2.12.6")
async def isv_is_0_after_an_exception_that_nothing_was_stepped_before(tb: Testbench) -> None:
    """Neither an interrupt first, nor an entry from inactive, makes a step out of nothing."""
    await tb.start(**GUEST)
    row = await tb.do(Event.INTERRUPT, target_el=EL1, async_first=1)
    tb.expect(row, state=PENDING, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, esr=0xCA000022)
    await tb.start(**GUEST, oslsr_el1=OSLK)
    row = await tb.do(Event.EXCEPTION, target_el=EL1)
    tb.expect(row, state=INACTIVE, spsr_ss=0)
    tb.change(oslsr_el1=0)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, esr=0xCA000022)


@case("D2.12.6")
async def a_step_exception_forgets_what_was_stepped(tb: Testbench) -> None:
    """After the step exception the next one starts anew."""
    await tb.start(**GUEST, ss=1)
    await tb.do(Event.LOAD_EXCLUSIVE)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, last=Last.LOAD_EXCLUSIVE, esr=0xCB000062)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h)
    tb.expect(row, last=Last.NOTHING, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, esr=0xCA000022)


@case("D2.12.6")
async def returning_with_ss_1_after_the_step_runs_a_second_instruction(tb: Testbench) -> None:
    """What software must not do with an interrupt's SS = 0: two instructions for one step."""
    await tb.start(**GUEST, ss=1)
    await tb.do(Event.EXECUTE)
    await tb.do(Event.INTERRUPT, target_el=EL2, async_first=1)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS)
    tb.expect(row, ss_after=1, state_after=NOT_PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=0, state_after=PENDING)
