"""The groups of the core's coverage: what is counted of the retire trace, by which dimensions."""

from model.a64.instructions import ROWS
from model.arch import EL, SYSREGS, Event, ExceptionClass, Last, Retire, StepState
from tb.bins import Group

_EC = ExceptionClass

#: What is taken, in the order of the bins: ESR_ELx.EC, or what has none.
SYNCHRONOUS = (
    *(_EC.UNKNOWN, _EC.WFX, _EC.ILLEGAL_STATE, _EC.SVC64, _EC.HVC64, _EC.SMC64, _EC.SYS64),
    *(_EC.IABT_LOWER, _EC.IABT_SAME, _EC.PC_ALIGN, _EC.DABT_LOWER, _EC.DABT_SAME, _EC.SP_ALIGN),
    *(_EC.SOFTSTEP_LOWER, _EC.SOFTSTEP_SAME, _EC.BRK64),
)
INTERRUPTS = (Retire.SERROR, Retire.FIQ, Retire.IRQ, Retire.VFIQ, Retire.VIRQ)
CLASSES = [each.name.lower() for each in (*SYNCHRONOUS, *INTERRUPTS)]

_ELS = [el.name for el in EL]
FORMS = [row.name for row in ROWS]
STEPPED = [event.text for event in Event if event < Event.DEBUG_EXIT] + ["illegal_state"]
LATE = ("MDSCR_EL1", "MDCR_EL2", "HCR_EL2", "OSLAR_EL1")
REGISTERS = list(SYSREGS)

GROUPS = (
    Group("instruction", {"form": FORMS}),
    Group("exception", {"class": CLASSES, "el": _ELS, "target": _ELS}),
    Group("step state", {"state": [state.text for state in StepState], "el": _ELS}),
    Group("stepped", {"event": STEPPED, "el": _ELS}),
    Group(
        "step syndrome",
        {
            "last": [last.text for last in Last],
            "isv": ["0", "1"],
            "ex": ["0", "1"],
            "from": ["lower", "same"],
        },
    ),
    Group("both pending", {"first": ["step", "async"], "el": _ELS}),
    Group("late write", {"register": list(LATE), "seen": ["later", "at once"], "el": _ELS}),
    Group("synchronised", {"register": list(LATE), "by": ["isb", "exception", "eret"]}),
    Group("return", {"el": _ELS, "to": _ELS, "il": ["0", "1"], "ss": ["0", "1"]}),
    Group(
        "abort",
        {
            "access": ["fetch", "load", "store"],
            "fault": ["translation", "external", "alignment"],
            "isv": ["0", "1"],
        },
    ),
    Group(
        "abort syndrome",
        {
            "sas": ["1", "2", "4", "8"],
            "sse": ["0", "1"],
            "sf": ["0", "1"],
            "ar": ["0", "1"],
            "wnr": ["0", "1"],
        },
    ),
    Group(
        "system register",
        {
            "register": REGISTERS,
            "access": ["msr", "mrs"],
            "el": _ELS,
            "outcome": ["done", "undefined", "trapped"],
        },
    ),
)
