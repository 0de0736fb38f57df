"""The manual's sentences, one short test each, one file a topic.

Every test says what it expects with literals of its own, and the model checks each cycle besides.
"""

from model.arch import (
    EL,
    HCR_EL2,
    MDCR_EL2,
    MDCR_EL3,
    MDSCR_EL1,
    OSLSR_EL1,
    SCR_EL3,
    SDER32_EL3,
    Event,
    SPSR_ELx,
    StepState,
)

Columns = dict[str, int]

EL0, EL1, EL2, EL3 = EL
INACTIVE, NOT_PENDING, PENDING = StepState

SS = MDSCR_EL1.SS.put(1)
KDE = MDSCR_EL1.KDE.put(1)
TDE = MDCR_EL2.TDE.put(1)
TGE = HCR_EL2.TGE.put(1)
NS = SCR_EL3.NS.put(1)
EEL2 = SCR_EL3.EEL2.put(1)
SDD = MDCR_EL3.SDD.put(1)
SUIDEN = SDER32_EL3.SUIDEN.put(1)
OSLK = OSLSR_EL1.OSLK.put(1)

SPSR_SS = SPSR_ELx.SS.put(1)
SPSR_D = SPSR_ELx.D.put(1)
SPSR_IL = SPSR_ELx.IL.put(1)

VECTOR = 0x8000  #: where an exception vector is

#: EL0, that EL1 steps
USER: Columns = {"el": EL0, "mdscr_el1": SS}
#: EL1, that EL2 steps
GUEST: Columns = {"el": EL1, "mdscr_el1": SS, "mdcr_el2": TDE}
#: EL1, that steps itself
KERNEL: Columns = {"el": EL1, "mdscr_el1": SS | KDE}
#: EL2, that steps itself
HYP: Columns = {"el": EL2, "mdscr_el1": SS | KDE, "mdcr_el2": TDE}
#: EL2, about to return to a guest that it steps
TO_GUEST: Columns = {"el": EL2, "mdscr_el1": SS, "mdcr_el2": TDE}
#: Secure, with a Secure EL2 that all debug exceptions go to
SECURE_EL2: Columns = {"scr_el3": EEL2, "mdcr_el2": TDE}

CALLS = (Event.SVC, Event.HVC, Event.SMC)
INSTRUCTIONS = (Event.EXECUTE, Event.LOAD_EXCLUSIVE, Event.ISB)
