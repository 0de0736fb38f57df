"""The seed's host: each exit by its class, MMIO, system registers, and what EL2 itself may do."""

from collections.abc import Callable
from errno import ENOSYS

import pytest

from model.arch import SYSREGS, SystemISS
from model.hyp.sequences import load
from model.hyp.words import Sequence
from model.kvm import host as kvm_host
from model.kvm.host import EXIT_HANDLERS, Exit, Host, HypPanic
from model.kvm.uapi import DebugExit, ExitReason, KvmRun
from model.programs.load import with_world_switch
from tb.core.program import mov
from tb.tests.model.a64.pe import BRK, HVC, NOP, SMC, TDE, UNDEFINED, WFE, WFI, mrs, msr
from tb.tests.model.kvm.guests import (
    DATA,
    DEVICE,
    EL0T,
    EL1H,
    MASKED,
    OFF,
    SAME_EL,
    SS,
    STEPPING,
    VECTORS,
    User,
    image,
    seed_host,
    upstream,
    virtual_cpu,
)

PC = 0x4010_0000
ONES = (1 << 64) - 1
IL = 1 << 25  #: of ESR_ELx
UNKNOWN_ESR = IL
ENABLE_SW_BP = 0x1_0001

ADVANCES = pytest.mark.parametrize("advance_first", [True, False], ids=["before", "after"])


def exits(ec, iss=0, host=None, **registers):
    """One exit of a class: (what the handler returns, the vcpu, the page)."""
    cpu, run = virtual_cpu(esr_el2=ec << 26 | IL | iss, vbar_el1=VECTORS, **registers), KvmRun()
    return (host or seed_host()).handle_exit(cpu, run), cpu, run


def injected(cpu, esr, elr=PC, spsr=EL1H | MASKED):
    """An exception was taken to EL1 from EL1h."""
    regs = cpu.regs
    assert (regs.esr_el1, regs.elr_el1, regs.spsr_el1) == (esr, elr, spsr)
    assert (regs.elr, regs.spsr) == (VECTORS + SAME_EL, EL1H | MASKED)
    return True


# The table


def test_the_handlers_are_those_of_the_seed():
    classes = "01 03 04 05 06 0c 12 13 16 17 18 20 24 32 38 3c"
    assert sorted(EXIT_HANDLERS) == [int(ec, 16) for ec in classes.split()]


@pytest.mark.parametrize("ec", sorted(set(range(64)) - EXIT_HANDLERS.keys()))
def test_a_class_without_a_handler_is_logged_and_user_space_is_told(ec):
    result, cpu, run = exits(ec, 0x123)
    assert result == 0
    assert (run.exit_reason, run.hardware_exit_reason) == (ExitReason.UNKNOWN, ec)
    esr = ec << 26 | IL | 0x123
    assert cpu.log == [f"unknown exception class {ec:#04x}: ESR_EL2 {esr:#010x}"]
    assert cpu.regs.elr == PC


@pytest.mark.parametrize("kind", [Exit.IRQ, Exit.FIQ, Exit.SERROR])
def test_an_interrupt_of_the_host_changes_nothing(kind):
    cpu, run = virtual_cpu(exit=kind, esr_el2=0xFE00_0000), KvmRun()
    before = cpu.copy_of_regs()
    assert seed_host().handle_exit(cpu, run) == 1
    assert cpu.regs == before
    assert cpu.log == []


def test_an_exception_at_el2_is_a_panic():
    cpu = virtual_cpu(exit=Exit.PANIC, esr_el2=0x9600_0007, elr=0x4008_0040)
    with pytest.raises(HypPanic) as error:
        seed_host().handle_exit(cpu, KvmRun())
    assert str(error.value) == "an exception at EL2: ESR_EL2 0x96000007, PC 0x40080040"


# WFx, AArch32, HVC, SMC


@pytest.mark.parametrize("iss", [0x1E0_0000, 0x1E0_0001], ids=["WFI", "WFE"])
def test_a_wait_is_over_at_once(iss):
    result, cpu, _ = exits(0x01, iss)
    assert (result, cpu.regs.elr) == (1, PC + 4)


