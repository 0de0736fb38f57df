"""The one home of every encoding: register fields, ELs, exception classes, events, states, choices.

Source: Arm Architecture Reference Manual (DDI 0487), chapter D2 "AArch64 Self-hosted Debug"
(Software Step exceptions) and the register descriptions of chapter D17. Names are Arm's.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a register: bits `lsb + width - 1` down to `lsb`."""

    lsb: int
    width: int = 1

    @property
    def mask(self) -> int:
        """The field's bits, in place in the register."""
        return ((1 << self.width) - 1) << self.lsb

    def get(self, value: Any) -> Any:
        """The field's value in a register value (an int, or a numpy array of any shape)."""
        return (value & self.mask) >> self.lsb

    def is_set(self, value: Any) -> Any:
        """Whether any bit of the field is 1 (a bool, or a numpy array of them)."""
        return (value & self.mask) != 0

    def put(self, value: int) -> int:
        """`value` in place; the other bits are 0. ValueError if it does not fit."""
        if not 0 <= value < 1 << self.width:
            raise ValueError(f"{value} does not fit a field of {self.width} bits")
        return value << self.lsb


class Register:
    """A system register: a subclass names its fields. Bits without a name are not used here."""

    WIDTH = 64

    @classmethod
    def fields(cls) -> dict[str, Field]:
        """Field name to field, lowest bit first."""
        named = {name: f for name, f in vars(cls).items() if isinstance(f, Field)}
        return dict(sorted(named.items(), key=lambda item: item[1].lsb))


class MDSCR_EL1(Register):
    """Monitor Debug System Control Register."""

    SS = Field(0)  #: software step control
    KDE = Field(13)  #: debug exceptions from ELd itself are enabled (with PSTATE.D = 0)
    MDE = Field(15)  #: breakpoints, watchpoints and vector catch are enabled


class MDCR_EL2(Register):
    """Monitor Debug Configuration Register, EL2."""

    TDE = Field(8)  #: debug exceptions from EL0 and EL1 go to EL2
    TDA = Field(9)  #: EL0 and EL1 accesses to the debug registers trap to EL2
    TDOSA = Field(10)  #: EL1 accesses to the OS Lock registers trap to EL2
    TDRA = Field(11)  #: accesses to the debug ROM address registers trap to EL2


class HCR_EL2(Register):
    """Hypervisor Configuration Register."""

    VM = Field(0)  #: stage 2 translation of EL1 and EL0
    FMO = Field(3)  #: FIQs go to EL2
    IMO = Field(4)  #: IRQs go to EL2
    AMO = Field(5)  #: SErrors go to EL2
    VF = Field(6)  #: a virtual FIQ is pending (with FMO)
    VI = Field(7)  #: a virtual IRQ is pending (with IMO)
    TWI = Field(13)  #: WFI traps to EL2
    TWE = Field(14)  #: WFE traps to EL2
    TSC = Field(19)  #: SMC traps to EL2
    TVM = Field(26)  #: writes of the EL1 virtual memory registers trap to EL2
    TGE = Field(27)  #: exceptions to EL1 go to EL2
    RW = Field(31)  #: EL1 uses AArch64
    E2H = Field(34)  #: EL2 hosts an operating system


class SCR_EL3(Register):
    """Secure Configuration Register."""

    NS = Field(0)  #: EL0, EL1 and EL2 are Non-secure
    IRQ = Field(1)  #: IRQs go to EL3
    FIQ = Field(2)  #: FIQs go to EL3
    EA = Field(3)  #: SErrors and external aborts go to EL3
    SMD = Field(7)  #: SMC is UNDEFINED
    HCE = Field(8)  #: HVC is not UNDEFINED
    EEL2 = Field(18)  #: Secure EL2 is enabled


class SCTLR_ELx(Register):
    """System Control Register. Bits for EL0 are SCTLR_EL1's."""

    A = Field(1)  #: unaligned data accesses fault
    SA = Field(3)  #: loads and stores by an SP that is not a multiple of 16 fault
    SA0 = Field(4)  #: the same at EL0
    UMA = Field(9)  #: EL0 may access DAIF
    nTWI = Field(16)  #: WFI at EL0 does not trap to EL1
    nTWE = Field(18)  #: WFE at EL0 does not trap to EL1


class VBAR_ELx(Register):
    """Vector Base Address Register."""

    BASE = Field(11, 53)  #: the address of the vectors, a multiple of 2 KB


