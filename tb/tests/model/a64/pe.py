"""A reference PE somewhere in a program, and the words of its instructions."""

import struct
from typing import Any

from model.a64.processor import Processor
from model.a64.trace import Inputs, Row
from model.arch import EL, SYSREGS, Event, Retire

CODE = 0x4010_0000
DATA = 0x4018_0000
VECTORS = {EL.EL1: 0x4020_0000, EL.EL2: 0x4021_0000, EL.EL3: 0x4022_0000}
RAM_END = 0x4040_0000
WINDOW = 0x9_8765_4321_0ABC  # no memory is here

# Bits of the control registers, typed from the manual.
NS, SCR_IRQ, SCR_FIQ, EA, SMD, HCE, EEL2 = (1 << n for n in (0, 1, 2, 3, 7, 8, 18))
VM, FMO, IMO, AMO, VF, VI, TWI, TWE, TSC, TVM, TGE = (
    1 << n for n in (0, 3, 4, 5, 6, 7, 13, 14, 19, 26, 27)
)
TDE, TDA, TDOSA = 1 << 8, 1 << 9, 1 << 10
SS, KDE = 1 << 0, 1 << 13
SPSR_D, SPSR_IL, SPSR_SS = 1 << 9, 1 << 20, 1 << 21
SCTLR_A, SA, SA0, UMA, NTWI, NTWE = (1 << n for n in (1, 3, 4, 9, 16, 18))

NOP = 0xD503_201F
ISB = 0xD503_3FDF
ERET = 0xD69F_03E0
WFE, WFI, SEV, SEVL = 0xD503_205F, 0xD503_207F, 0xD503_209F, 0xD503_20BF
CLREX = 0xD503_3F5F
B_SELF = 0x1400_0000
SVC, HVC, SMC, BRK = 0xD402_4681, 0xD402_4682, 0xD402_4683, 0xD422_4680  # #0x1234
DAIFSET_D, DAIFCLR_D = 0xD503_48DF, 0xD503_48FF
UNDEFINED = 0x0000_0000
ADD_X0_1 = 0x9100_0400  # add x0, x0, #1
LDXR_X0_X1 = 0xC85F_7C20  # ldxr x0, [x1]
LDR_X0_X1 = 0xF940_0020  # ldr x0, [x1]
STR_X0_X1 = 0xF900_0020  # str x0, [x1]


def msr(name: str, register: int) -> int:
    """MSR (register)."""
    r = SYSREGS[name]
    encoding = r.op0 << 19 | r.op1 << 16 | r.crn << 12 | r.crm << 8 | r.op2 << 5
    return 0xD500_0000 | encoding | register


def mrs(name: str, register: int) -> int:
    """MRS."""
    return msr(name, register) | 1 << 21


def mov(register: int, value: int) -> tuple[int, ...]:
    """MOVZ and three MOVKs of 64 bits."""
    parts = [value >> 16 * hw & 0xFFFF for hw in range(4)]
    movz, movk = 0xD280_0000, 0xF280_0000
    return tuple(
        (movk if hw else movz) | hw << 21 | part << 5 | register for hw, part in enumerate(parts)
    )


def code(*words: int) -> bytes:
    """Words as memory holds them."""
    return struct.pack(f"<{len(words)}I", *words)


def pe_at(
    el: int,
    *words: int,
    pc: int = CODE,
    daif: int = 0,
    spsel: int | None = None,
    x: dict[int, int] | None = None,
    **sysregs: int,
) -> Processor:
    """A PE at words, with these registers.

    EL2 is enabled by SCR_EL3.NS, HVC is, the OS Lock is unlocked, nothing is masked. Each EL has
    its vectors in VECTORS; what is there is UNDEFINED.
    """
    pe = Processor()
    state = pe.state
    state.sysregs.update(SCR_EL3=NS | HCE, OSLSR_EL1=0x8)
    state.sysregs.update({f"VBAR_{of.name}": vectors for of, vectors in VECTORS.items()})
    state.sysregs.update(sysregs)
    state.select_sp(EL(el), (1 if el else 0) if spsel is None else spsel)
    state.daif = daif
    for register, value in (x or {}).items():
        state.x[register] = value
    state.pc = pc
    pe.write_memory(pc, code(*words))
    return pe


def step(el: int, word: int, given: Inputs | None = None, **there: Any) -> Row:
    """The row of one word: see `pe_at`."""
    return pe_at(el, word, **there).step(given or Inputs())


def has(row: Row, **expected: int) -> bool:
    """Compare fields of a row, all at once."""
    assert {name: hex(getattr(row, name)) for name in expected} == {
        name: hex(value) for name, value in expected.items()
    }
    return True


def completes(row: Row) -> bool:
    """Whether no exception was taken, and nothing of one is in the row."""
    assert row.kind == Retire.INSTRUCTION, f"ESR {row.esr:#x}, to EL{row.target_el}"
    return has(row, target_el=0, esr=0, elr=0, spsr=0, sets_esr=0, sets_far=0, sets_hpfar=0)


def taken(row: Row, target: int, esr: int, **fields: int) -> bool:
    """A synchronous exception to an EL; unless said otherwise, it returns to its instruction."""
    expected = {"event": Event.EXCEPTION, "elr": CODE, "sets_esr": 1, "el_after": target, **fields}
    return has(row, kind=Retire.SYNCHRONOUS, target_el=target, esr=esr, **expected)


def undefined(row: Row, target: int) -> bool:
    """The exception of an UNDEFINED instruction."""
    return taken(row, target, 0x0200_0000, sets_far=0, sets_hpfar=0, far=0)