def test_the_pc_wraps_at_the_end_of_the_address_space():
    _, cpu, _ = exits(0x01, elr=ONES - 3)
    assert cpu.regs.elr == 0


@pytest.mark.parametrize("ec", [0x03, 0x04, 0x05, 0x06, 0x0C])
def test_registers_of_aarch32_are_undefined(ec):
    result, cpu, _ = exits(ec)
    assert result == 1
    assert injected(cpu, UNKNOWN_ESR)


@pytest.mark.parametrize("ec", [0x12, 0x16])
@pytest.mark.parametrize("high", [0, 0x1234_5678 << 32])
def test_psci_has_a_version(ec, high):
    result, cpu, _ = exits(ec, elr=PC + 4, x=[high | 0x8400_0000] * 31)
    assert (result, cpu.regs.x[0], cpu.regs.elr) == (1, 2, PC + 4)


@pytest.mark.parametrize("ec", [0x12, 0x16])
def test_psci_switches_off(ec):
    result, _, run = exits(ec, x=[0x8400_0008] * 31)
    assert (result, run.exit_reason) == (0, ExitReason.SYSTEM_EVENT)


@pytest.mark.parametrize("function", [0, 0x8400_0001, 0xC400_0003, 0xFFFF_FFFF])
def test_another_call_is_not_supported(function):
    result, cpu, _ = exits(0x16, elr=PC + 4, x=[function] * 31)
    assert (result, cpu.regs.x[0], cpu.regs.elr) == (1, ONES, PC + 4)
    assert cpu.regs.x[1:] == [function] * 30


@pytest.mark.parametrize("ec", [0x13, 0x17])
def test_an_smc_is_undefined_and_returns_to_itself(ec):
    result, cpu, _ = exits(ec)
    assert result == 1
    assert injected(cpu, UNKNOWN_ESR)


# Aborts, steps, breakpoints


def test_a_fetch_without_memory_aborts():
    result, cpu, _ = exits(0x20, 0x7, elr=DEVICE, far_el2=DEVICE)
    assert result == 1
    assert injected(cpu, 0x21 << 26 | IL | 0x10, elr=DEVICE)
    assert cpu.regs.far_el1 == DEVICE


def test_a_step_that_was_asked_for_is_an_exit_at_the_next_instruction():
    result, cpu, run = exits(0x32, 0x22, guest_debug=STEPPING)
    assert (result, run.exit_reason) == (0, ExitReason.DEBUG)
    assert (run.debug.exit_type, run.debug.address) == (DebugExit.SINGLE_STEP, PC)
    assert cpu.log == []


@pytest.mark.parametrize("guest_debug", [0, 1, 2])
def test_a_step_that_nobody_asked_for_is_one_with_a_warning(guest_debug):
    result, cpu, run = exits(0x32, 0x22, guest_debug=guest_debug)
    assert (result, run.exit_reason) == (0, ExitReason.DEBUG)
    assert cpu.log == ["WARNING: kvm_handle_ss: a step that nobody has asked for"]
    assert cpu.log[0] == kvm_host.WARN_ON_STEP


@pytest.mark.parametrize("ec", [0x38, 0x3C])
def test_a_breakpoint_is_an_exit_where_user_space_uses_them(ec):
    result, cpu, run = exits(ec, 0x1234, guest_debug=ENABLE_SW_BP)
    assert (result, run.exit_reason) == (0, ExitReason.DEBUG)
    assert (run.debug.exit_type, run.debug.address) == (DebugExit.SW_BKPT, PC)
    assert (cpu.regs.elr, cpu.regs.spsr, cpu.regs.esr_el1) == (PC, EL1H | MASKED, 0)


@pytest.mark.parametrize("ec", [0x38, 0x3C])
def test_a_breakpoint_is_the_guests_own_where_user_space_uses_none(ec):
    result, cpu, _ = exits(ec, 0x1234, guest_debug=STEPPING)
    assert result == 1
    assert injected(cpu, 0x3C << 26 | IL | 0x1234)


# Trapped system registers


