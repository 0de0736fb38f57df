"""Who may access which system register, and what the registers hold."""

from itertools import product

import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from hw.core.sysregs import STORED, AccessCheck, SystemRegisters
from model.arch import EL, HCR_EL2, MDCR_EL2, RESET_VALUES, SYSREGS

#: Register to the lowest EL that may read it and that may write it (D17); None: no EL may.
ACCESS = {
    "MDSCR_EL1": (1, 1),
    "OSLAR_EL1": (None, 1),
    "OSLSR_EL1": (1, None),
    "OSDLR_EL1": (1, 1),
    "MIDR_EL1": (1, None),
    "MPIDR_EL1": (1, None),
    "SCTLR_EL1": (1, 1),
    "SCTLR_EL2": (2, 2),
    "SCTLR_EL3": (3, 3),
    "SPSR_EL1": (1, 1),
    "SPSR_EL2": (2, 2),
    "SPSR_EL3": (3, 3),
    "ELR_EL1": (1, 1),
    "ELR_EL2": (2, 2),
    "ELR_EL3": (3, 3),
    "ESR_EL1": (1, 1),
    "ESR_EL2": (2, 2),
    "ESR_EL3": (3, 3),
    "FAR_EL1": (1, 1),
    "FAR_EL2": (2, 2),
    "FAR_EL3": (3, 3),
    "HPFAR_EL2": (2, 2),
    "VBAR_EL1": (1, 1),
    "VBAR_EL2": (2, 2),
    "VBAR_EL3": (3, 3),
    "HCR_EL2": (2, 2),
    "MDCR_EL2": (2, 2),
    "SCR_EL3": (3, 3),
    "SDER32_EL3": (3, 3),
    "MDCR_EL3": (3, 3),
    "SP_EL0": (1, 1),
    "SP_EL1": (2, 2),
    "SP_EL2": (3, 3),
    "SPSel": (1, 1),
    "CurrentEL": (1, None),
    "NZCV": (0, 0),
    "DAIF": (0, 0),
    "TPIDR_EL0": (0, 0),
    "TPIDRRO_EL0": (0, 1),
    "TPIDR_EL1": (1, 1),
    "TPIDR_EL2": (2, 2),
    "TPIDR_EL3": (3, 3),
    "PMCCNTR_EL0": (0, 0),
}
#: Register to what traps it at EL1 to EL2: (a field of MDCR_EL2 or HCR_EL2, writes only)
TRAPPED_AT_EL1 = {
    "MDSCR_EL1": ("TDA", False),
    "OSLAR_EL1": ("TDOSA", False),
    "OSLSR_EL1": ("TDOSA", False),
    "OSDLR_EL1": ("TDOSA", False),
    "SCTLR_EL1": ("TVM", True),
    "ESR_EL1": ("TVM", True),
    "FAR_EL1": ("TVM", True),
}


def combinational(component, check):
    simulator = Simulator(component)
    simulator.add_testbench(check)
    simulator.run()


def clocked(component, check):
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(check)
    simulator.run()


def test_every_register_has_its_facts():
    assert ACCESS.keys() == SYSREGS.keys()


def test_an_access_below_the_lowest_el_or_of_the_wrong_kind_is_undefined():
    access = AccessCheck()

    async def check(ctx):
        ctx.set(access.pstate.sp, 1)
        for (name, allowed), el, write in product(ACCESS.items(), EL, (0, 1)):
            ctx.set(access.number, SYSREGS[name].number)
            ctx.set(access.pstate.el, el)
            ctx.set(access.write, write)
            lowest = allowed[write]
            undefined = lowest is None or el < lowest
            assert ctx.get(access.undefined) == undefined, (name, el, write)

    combinational(access, check)


def test_a_register_that_is_not_there_is_undefined(rng):
    access = AccessCheck()
    known = {register.number for register in SYSREGS.values()}
    near = {number ^ 1 << bit for number in known for bit in range(15)}
    unknown = sorted((near | set(rng.sample(range(1 << 15), 1000))) - known)

    async def check(ctx):
        ctx.set(access.pstate.el, EL.EL3)
        ctx.set(access.pstate.sp, 1)
        for number in unknown:
            ctx.set(access.number, number)
            assert ctx.get(access.undefined), f"{number:#x}"

    combinational(access, check)