class HPFAR_EL2(Register):
    """Hypervisor IPA Fault Address Register."""

    FIPA = Field(4, 36)  #: bits 47:12 of the faulting intermediate physical address


class MDCR_EL3(Register):
    """Monitor Debug Configuration Register, EL3."""

    SDD = Field(16)  #: debug exceptions from Secure state are disabled


class SDER32_EL3(Register):
    """AArch32 Secure Debug Enable Register."""

    SUIDEN = Field(0)  #: debug exceptions from Secure EL0 are enabled when EL1 uses AArch32


class OSLSR_EL1(Register):
    """OS Lock Status Register. Bit 0 is a part of OSLM: it does not say whether the lock is set."""

    OSLK = Field(1)  #: the OS Lock is locked


class OSDLR_EL1(Register):
    """OS Double Lock Register."""

    DLK = Field(0)  #: the OS Double Lock is requested


class SPSR_ELx(Register):
    """Saved Program Status Register for AArch64 state (DSPSR_EL0 has the same fields)."""

    M = Field(0, 4)  #: EL and stack pointer, as the mode values below
    nRW = Field(4)  #: the state saved is AArch32
    F = Field(6)  #: FIQ mask
    I = Field(7)  # noqa: E741 - Arm's name: IRQ mask
    A = Field(8)  #: SError mask
    D = Field(9)  #: debug exception mask
    IL = Field(20)  #: Illegal Execution state
    SS = Field(21)  #: software step
    V = Field(28)  #: overflow
    C = Field(29)  #: carry
    Z = Field(30)  #: zero
    N = Field(31)  #: negative


class ESR_ELx(Register):
    """Exception Syndrome Register."""

    ISS = Field(0, 25)  #: instruction specific syndrome
    IL = Field(25)  #: the instruction has 32 bits
    EC = Field(26, 6)  #: exception class


class StepISS(Register):
    """ISS of a Software Step exception, inside ESR_ELx (D17, "ISS encoding for an exception from
    a Software Step")."""

    IFSC = Field(0, 6)  #: always IFSC_DEBUG
    EX = Field(6)  #: a load-exclusive was stepped (only with ISV)
    ISV = Field(24)  #: EX says what was stepped


IFSC_DEBUG = 0b100010  #: StepISS.IFSC: a debug exception


class SystemISS(Register):
    """ISS of a trapped MSR or MRS, or system instruction (EC 0x18)."""

    READ = Field(0)  #: MRS
    CRm = Field(1, 4)
    Rt = Field(5, 5)
    CRn = Field(10, 4)
    Op1 = Field(14, 3)
    Op2 = Field(17, 3)
    Op0 = Field(20, 2)


class WFxISS(Register):
    """ISS of a trapped WFI or WFE (EC 0x01)."""

    TI = Field(0)  #: WFE
    COND = Field(20, 4)  #: always 0b1110 in AArch64 state
    CV = Field(24)  #: COND is valid: always


class AbortISS(Register):
    """ISS of an instruction abort (FSC only) or data abort."""

    FSC = Field(0, 6)  #: a `FaultStatus`
    WnR = Field(6)  #: a write faulted
    AR = Field(14)  #: acquire or release (with ISV, as the next four)
    SF = Field(15)  #: the register has 64 bits
    SRT = Field(16, 5)  #: number of the register loaded or stored
    SSE = Field(21)  #: a sign-extending load
    SAS = Field(22, 2)  #: log2 of the bytes
    ISV = Field(24)  #: the fields above are valid


class FaultStatus(IntEnum):
    """AbortISS.FSC: which fault."""

    TRANSLATION_LEVEL_3 = 0b000111
    EXTERNAL = 0b010000  #: synchronous external abort, not on a translation table walk
    ALIGNMENT = 0b100001


class EL(IntEnum):
    """Exception levels."""

    EL0 = 0
    EL1 = 1
    EL2 = 2
    EL3 = 3


class Mode(IntEnum):
    """SPSR_ELx.M for AArch64: EL in bits 3:2, stack pointer (t: SP_EL0, h: SP_ELx) in bit 0."""

    EL0t = 0b0000
    EL1t = 0b0100
    EL1h = 0b0101
    EL2t = 0b1000
    EL2h = 0b1001
    EL3t = 0b1100
    EL3h = 0b1101


