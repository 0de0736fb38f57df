"""Exception returns and Debug exit, legal and illegal."""

from model.arch import EL, Event, Mode, Mode32, SPSR_ELx
from tb.cases import case
from tb.cases.directed import (
    EEL2,
    EL0,
    EL1,
    EL2,
    EL3,
    HYP,
    INACTIVE,
    KDE,
    KERNEL,
    NOT_PENDING,
    OSLK,
    PENDING,
    SDD,
    SECURE_EL2,
    SPSR_D,
    SPSR_IL,
    SPSR_SS,
    SS,
    SUIDEN,
    TDE,
    TGE,
    TO_GUEST,
    USER,
    Columns,
)
from tb.testbench import Testbench

# Exception returns


@case("D2.12.4")
async def eret_needs_every_condition_to_set_ss(tb: Testbench) -> None:
    """PSTATE.SS becomes SPSR.SS only with MDSCR_EL1.SS, and debug enabled at the destination."""
    spsr = Mode.EL1h | SPSR_SS
    for start, value, ss_after in (
        (TO_GUEST, spsr, 1),
        (TO_GUEST, spsr | SPSR_D, 1),
        (TO_GUEST, Mode.EL1h, 0),
        (TO_GUEST | {"mdscr_el1": 0}, spsr, 0),
        (TO_GUEST | {"mdscr_el1": KDE, "d": 1}, spsr, 0),
        (TO_GUEST | {"mdcr_el2": 0}, spsr, 0),
        (TO_GUEST | {"mdcr_el2": 0, "mdscr_el1": SS | KDE}, spsr, 1),
        (TO_GUEST | {"mdcr_el2": 0, "mdscr_el1": SS | KDE}, spsr | SPSR_D, 0),
        (TO_GUEST | {"oslsr_el1": OSLK}, spsr, 0),
        (TO_GUEST | {"double_lock": 1}, spsr, 0),
    ):
        await tb.start(**start)
        row = await tb.do(Event.ERET, spsr=value)
        tb.expect(row, enabled=0, el_after=EL1, ss_after=ss_after)


@case("D2.12.4")
async def eret_sets_no_ss_where_eld_uses_aarch32(tb: Testbench) -> None:
    """ELd, worked out for the destination, must use AArch64."""
    for mdcr_el2, ss_after in ((0, 0), (TDE, 1)):
        await tb.start(el=EL2, mdscr_el1=SS | KDE, mdcr_el2=mdcr_el2, d=1, el1_aarch32=1)
        row = await tb.do(Event.ERET, spsr=Mode32.USER | SPSR_SS)
        tb.expect(row, el_after=EL0, nrw_after=1, ss_after=ss_after)
    await tb.start(el=EL3, mdscr_el1=SS, mdcr_el2=TDE, el1_aarch32=1, el2_aarch32=1)
    row = await tb.do(Event.ERET, spsr=Mode32.USER | SPSR_SS)
    tb.expect(row, el_after=EL0, nrw_after=1, ss_after=0)


@case("D2.12.4")
async def eret_to_secure_el0_under_aarch32_heeds_suiden(tb: Testbench) -> None:
    """Where SDD disables Secure state, SUIDEN still lets a return to AArch32 EL0 set SS."""
    for suiden, ss_after in ((0, 0), (SUIDEN, 1)):
        start = SECURE_EL2 | {"el": EL3, "mdscr_el1": SS, "mdcr_el3": SDD, "el1_aarch32": 1}
        await tb.start(**start, sder32_el3=suiden)
        row = await tb.do(Event.ERET, spsr=Mode32.USER | SPSR_SS)
        tb.expect(row, el_after=EL0, nrw_after=1, ss_after=ss_after)


@case("D2.12.4")
async def eret_takes_the_mask_of_the_destination_from_the_spsr(tb: Testbench) -> None:
    """The source is judged with PSTATE.D, the destination with SPSR.D."""
    for d, mask, ss_after in ((0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 0)):
        await tb.start(**KERNEL, d=d, ss=1)
        row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS | SPSR_ELx.D.put(mask))
        tb.expect(row, el_after=EL1, d_after=mask, ss_after=ss_after)


