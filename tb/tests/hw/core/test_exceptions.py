"""Routing of interrupts and abort, vectors: held against the manual's tables."""

from itertools import product

import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from hw.core.exceptions import Cause, ExceptionTarget, InterruptRouting, Vector
from model.arch import EL, Retire

#: Table D1-14 and D1-15 (masking of physical interrupts): target to what happens at EL0 to EL3.
#: A: taken whatever the mask; M: taken unless masked; -: not taken.
MASKING = {EL.EL1: "MM--", EL.EL2: "AAM-", EL.EL3: "AAAM"}


def target_of(to_el3, to_el2, tge, el2_enabled):
    """Table D1-13 (routing when EL2 and EL3 are implemented)."""
    if to_el3:
        return EL.EL3
    return EL.EL2 if el2_enabled and (to_el2 or tge) else EL.EL1


def settled(component, check):
    """Run a check on a combinational component: `check(ctx)`, a coroutine function."""
    simulator = Simulator(component)
    simulator.add_testbench(check)
    simulator.run()


@pytest.mark.parametrize(
    "pin, scr, hcr, mask, kind",
    [
        ("serror", "EA", "AMO", 0b0100, Retire.SERROR),
        ("irq", "IRQ", "IMO", 0b0010, Retire.IRQ),
        ("fiq", "FIQ", "FMO", 0b0001, Retire.FIQ),
    ],
)
def test_a_physical_interrupt_is_routed_and_masked_by_the_tables(pin, scr, hcr, mask, kind):
    routing = InterruptRouting()

    async def check(ctx):
        ctx.set(getattr(routing.pins, pin), 1)
        for el, to_el3, to_el2, tge, el2_enabled, masked in product(EL, *[(0, 1)] * 5):
            ctx.set(getattr(routing.scr_el3, scr), to_el3)
            ctx.set(getattr(routing.hcr_el2, hcr), to_el2)
            ctx.set(routing.effective.tge, tge)
            ctx.set(routing.effective.el2_enabled, el2_enabled)
            ctx.set(routing.pstate.el, el)
            # The other masks are none of this interrupt's business.
            ctx.set(routing.pstate.daif, mask if masked else 0b1111 & ~mask)
            target = target_of(to_el3, to_el2, tge, el2_enabled)
            taken = {"A": True, "M": not masked, "-": False}[MASKING[target][el]]
            assert ctx.get(routing.take) == taken
            assert ctx.get(routing.pending)
            if taken:
                assert ctx.get(routing.target) == target
                assert ctx.get(routing.kind) == kind

    settled(routing, check)


@pytest.mark.parametrize(
    "virtual, routed, mask, kind",
    [("VI", "IMO", 0b0010, Retire.VIRQ), ("VF", "FMO", 0b0001, Retire.VFIQ)],
)
def test_a_virtual_interrupt_is_pending_only_for_a_guest(virtual, routed, mask, kind):
    routing = InterruptRouting()

    async def check(ctx):
        ctx.set(getattr(routing.hcr_el2, virtual), 1)
        for el, imo, tge, el2_enabled, masked in product(EL, *[(0, 1)] * 4):
            ctx.set(getattr(routing.hcr_el2, routed), imo)
            ctx.set(routing.effective.tge, tge)
            ctx.set(routing.effective.el2_enabled, el2_enabled)
            ctx.set(routing.pstate.el, el)
            ctx.set(routing.pstate.daif, mask if masked else 0b1111 & ~mask)
            pending = imo and not tge and el2_enabled
            taken = bool(pending and el <= EL.EL1 and not masked)
            assert ctx.get(routing.pending) == pending
            assert ctx.get(routing.take) == taken
            if taken:
                assert ctx.get(routing.target) == EL.EL1
                assert ctx.get(routing.kind) == kind

    settled(routing, check)


def test_serror_comes_before_fiq_before_irq_before_the_virtual_ones():
    routing = InterruptRouting()

    async def check(ctx):
        ctx.set(routing.pstate.el, EL.EL0)
        ctx.set(routing.effective.el2_enabled, 1)
        for bit in ("VI", "VF", "IMO", "FMO"):
            ctx.set(getattr(routing.hcr_el2, bit), 1)
        for pin in ("irq", "fiq", "serror"):
            ctx.set(getattr(routing.pins, pin), 1)
        order = []
        for source in (*("serror", "fiq", "irq"), *("VF", "VI")):
            order.append(ctx.get(routing.kind))
            group = routing.hcr_el2 if source.isupper() else routing.pins
            ctx.set(getattr(group, source), 0)
        assert not ctx.get(routing.take)
        assert order == [Retire.SERROR, Retire.FIQ, Retire.IRQ, Retire.VFIQ, Retire.VIRQ]

    settled(routing, check)


@pytest.mark.parametrize("cause", [Cause.DATA_ABORT, Cause.INSTRUCTION_ABORT])
def test_an_abort_goes_to_el2_by_stage_2_else_to_el3_by_ea_else_where_it_goes_by_default(cause):
    router = ExceptionTarget()

    async def check(ctx):
        ctx.set(router.cause, cause)
        for el, vm, ea, tge, el2_enabled in product(EL, *[(0, 1)] * 4):
            ctx.set(router.el, el)
            ctx.set(router.hcr_el2.VM, vm)
            ctx.set(router.scr_el3.EA, ea)
            ctx.set(router.effective.tge, tge)
            ctx.set(router.effective.el2_enabled, el2_enabled)
            stage_2 = el <= EL.EL1 and vm and el2_enabled
            user = EL.EL2 if tge and el2_enabled else EL.EL1
            default = {EL.EL0: user, EL.EL1: EL.EL1, EL.EL2: EL.EL2, EL.EL3: EL.EL3}[el]
            assert ctx.get(router.stage_2) == stage_2
            assert ctx.get(router.target) == (EL.EL2 if stage_2 else EL.EL3 if ea else default)

    settled(router, check)


def test_vectors_are_0x80_apart_in_four_groups_and_the_base_has_no_low_bits():
    vector = Vector()
    groups = {(0, 0): 0x000, (0, 1): 0x200, (1, 0): 0x400, (1, 1): 0x400}  # (lower, SP)
    types = {
        Retire.SYNCHRONOUS: 0x000,
        Retire.IRQ: 0x080,
        Retire.VIRQ: 0x080,
        Retire.FIQ: 0x100,
        Retire.VFIQ: 0x100,
        Retire.SERROR: 0x180,
    }

    async def check(ctx):
        ctx.set(Value.cast(vector.vbar), 0xFFFF_8000_1234_5FFF)
        for ((lower, sp), group), (kind, offset) in product(groups.items(), types.items()):
            ctx.set(vector.lower, lower)
            ctx.set(vector.sp, sp)
            ctx.set(vector.kind, kind)
            assert ctx.get(vector.address) == 0xFFFF_8000_1234_5800 + group + offset

    settled(vector, check)
