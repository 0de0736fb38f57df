"""The ioctls: what they refuse, and with which errno; and KVM_RUN of one vcpu or two in turn."""

from dataclasses import replace
from errno import EINTR, EINVAL, ENOENT, ENOEXEC

import pytest

from model.a64.processor import QUIET
from model.a64.trace import Inputs
from model.arch import HCR_EL2, Retire
from model.hyp.words import Sequence
from model.kvm.engine import NoExit, ReferenceEngine
from model.kvm.host import Exit, Host
from model.kvm.uapi import (
    KVM_GUESTDBG_ENABLE,
    KVM_GUESTDBG_SINGLESTEP,
    KVM_GUESTDBG_USE_HW_BP,
    KVM_GUESTDBG_USE_SW_BP,
    DebugExit,
    ExitReason,
    KvmGuestDebug,
    KvmRun,
)
from model.kvm.vcpu import Vcpu
from model.kvm.vm import Vm
from tb.tests.model.a64.pe import ADD_X0_1, B_SELF, BRK, LDR_X0_X1, NOP, STR_X0_X1, msr
from tb.tests.model.kvm.guests import (
    DEVICE,
    EL1H,
    MASKED,
    OFF,
    STEPPING,
    VECTORS,
    User,
    image,
    now,
    seed_host,
    upstream,
)

PC = 0x4010_0000
ONES = (1 << 64) - 1
GUEST = image(ADD_X0_1, ADD_X0_1, *OFF)
LOAD = image(LDR_X0_X1, *OFF)
STORE = image(STR_X0_X1, *OFF)

#: Of the registers that have no name of x0 to x30.
NAMES = {
    "pc": "elr",
    "pstate": "spsr",
    **{name: name for name in ("sp_el0", "sp_el1", "mdscr_el1", "elr_el1", "spsr_el1")},
    **{name: name for name in ("esr_el1", "far_el1", "vbar_el1", "sctlr_el1")},
}


def vm_of(guest=GUEST, host=None, engine=None):
    vm = Vm(engine or ReferenceEngine(), host or upstream())
    now(vm.start(guest))
    return vm


def accessing(guest=LOAD, host=None):
    """User space that is asked to make an access."""
    user = User(host or upstream(), guest)
    user.vm.set_one_reg(user.cpu, "x1", DEVICE)
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.MMIO
    return user


# Vcpus


def test_there_is_room_for_two_vcpus():
    vm = vm_of()
    one, other = vm.create_vcpu(), vm.create_vcpu()
    assert one.address != other.address
    with pytest.raises(ValueError) as error:
        vm.create_vcpu()
    assert str(error.value) == "there is room for 2 vcpus"


def test_a_vcpu_begins_at_el1_with_all_masked():
    vm = vm_of()
    cpu = vm.create_vcpu()
    cpu.regs = Vcpu(elr_el1=5, spsr=1 << 21, x=[9] * 31)
    assert vm.vcpu_init(cpu, PC + 8) == 0
    expected = Vcpu(spsr=EL1H | MASKED, elr=PC + 8, sctlr_el1=0x00C5_0838)
    assert replace(cpu.regs, hcr_el2=0, mdcr_el2=0) == expected


def test_a_guest_runs_under_stage_2_with_interrupts_and_waits_to_the_host():
    vm = vm_of()
    cpu = vm.create_vcpu()
    vm.vcpu_init(cpu, PC)
    bits = ("VM", "FMO", "IMO", "AMO", "TWI", "TWE", "TSC", "RW")
    assert cpu.regs.hcr_el2 == sum(getattr(HCR_EL2, name).mask for name in bits)
    assert cpu.regs.mdcr_el2 == 1 << 10  # TDOSA


def test_before_it_is_initialised_a_vcpu_does_nothing():
    vm = vm_of()
    cpu, run = vm.create_vcpu(), KvmRun()
    assert now(vm.run(cpu, run)) == -ENOEXEC
    assert vm.get_one_reg(cpu, "pc") == (-ENOEXEC, 0)
    assert vm.get_one_reg(cpu, "nonsense") == (-ENOEXEC, 0)
    assert vm.set_one_reg(cpu, "pc", ONES + 1) == -ENOEXEC
    assert cpu.regs == Vcpu()
    assert run == KvmRun()


