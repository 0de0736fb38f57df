"""The manual's sentences, one short test each; first the mistakes that implementers make.

Every test says what it expects with literals of its own, and the model checks each cycle besides.
"""

from itertools import product

from model.arch import (
    EL,
    HCR_EL2,
    MDCR_EL2,
    MDCR_EL3,
    MDSCR_EL1,
    OSLSR_EL1,
    SCR_EL3,
    SDER32_EL3,
    Event,
    Last,
    Mode,
    Mode32,
    SPSR_ELx,
    StepState,
)
from tb.cases import case
from tb.testbench import Testbench

Columns = dict[str, int]

EL0, EL1, EL2, EL3 = EL
INACTIVE, NOT_PENDING, PENDING = StepState

SS = MDSCR_EL1.SS.put(1)
KDE = MDSCR_EL1.KDE.put(1)
TDE = MDCR_EL2.TDE.put(1)
TGE = HCR_EL2.TGE.put(1)
NS = SCR_EL3.NS.put(1)
EEL2 = SCR_EL3.EEL2.put(1)
SDD = MDCR_EL3.SDD.put(1)
SUIDEN = SDER32_EL3.SUIDEN.put(1)
OSLK = OSLSR_EL1.OSLK.put(1)

SPSR_SS = SPSR_ELx.SS.put(1)
SPSR_D = SPSR_ELx.D.put(1)
SPSR_IL = SPSR_ELx.IL.put(1)

VECTOR = 0x8000  #: where an exception vector is

#: EL0, that EL1 steps
USER: Columns = {"el": EL0, "mdscr_el1": SS}
#: EL1, that EL2 steps
GUEST: Columns = {"el": EL1, "mdscr_el1": SS, "mdcr_el2": TDE}
#: EL1, that steps itself
KERNEL: Columns = {"el": EL1, "mdscr_el1": SS | KDE}
#: EL2, that steps itself
HYP: Columns = {"el": EL2, "mdscr_el1": SS | KDE, "mdcr_el2": TDE}
#: EL2, about to return to a guest that it steps
TO_GUEST: Columns = {"el": EL2, "mdscr_el1": SS, "mdcr_el2": TDE}
#: Secure, with a Secure EL2 that all debug exceptions go to
SECURE_EL2: Columns = {"scr_el3": EEL2, "mdcr_el2": TDE}

CALLS = (Event.SVC, Event.HVC, Event.SMC)
INSTRUCTIONS = (Event.EXECUTE, Event.LOAD_EXCLUSIVE, Event.ISB)


# What implementers get wrong


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


# ELd, and the enables


@case("D2.4")
async def eld_is_el2_with_tde_or_tge(tb: Testbench) -> None:
    """ELd is EL2 when MDCR_EL2.TDE or HCR_EL2.TGE is 1, else EL1."""
    for el, tde, tge in product((EL0, EL1, EL2), (0, TDE), (0, TGE)):
        await tb.start(el=el, mdcr_el2=tde, hcr_el2=tge)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, eld=EL2 if tde or tge else EL1)


@case("D2.4")
async def eld_is_el1_without_el2(tb: Testbench) -> None:
    """Without EL2 its registers read as 0: nothing is routed there."""
    await tb.start(**USER, ss=1, mdcr_el2=TDE, hcr_el2=TGE, have_el2=0)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, eld=EL1, enabled=1, state_after=PENDING)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, step_exception=1, el_after=EL1, esr=0xCB000022)


@case("D2.4")
async def secure_eld_is_el2_only_with_secure_el2(tb: Testbench) -> None:
    """In Secure state EL2 is usable when Secure EL2 is implemented and SCR_EL3.EEL2 is 1."""
    for scr, have_sel2, eld in (
        (NS, 0, EL2),
        (NS, 1, EL2),
        (NS | EEL2, 1, EL2),
        (0, 1, EL1),
        (EEL2, 0, EL1),
        (EEL2, 1, EL2),
    ):
        await tb.start(**GUEST | {"el": EL0}, ss=1, scr_el3=scr, have_sel2=have_sel2)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, eld=eld, enabled=1, state_after=PENDING)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, step_exception=1, el_after=eld)


