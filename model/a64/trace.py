"""What the core is given, and what it retires: a row an instruction or exception."""

from typing import NamedTuple


class Inputs(NamedTuple):
    """What a row meets from outside: the pins, and the choices that the architecture leaves."""

    irq: int = 0  #: level of the pin, as the next two
    fiq: int = 0
    serror: int = 0
    async_first: int = 0  #: an interrupt is taken before a pending Software Step exception
    isv_choice: int = 1  #: ESR_ELx.ISV of a Software Step exception where it is free
    write_seen: int = 1  #: a write of a control register is seen before synchronisation
    wfx_ends: int = 1  #: a WFI or WFE need not wait
    cycle_count: int = 0  #: what a read of PMCCNTR_EL0 gives, 64 bits


class Row(NamedTuple):
    """One row of the retire trace: an instruction that completed, or an exception that was taken.

    A call such as SVC is one row. What does not apply is 0. Widths are in WIDTHS.
    """

    # The inputs, as sampled.
    irq: int
    fiq: int
    serror: int
    async_first: int
    isv_choice: int
    write_seen: int
    wfx_ends: int
    cycle_count: int  #: PMCCNTR_EL0, if the instruction is an MRS of it
    # Before.
    pc: int
    el: int
    eld: int  #: where debug exceptions go
    enabled: int  #: debug exceptions are
    state: int  #: a StepState
    last: int  #: a Last
    # What happens.
    kind: int  #: a Retire
    word: int  #: the instruction; 0 if none was executed or fetched
    event: int  #: the Event of software step
    # The exception: what is written for its target EL.
    target_el: int
    esr: int
    elr: int
    spsr: int
    far: int
    hpfar: int
    sets_esr: int
    sets_far: int
    sets_hpfar: int
    # General-purpose registers written: Rd, Rt or Rs; Rt2; the base. Number 31 is the SP in use.
    x0_en: int
    x0_reg: int
    x0_value: int
    x1_en: int
    x1_reg: int
    x1_value: int
    x2_en: int
    x2_reg: int
    x2_value: int
    # The system register written by MSR (register).
    sys_en: int
    sys_reg: int  #: as `SysReg.number`
    sys_value: int  #: of the general-purpose register
    # The data access.
    mem: int  #: an Access
    mem_address: int
    mem_size: int  #: log2 of the bytes
    mem_data: int
    # After.
    pc_after: int
    el_after: int
    sp_after: int  #: PSTATE.SP
    nzcv_after: int
    daif_after: int
    ss_after: int
    il_after: int
    state_after: int  #: a StepState
    exclusive_after: int  #: the exclusive monitor has marked something
    event_after: int  #: the event register


#: Field of Row to its width in bits, where it is not 1.
_WIDER = {
    **dict.fromkeys(("el", "eld", "state", "target_el", "mem"), 2),
    **dict.fromkeys(("el_after", "state_after"), 2),
    **dict.fromkeys(("last", "kind", "mem_size"), 3),
    **dict.fromkeys(("event", "nzcv_after", "daif_after"), 4),
    **dict.fromkeys(("x0_reg", "x1_reg", "x2_reg"), 5),
    "sys_reg": 15,
    "word": 32,
    **dict.fromkeys(("cycle_count", "pc", "pc_after", "mem_address", "sys_value"), 64),
    **dict.fromkeys(("esr", "elr", "spsr", "far", "hpfar"), 64),
    **dict.fromkeys(("x0_value", "x1_value", "x2_value"), 64),
    "mem_data": 128,
}

#: Field of Row to its width in bits.
WIDTHS = {name: _WIDER.get(name, 1) for name in Row._fields}