def test_a_sequence_that_does_not_fit_is_refused():
    host = Host(Sequence("long", (NOP,) * 256, ("",) * 256))
    with pytest.raises(ValueError) as error:
        vm_of(host=host)
    assert str(error.value) == "long: 256 words: no more than 255 fit"


# KVM_SET_GUEST_DEBUG


@pytest.mark.parametrize("host", [seed_host, upstream])
@pytest.mark.parametrize(
    "control",
    [KVM_GUESTDBG_USE_HW_BP, KVM_GUESTDBG_USE_HW_BP | STEPPING, 1 << 2, 1 << 31, 1 << 32, -1],
)
def test_what_is_unknown_or_not_supported_is_refused_and_changes_nothing(control, host):
    user = User(host(), GUEST)
    user.debug(STEPPING)
    before = user.cpu.copy_of_regs()
    assert user.vm.set_guest_debug(user.cpu, KvmGuestDebug(control)) == -EINVAL
    assert user.cpu.regs == before


@pytest.mark.parametrize("host", [seed_host, upstream])
@pytest.mark.parametrize("more", [0, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_SW_BP])
def test_what_is_known_is_kept_with_enable_alone(more, host):
    user = User(host(), GUEST)
    user.debug(KVM_GUESTDBG_ENABLE | more)
    assert user.cpu.regs.guest_debug == KVM_GUESTDBG_ENABLE | more
    user.debug(more)
    assert user.cpu.regs.guest_debug == 0


# KVM_GET_ONE_REG and KVM_SET_ONE_REG


def test_registers_are_set_and_read_by_their_names(rng):
    user = User(upstream(), GUEST)
    names = [*NAMES, *(f"x{n}" for n in range(31))]
    values = {name: rng.getrandbits(64) for name in names}
    for name, value in values.items():
        assert user.vm.set_one_reg(user.cpu, name, value) == 0
    assert {name: user.get(name) for name in names} == values
    regs = user.cpu.regs
    assert {name: getattr(regs, of) for name, of in NAMES.items()} == {
        name: values[name] for name in NAMES
    }
    assert regs.x == [values[f"x{n}"] for n in range(31)]


@pytest.mark.parametrize(
    "name",
    ["", "x", "x31", "x01", "x-1", "X0", "x٣", "sp", "elr", "hcr_el2", "guest_debug", "os_lock"],
)
def test_a_register_that_is_none_is_not_found(name):
    user = User(upstream(), GUEST)
    before = user.cpu.copy_of_regs()
    assert user.vm.get_one_reg(user.cpu, name) == (-ENOENT, 0)
    assert user.vm.set_one_reg(user.cpu, name, 0) == -ENOENT
    assert user.cpu.regs == before


@pytest.mark.parametrize("name", ["pc", "x0", "x30", "nonsense"])
@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_value_of_more_than_64_bits_is_refused(name, value):
    user = User(upstream(), GUEST)
    before = user.cpu.copy_of_regs()
    assert user.vm.set_one_reg(user.cpu, name, value) == -EINVAL
    assert user.cpu.regs == before


# KVM_RUN


class Meanwhile(ReferenceEngine):
    """An engine that does something else in each run."""

    act = None

    async def run(self, inputs=(QUIET,)):
        if self.act:
            await self.act()
        return await super().run(inputs)


def test_a_second_run_of_a_vcpu_that_runs_is_interrupted():
    engine = Meanwhile()
    user, page, results = User(upstream(), GUEST, engine), KvmRun(), []

    async def again():
        results.append(await user.vm.run(user.cpu, page))

    engine.act = again
    assert user.run() == 0
    assert results == [-EINTR]
    assert page == KvmRun()
    assert (user.page.exit_reason, user.get("x0")) == (ExitReason.SYSTEM_EVENT, 0x8400_0008)
    assert not user.cpu.running


def test_a_vcpu_whose_run_has_failed_does_not_run_any_more():
    user = User(upstream(), image(B_SELF), ReferenceEngine(max_rows=1000))
    for _ in range(2):
        with pytest.raises(NoExit) as error:
            user.run()
        assert str(error.value) == f"no exit to the host in 1,000 rows: at {PC:#x}"
        assert not user.cpu.running


def test_immediate_exit_does_not_enter_the_guest():
    user = User(upstream(), GUEST)
    before = user.cpu.copy_of_regs()
    user.page.immediate_exit = True
    assert user.run() == -EINTR
    assert user.page.exit_reason == ExitReason.INTR
    assert (user.vm.switches, user.cpu.regs) == ([], before)

    user.page.immediate_exit = False
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.SYSTEM_EVENT