@case("D2.12.4")
async def eret_to_el0_arms_a_step_that_el1_asked_for(tb: Testbench) -> None:
    """A kernel steps its user: it arms with SPSR_EL1.SS and gets the step exception at EL1."""
    await tb.start(el=EL1, d=1, mdscr_el1=SS)
    row = await tb.do(Event.ERET, spsr=Mode.EL0t | SPSR_SS)
    tb.expect(row, el_after=EL0, ss_after=1, state_after=NOT_PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, el_after=EL1, esr=0xCB000022)


@case("D1.11")
async def legal_eret_goes_where_the_spsr_says(tb: Testbench) -> None:
    """EL and nRW come from SPSR.M, IL from SPSR.IL, D from SPSR.D unless that is AArch32 state."""
    aarch32 = {"el1_aarch32": 1}
    el1_modes = set(Mode32) - {Mode32.USER, Mode32.HYP}
    returns: list[tuple[Columns, int, EL, int]] = [
        ({"el": EL1}, Mode.EL0t, EL0, 0),
        ({"el": EL1}, Mode.EL1t, EL1, 0),
        ({"el": EL2}, Mode.EL1h, EL1, 0),
        ({"el": EL2}, Mode.EL2t, EL2, 0),
        ({"el": EL3}, Mode.EL2h, EL2, 0),
        ({"el": EL3, "scr_el3": EEL2}, Mode.EL2h, EL2, 0),
        ({"el": EL3, "scr_el3": 0, "hcr_el2": TGE}, Mode.EL1h, EL1, 0),
        ({"el": EL2, "scr_el3": 0, "have_el3": 0}, Mode.EL2h, EL2, 0),
        ({"el": EL2, "hcr_el2": TGE}, Mode.EL0t, EL0, 0),
        ({"el": EL1, "hcr_el2": TGE, "have_el2": 0}, Mode.EL1h, EL1, 0),
        ({"el": EL3}, Mode.EL3t, EL3, 0),
        ({"el": EL3}, Mode.EL3h, EL3, 0),
        ({"el": EL1}, Mode32.USER, EL0, 1),
        ({"el": EL2, **aarch32}, Mode32.USER, EL0, 1),
        ({"el": EL3, **aarch32, "el2_aarch32": 1}, Mode32.HYP, EL2, 1),
        *(({"el": EL2, **aarch32}, mode, EL1, 1) for mode in sorted(el1_modes)),
    ]
    for start, mode, el, nrw in returns:
        for d in (0, 1):
            await tb.start(**start, d=d)
            row = await tb.do(Event.ERET, spsr=mode | SPSR_ELx.D.put(1 - d))
            tb.expect(row, el_after=el, nrw_after=nrw, il_after=0, d_after=d if nrw else 1 - d)
            tb.expect(row, spsr_saved=0, spsr_ss=0)