def sys64(register, Rt, read, **registers):
    """An MSR or MRS that traps."""
    r = SYSREGS[register] if isinstance(register, str) else register
    iss = SystemISS.Op0.put(r.op0) | SystemISS.Op1.put(r.op1) | SystemISS.CRn.put(r.crn)
    iss |= SystemISS.CRm.put(r.crm) | SystemISS.Op2.put(r.op2) | SystemISS.Rt.put(Rt) | read
    return exits(0x18, iss, **registers)


@pytest.mark.parametrize("Rt", [0, 7, 30])
def test_mdscr_el1_is_read_and_written_in_the_saved_copy(Rt):
    result, cpu, _ = sys64("MDSCR_EL1", Rt, read=1, mdscr_el1=0xA001)
    assert (result, cpu.regs.x[Rt], cpu.regs.elr) == (1, 0xA001, PC + 4)
    result, cpu, _ = sys64("MDSCR_EL1", Rt, read=0, mdscr_el1=0xA001, x=[0x2000] * 31)
    assert (result, cpu.regs.mdscr_el1, cpu.regs.elr) == (1, 0x2000, PC + 4)


@pytest.mark.parametrize(("value", "locked"), [(0, 0), (1, 1), (ONES, 1), (ONES - 1, 0)])
def test_the_os_lock_is_bit_0_of_oslar_el1(value, locked):
    result, cpu, _ = sys64("OSLAR_EL1", 3, read=0, os_lock=1 - locked, x=[value] * 31)
    assert (result, cpu.regs.os_lock, cpu.regs.elr) == (1, locked, PC + 4)


@pytest.mark.parametrize(("locked", "value"), [(0, 0x8), (1, 0xA)])
def test_oslsr_el1_has_the_lock_in_bit_1(locked, value):
    result, cpu, _ = sys64("OSLSR_EL1", 3, read=1, os_lock=locked)
    assert (result, cpu.regs.x[3], cpu.regs.elr) == (1, value, PC + 4)


def test_the_double_lock_is_not_there():
    result, cpu, _ = sys64("OSDLR_EL1", 3, read=1, x=[ONES] * 31)
    assert (result, cpu.regs.x[3], cpu.regs.elr) == (1, 0, PC + 4)
    before = cpu.copy_of_regs()
    result, cpu, _ = sys64("OSDLR_EL1", 3, read=0, x=before.x)
    assert result == 1
    assert (cpu.regs.x, cpu.regs.mdscr_el1, cpu.regs.os_lock) == (before.x, 0, 0)


def test_xzr_reads_as_zero_and_is_not_written():
    _, cpu, _ = sys64("MDSCR_EL1", 31, read=0, mdscr_el1=0xA001, x=[ONES] * 31)
    assert cpu.regs.mdscr_el1 == 0
    result, cpu, _ = sys64("OSLSR_EL1", 31, read=1, x=[5] * 31)
    assert (result, cpu.regs.x, cpu.regs.elr) == (1, [5] * 31, PC + 4)


UNALLOCATED = type(SYSREGS["MIDR_EL1"])(2, 0, 0, 0, 2)
OTHERS = [*(name for name in SYSREGS if name not in kvm_host._EMULATED), UNALLOCATED]


@pytest.mark.parametrize("register", OTHERS)
@pytest.mark.parametrize("read", [0, 1])
def test_another_register_is_undefined(register, read):
    result, cpu, _ = sys64(register, 3, read, x=[7] * 31)
    assert result == 1
    assert injected(cpu, UNKNOWN_ESR)
    assert cpu.regs.x == [7] * 31


# MMIO, an exit at a time


def abort_iss(size, sign=0, wide=1, Rt=2, write=0, isv=1):
    """ISS of a data abort: `size` is log2 of the bytes."""
    return isv << 24 | size << 22 | sign << 21 | Rt << 16 | wide << 15 | write << 6 | 0x7


def aborts(iss, host, **registers):
    return exits(0x24, iss, host, far_el2=0xFFFF_0000_0000_1ABC, hpfar_el2=0x90_0000, **registers)


