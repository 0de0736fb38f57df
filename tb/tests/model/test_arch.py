"""The encodings, typed again from the specification's section 1 and the vector file's tables."""

import numpy as np
import pytest

from model import arch

# Register to its fields: name to (highest bit, lowest bit).
REGISTERS = {
    "MDSCR_EL1": {"SS": (0, 0), "KDE": (13, 13), "MDE": (15, 15)},
    "MDCR_EL2": {"TDE": (8, 8), "TDA": (9, 9), "TDOSA": (10, 10), "TDRA": (11, 11)},
    "HCR_EL2": {
        "VM": (0, 0),
        "FMO": (3, 3),
        "IMO": (4, 4),
        "AMO": (5, 5),
        "VF": (6, 6),
        "VI": (7, 7),
        "TWI": (13, 13),
        "TWE": (14, 14),
        "TSC": (19, 19),
        "TVM": (26, 26),
        "TGE": (27, 27),
        "RW": (31, 31),
        "E2H": (34, 34),
    },
    "SCR_EL3": {
        "NS": (0, 0),
        "IRQ": (1, 1),
        "FIQ": (2, 2),
        "EA": (3, 3),
        "SMD": (7, 7),
        "HCE": (8, 8),
        "EEL2": (18, 18),
    },
    "SCTLR_ELx": {
        "A": (1, 1),
        "SA": (3, 3),
        "SA0": (4, 4),
        "UMA": (9, 9),
        "nTWI": (16, 16),
        "nTWE": (18, 18),
    },
    "VBAR_ELx": {"BASE": (63, 11)},
    "HPFAR_EL2": {"FIPA": (39, 4)},
    "MDCR_EL3": {"SDD": (16, 16)},
    "SDER32_EL3": {"SUIDEN": (0, 0)},
    "OSLSR_EL1": {"OSLK": (1, 1)},
    "OSDLR_EL1": {"DLK": (0, 0)},
    "SPSR_ELx": {
        "M": (3, 0),
        "nRW": (4, 4),
        "F": (6, 6),
        "I": (7, 7),
        "A": (8, 8),
        "D": (9, 9),
        "IL": (20, 20),
        "SS": (21, 21),
        "V": (28, 28),
        "C": (29, 29),
        "Z": (30, 30),
        "N": (31, 31),
    },
    "ESR_ELx": {"ISS": (24, 0), "IL": (25, 25), "EC": (31, 26)},
    "StepISS": {"IFSC": (5, 0), "EX": (6, 6), "ISV": (24, 24)},
    "SystemISS": {
        "READ": (0, 0),
        "CRm": (4, 1),
        "Rt": (9, 5),
        "CRn": (13, 10),
        "Op1": (16, 14),
        "Op2": (19, 17),
        "Op0": (21, 20),
    },
    "WFxISS": {"TI": (0, 0), "COND": (23, 20), "CV": (24, 24)},
    "AbortISS": {
        "FSC": (5, 0),
        "WnR": (6, 6),
        "AR": (14, 14),
        "SF": (15, 15),
        "SRT": (20, 16),
        "SSE": (21, 21),
        "SAS": (23, 22),
        "ISV": (24, 24),
    },
}

FIELDS = [
    (register, name, high, low)
    for register, fields in REGISTERS.items()
    for name, (high, low) in fields.items()
]

EXCEPTION_CLASSES = {
    "UNKNOWN": 0x00,
    "WFX": 0x01,
    "CP15_32": 0x03,
    "CP15_64": 0x04,
    "CP14_MR": 0x05,
    "CP14_LS": 0x06,
    "CP14_64": 0x0C,
    "ILLEGAL_STATE": 0x0E,
    "SVC32": 0x11,
    "HVC32": 0x12,
    "SMC32": 0x13,
    "SVC64": 0x15,
    "HVC64": 0x16,
    "SMC64": 0x17,
    "SYS64": 0x18,
    "IABT_LOWER": 0x20,
    "IABT_SAME": 0x21,
    "PC_ALIGN": 0x22,
    "DABT_LOWER": 0x24,
    "DABT_SAME": 0x25,
    "SP_ALIGN": 0x26,
    "SERROR": 0x2F,
    "BREAKPOINT_LOWER": 0x30,
    "BREAKPOINT_SAME": 0x31,
    "SOFTSTEP_LOWER": 0x32,
    "SOFTSTEP_SAME": 0x33,
    "WATCHPOINT_LOWER": 0x34,
    "WATCHPOINT_SAME": 0x35,
    "BKPT32": 0x38,
    "BRK64": 0x3C,
}