@case("D1.11")
async def illegal_eret_stays_and_sets_il(tb: Testbench) -> None:
    """Of every kind: EL and nRW stay, IL becomes 1, D and SS are as of a return to the same EL."""
    aarch32 = {"el1_aarch32": 1, "el2_aarch32": 1}
    el3: Columns = {"el": EL3}
    m1 = (0b0010, 0b0011, 0b0110, 0b0111, 0b1010, 0b1011, 0b1110, 0b1111)
    modes32 = {0b10000 | m for m in range(16)} - set(Mode32)
    illegal: list[tuple[Columns, int]] = [
        # no mode of AArch64, or of AArch32
        *((start, mode) for start in (HYP, el3) for mode in (*m1, 0b0001)),
        *((start, mode) for start in (HYP, el3 | aarch32) for mode in sorted(modes32)),
        # AArch64 at an EL that uses AArch32
        (HYP | {"el1_aarch32": 1}, Mode.EL0t),
        (HYP | {"el1_aarch32": 1}, Mode.EL1h),
        (el3 | aarch32, Mode.EL2h),
        # AArch32 at an EL that uses AArch64
        *((HYP, mode) for mode in Mode32 if mode != Mode32.USER),
        # Hyp mode in Secure state
        (el3 | aarch32 | {"scr_el3": 0}, Mode32.HYP),
        (el3 | aarch32 | {"scr_el3": EEL2}, Mode32.HYP),
        # an EL that is not implemented
        (el3 | {"have_el2": 0}, Mode.EL2h),
        (HYP | {"have_el3": 0}, Mode.EL3h),
        # one above the current EL
        (KERNEL, Mode.EL2h),
        (KERNEL, Mode.EL3h),
        (HYP, Mode.EL3t),
        # EL2 in Secure state without Secure EL2
        (el3 | {"scr_el3": 0}, Mode.EL2h),
        (el3 | {"scr_el3": EEL2, "have_sel2": 0}, Mode.EL2t),
        # EL1 while TGE has taken it away
        (HYP | {"hcr_el2": TGE}, Mode.EL1h),
        (HYP | {"hcr_el2": TGE, "el1_aarch32": 1}, Mode32.SVC),
        (HYP | {"hcr_el2": TGE, "scr_el3": EEL2}, Mode.EL1t),
        (el3 | {"hcr_el2": TGE}, Mode.EL1h),
        (HYP | {"hcr_el2": TGE, "have_el3": 0, "scr_el3": 0}, Mode.EL1h),
    ]
    for start, mode in illegal:
        el = start["el"]
        await tb.start(**start, d=1)
        row = await tb.do(Event.ERET, spsr=mode | SPSR_SS)
        tb.expect(row, el_after=el, nrw_after=0, il_after=1, d_after=0, ss_after=el != EL3)


@case("D1.11")
async def eret_restores_il(tb: Testbench) -> None:
    """A legal return loads PSTATE.IL: the instruction returned to takes the exception again."""
    await tb.start(**TO_GUEST)
    row = await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_SS | SPSR_IL)
    tb.expect(row, el_after=EL1, ss_after=1, il_after=1, state_after=NOT_PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, illegal_state=1, spsr_ss=1)


# Debug exit


@case("D2.12.4")
async def debug_exit_arms_a_step(tb: Testbench) -> None:
    """Leaving Debug state the source counts as disabled, whatever KDE and D are."""
    for start, mode, el in ((HYP, Mode.EL1h, EL1), (HYP, Mode.EL2h, EL2), (USER, Mode.EL0t, EL0)):
        for ss in (0, 1):
            await tb.start(**start, halted=1)
            row = await tb.do(Event.DEBUG_EXIT, spsr=mode | SPSR_ELx.SS.put(ss))
            tb.expect(row, enabled=0, el_after=el, ss_after=ss)
            tb.expect(row, state=INACTIVE, state_after=NOT_PENDING if ss else PENDING)
            row = await tb.do(Event.EXECUTE)
            tb.expect(row, step_exception=1 - ss)


@case("D2.12.4")
async def debug_exit_under_the_double_lock_writes_0(tb: Testbench) -> None:
    """Where only the double lock disables the destination, this project writes SS = 0."""
    await tb.start(**HYP, halted=1, double_lock=1)
    row = await tb.do(Event.DEBUG_EXIT, spsr=Mode.EL1h | SPSR_SS)
    tb.expect(row, el_after=EL1, ss_after=0, state_after=INACTIVE)


@case("D2.12.4")
async def debug_exit_ignores_il(tb: Testbench) -> None:
    """PSTATE.IL does not keep the PE in Debug state; DSPSR brings its own."""
    for il in (0, 1):
        await tb.start(**HYP, il=1, halted=1)
        row = await tb.do(Event.DEBUG_EXIT, spsr=Mode.EL1h | SPSR_SS | SPSR_ELx.IL.put(il))
        tb.expect(row, illegal_state=0, el_after=EL1, il_after=il, ss_after=1)


@case("D1.11")
async def illegal_debug_exit_stays_and_sets_il(tb: Testbench) -> None:
    """A Debug exit is legal or illegal by the rules of an exception return."""
    await tb.start(**HYP, halted=1)
    row = await tb.do(Event.DEBUG_EXIT, spsr=Mode.EL3h | SPSR_SS)
    tb.expect(row, el_after=EL2, il_after=1, ss_after=1, state_after=NOT_PENDING)