@ADVANCES
@pytest.mark.parametrize("size", range(4))
def test_a_store_gives_user_space_its_bytes(size, advance_first):
    host = seed_host(advance_first=advance_first)
    x = [0x8877_6655_4433_2211 + n for n in range(31)]
    result, cpu, run = aborts(abort_iss(size, write=1), host, x=x)
    assert (result, run.exit_reason) == (0, ExitReason.MMIO)
    mmio = run.mmio
    assert (mmio.phys_addr, mmio.len, mmio.is_write) == (0x9000_0ABC, 1 << size, True)
    assert mmio.data == x[2].to_bytes(8, "little")[: 1 << size]
    assert cpu.regs.elr == (PC + 4 if advance_first else PC)

    assert host.handle_mmio_return(cpu, run) == 1
    assert (cpu.regs.elr, cpu.regs.x, cpu.access) == (PC + 4, x, None)


@ADVANCES
@pytest.mark.parametrize("size", range(4))
@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("wide", [0, 1])
@pytest.mark.parametrize("top", [0, 1])
def test_a_load_is_extended_to_its_register(size, sign, wide, top, advance_first):
    host = seed_host(advance_first=advance_first)
    result, cpu, run = aborts(abort_iss(size, sign, wide), host, x=[ONES] * 31)
    assert (result, run.exit_reason) == (0, ExitReason.MMIO)
    mmio = run.mmio
    assert (mmio.phys_addr, mmio.len, mmio.is_write) == (0x9000_0ABC, 1 << size, False)
    assert mmio.data == bytes(1 << size)
    assert cpu.regs.x == [ONES] * 31
    assert cpu.regs.elr == (PC + 4 if advance_first else PC)

    bits = 8 << size
    value = 0x1234_5678_9ABC_DE76 & (1 << bits) - 1 | top << bits - 1
    if not top:
        value &= (1 << bits - 1) - 1
    mmio.data = value.to_bytes(1 << size, "little")
    assert host.handle_mmio_return(cpu, run) == 1
    expected = value - (1 << bits) if sign and top else value
    assert cpu.regs.x[2] == expected % (1 << (64 if wide else 32))
    assert cpu.regs.x[:2] + cpu.regs.x[3:] == [ONES] * 30
    assert (cpu.regs.elr, cpu.access) == (PC + 4, None)


def test_a_store_of_xzr_is_of_zeros():
    _, _, run = aborts(abort_iss(3, Rt=31, write=1), seed_host(), x=[ONES] * 31)
    assert run.mmio.data == bytes(8)


def test_a_load_to_xzr_is_made_and_goes_nowhere():
    host = seed_host()
    _, cpu, run = aborts(abort_iss(3, Rt=31), host, x=[5] * 31)
    assert run.exit_reason == ExitReason.MMIO
    run.mmio.data = b"\xff" * 8
    assert host.handle_mmio_return(cpu, run) == 1
    assert cpu.regs.x == [5] * 31


@pytest.mark.parametrize("write", [0, 1])
def test_an_access_whose_syndrome_does_not_say_what_it_is_cannot_be_made(write):
    result, cpu, run = aborts(abort_iss(3, write=write, isv=0), seed_host())
    assert result == -ENOSYS
    assert cpu.log == ["load/store instruction decoding not implemented"]
    assert (cpu.regs.elr, cpu.access) == (PC, None)
    assert run.exit_reason == ExitReason.UNKNOWN


def test_without_an_access_there_is_nothing_to_complete():
    cpu, run = virtual_cpu(), KvmRun()
    before = cpu.copy_of_regs()
    assert seed_host().handle_mmio_return(cpu, run) == 1
    assert cpu.regs == before


@ADVANCES
def test_the_seed_has_an_aborted_access_return_to_where_its_pc_is_by_then(advance_first):
    host = seed_host(advance_first=advance_first)
    _, cpu, run = aborts(abort_iss(3), host)
    cpu.abort_pending = True
    assert host.handle_mmio_return(cpu, run) == 1
    assert injected(cpu, 0x25 << 26 | IL | 0x10, elr=PC + 4 if advance_first else PC)
    assert cpu.regs.far_el1 == 0xFFFF_0000_0000_1ABC
    assert (cpu.access, cpu.abort_pending) == (None, False)


# MMIO, as the same access to RAM has it