@case("D1.1.4")
async def el3_is_secure_whatever_ns_is(tb: Testbench) -> None:
    """At EL3 ELd is EL2 only if Secure EL2 is enabled, even with SCR_EL3.NS = 1."""
    for scr, eld in ((NS, EL1), (0, EL1), (NS | EEL2, EL2), (EEL2, EL2)):
        await tb.start(el=EL3, mdcr_el2=TDE, scr_el3=scr)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, eld=eld)


@case("D1.1.4")
async def without_el3_everything_is_non_secure(tb: Testbench) -> None:
    """Without EL3 neither SCR_EL3.NS nor MDCR_EL3.SDD has an effect."""
    await tb.start(**GUEST, ss=1, have_el3=0, scr_el3=0, mdcr_el3=SDD)
    row = await tb.do(Event.EXECUTE)
    tb.expect(row, eld=EL2, enabled=1, state=NOT_PENDING, state_after=PENDING)


@case("D2.5")
async def kde_and_d_count_at_eld(tb: Testbench) -> None:
    """At ELd itself debug exceptions need MDSCR_EL1.KDE = 1 and PSTATE.D = 0."""
    for at_eld, kde, d in product((KERNEL, HYP, HYP | {"hcr_el2": TGE}), (0, KDE), (0, 1)):
        await tb.start(**at_eld | {"mdscr_el1": SS | kde}, d=d, ss=1)
        row = await tb.do(Event.EXECUTE)
        enabled = bool(kde and not d)
        tb.expect(row, enabled=enabled, state=NOT_PENDING if enabled else INACTIVE)


@case("D2.5")
async def debug_is_never_enabled_above_eld(tb: Testbench) -> None:
    """From EL3 never, and from EL2 never while ELd is EL1."""
    for el, mdcr_el2, scr in (
        (EL2, 0, NS),
        (EL2, 0, EEL2),
        (EL3, 0, NS),
        (EL3, TDE, NS),
        (EL3, TDE, EEL2),
    ):
        await tb.start(el=el, ss=1, mdscr_el1=SS | KDE, mdcr_el2=mdcr_el2, scr_el3=scr)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, enabled=0, state=INACTIVE, state_after=INACTIVE)


@case("D2.5")
async def sdd_disables_debug_in_secure_state_only(tb: Testbench) -> None:
    """In Secure state debug exceptions are enabled only if MDCR_EL3.SDD is 0."""
    for el, sdd, scr in product((EL0, EL1), (0, SDD), (EEL2, EEL2 | NS)):
        await tb.start(el=el, mdscr_el1=SS, mdcr_el2=TDE, mdcr_el3=sdd, scr_el3=scr)
        row = await tb.do(Event.LOAD_EXCLUSIVE)
        tb.expect(row, enabled=not sdd or bool(scr & NS))


@case("D2.5")
async def suiden_enables_debug_at_secure_el0_under_aarch32(tb: Testbench) -> None:
    """Where SDD forbids it, SUIDEN allows EL0, and only with EL1 using AArch32."""
    for el, el1_aarch32, suiden, enabled in (
        (EL0, 1, SUIDEN, 1),
        (EL0, 1, 0, 0),
        (EL0, 0, SUIDEN, 0),
        (EL1, 1, SUIDEN, 0),
    ):
        await tb.start(
            **SECURE_EL2,
            el=el,
            ss=1,
            mdscr_el1=SS,
            mdcr_el3=SDD,
            el1_aarch32=el1_aarch32,
            sder32_el3=suiden,
        )
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, enabled=enabled, state=NOT_PENDING if enabled else INACTIVE)


@case("D2.5")
async def double_lock_disables_debug(tb: Testbench) -> None:
    """No debug exception is enabled while the double lock is in force."""
    for double_lock, enabled in ((1, 0), (0, 1)):
        await tb.start(**GUEST, ss=1, double_lock=double_lock)
        row = await tb.do(Event.EXECUTE)
        tb.expect(row, enabled=enabled, state_after=PENDING if enabled else INACTIVE)


@case("D2.5")
async def debug_is_disabled_while_halted(tb: Testbench) -> None:
    """In Debug state the step state is inactive: a pending step does not come before the exit."""
    await tb.start(**GUEST, halted=1)
    row = await tb.do(Event.DEBUG_EXIT, spsr=Mode.EL1h)
    tb.expect(row, enabled=0, state=INACTIVE, step_exception=0, state_after=PENDING)


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


# The Software Step exception


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


# The unit itself


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
