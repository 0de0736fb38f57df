"""The system registers, as MRS and MSR access them: who may, what traps, what is behind a name.

Source: DDI 0487 C5.2 and D17.2; the traps are those of D1.10 that this PE has.
"""

from collections.abc import Callable

from model.a64 import routing
from model.a64.exceptions import trapped, undefined
from model.a64.state import MASK64, State
from model.arch import (
    EL,
    HCR_EL2,
    MDCR_EL2,
    OSLSR_EL1,
    SYSREGS,
    ExceptionClass,
    Field,
    SCTLR_ELx,
    SPSR_ELx,
    SysReg,
    SystemISS,
)

NAMES = {encoding: name for name, encoding in SYSREGS.items()}

READ_ONLY = {"OSLSR_EL1", "CurrentEL", "MIDR_EL1", "MPIDR_EL1"}
WRITE_ONLY = {"OSLAR_EL1"}

#: op1 to the lowest EL that may access a register (C5.1.2, table of op1).
_LOWEST_EL = {0: EL.EL1, 3: EL.EL0, 4: EL.EL2, 6: EL.EL3}

#: What a write may change before the PE sees it: see `State.late`.
_LATE = {"MDSCR_EL1", "MDCR_EL2", "HCR_EL2", "OSLSR_EL1"}

_NZCV_LSB = SPSR_ELx.V.lsb  # NZCV and DAIF have the bits of an SPSR
_DAIF_LSB = SPSR_ELx.F.lsb

#: The EL that an access is trapped to, or None.
Trap = Callable[[State], EL | None]


# Access


def unchecked_from(name: str, write: bool) -> int:
    """The EL from which upwards `check_access` has nothing to say: 4 if there is none."""
    if name == "SP_EL0":
        return len(EL)
    is_trapped = name in (WRITE_TRAPS if write else READ_TRAPS)
    return max(_lowest_el(name, write), EL.EL2 if is_trapped else EL.EL0)


def check_access(state: State, name: str, iss: int) -> None:
    """Before an MRS or MSR (register), whose ISS of EC 0x18 is `iss`: Undefined or Trapped."""
    write = not iss & SystemISS.READ.mask
    if state.el < _lowest_el(name, write):
        raise undefined(state, f"access to {name}")
    if name == "SP_EL0" and not state.spsel:
        raise undefined(state, "access to SP_EL0, which is in use,")
    trap = (WRITE_TRAPS if write else READ_TRAPS).get(name)
    target = trap(state) if trap else None
    if target is not None:
        raise trapped(state, f"access to {name}", ExceptionClass.SYS64, iss, target)


def _lowest_el(name: str, write: bool) -> EL:
    if write and name == "TPIDRRO_EL0":
        return EL.EL1
    return _LOWEST_EL[SYSREGS[name].op1]


def check_daif_access(state: State, iss: int) -> None:
    """Before an access to PSTATE.DAIF of any kind: Trapped."""
    target = _trap_daif(state)
    if target is not None:
        raise trapped(state, "access to DAIF", ExceptionClass.SYS64, iss, target)


def _trap_daif(state: State) -> EL | None:
    """EL0 has access only with UMA."""
    if state.el != EL.EL0 or SCTLR_ELx.UMA.is_set(state.sysregs["SCTLR_EL1"]):
        return None
    return routing.default_target(state)


def _trap_el0(state: State) -> EL | None:
    """EL0 has no access: PMUSERENR_EL0 would give it, and is 0."""
    return None if state.el != EL.EL0 else routing.default_target(state)


def _debug_trap(enable: Field) -> Trap:
    """Of EL1's accesses to debug registers; TDE and TGE make the enable behave as 1."""
    enables = enable.mask | MDCR_EL2.TDE.mask

    def target(state: State) -> EL | None:
        if state.el != EL.EL1 or not routing.EL2Enabled(state):
            return None
        enabled = state.seen("MDCR_EL2") & enables or state.seen("HCR_EL2") & HCR_EL2.TGE.mask
        return EL.EL2 if enabled else None

    return target


