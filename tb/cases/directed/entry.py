"""Exception entry, that of the Illegal Execution state exception among them."""

from itertools import product

from model.arch import EL, Event, Mode
from tb.cases import case
from tb.cases.directed import (
    CALLS,
    EEL2,
    EL0,
    EL1,
    EL2,
    EL3,
    GUEST,
    INACTIVE,
    INSTRUCTIONS,
    KDE,
    NOT_PENDING,
    PENDING,
    SPSR_SS,
    SS,
    TDE,
    TGE,
    VECTOR,
    Columns,
)
from tb.testbench import Testbench

# Exception entry


@case("D1.10")
async def exception_entry_masks_d_and_clears_ss_and_il(tb: Testbench) -> None:
    """PSTATE after the entry is the same whatever it was, and the SPSR has the old SS."""
    for event, el, d, ss in product((Event.EXCEPTION, Event.INTERRUPT), (EL1, EL2), (0, 1), (0, 1)):
        for target in range(el, EL3 + 1):
            await tb.start(el=el, d=d, ss=ss, il=1)
            row = await tb.do(event, target_el=target)
            tb.expect(row, illegal_state=0, spsr_saved=1, spsr_ss=ss, esr=0)
            tb.expect(row, el_after=target, nrw_after=0, d_after=1, ss_after=0, il_after=0)


@case("D1.10")
async def calls_mask_d_and_clear_ss(tb: Testbench) -> None:
    """SVC, HVC and SMC enter their handler as any exception does."""
    for call, target, ss in product(CALLS, (EL1, EL2, EL3), (0, 1)):
        await tb.start(el=EL1, ss=ss)
        row = await tb.do(call, target_el=target)
        tb.expect(row, el_after=target, d_after=1, ss_after=0, il_after=0, spsr_saved=1, spsr_ss=0)


@case("D1.10")
async def interrupt_before_the_instruction_saves_1(tb: Testbench) -> None:
    """An asynchronous exception before the stepped instruction leaves the step still to be done."""
    await tb.start(**GUEST, ss=1)
    row = await tb.do(Event.INTERRUPT, target_el=EL2)
    tb.expect(row, state=NOT_PENDING, spsr_ss=1, ss_after=0, state_after=INACTIVE)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS)
    tb.expect(row, ss_after=1, state_after=NOT_PENDING)


@case("D1.10")
async def interrupt_before_a_pending_step_saves_0(tb: Testbench) -> None:
    """An interrupt that is taken first from active-pending saves SS = 0: the step has been done."""
    await tb.start(**GUEST, ss=1)
    await tb.do(Event.EXECUTE)
    row = await tb.do(Event.INTERRUPT, target_el=EL2, async_first=1)
    tb.expect(row, state=PENDING, step_exception=0, el_after=EL2, spsr_saved=1, spsr_ss=0)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h)
    tb.expect(row, ss_after=0, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1)


@case("D2.12.7")
async def interrupt_and_pending_step_come_in_either_order(tb: Testbench) -> None:
    """The order is not defined: the interrupt waits for the step exception, or comes first."""
    for async_first in (0, 1):
        await tb.start(**GUEST)
        row = await tb.do(Event.INTERRUPT, target_el=EL3, async_first=async_first)
        tb.expect(row, step_exception=1 - async_first, el_after=EL3 if async_first else EL2)


@case("D2.12.3")
async def step_exception_comes_before_the_vectors_first_instruction(tb: Testbench) -> None:
    """An exception to EL1 while ELd is EL2 lands in active-pending; ELR is the vector."""
    for event in (*CALLS, Event.EXCEPTION, Event.INTERRUPT):
        await tb.start(**GUEST, ss=1)
        row = await tb.do(event, target_el=EL1)
        tb.expect(row, el_after=EL1, ss_after=0, state_after=PENDING)
        row = await tb.do(Event.EXECUTE, pc=VECTOR, isv_choice=0)
        tb.expect(row, step_exception=1, el_after=EL2, pc=VECTOR, esr=0xCA000022)


@case("D1.10")
async def exception_to_aarch32_el1_has_no_spsr_ss(tb: Testbench) -> None:
    """With EL1 using AArch32 and TDE = 1: no SPSR.SS, PSTATE.SS becomes 0, active-pending."""
    for el, d in product((EL0, EL1), (0, 1)):
        await tb.start(**GUEST | {"el": el}, d=d, ss=1, el1_aarch32=1)
        row = await tb.do(Event.EXCEPTION, target_el=EL1)
        tb.expect(row, state=NOT_PENDING, spsr_saved=0, spsr_ss=0, ss_after=0, state_after=PENDING)
        tb.expect(row, el_after=EL1, nrw_after=1, d_after=d)