@pytest.mark.parametrize("advance_first", [True, False])
@pytest.mark.parametrize("host", [seed_host, upstream])
def test_immediate_exit_completes_an_access_that_user_space_has_made(host, advance_first):
    user = accessing(host=host(advance_first=advance_first))
    user.page.mmio.data = b"software"
    user.page.immediate_exit = True
    assert user.run() == -EINTR
    assert user.page.exit_reason == ExitReason.INTR
    assert user.vm.switches == []
    assert (user.get("pc"), user.get("x0")) == (PC + 4, int.from_bytes(b"software", "little"))
    assert user.run() == -EINTR
    assert user.get("pc") == PC + 4


def test_an_interrupt_with_a_signal_ends_the_run():
    user = User(upstream(), image(NOP, NOP, NOP, *OFF))
    assert user.run([Inputs(irq=1)], signal=True) == -EINTR
    assert user.page.exit_reason == ExitReason.INTR
    assert [switch.exit for switch in user.vm.switches] == [Exit.IRQ]
    assert user.get("pc") == PC


def test_an_interrupt_without_a_signal_is_the_hosts_alone():
    user = User(upstream(), image(NOP, NOP, NOP, *OFF))
    assert user.run([Inputs(irq=1)]) == 0
    assert user.page.exit_reason == ExitReason.SYSTEM_EVENT
    assert [switch.exit for switch in user.vm.switches] == [Exit.IRQ, Exit.SYNC]


@pytest.mark.parametrize(("pin", "kind"), [("fiq", Exit.FIQ), ("serror", Exit.SERROR)])
def test_a_signal_comes_with_an_irq_alone(pin, kind):
    user = User(upstream(), image(NOP, *OFF))
    assert user.run([Inputs(**{pin: 1})], signal=True) == 0
    assert [switch.exit for switch in user.vm.switches] == [kind, Exit.SYNC]


def test_pins_are_those_of_the_first_world_switch():
    user = User(upstream(), image(NOP, *OFF))
    user.run([Inputs(irq=1)])
    first, second = user.vm.switches
    assert all(row.irq for row in first.ran.rows)
    assert not any(row.irq for row in second.ran.rows)


def test_world_switches_are_those_of_the_last_run():
    user = User(upstream(), GUEST)
    user.debug(STEPPING)
    for _ in range(2):
        user.run()
        (switch,) = user.vm.switches
        assert switch.exit == Exit.SYNC
        assert [row.word for row in switch.ran.rows].count(ADD_X0_1) == 1


def test_a_virtual_interrupt_is_pending_until_it_is_not():
    user = User(upstream(), image(NOP, *OFF, at_280=OFF), registers={"pstate": EL1H})
    user.debug(STEPPING)
    user.vm.set_virtual_irq(user.cpu, True)
    assert user.run() == 0
    assert user.get("pc") == VECTORS + 0x280
    (switch,) = user.vm.switches
    assert [row.kind for row in switch.ran.rows].count(Retire.VIRQ) == 1
    user.vm.set_virtual_irq(user.cpu, False)
    assert not user.cpu.regs.hcr_el2 & HCR_EL2.VI.mask
    user.debug(0)
    user.vm.set_one_reg(user.cpu, "pc", PC)
    user.vm.set_one_reg(user.cpu, "pstate", EL1H)
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.SYSTEM_EVENT
    assert user.get("pc") == PC + 4 + 4 * len(OFF)


def test_software_breakpoints_are_exits_without_steps():
    user = User(upstream(), image(NOP, BRK))
    user.debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP)
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.DEBUG
    assert user.page.debug.exit_type == DebugExit.SW_BKPT
    assert user.page.debug.address == user.get("pc") == PC + 4


# Accesses


@pytest.mark.parametrize("host", [seed_host, upstream])
def test_a_load_that_user_space_does_not_answer_is_of_zeros(host):
    user = accessing(host=host())
    user.vm.set_one_reg(user.cpu, "x0", ONES)
    user.page.immediate_exit = True
    assert user.run() == -EINTR
    assert user.get("x0") == 0


def test_an_abort_without_an_access_is_refused():
    user = User(upstream(), GUEST)
    assert user.vm.inject_external_abort(user.cpu) == -EINVAL
    user = accessing()
    user.run()
    assert user.vm.inject_external_abort(user.cpu) == -EINVAL