def test_sp_el0_is_undefined_while_it_is_the_stack_pointer_in_use():
    access = AccessCheck()

    async def check(ctx):
        ctx.set(access.number, SYSREGS["SP_EL0"].number)
        ctx.set(access.pstate.el, EL.EL3)
        for sp, write in product((0, 1), (0, 1)):
            ctx.set(access.pstate.sp, sp)
            ctx.set(access.write, write)
            assert ctx.get(access.undefined) == (not sp)

    combinational(access, check)


def test_el2_traps_el1_by_tda_tdosa_tvm_and_by_tde_and_tge_as_if_the_first_two_were_set():
    access = AccessCheck()
    bits = ("TDA", "TDOSA", "TVM", "TDE", "TGE")

    async def check(ctx):
        ctx.set(access.pstate.sp, 1)
        for name, el, write, el2, set_bit in product(SYSREGS, EL, (0, 1), (0, 1), (None, *bits)):
            if name in ("DAIF", "PMCCNTR_EL0") and el == EL.EL0:
                continue
            ctx.set(access.number, SYSREGS[name].number)
            ctx.set(access.pstate.el, el)
            ctx.set(access.write, write)
            ctx.set(access.effective.el2_enabled, el2)
            ctx.set(access.mdcr_el2.TDA, set_bit == "TDA")
            ctx.set(access.mdcr_el2.TDOSA, set_bit == "TDOSA")
            ctx.set(access.hcr_el2.TVM, set_bit == "TVM")
            ctx.set(access.effective.tde, set_bit == "TDE")
            ctx.set(access.effective.tge, set_bit == "TGE")
            field, writes_only = TRAPPED_AT_EL1.get(name, (None, False))
            implied = field in ("TDA", "TDOSA") and set_bit in ("TDE", "TGE")
            trapped = field is not None and (set_bit == field or implied)
            trapped = trapped and el == EL.EL1 and el2 and (write or not writes_only)
            assert ctx.get(access.trap) == bool(trapped), (name, el, write, el2, set_bit)
            if trapped:
                assert ctx.get(access.target) == EL.EL2

    combinational(access, check)


@pytest.mark.parametrize("name", ["DAIF", "PMCCNTR_EL0"])
def test_el0_traps_to_el1_or_with_tge_to_el2(name):
    access = AccessCheck()

    async def check(ctx):
        ctx.set(access.number, SYSREGS[name].number)
        for uma, tge, el2, write in product(*[(0, 1)] * 4):
            ctx.set(access.sctlr.UMA, uma)
            ctx.set(access.effective.tge, tge)
            ctx.set(access.effective.el2_enabled, el2)
            ctx.set(access.write, write)
            assert not ctx.get(access.undefined)
            assert ctx.get(access.trap) == (name == "PMCCNTR_EL0" or not uma)
            assert ctx.get(access.target) == (EL.EL2 if tge and el2 else EL.EL1)

    combinational(access, check)


async def write(ctx, registers, name, value):
    ctx.set(registers.number, SYSREGS[name].number)
    ctx.set(registers.write_value, value)
    ctx.set(registers.write, 1)
    await ctx.tick()
    ctx.set(registers.write, 0)


def read(ctx, registers, name):
    ctx.set(registers.number, SYSREGS[name].number)
    return ctx.get(registers.value)


def test_registers_start_at_their_reset_values_and_keep_what_is_written():
    registers = SystemRegisters()
    kept = [name for name in STORED if name != "PMCCNTR_EL0"]

    async def check(ctx):
        for name in (*kept, "OSLSR_EL1"):
            assert read(ctx, registers, name) == RESET_VALUES.get(name, 0), name
        for n, name in enumerate(kept):
            await write(ctx, registers, name, ~n & (1 << 64) - 1)
        for n, name in enumerate(kept):
            assert read(ctx, registers, name) == ~n & (1 << 64) - 1, name

    clocked(registers, check)


def test_the_cycle_counter_counts_each_cycle_and_on_from_what_is_written():
    registers = SystemRegisters()

    async def check(ctx):
        for cycle in range(3):
            assert read(ctx, registers, "PMCCNTR_EL0") == cycle
            await ctx.tick()
        await write(ctx, registers, "PMCCNTR_EL0", (1 << 64) - 1)
        assert read(ctx, registers, "PMCCNTR_EL0") == (1 << 64) - 1
        await ctx.tick()
        assert read(ctx, registers, "PMCCNTR_EL0") == 0

    clocked(registers, check)


