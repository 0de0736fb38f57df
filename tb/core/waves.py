"""What the save file of a waveform shows of the core."""

from vcd.gtkw import GTKWColor

from hw.registers import SPSR_ELx, layout
from model import arch
from tb.harness import CORE
from tb.waves import Shown

GROUPS = {
    "clock and reset": ("clk", "reset"),
    "row": ("valid", "pc", "el", "word", "kind", "event"),
    "step": ("state", "enabled", "eld", "last", "ss_after", "state_after"),
    "exception": (
        "target_el",
        "sets_esr",
        "esr",
        "esr.EC",
        "esr.ISS",
        "elr",
        "spsr",
        "spsr.SS",
        "spsr.D",
        "spsr.IL",
        "sets_far",
        "far",
        "sets_hpfar",
        "hpfar",
    ),
    "after": (
        "pc_after",
        "el_after",
        "sp_after",
        "nzcv_after",
        "daif_after",
        "il_after",
        "exclusive_after",
        "event_after",
    ),
    "registers written": (
        "x0_en",
        "x0_reg",
        "x0_value",
        "x1_en",
        "x1_reg",
        "x1_value",
        "x2_en",
        "x2_reg",
        "x2_value",
        "sys_en",
        "sys_reg",
        "sys_value",
        "cycle_count",
    ),
    "memory": ("mem", "mem_address", "mem_size", "mem_data"),
    "bus": (
        "out_fetch__request__valid",
        "out_fetch__request__address",
        "fetch__response__word",
        "fetch__response__error",
        "out_data__request__valid",
        "out_data__request__write",
        "out_data__request__address",
        "out_data__request__size",
        "out_data__request__data",
        "data__response__data",
        "data__response__error",
        "data__response__fault_offset",
    ),
    "pins": ("pins__irq", "pins__fiq", "pins__serror"),
    "choices": (
        "choice__async_first",
        "choice__isv_choice",
        "choice__write_seen",
        "choice__wfx_ends",
    ),
}

CORE_SHOWN = Shown(
    CORE,
    GROUPS,
    closed=frozenset({"registers written", "bus", "choices"}),
    colours={
        "pc": GTKWColor.violet,
        "kind": GTKWColor.red,
        "state": GTKWColor.yellow,
        "esr": GTKWColor.red,
        "spsr.SS": GTKWColor.orange,
        "ss_after": GTKWColor.orange,
        "state_after": GTKWColor.yellow,
    },
    marked=("valid", "sets_esr"),  # the first synchronous exception
    layouts={"esr": layout(arch.ESR_ELx), "spsr": SPSR_ELx},
)