@pytest.mark.parametrize("guest", [LOAD, STORE])
@pytest.mark.parametrize("advance_first", [True, False])
def test_an_access_that_aborts_is_an_exception_of_the_guest(guest, advance_first):
    guest = replace(guest, segments=guest.segments + image(NOP, at_200=OFF).segments[1:])
    user = accessing(guest, upstream(advance_first))
    assert user.vm.inject_external_abort(user.cpu) == 0
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.SYSTEM_EVENT
    assert (user.get("elr_el1"), user.get("far_el1")) == (PC, DEVICE)
    assert user.get("esr_el1") == 0x9600_0010 | (guest.segments[0] == STORE.segments[0]) << 6
    assert user.vm.inject_external_abort(user.cpu) == -EINVAL


# Two vcpus


SAVED = (
    *("sp_el0", "sp_el1", "elr_el1", "spsr_el1", "esr_el1", "far_el1", "vbar_el1"),
    *("tpidr_el0", "tpidrro_el0", "tpidr_el1"),
)


@pytest.mark.parametrize("host", [seed_host, upstream])
def test_two_vcpus_in_turn_keep_their_registers_apart(rng, host):
    vm = vm_of(image(*[NOP] * 64, STR_X0_X1, ADD_X0_1, 0x17FF_FFFE), host())  # b .-8
    stepped, free = vm.create_vcpu(), vm.create_vcpu()
    pages = KvmRun(), KvmRun()
    vm.vcpu_init(stepped, PC)
    vm.vcpu_init(free, PC + 4 * 64)
    for cpu in (stepped, free):
        for name in SAVED:
            setattr(cpu.regs, name, rng.getrandbits(64))
        cpu.regs.x = [rng.getrandbits(64) for _ in range(31)]
    free.regs.x[1] = DEVICE
    vm.set_guest_debug(stepped, KvmGuestDebug(STEPPING))
    before = [cpu.copy_of_regs() for cpu in (stepped, free)]
    for n in range(1, 17):
        assert now(vm.run(stepped, pages[0])) == 0
        assert (pages[0].exit_reason, pages[0].debug.address) == (ExitReason.DEBUG, PC + 4 * n)
        assert now(vm.run(free, pages[1])) == 0
        assert pages[1].exit_reason == ExitReason.MMIO
        x0 = (before[1].x[0] + n - 1) & ONES
        assert pages[1].mmio.data == x0.to_bytes(8, "little")
        assert stepped.regs.x == before[0].x
        assert free.regs.x == [x0, *before[1].x[1:]]
        for cpu, was in zip((stepped, free), before, strict=True):
            assert [getattr(cpu.regs, name) for name in SAVED] == [
                getattr(was, name) for name in SAVED
            ]
    assert free.log == stepped.log == []


def test_two_vcpus_have_control_registers_of_their_own():
    write = msr("MDSCR_EL1", 0)
    vm = vm_of(image(write, msr("OSLAR_EL1", 1), *OFF))
    cpus = vm.create_vcpu(), vm.create_vcpu()
    for cpu, mdscr, lock in zip(cpus, (0x2000, 0x8000), (1, 0), strict=True):
        vm.vcpu_init(cpu, PC)
        vm.set_one_reg(cpu, "x0", mdscr)
        vm.set_one_reg(cpu, "x1", lock)
        vm.set_guest_debug(cpu, KvmGuestDebug(STEPPING))
    for _ in range(2):
        for cpu in cpus:
            assert now(vm.run(cpu, KvmRun())) == 0
    assert [cpu.regs.mdscr_el1 for cpu in cpus] == [0x2000, 0x8000]
    assert [cpu.regs.os_lock for cpu in cpus] == [1, 0]


# Initialised again


def test_a_vcpu_that_is_initialised_again_has_no_access_open_and_is_debugged_as_before():
    user = accessing(host=upstream(advance_first=False))
    assert user.vm.set_guest_debug(user.cpu, KvmGuestDebug(KVM_GUESTDBG_ENABLE)) == 0
    assert user.vm.vcpu_init(user.cpu, PC) == 0
    assert user.cpu.access is None
    assert user.cpu.regs.guest_debug == KVM_GUESTDBG_ENABLE
    assert user.get("pc") == PC