LOADS_STORES = [
    (size, opc)
    for size, opcs in enumerate(((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2), (0, 1)))
    for opc in opcs
]
HOSTS: dict[str, Callable[..., Host]] = {"seed": seed_host, "upstream": upstream}


def access(size, opc, Rn, Rt):
    """A load or store with an unsigned offset of 0 (C4.1.89)."""
    return size << 30 | 0x3900_0000 | opc << 22 | Rn << 5 | Rt


@ADVANCES
@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("control", [0, STEPPING])
@pytest.mark.parametrize(("size", "opc"), LOADS_STORES)
def test_a_device_is_accessed_as_ram_is(rng, name, control, size, opc, advance_first):
    contents = rng.getrandbits(64).to_bytes(8, "little")
    value = rng.getrandbits(64)
    guest = image(
        access(size, opc, 1, 2), access(size, opc, 3, 4), *(mov(0, 0x8400_0008)), HVC, *[NOP] * 4
    )
    user = User(HOSTS[name](advance_first=advance_first), guest)
    user.debug(control)
    for register, content in (("x1", DEVICE), ("x3", DATA), ("x2", value), ("x4", value)):
        user.vm.set_one_reg(user.cpu, register, content)
    user.engine.write(DATA, contents)
    device = bytearray(contents)
    accesses = 0
    for _ in range(12):
        assert user.run() == 0
        if user.page.exit_reason == ExitReason.SYSTEM_EVENT:
            break
        if user.page.exit_reason == ExitReason.MMIO:
            accesses += 1
            mmio = user.page.mmio
            assert (mmio.phys_addr, mmio.len, mmio.is_write) == (DEVICE, 1 << size, opc == 0)
            if mmio.is_write:
                device[: mmio.len] = mmio.data
            else:
                mmio.data = contents[: mmio.len]
    assert user.page.exit_reason == ExitReason.SYSTEM_EVENT
    assert accesses == 1
    assert user.get("x2") == user.get("x4")
    assert bytes(device) == user.engine.read(DATA, 8)


def test_a_pair_of_a_device_cannot_be_loaded():
    user = User(seed_host(), image(0xA940_0440))  # ldp x0, x1, [x2]
    user.vm.set_one_reg(user.cpu, "x2", DEVICE)
    assert user.run() == -ENOSYS
    assert user.cpu.log == ["load/store instruction decoding not implemented"]
    assert user.get("pc") == PC


# Guests


def run_to_the_end(user, runs=20):
    """KVM_RUN until the guest switches itself off."""
    for _ in range(runs):
        assert user.run() == 0
        if user.page.exit_reason == ExitReason.SYSTEM_EVENT:
            return user
    raise AssertionError(f"after {runs} runs at {user.get('pc'):#x}")


@pytest.mark.parametrize(("word", "switches"), [(WFI, 2), (WFE, 1)])
def test_a_guest_goes_on_after_its_wait(word, switches):
    """The ERET to it is an event: a WFE need not wait."""
    user = run_to_the_end(User(seed_host(), image(word, *OFF)))
    assert [switch.exit for switch in user.vm.switches] == [Exit.SYNC] * switches
    assert user.get("pc") == PC + 4 + 4 * len(OFF)


@pytest.mark.parametrize("word", [SMC, UNDEFINED])
def test_a_guest_takes_its_own_undefined_instruction(word):
    user = run_to_the_end(User(seed_host(), image(word, at_200=OFF)))
    assert (user.get("esr_el1"), user.get("elr_el1")) == (UNKNOWN_ESR, PC)


def test_a_guest_takes_its_own_brk():
    user = run_to_the_end(User(seed_host(), image(BRK, at_200=OFF)))
    assert (user.get("esr_el1"), user.get("elr_el1")) == (0xF200_1234, PC)


def test_a_guest_asks_for_the_version_of_psci():
    words = (*mov(0, 0x8400_0000), HVC, 0xAA00_03E5, *OFF)  # mov x5, x0
    user = run_to_the_end(User(seed_host(), image(*words)))
    assert user.get("x5") == 2


