"""Amaranth layouts and signatures made from `model.arch`: no bit position is written twice."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from model import arch


def layout(register: type[arch.Register], *parts: type[arch.Register]) -> data.FlexibleLayout:
    """The layout of a register, `parts` naming further fields inside it (an ISS inside ESR_ELx)."""
    fields = {
        name: data.Field(field.width, field.lsb)
        for source in (register, *parts)
        for name, field in source.fields().items()
    }
    return data.FlexibleLayout(register.WIDTH, fields)


MDSCR_EL1 = layout(arch.MDSCR_EL1)
MDCR_EL2 = layout(arch.MDCR_EL2)
HCR_EL2 = layout(arch.HCR_EL2)
SCR_EL3 = layout(arch.SCR_EL3)
MDCR_EL3 = layout(arch.MDCR_EL3)
SDER32_EL3 = layout(arch.SDER32_EL3)
OSLSR_EL1 = layout(arch.OSLSR_EL1)
SPSR_ELx = layout(arch.SPSR_ELx)
#: ESR_ELx as a Software Step exception fills it
StepESR = layout(arch.ESR_ELx, arch.StepISS)


class PSTATE(data.Struct):
    """The fields of PSTATE that software step reads or writes."""

    el: arch.EL
    nrw: 1  # AArch32
    d: 1  # debug exceptions are masked at ELd
    ss: 1  # software step
    il: 1  # Illegal Execution state


#: What is implemented, and the registers that decide where debug exceptions go and whether they are
#: enabled. MDSCR_EL1 is not among them: the step unit holds it. The core may change any of these
#: between events; what it drives is what the PE sees. A write that the PE sees late reaches
#: `StepUnit.controls_after` with the event that synchronises the context, `controls` after it.
Controls = wiring.Signature(
    {
        "have_el2": Out(1),  # EL2 is implemented
        "have_el3": Out(1),  # EL3 is implemented
        "have_sel2": Out(1),  # Secure EL2 is implemented
        "el1_aarch32": Out(1),  # EL1 uses AArch32
        "el2_aarch32": Out(1),  # EL2 uses AArch32
        "mdcr_el2": Out(MDCR_EL2),
        "hcr_el2": Out(HCR_EL2),
        "scr_el3": Out(SCR_EL3),
        "mdcr_el3": Out(MDCR_EL3),
        "sder32_el3": Out(SDER32_EL3),
        "oslsr_el1": Out(OSLSR_EL1),
        "double_lock": Out(1),  # DLK and not CORENPDRQ: DoubleLockStatus() but for "not halted"
    }
)
