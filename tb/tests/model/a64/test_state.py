import pytest

from model.a64.exceptions import UnmappedAccess
from model.a64.state import MASK64, Memory, State
from model.arch import EL, SYSREGS


def state_with_memory() -> State:
    state = State(pc=0x40)
    state.memory.map(0x1000, bytes(range(16)))
    state.memory.map(0x2000, bytes(16), writable=False)
    return state


def test_memory_is_little_endian():
    state = state_with_memory()
    assert state.load(0x1000, 8) == 0x0706_0504_0302_0100
    assert state.load(0x100F, 1) == 0x0F


def test_a_store_changes_its_bytes_alone():
    state = state_with_memory()
    state.store(0x1004, 4, 0x1_DDCC_BBAA)
    assert state.load(0x1000, 8) == 0xDDCC_BBAA_0302_0100
    assert state.load(0x1008, 8) == 0x0F0E_0D0C_0B0A_0908


def test_what_map_returns_is_what_memory_holds():
    state = State()
    contents = state.memory.map(0, bytes(8))
    state.store(0, 8, 0x55)
    assert contents[0] == 0x55


@pytest.mark.parametrize("address", [0, 0xFFF, 0x100D, 0x1010, 0x3000, MASK64 - 3])
def test_an_access_that_is_not_all_mapped_names_address_and_pc(address):
    state = state_with_memory()
    with pytest.raises(UnmappedAccess) as error:
        state.load(address, 4)
    expected = f"pc 0x40: load of 4 bytes at {address:#x}: no memory is mapped there"
    assert str(error.value) == expected
    with pytest.raises(UnmappedAccess, match="store of 4 bytes"):
        state.store(address, 4, 0)


def test_a_store_to_read_only_memory_is_refused():
    state = state_with_memory()
    with pytest.raises(UnmappedAccess) as error:
        state.store(0x2008, 8, 1)
    assert str(error.value) == "pc 0x40: store of 8 bytes at 0x2008: read-only memory"
    assert state.load(0x2008, 8) == 0


def test_ranges_may_touch_but_not_overlap():
    memory = Memory()
    memory.map(0x1000, bytes(16))
    memory.map(0x1010, bytes(16))
    memory.map(0xFF0, bytes(16))
    with pytest.raises(ValueError) as error:
        memory.map(0x1008, bytes(4))
    assert str(error.value) == "0x1008 to 0x100c overlaps memory at 0x1000"


def test_a_range_must_fit_64_bit_addresses():
    memory = Memory()
    memory.map(MASK64 - 3, bytes(4))
    with pytest.raises(ValueError, match="is not inside 64-bit addresses"):
        memory.map(MASK64, bytes(4))


def test_a_new_state_has_every_system_register_that_keeps_its_64_bits():
    pstate_and_sps = {"NZCV", "DAIF", "SPSel", "CurrentEL", "SP_EL0", "SP_EL1", "SP_EL2"}
    assert set(State().sysregs) == set(SYSREGS) - {"OSLAR_EL1"} - pstate_and_sps


def test_a_new_state_has_the_registers_as_reset_leaves_them():
    resets = {
        "SCTLR_EL1": 0x00C5_0838,
        "SCTLR_EL2": 0x30C5_0838,
        "SCTLR_EL3": 0x00C5_0838,
        "OSLSR_EL1": 0xA,
        "MIDR_EL1": 0x000F_0000,
        "MPIDR_EL1": 0x8000_0000,
    }
    assert {name: value for name, value in State().sysregs.items() if value} == resets


def test_sp_is_a_slot_of_its_own():
    state = State()
    state.sp = 0x1230
    assert state.sp == 0x1230
    assert state.x[:31] == [0] * 31


def test_each_el_has_a_stack_pointer_and_el0_has_that_of_spsel_0():
    state = State(el=EL.EL2, unused_sps=[0xA0, 0xA1, 0xA2, 0xA3])
    state.sp = 0xB2
    state.select_sp(EL.EL1, 1)
    assert (state.el, state.spsel, state.sp) == (EL.EL1, 1, 0xA1)
    state.select_sp(EL.EL1, 0)
    assert state.sp == 0xA0
    state.sp = 0xB0
    state.select_sp(EL.EL2, 1)
    assert state.sp == 0xB2
    state.select_sp(EL.EL0, 0)
    assert state.sp == 0xB0