MODES = {
    "EL0t": 0b0000,
    "EL1t": 0b0100,
    "EL1h": 0b0101,
    "EL2t": 0b1000,
    "EL2h": 0b1001,
    "EL3t": 0b1100,
    "EL3h": 0b1101,
}

EL1_MODES32 = {0b10001, 0b10010, 0b10011, 0b10111, 0b11011, 0b11111}

# op0, op1, CRn, CRm, op2, as an assembler takes a register without a name.
SYSREGS = {
    "MDSCR_EL1": "S2_0_C0_C2_2",
    "OSLAR_EL1": "S2_0_C1_C0_4",
    "OSLSR_EL1": "S2_0_C1_C1_4",
    "OSDLR_EL1": "S2_0_C1_C3_4",
    "SCTLR_EL1": "S3_0_C1_C0_0",
    "SCTLR_EL2": "S3_4_C1_C0_0",
    "SCTLR_EL3": "S3_6_C1_C0_0",
    "SPSR_EL1": "S3_0_C4_C0_0",
    "ELR_EL1": "S3_0_C4_C0_1",
    "ESR_EL1": "S3_0_C5_C2_0",
    "FAR_EL1": "S3_0_C6_C0_0",
    "VBAR_EL1": "S3_0_C12_C0_0",
    "SPSR_EL2": "S3_4_C4_C0_0",
    "ELR_EL2": "S3_4_C4_C0_1",
    "ESR_EL2": "S3_4_C5_C2_0",
    "FAR_EL2": "S3_4_C6_C0_0",
    "HPFAR_EL2": "S3_4_C6_C0_4",
    "VBAR_EL2": "S3_4_C12_C0_0",
    "SPSR_EL3": "S3_6_C4_C0_0",
    "ELR_EL3": "S3_6_C4_C0_1",
    "ESR_EL3": "S3_6_C5_C2_0",
    "FAR_EL3": "S3_6_C6_C0_0",
    "VBAR_EL3": "S3_6_C12_C0_0",
    "HCR_EL2": "S3_4_C1_C1_0",
    "MDCR_EL2": "S3_4_C1_C1_1",
    "SCR_EL3": "S3_6_C1_C1_0",
    "SDER32_EL3": "S3_6_C1_C1_1",
    "MDCR_EL3": "S3_6_C1_C3_1",
    "SP_EL0": "S3_0_C4_C1_0",
    "SP_EL1": "S3_4_C4_C1_0",
    "SP_EL2": "S3_6_C4_C1_0",
    "SPSel": "S3_0_C4_C2_0",
    "CurrentEL": "S3_0_C4_C2_2",
    "NZCV": "S3_3_C4_C2_0",
    "DAIF": "S3_3_C4_C2_1",
    "TPIDR_EL0": "S3_3_C13_C0_2",
    "TPIDRRO_EL0": "S3_3_C13_C0_3",
    "TPIDR_EL1": "S3_0_C13_C0_4",
    "TPIDR_EL2": "S3_4_C13_C0_2",
    "TPIDR_EL3": "S3_6_C13_C0_2",
    "MIDR_EL1": "S3_0_C0_C0_0",
    "MPIDR_EL1": "S3_0_C0_C0_5",
    "PMCCNTR_EL0": "S3_3_C9_C13_0",
}

EVENTS = [
    "execute",
    "load_exclusive",
    "isb",
    "svc",
    "hvc",
    "smc",
    "exception",
    "interrupt",
    "eret",
    "debug_exit",
]
LASTS = [
    "nothing",
    "instruction",
    "load_exclusive",
    "eret_or_isb",
    "other_exception",
    "other_exception_ex",
]


@pytest.mark.parametrize(("register", "name", "high", "low"), FIELDS)
def test_field_stands_at_its_bits(register, name, high, low):
    field = getattr(arch, register).fields()[name]
    assert field.mask == sum(1 << bit for bit in range(low, high + 1))
    assert (field.lsb, field.width) == (low, high - low + 1)


@pytest.mark.parametrize("register", REGISTERS)
def test_register_names_the_fields_of_the_specification_lowest_first(register):
    assert list(getattr(arch, register).fields()) == list(REGISTERS[register])