def test_a_guest_jumps_where_no_memory_is():
    user = User(seed_host(), image(0xD61F_0020, at_200=OFF))  # br x1
    user.vm.set_one_reg(user.cpu, "x1", DEVICE)
    run_to_the_end(user)
    assert (user.get("esr_el1"), user.get("elr_el1")) == (0x8600_0010, DEVICE)
    assert user.get("far_el1") == DEVICE


def test_the_os_lock_traps_though_nobody_debugs():
    words = (mrs("OSLSR_EL1", 5), msr("OSLAR_EL1", 6), mrs("OSLSR_EL1", 7), *OFF)
    user = User(seed_host(), image(*words))
    user.vm.set_one_reg(user.cpu, "x6", 1)
    run_to_the_end(user)
    assert (user.get("x5"), user.get("x7"), user.cpu.regs.os_lock) == (0x8, 0xA, 1)
    assert len(user.vm.switches) == 4


def test_mdscr_el1_does_not_trap_where_nobody_debugs():
    user = User(seed_host(), image(msr("MDSCR_EL1", 6), *OFF))
    user.vm.set_one_reg(user.cpu, "x6", 0x2000)
    run_to_the_end(user)
    assert len(user.vm.switches) == 1
    assert user.get("mdscr_el1") == 0x2000


def test_a_guest_at_el0_is_undefined_where_el1_traps():
    user = User(seed_host(), image(mrs("MDSCR_EL1", 5), at_400=OFF), registers={"pstate": EL0T})
    run_to_the_end(user)
    assert (user.get("esr_el1"), user.get("elr_el1")) == (UNKNOWN_ESR, PC)


# The sequence at guest entry, and C


def faulting(word):
    return Sequence("faulting", (word,), ("",))


@pytest.mark.parametrize(
    ("word", "esr"), [(UNDEFINED, 0x0200_0000), (BRK, 0xF200_1234), (0xF940_007F, 0x9600_0010)]
)
def test_a_sequence_that_faults_is_a_panic(word, esr):
    host = Host(faulting(word))  # the last one: ldr xzr, [x3], x3 being 0
    user = User(host, image(*OFF))
    pc = with_world_switch(image(*OFF), host.sequence).symbols["sequence"]
    with pytest.raises(HypPanic) as error:
        user.run()
    assert str(error.value) == f"an exception at EL2: ESR_EL2 {esr:#x}, PC {pc:#x}"
    assert not user.cpu.running


def test_c_sets_up_the_saved_state_with_callout_alone():
    for callout, ss in ((False, 0), (True, 1)):
        cpu = virtual_cpu(guest_debug=STEPPING)
        Host(load("callout"), callout=callout).setup(cpu)
        assert (cpu.regs.spsr & SS, cpu.regs.mdscr_el1) == (SS * ss, ss)


def test_callout_takes_back_what_it_has_set_when_debugging_ends():
    host = Host(load("callout"), callout=True)
    cpu = virtual_cpu()
    host.set_guest_debug(cpu, STEPPING)
    host.setup(cpu)
    host.set_guest_debug(cpu, 0)
    assert (cpu.regs.spsr & SS, cpu.regs.mdscr_el1, cpu.regs.mdcr_el2 & TDE) == (0, 0, 0)


def test_what_the_guest_has_of_its_own_callout_leaves_when_it_never_debugged():
    host = Host(load("callout"), callout=True)
    cpu = virtual_cpu(spsr=EL1H | SS, mdscr_el1=1)
    host.set_guest_debug(cpu, 0)
    assert (cpu.regs.spsr & SS, cpu.regs.mdscr_el1) == (SS, 1)


def test_the_seed_states_that_it_suppresses_the_guests_own_stepping_with_enable():
    suppresses = seed_host().suppresses
    assert [suppresses(control) for control in (0, 1, 2, 3, ENABLE_SW_BP)] == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_stepping_takes_both_bits():
    stepping = [virtual_cpu(guest_debug=control).stepping for control in (0, 1, 2, 3, 0x1_0003)]
    assert stepping == [False, False, False, True, True]


def test_a_copy_of_the_registers_is_none_of_them():
    cpu = virtual_cpu()
    copy = cpu.copy_of_regs()
    cpu.regs.x[0], cpu.regs.elr = 1, 4
    assert (copy.x[0], copy.elr) == (0, PC)