class Mode32(IntEnum):
    """SPSR_ELx.M<4:0> for AArch32."""

    USER = 0b10000  #: EL0
    FIQ = 0b10001  #: EL1, as the next five
    IRQ = 0b10010
    SVC = 0b10011
    ABORT = 0b10111
    UNDEF = 0b11011
    SYSTEM = 0b11111
    HYP = 0b11010  #: EL2


class ExceptionClass(IntEnum):
    """ESR_ELx.EC."""

    UNKNOWN = 0x00
    WFX = 0x01
    CP15_32 = 0x03
    CP15_64 = 0x04
    CP14_MR = 0x05
    CP14_LS = 0x06
    CP14_64 = 0x0C
    ILLEGAL_STATE = 0x0E
    SVC32 = 0x11
    HVC32 = 0x12
    SMC32 = 0x13
    SVC64 = 0x15
    HVC64 = 0x16
    SMC64 = 0x17
    SYS64 = 0x18
    IABT_LOWER = 0x20
    IABT_SAME = 0x21
    PC_ALIGN = 0x22
    DABT_LOWER = 0x24
    DABT_SAME = 0x25
    SP_ALIGN = 0x26
    SERROR = 0x2F
    BREAKPOINT_LOWER = 0x30
    BREAKPOINT_SAME = 0x31
    SOFTSTEP_LOWER = 0x32
    SOFTSTEP_SAME = 0x33
    WATCHPOINT_LOWER = 0x34
    WATCHPOINT_SAME = 0x35
    BKPT32 = 0x38
    BRK64 = 0x3C


class _Named(IntEnum):
    """An enumeration that files and reports write in lower case, with `_sep` for the underscore."""

    @property
    def text(self) -> str:
        """The member as the vector file and the reports write it."""
        return self.name.lower()


class StepState(_Named):
    """State of the software step state machine (D2.12.3). Derived, never stored."""

    INACTIVE = 0  #: no step exception can come
    ACTIVE_NOT_PENDING = 1  #: the next instruction is stepped
    ACTIVE_PENDING = 2  #: a step exception comes before the next instruction

    @property
    def text(self) -> str:
        """The state as Arm writes it."""
        return self.name.lower().replace("_", "-")


class Event(_Named):
    """What the PE does next, unless a Software Step exception comes first."""

    EXECUTE = 0  #: an instruction completes; it may write PSTATE.D or MDSCR_EL1
    LOAD_EXCLUSIVE = 1  #: an LDX* or LDAX* completes
    ISB = 2  #: an ISB completes
    SVC = 3  #: an SVC completes: the return address is the next instruction
    HVC = 4  #: an HVC completes
    SMC = 5  #: an SMC completes
    EXCEPTION = 6  #: a synchronous exception that returns to the same instruction
    INTERRUPT = 7  #: an asynchronous exception, taken before the instruction
    ERET = 8  #: an exception return
    DEBUG_EXIT = 9  #: the PE leaves Debug state


class Last(_Named):
    """What the PE did before, as far as a Software Step exception's syndrome can tell."""

    NOTHING = 0  #: nothing was stepped
    INSTRUCTION = 1  #: an instruction was stepped
    LOAD_EXCLUSIVE = 2  #: a load-exclusive was stepped
    ERET_OR_ISB = 3  #: an exception return or an ISB was stepped: ISV is a free choice
    OTHER_EXCEPTION = 4  #: another exception was taken first: ISV is a free choice
    OTHER_EXCEPTION_EX = 5  #: the same after a stepped load-exclusive: EX goes with ISV


class Retire(_Named):
    """What a row of the core's retire trace is about."""

    INSTRUCTION = 0  #: an instruction completed, and no exception was taken
    SYNCHRONOUS = 1  #: a synchronous exception, with an instruction or instead of it
    SERROR = 2
    FIQ = 3
    IRQ = 4
    VFIQ = 5  #: virtual FIQ
    VIRQ = 6  #: virtual IRQ


class Access(_Named):
    """The data access of an instruction."""

    NONE = 0
    LOAD = 1
    STORE = 2


RESET_VECTOR = 0x4000_0000  #: where the core begins, at EL3
RAM_BASE = 0x4000_0000  #: of the memory around the core; anything else is a window with no RAM
RAM_SIZE = 0x0040_0000  #: bytes