def test_os_lock_is_bit_1_and_not_bit_0():
    assert arch.OSLSR_EL1.OSLK.is_set(0b10)
    assert not arch.OSLSR_EL1.OSLK.is_set(0b01)


def test_exception_classes():
    assert {ec.name: ec.value for ec in arch.ExceptionClass} == EXCEPTION_CLASSES


def test_lower_and_same_exception_classes_are_neighbours():
    # 0x32 and 0x33, 0x30 and 0x31, ...: only the lowest bit says lower or same.
    for name, value in EXCEPTION_CLASSES.items():
        if name.endswith("_LOWER"):
            assert arch.ExceptionClass[name.replace("LOWER", "SAME")] == value + 1


def test_modes_of_aarch64():
    assert {mode.name: mode.value for mode in arch.Mode} == MODES


def test_modes_of_aarch32():
    assert {mode.value for mode in arch.Mode32} == EL1_MODES32 | {0b10000, 0b11010}
    assert arch.Mode32.USER == 0b10000
    assert arch.Mode32.SVC == 0b10011
    assert arch.Mode32.HYP == 0b11010


def test_exception_levels():
    assert [el.value for el in (arch.EL.EL0, arch.EL.EL1, arch.EL.EL2, arch.EL.EL3)] == [0, 1, 2, 3]
    assert len(arch.EL) == 4


def test_step_syndrome_has_the_debug_status_code():
    assert arch.IFSC_DEBUG == 0b100010


def test_states_are_named_as_in_the_vector_file():
    names = ["inactive", "active-not-pending", "active-pending"]
    assert [state.text for state in arch.StepState] == names


def test_events_are_named_as_in_the_vector_file():
    assert [event.text for event in arch.Event] == EVENTS


def test_what_was_stepped_is_named_as_in_the_vector_file():
    assert [last.text for last in arch.Last] == LASTS


def test_system_register_encodings():
    encodings = {
        name: f"S{reg.op0}_{reg.op1}_C{reg.crn}_C{reg.crm}_{reg.op2}"
        for name, reg in arch.SYSREGS.items()
    }
    assert encodings == SYSREGS


def test_a_system_register_has_the_number_that_mrs_and_msr_have():
    assert arch.SYSREGS["MDSCR_EL1"].number == 0b0_000_0000_0010_010
    assert arch.SYSREGS["PMCCNTR_EL0"].number == 0b1_011_1001_1101_000


def test_registers_that_do_not_start_at_0():
    assert arch.RESET_VALUES == {
        "SCTLR_EL1": 0x00C5_0838,
        "SCTLR_EL2": 0x30C5_0838,
        "SCTLR_EL3": 0x00C5_0838,
        "OSLSR_EL1": 0b1010,
    }


def test_kinds_of_fault():
    statuses = {"TRANSLATION_LEVEL_3": 0x07, "EXTERNAL": 0x10, "ALIGNMENT": 0x21}
    assert {status.name: status.value for status in arch.FaultStatus} == statuses


def test_field_takes_its_bits_out_of_a_value():
    esr = 0xCF000062
    assert arch.ESR_ELx.EC.get(esr) == 0x33
    assert arch.ESR_ELx.IL.get(esr) == 1
    assert arch.ESR_ELx.ISS.get(esr) == 0x1000062
    assert arch.StepISS.IFSC.get(esr) == 0b100010


def test_field_takes_its_bits_out_of_an_array():
    spsr = np.array([[0x3C5, 0x200009], [0x10, 0x20020D]], dtype=np.uint64)
    assert arch.SPSR_ELx.M.get(spsr).tolist() == [[5, 9], [0, 13]]
    assert arch.SPSR_ELx.SS.is_set(spsr).tolist() == [[False, True], [False, True]]
    assert arch.SPSR_ELx.D.is_set(spsr).tolist() == [[True, False], [False, True]]


def test_field_puts_a_value_at_its_bits():
    assert arch.ESR_ELx.EC.put(0x33) == 0xCC000000
    assert arch.SPSR_ELx.SS.put(1) == 0x200000
    assert arch.SPSR_ELx.SS.put(0) == 0


@pytest.mark.parametrize("value", [-1, 64])
def test_field_refuses_a_value_that_does_not_fit(value):
    with pytest.raises(ValueError, match=f"^{value} does not fit a field of 6 bits$"):
        arch.ESR_ELx.EC.put(value)