@case("D1.10")
async def exception_from_aarch32_to_aarch64_saves_ss(tb: Testbench) -> None:
    """The width that counts is that of the EL the exception is taken to."""
    await tb.start(**GUEST, ss=1, el1_aarch32=1)
    row = await tb.do(Event.EXCEPTION, target_el=EL2)
    tb.expect(row, nrw=1, spsr_saved=1, spsr_ss=1, nrw_after=0, d_after=1)
    await tb.start(el=EL1, ss=1, el1_aarch32=1, el2_aarch32=1)
    row = await tb.do(Event.EXCEPTION, target_el=EL3)
    tb.expect(row, nrw=1, spsr_saved=1, spsr_ss=1, nrw_after=0, d_after=1)


@case("D1.10")
async def exception_to_aarch32_el2_has_no_spsr_ss(tb: Testbench) -> None:
    """Nor is there one where EL2 uses AArch32."""
    await tb.start(el=EL1, ss=1, el1_aarch32=1, el2_aarch32=1)
    row = await tb.do(Event.EXCEPTION, target_el=EL2)
    tb.expect(row, el_after=EL2, nrw_after=1, spsr_saved=0, spsr_ss=0, ss_after=0)


# The Illegal Execution state exception


@case("D1.11")
async def illegal_state_exception_comes_instead_of_the_instruction(tb: Testbench) -> None:
    """With PSTATE.IL = 1 no instruction executes; the exception saves PSTATE.SS and clears IL."""
    for event, ss in product((*INSTRUCTIONS, *CALLS, Event.ERET), (0, 1)):
        await tb.start(el=EL1, ss=ss, il=1)
        row = await tb.do(event, target_el=EL3, spsr=Mode.EL0t)
        tb.expect(row, illegal_state=1, step_exception=0, esr=0, spsr_saved=1, spsr_ss=ss)
        tb.expect(row, el_after=EL1, d_after=1, ss_after=0, il_after=0)


@case("D1.11")
async def illegal_state_exception_of_a_stepped_instruction_saves_1(tb: Testbench) -> None:
    """In active-not-pending the instruction took a synchronous exception: the step is to do."""
    await tb.start(**GUEST, ss=1, il=1)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, illegal_state=1, spsr_ss=1, el_after=EL1, state_after=PENDING)
    row = await tb.do(Event.EXECUTE, pc=VECTOR, isv_choice=0)
    tb.expect(row, step_exception=1, pc=VECTOR, esr=0xCA000022)


@case("D1.11")
async def illegal_state_stops_the_writes_of_the_instruction(tb: Testbench) -> None:
    """An instruction that does not execute writes neither PSTATE.D nor MDSCR_EL1."""
    await tb.start(el=EL1, il=1)
    row = await tb.do(Event.EXECUTE, d_write=0)
    tb.expect(row, illegal_state=1, d_after=1)
    await tb.start(el=EL1, il=1)
    await tb.do(Event.EXECUTE, mdscr_write=SS | KDE)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, mdscr_el1=0, mdscr_el1_written=0, state=INACTIVE)


@case("D1.11")
async def illegal_state_exception_target(tb: Testbench) -> None:
    """It stays at its EL, but goes from EL0 to EL1, or to EL2 with TGE where EL2 is enabled."""
    targets: tuple[tuple[Columns, EL], ...] = (
        ({"el": EL0}, EL1),
        ({"el": EL0, "mdcr_el2": TDE}, EL1),
        ({"el": EL0, "hcr_el2": TGE}, EL2),
        ({"el": EL0, "hcr_el2": TGE, "have_el2": 0}, EL1),
        ({"el": EL0, "hcr_el2": TGE, "scr_el3": 0}, EL1),
        ({"el": EL0, "hcr_el2": TGE, "scr_el3": EEL2}, EL2),
        ({"el": EL0, "hcr_el2": TGE, "scr_el3": EEL2, "have_sel2": 0}, EL1),
        ({"el": EL0, "hcr_el2": TGE, "scr_el3": 0, "have_el3": 0}, EL2),
        ({"el": EL1}, EL1),
        ({"el": EL1, "hcr_el2": TGE}, EL1),
        ({"el": EL2}, EL2),
        ({"el": EL3}, EL3),
    )
    for start, target in targets:
        await tb.start(**start, il=1)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, illegal_state=1, el_after=target, nrw_after=0, d_after=1)
