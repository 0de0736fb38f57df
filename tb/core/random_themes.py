"""What random programs lean to. Each has one theme, by its seed, so that all of them come in turn.

A program in which everything is likely has nothing that needs three unlikely things at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from model.arch import EL

Chances = Mapping[str, float]

#: Chance that a bit of a control register is 1, where a theme says nothing else.
_CHANCES: Chances = {
    "MDSCR_EL1.SS": 0.65,
    "MDSCR_EL1.KDE": 0.65,
    "MDSCR_EL1.MDE": 0.3,
    "MDCR_EL2.TDE": 0.5,
    "MDCR_EL2.TDA": 0.12,
    "MDCR_EL2.TDOSA": 0.12,
    "MDCR_EL2.TDRA": 0.12,
    "HCR_EL2.VM": 0.5,
    "HCR_EL2.TGE": 0.1,
    "HCR_EL2.VF": 0.08,
    "HCR_EL2.VI": 0.08,
    "HCR_EL2.FMO": 0.45,
    "HCR_EL2.IMO": 0.45,
    "HCR_EL2.AMO": 0.45,
    "HCR_EL2.TWI": 0.4,
    "HCR_EL2.TWE": 0.4,
    "HCR_EL2.TSC": 0.25,
    "HCR_EL2.TVM": 0.3,
    "SCR_EL3.NS": 0.65,
    "SCR_EL3.EEL2": 0.6,
    "SCR_EL3.SMD": 0.12,
    "SCR_EL3.HCE": 0.85,
    "SCR_EL3.IRQ": 0.25,
    "SCR_EL3.FIQ": 0.25,
    "SCR_EL3.EA": 0.25,
    "MDCR_EL3.SDD": 0.12,
    "SDER32_EL3.SUIDEN": 0.5,
    "OSDLR_EL1.DLK": 0.05,
    "OSLAR_EL1.OSLK": 0.06,
    "SCTLR_ELx.A": 0.12,
    "SCTLR_ELx.SA": 0.4,
    "SCTLR_ELx.SA0": 0.4,
    "SCTLR_ELx.UMA": 0.6,
    "SCTLR_ELx.nTWI": 0.6,
    "SCTLR_ELx.nTWE": 0.6,
    "SPSR_ELx.D": 0.3,
    "SPSR_ELx.SS": 0.8,
    "SPSR_ELx.IL": 0.03,
    "SPSR_ELx.A": 0.4,
    "SPSR_ELx.I": 0.4,
    "SPSR_ELx.F": 0.4,
}

#: How often a piece of the body is for a form, where not once.
_WEIGHTS = {"MRS": 5, "MSR (register)": 7, "MSR DAIFClr": 2} | dict.fromkeys(
    ("ERET", "ISB", "HVC", "SMC", "MSR SPSel", "BL"), 2
)

#: Weights of the ELs that a program goes to.
_ELS = {EL.EL0: 5, EL.EL1: 6, EL.EL2: 5, EL.EL3: 2}


@dataclass(frozen=True)
class Theme:
    """Chances, where they are other than usual."""

    name: str
    _chances: Chances = field(default_factory=dict)
    _weights: Mapping[str, int] = field(default_factory=dict)
    els: Mapping[EL, int] = field(default_factory=lambda: _ELS)  #: to go to, with weights
    window: float = 0.08  #: of a load or store, to be where no RAM is, or where it ends
    interrupt: float = 0.005  #: of each pin, to go high before a row
    skip: float = 0.2  #: of a handler, to return to the instruction after
    notable: float = 0.45  #: of a handler, to return to an instruction where a step is special
    nowhere: float = 0.05  #: of a handler, to return to where no instruction can be

    def chance(self, bit: str) -> float:
        """Of a bit, named as in "HCR_EL2.VM", to be 1."""
        return self._chances.get(bit, _CHANCES[bit])

    def weight(self, form: str) -> int:
        """How often a form is drawn, while one that is nothing special is drawn once."""
        return self._weights.get(form, _WEIGHTS.get(form, 1))


_LOAD_EXCLUSIVES = ("LDXR", "LDXP", "LDAXR", "LDAXP")
#: Those with a syndrome of their own at stage 2 are more than the others.
_DESCRIBED = {
    **dict.fromkeys(("LDAR", "STLR"), 40),
    **{f"{name} (unsigned offset)": 6 for name in ("LDRB", "LDRH", "STRB", "STRH")},
    **{f"{name} (unsigned offset)": 14 for name in ("LDR", "STR")},
    **dict.fromkeys(("LDRSB (register)", "LDURSB", "LDRSH (register)", "LDURSH", "LDURSW"), 5),
}

_NO_STEPS = {"MDSCR_EL1.SS": 0.15}
_TO_EL1 = {
    "HCR_EL2.FMO": 0.05,
    "HCR_EL2.IMO": 0.05,
    "HCR_EL2.AMO": 0.05,
    "HCR_EL2.TGE": 0.0,
    "SCR_EL3.IRQ": 0.05,
    "SCR_EL3.FIQ": 0.05,
    "SCR_EL3.EA": 0.05,
    "SCR_EL3.NS": 0.9,
}
_FROM_EL2 = {"MDSCR_EL1.SS": 0.95, "MDCR_EL2.TDE": 0.95, "OSLAR_EL1.OSLK": 0.0}

THEMES = (
    Theme("anything"),
    Theme(
        "computing",
        {**_NO_STEPS, "MDSCR_EL1.SS": 0.05, "SPSR_ELx.IL": 0.0, "SCTLR_ELx.A": 0.0},
        {"MRS": 2, "MSR (register)": 2},
        window=0.02,
        interrupt=0.002,
        skip=0.7,
        nowhere=0.01,
    ),
    Theme(
        "EL2 steps itself",
        {**_FROM_EL2, "MDSCR_EL1.KDE": 0.95, "SPSR_ELx.D": 0.1, "SPSR_ELx.SS": 0.95},
        {"SVC": 4, "HVC": 6, "SMC": 15, "ISB": 4, **dict.fromkeys(_LOAD_EXCLUSIVES, 3)},
        {EL.EL0: 1, EL.EL1: 1, EL.EL2: 12, EL.EL3: 1},
    ),
    Theme(
        "stage 2",
        {**_NO_STEPS, "HCR_EL2.VM": 0.95, "SCR_EL3.NS": 0.9, "HCR_EL2.TGE": 0.0},
        {**_DESCRIBED, "WFI": 6, "WFE": 6},
        {EL.EL0: 8, EL.EL1: 8, EL.EL2: 1, EL.EL3: 1},
        window=0.5,
        skip=0.7,
    ),
    Theme(
        "interrupted steps",
        {**_FROM_EL2, **_TO_EL1, "SPSR_ELx.A": 0.05, "SPSR_ELx.I": 0.05, "SPSR_ELx.F": 0.05},
        dict.fromkeys(_LOAD_EXCLUSIVES, 25),
        {EL.EL0: 6, EL.EL1: 6, EL.EL2: 1, EL.EL3: 1},
        interrupt=0.08,
        skip=0.05,
        notable=0.9,
    ),
    Theme(
        "TGE",
        {"MDSCR_EL1.SS": 0.4, "HCR_EL2.TGE": 0.85, "SCR_EL3.NS": 0.9, "SPSR_ELx.IL": 0.06}
        | {"SCTLR_ELx.SA0": 0.9},
        {"SVC": 6, "BRK": 4, "WFI": 6, "WFE": 6, "MSR DAIFSet": 3},
        {EL.EL0: 12, EL.EL1: 1, EL.EL2: 2, EL.EL3: 1},
    ),
    Theme(
        "system registers",
        {**_NO_STEPS, "MDCR_EL2.TDA": 0.3, "MDCR_EL2.TDOSA": 0.3},
        {"MRS": 250, "MSR (register)": 250, "SMC": 10, "HVC": 5},
        {EL.EL0: 3, EL.EL1: 4, EL.EL2: 3, EL.EL3: 4},
        skip=0.8,
        notable=0.2,
    ),
    Theme(
        "EL3",
        {"SCR_EL3.EA": 0.8, "SCR_EL3.IRQ": 0.6, "SCR_EL3.FIQ": 0.6, "SPSR_ELx.IL": 0.35}
        | {"SPSR_ELx.A": 0.2, "SPSR_ELx.I": 0.2, "SPSR_ELx.F": 0.2, "MDSCR_EL1.SS": 0.6}
        | {"SCTLR_ELx.SA": 0.9},
        {"BRK": 3, "HVC": 3, "SVC": 2},
        {EL.EL0: 3, EL.EL1: 3, EL.EL2: 3, EL.EL3: 8},
        window=0.15,
        interrupt=0.02,
        nowhere=0.12,
    ),
    Theme(
        "virtual interrupts",
        {**_NO_STEPS, "HCR_EL2.VI": 0.3, "HCR_EL2.VF": 0.3, "HCR_EL2.TGE": 0.0, "SCTLR_ELx.A": 0.3},
    ),
)


def of_seed(seed: int) -> Theme:
    """The theme of a program."""
    return THEMES[seed % len(THEMES)]