MIDR_VALUE = 0x000F_0000  #: MIDR_EL1: no implementer, no part
MPIDR_VALUE = 0x8000_0000  #: MPIDR_EL1: the one PE there is

#: System registers that do not start at 0.
RESET_VALUES = {
    "SCTLR_EL1": 0x00C5_0838,
    "SCTLR_EL2": 0x30C5_0838,
    "SCTLR_EL3": 0x00C5_0838,
    "OSLSR_EL1": 0xA,  # the OS Lock is locked
}


@dataclass(frozen=True, slots=True)
class SysReg:
    """How MRS and MSR name a system register."""

    op0: int
    op1: int
    crn: int
    crm: int
    op2: int

    @property
    def number(self) -> int:
        """15 bits, as MRS and MSR (register) have them: op0's low bit, op1, CRn, CRm, op2."""
        return (self.op0 & 1) << 14 | self.op1 << 11 | self.crn << 7 | self.crm << 3 | self.op2


#: Register name to MRS/MSR encoding (D17.2, C5.2).
SYSREGS = {
    "MDSCR_EL1": SysReg(2, 0, 0, 2, 2),
    "OSLAR_EL1": SysReg(2, 0, 1, 0, 4),
    "OSLSR_EL1": SysReg(2, 0, 1, 1, 4),
    "OSDLR_EL1": SysReg(2, 0, 1, 3, 4),
    "MIDR_EL1": SysReg(3, 0, 0, 0, 0),
    "MPIDR_EL1": SysReg(3, 0, 0, 0, 5),
    "SCTLR_EL1": SysReg(3, 0, 1, 0, 0),
    "SPSR_EL1": SysReg(3, 0, 4, 0, 0),
    "ELR_EL1": SysReg(3, 0, 4, 0, 1),
    "SP_EL0": SysReg(3, 0, 4, 1, 0),
    "SPSel": SysReg(3, 0, 4, 2, 0),
    "CurrentEL": SysReg(3, 0, 4, 2, 2),
    "ESR_EL1": SysReg(3, 0, 5, 2, 0),
    "FAR_EL1": SysReg(3, 0, 6, 0, 0),
    "VBAR_EL1": SysReg(3, 0, 12, 0, 0),
    "TPIDR_EL1": SysReg(3, 0, 13, 0, 4),
    "NZCV": SysReg(3, 3, 4, 2, 0),
    "DAIF": SysReg(3, 3, 4, 2, 1),
    "PMCCNTR_EL0": SysReg(3, 3, 9, 13, 0),
    "TPIDR_EL0": SysReg(3, 3, 13, 0, 2),
    "TPIDRRO_EL0": SysReg(3, 3, 13, 0, 3),
    "SCTLR_EL2": SysReg(3, 4, 1, 0, 0),
    "HCR_EL2": SysReg(3, 4, 1, 1, 0),
    "MDCR_EL2": SysReg(3, 4, 1, 1, 1),
    "SPSR_EL2": SysReg(3, 4, 4, 0, 0),
    "ELR_EL2": SysReg(3, 4, 4, 0, 1),
    "SP_EL1": SysReg(3, 4, 4, 1, 0),
    "ESR_EL2": SysReg(3, 4, 5, 2, 0),
    "FAR_EL2": SysReg(3, 4, 6, 0, 0),
    "HPFAR_EL2": SysReg(3, 4, 6, 0, 4),
    "VBAR_EL2": SysReg(3, 4, 12, 0, 0),
    "TPIDR_EL2": SysReg(3, 4, 13, 0, 2),
    "SCTLR_EL3": SysReg(3, 6, 1, 0, 0),
    "SCR_EL3": SysReg(3, 6, 1, 1, 0),
    "SDER32_EL3": SysReg(3, 6, 1, 1, 1),
    "MDCR_EL3": SysReg(3, 6, 1, 3, 1),
    "SPSR_EL3": SysReg(3, 6, 4, 0, 0),
    "ELR_EL3": SysReg(3, 6, 4, 0, 1),
    "SP_EL2": SysReg(3, 6, 4, 1, 0),
    "ESR_EL3": SysReg(3, 6, 5, 2, 0),
    "FAR_EL3": SysReg(3, 6, 6, 0, 0),
    "VBAR_EL3": SysReg(3, 6, 12, 0, 0),
    "TPIDR_EL3": SysReg(3, 6, 13, 0, 2),
}
