"""Where debug exceptions go, and whether they are enabled."""

from itertools import product

from model.arch import Event, Mode
from tb.cases import case
from tb.cases.directed import (
    EEL2,
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
    NS,
    PENDING,
    SDD,
    SECURE_EL2,
    SS,
    SUIDEN,
    TDE,
    TGE,
    USER,
)
from tb.testbench import Testbench


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
