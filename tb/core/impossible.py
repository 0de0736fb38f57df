"""Which bins of the core's coverage nothing can hit: families of them, with the reason beside each.

The reasons are the architecture's routing, syndromes and access rules, not what was seen to happen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.arch import EL, SYSREGS, Event, Last, StepState
from tb.core.groups import CLASSES, LATE, REGISTERS

#: A bin's values by dimension, as the numbers of the enumerations; numpy arrays.
_Bin = Any


@dataclass(frozen=True, slots=True)
class Impossible:
    """Bins of a group that nothing can hit."""

    group: str
    reason: str
    bins: Callable[[_Bin], Any]


def _is(*names: str) -> Callable[[_Bin], Any]:
    """Whether a bin of "exception" is of one of these classes."""
    numbers = [CLASSES.index(name) for name in names]
    return lambda b: np.isin(b["class"], numbers)


def _may_trap(b: _Bin) -> Any:
    """Whether an access to a system register may be trapped, by the traps that there are."""
    trapped = np.zeros(b["register"].shape, dtype=np.bool_)
    for names, accesses, el in _TRAPPED:
        numbers = [REGISTERS.index(name) for name in names]
        trapped |= (
            np.isin(b["register"], numbers) & np.isin(b["access"], accesses) & (b["el"] == el)
        )
    return trapped


_MSR, _MRS = 0, 1
#: registers, accesses, from EL
_TRAPPED = (
    (("MDSCR_EL1", "OSDLR_EL1"), (_MSR, _MRS), EL.EL1),  # MDCR_EL2.TDA, TDOSA
    (("OSLAR_EL1",), (_MSR,), EL.EL1),
    (("OSLSR_EL1",), (_MRS,), EL.EL1),
    (("SCTLR_EL1", "ESR_EL1", "FAR_EL1"), (_MSR,), EL.EL1),  # HCR_EL2.TVM
    (("DAIF", "PMCCNTR_EL0"), (_MSR, _MRS), EL.EL0),  # SCTLR_EL1.UMA, PMUSERENR_EL0
)
_READ_ONLY = ("OSLSR_EL1", "CurrentEL", "MIDR_EL1", "MPIDR_EL1")
_WRITE_ONLY = ("OSLAR_EL1",)
#: op1 to the lowest EL with access
_LOWEST = {0: EL.EL1, 3: EL.EL0, 4: EL.EL2, 6: EL.EL3}


def _denied(b: _Bin) -> Any:
    """Whether an access is UNDEFINED whatever the registers hold."""
    lowest = np.array([_LOWEST[SYSREGS[name].op1] for name in REGISTERS])
    write = b["access"] == _MSR
    denied = b["el"] < lowest[b["register"]]
    for names, access in ((_READ_ONLY, _MSR), (_WRITE_ONLY, _MRS)):
        numbers = [REGISTERS.index(name) for name in names]
        denied |= np.isin(b["register"], numbers) & (b["access"] == access)
    tpidrro = b["register"] == REGISTERS.index("TPIDRRO_EL0")
    return denied | (tpidrro & write & (b["el"] == EL.EL0))


_DONE, _UNDEFINED, _TRAP = 0, 1, 2
_EXCLUSIVE = (Last.LOAD_EXCLUSIVE, Last.OTHER_EXCEPTION_EX)
_OTHER = (Last.OTHER_EXCEPTION, Last.OTHER_EXCEPTION_EX)

IMPOSSIBLE = (
    Impossible("exception", "none is taken to EL0", lambda b: b["target"] == EL.EL0),
    Impossible("exception", "none is taken to a lower EL", lambda b: b["target"] < b["el"]),
    Impossible(
        "exception",
        "the class says that it comes from a lower EL",
        lambda b: _is("iabt_lower", "dabt_lower", "softstep_lower")(b) & (b["target"] == b["el"]),
    ),
    Impossible(
        "exception",
        "the class says that it comes from the same EL",
        lambda b: _is("iabt_same", "dabt_same", "softstep_same")(b) & (b["target"] != b["el"]),
    ),
    Impossible(
        "exception",
        "taken to the current EL; from EL0 to EL1, or by HCR_EL2.TGE to EL2",
        lambda b: (
            _is("unknown", "illegal_state", "svc64", "pc_align", "sp_align")(b)
            & np.where(b["el"] == EL.EL0, b["target"] == EL.EL3, b["target"] != b["el"])
        ),
    ),
    Impossible(
        "exception",
        "SCTLR_EL1 and HCR_EL2 trap WFI and WFE, to EL1 and EL2, from below",
        lambda b: _is("wfx")(b) & ((b["target"] == EL.EL3) | (b["target"] <= b["el"])),
    ),
    Impossible(
        "exception",
        "MSR and MRS are trapped to EL1 and EL2, from below",
        lambda b: _is("sys64")(b) & ((b["target"] == EL.EL3) | (b["target"] <= b["el"])),
    ),
    Impossible(
        "exception",
        "HVC and SMC are UNDEFINED at EL0",
        lambda b: _is("hvc64", "smc64")(b) & (b["el"] == EL.EL0),
    ),
    Impossible(
        "exception",
        "HVC is taken to EL2, or at EL3 to EL3",
        lambda b: _is("hvc64")(b) & (b["target"] != np.maximum(b["el"], EL.EL2)),
    ),
    Impossible(
        "exception",
        "SMC is taken to EL3, or trapped from EL1 to EL2",
        lambda b: (
            _is("smc64")(b)
            & (b["target"] != EL.EL3)
            & ~((b["el"] == EL.EL1) & (b["target"] == EL.EL2))
        ),
    ),
    Impossible(
        "exception",
        "BRK is taken to EL1 or EL2, or at EL3 to EL3",
        lambda b: _is("brk64")(b) & (b["target"] == EL.EL3) & (b["el"] != EL.EL3),
    ),
    Impossible(
        "exception",
        "debug exceptions are never enabled at EL3, and never taken to it",
        lambda b: _is("softstep_lower", "softstep_same")(b) & (b["target"] == EL.EL3),
    ),
    Impossible(
        "exception",
        "virtual interrupts are taken from EL0 and EL1 to EL1",
        lambda b: _is("vfiq", "virq")(b) & ((b["el"] > EL.EL1) | (b["target"] != EL.EL1)),
    ),
    Impossible(
        "step state",
        "debug exceptions are never enabled at EL3",
        lambda b: (b["el"] == EL.EL3) & (b["state"] != StepState.INACTIVE),
    ),
    Impossible("stepped", "nothing is stepped at EL3", lambda b: b["el"] == EL.EL3),
    Impossible(
        "stepped",
        "HVC, SMC and ERET are UNDEFINED at EL0: another exception",
        lambda b: (b["el"] == EL.EL0) & np.isin(b["event"], (Event.HVC, Event.SMC, Event.ERET)),
    ),
    Impossible("step syndrome", "EX is 0 where ISV is 0", lambda b: b["ex"] > b["isv"]),
    Impossible(
        "step syndrome",
        "EX goes with ISV after a load-exclusive, and is 0 after anything else",
        lambda b: b["isv"] & (b["ex"] != np.isin(b["last"], _EXCLUSIVE)),
    ),
    Impossible(
        "step syndrome",
        "ISV is 0 where nothing was stepped",
        lambda b: b["isv"] & (b["last"] == Last.NOTHING),
    ),
    Impossible(
        "step syndrome",
        "ISV is 1 after an instruction that leaves no choice",
        lambda b: ~b["isv"] & np.isin(b["last"], (Last.INSTRUCTION, Last.LOAD_EXCLUSIVE)),
    ),
    Impossible(
        "step syndrome",
        "an exception sets PSTATE.D: only a higher EL can then step",
        lambda b: np.isin(b["last"], _OTHER) & b["from"],
    ),
    Impossible("both pending", "not told from rows at EL2 and EL3", lambda b: b["el"] > EL.EL1),
    Impossible("late write", "EL0 writes none of them", lambda b: b["el"] == EL.EL0),
    Impossible(
        "late write",
        "EL1 does not write EL2's registers",
        lambda b: (
            (b["el"] == EL.EL1)
            & np.isin(b["register"], [LATE.index(name) for name in ("MDCR_EL2", "HCR_EL2")])
        ),
    ),
    Impossible("return", "ERET is UNDEFINED at EL0", lambda b: b["el"] == EL.EL0),
    Impossible("return", "it never goes to a higher EL", lambda b: b["to"] > b["el"]),
    Impossible("return", "nothing is stepped at EL3", lambda b: b["ss"] & (b["to"] == EL.EL3)),
    Impossible(
        "abort",
        "a misaligned PC is no instruction abort",
        lambda b: (b["access"] == 0) & (b["fault"] == 2),
    ),
    Impossible(
        "abort",
        "only a data abort to EL2 at stage 2 says more",
        lambda b: b["isv"] & ((b["access"] == 0) | (b["fault"] != 0)),
    ),
    Impossible("abort syndrome", "only a load extends the sign", lambda b: b["wnr"] & b["sse"]),
    Impossible("abort syndrome", "LDAR does not extend the sign", lambda b: b["ar"] & b["sse"]),
    Impossible(
        "abort syndrome",
        "64 bits are a doubleword, but where the sign is extended to them",
        lambda b: ~b["sse"] & (b["sf"] != (b["sas"] == 3)),
    ),
    Impossible(
        "abort syndrome",
        "a doubleword has no sign to extend, and a word is extended to 64 bits",
        lambda b: b["sse"] & ((b["sas"] == 3) | ((b["sas"] == 2) & ~b["sf"])),
    ),
    Impossible(
        "system register",
        "UNDEFINED at this EL, or in this direction: before any trap",
        lambda b: _denied(b) & (b["outcome"] != _UNDEFINED),
    ),
    Impossible(
        "system register",
        "not UNDEFINED, but SP_EL0 where it is in use",
        lambda b: (
            ~_denied(b)
            & (b["outcome"] == _UNDEFINED)
            & (b["register"] != REGISTERS.index("SP_EL0"))
        ),
    ),
    Impossible(
        "system register",
        "there is no such trap",
        lambda b: (b["outcome"] == _TRAP) & ~_may_trap(b),
    ),
    Impossible(
        "system register",
        "PMUSERENR_EL0 is 0: EL0 has no access to the cycle counter",
        lambda b: (
            (b["register"] == REGISTERS.index("PMCCNTR_EL0"))
            & (b["el"] == EL.EL0)
            & (b["outcome"] == _DONE)
        ),
    ),
)