@pytest.mark.parametrize(
    "name, value, port, bit, reads",
    [
        ("MDCR_EL2", MDCR_EL2.TDE.mask, "mdcr_el2", "TDE", ("MDCR_EL2", MDCR_EL2.TDE.mask)),
        ("HCR_EL2", HCR_EL2.TGE.mask, "hcr_el2", "TGE", ("HCR_EL2", HCR_EL2.TGE.mask)),
        ("OSLAR_EL1", 1, "oslsr_el1", "OSLK", ("OSLSR_EL1", 0b1010)),
    ],
)
def test_a_write_is_seen_at_once_or_at_the_next_synchronisation(name, value, port, bit, reads):
    registers = SystemRegisters()

    def views(ctx):
        return tuple(
            ctx.get(getattr(getattr(controls, port), bit))
            for controls in (registers.controls, registers.controls_after)
        )

    async def check(ctx):
        ctx.set(registers.write_seen, 1)
        await write(ctx, registers, name, 0)
        assert views(ctx) == (0, 0)
        ctx.set(registers.number, SYSREGS[name].number)
        ctx.set(registers.write_value, value)
        ctx.set(registers.write, 1)
        assert views(ctx) == (0, 1)  # this row's state_after has it
        ctx.set(registers.write_seen, 0)
        assert views(ctx) == (0, 0)
        await ctx.tick()
        ctx.set(registers.write, 0)
        ctx.set(registers.write_seen, 1)  # the choice is about a write, and this is none
        for _ in range(2):
            assert views(ctx) == (0, 0)
            await ctx.tick()
        # MRS reads what was written.
        name_read, value_read = reads
        assert read(ctx, registers, name_read) == value_read
        ctx.set(registers.synchronise, 1)
        assert views(ctx) == (0, 1)
        await ctx.tick()
        assert views(ctx) == (1, 1)

    clocked(registers, check)


def test_an_exception_writes_the_registers_of_its_target_and_no_others():
    registers = SystemRegisters()
    entry = registers.entry
    names = [f"{kind}_EL{el}" for kind in ("ELR", "SPSR", "ESR", "FAR") for el in (1, 2, 3)]

    async def check(ctx):
        for name in ("esr", "elr", "far", "spsr"):
            ctx.set(Value.cast(getattr(entry, name)), 1)
        ctx.set(entry.valid, 1)
        for target, flags in product((EL.EL1, EL.EL2, EL.EL3), range(4)):
            for name in names:
                ctx.set(entry.valid, 0)
                await write(ctx, registers, name, 0)
            ctx.set(entry.valid, 1)
            ctx.set(entry.target_el, target)
            ctx.set(entry.sets_esr, flags & 1)
            ctx.set(entry.sets_far, flags >> 1)
            await ctx.tick()
            written = {name for name in names if read(ctx, registers, name)}
            expected = {f"ELR_{target.name}", f"SPSR_{target.name}"}
            expected |= {f"ESR_{target.name}"} if flags & 1 else set()
            expected |= {f"FAR_{target.name}"} if flags >> 1 else set()
            assert written == expected

    clocked(registers, check)


@pytest.mark.parametrize("el", EL)
def test_the_stack_pointer_in_use_is_sp_el0_or_that_of_the_el(el):
    registers = SystemRegisters()

    async def check(ctx):
        ctx.set(registers.pstate.el, el)
        for sp, value in ((0, 0x10), (1, 0x20)):
            ctx.set(registers.pstate.sp, sp)
            ctx.set(registers.sp_value, value)
            ctx.set(registers.sp_write, 1)
            await ctx.tick()
        ctx.set(registers.sp_write, 0)
        for sp, value in ((0, 0x20 if el == EL.EL0 else 0x10), (1, 0x20)):
            ctx.set(registers.pstate.sp, sp)
            assert ctx.get(registers.sp) == value
        if el in (EL.EL1, EL.EL2):
            assert read(ctx, registers, f"SP_{el.name}") == 0x20

    clocked(registers, check)