def _trap_virtual_memory(state: State) -> EL | None:
    """EL1's writes of its virtual memory registers."""
    if state.el != EL.EL1 or not routing.EL2Enabled(state):
        return None
    return EL.EL2 if HCR_EL2.TVM.is_set(state.seen("HCR_EL2")) else None


READ_TRAPS: dict[str, Trap] = {
    "MDSCR_EL1": _debug_trap(MDCR_EL2.TDA),
    "OSLAR_EL1": _debug_trap(MDCR_EL2.TDOSA),
    "OSLSR_EL1": _debug_trap(MDCR_EL2.TDOSA),
    "OSDLR_EL1": _debug_trap(MDCR_EL2.TDOSA),
    "DAIF": _trap_daif,
    "PMCCNTR_EL0": _trap_el0,
}
WRITE_TRAPS: dict[str, Trap] = {
    **READ_TRAPS,
    "SCTLR_EL1": _trap_virtual_memory,
    "ESR_EL1": _trap_virtual_memory,
    "FAR_EL1": _trap_virtual_memory,
}


def system_iss(register: SysReg, Rt: int, read: bool) -> int:
    """ISS of EC 0x18 for an access."""
    return (
        SystemISS.Op0.put(register.op0)
        | SystemISS.Op2.put(register.op2)
        | SystemISS.Op1.put(register.op1)
        | SystemISS.CRn.put(register.crn)
        | SystemISS.Rt.put(Rt)
        | SystemISS.CRm.put(register.crm)
        | SystemISS.READ.put(read)
    )


# What is behind the names


Read = Callable[[State], int]
Write = Callable[[State, int], None]


def reader(name: str) -> Read:
    """What gives the 64 bits that MRS reads; `name` is not write-only."""
    return _READ.get(name) or (lambda state: state.sysregs[name])


def writer(name: str) -> Write:
    """What MSR does with 64 bits; `name` is not read-only."""
    if name in _LATE:
        return lambda state, value: _write_late(state, name, value)

    def store(state: State, value: int) -> None:
        state.sysregs[name] = value

    return _WRITE.get(name, store)


def _write_late(state: State, name: str, value: int) -> None:
    if state.write_seen:
        state.late.pop(name, None)
    else:
        state.late.setdefault(name, state.sysregs[name])
    state.sysregs[name] = value


def _write_oslar(state: State, value: int) -> None:
    unlocked = state.sysregs["OSLSR_EL1"] & ~OSLSR_EL1.OSLK.mask
    _write_late(state, "OSLSR_EL1", unlocked | OSLSR_EL1.OSLK.put(value & 1))


def _write_nzcv(state: State, value: int) -> None:
    state.nzcv = value >> _NZCV_LSB & 0xF


def _write_daif(state: State, value: int) -> None:
    state.daif = value >> _DAIF_LSB & 0xF


def _write_spsel(state: State, value: int) -> None:
    state.select_sp(state.el, value & 1)


def _stack_pointer(el: EL) -> tuple[Read, Write]:
    """SP_ELx where it is not the one in use."""

    def write_sp(state: State, value: int) -> None:
        state.unused_sps[el] = value & MASK64

    return lambda state: state.unused_sps[el], write_sp


_STACK_POINTERS = {f"SP_{el.name}": _stack_pointer(el) for el in (EL.EL0, EL.EL1, EL.EL2)}

_READ: dict[str, Read] = {
    "NZCV": lambda state: state.nzcv << _NZCV_LSB,
    "DAIF": lambda state: state.daif << _DAIF_LSB,
    "SPSel": lambda state: state.spsel,
    "CurrentEL": lambda state: state.el << 2,
    **{name: read_sp for name, (read_sp, _) in _STACK_POINTERS.items()},
}
_WRITE: dict[str, Write] = {
    "OSLAR_EL1": _write_oslar,
    "NZCV": _write_nzcv,
    "DAIF": _write_daif,
    "SPSel": _write_spsel,
    **{name: write_sp for name, (_, write_sp) in _STACK_POINTERS.items()},
}
