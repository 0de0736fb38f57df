"""The core's retire trace: what lockstep, coverage, waves and tests read.

One row for each instruction that completes and for each exception that is taken (an SVC is one
row), valid in the one clock cycle at whose end all of it happens. What does not apply is 0.
"""

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from model.arch import EL, Access, Event, Last, Retire, StepState

CoreTrace = wiring.Signature(
    {
        "valid": Out(1),  # a row is there in this cycle
        # inputs, as sampled when the row began
        "irq": Out(1),
        "fiq": Out(1),
        "serror": Out(1),
        "async_first": Out(1),
        "isv_choice": Out(1),
        "write_seen": Out(1),
        "wfx_ends": Out(1),
        "cycle_count": Out(64),  # PMCCNTR_EL0, if the instruction reads it
        # before
        "pc": Out(64),  # address of the instruction
        "el": Out(EL),  # current EL
        "eld": Out(EL),  # debug target
        "enabled": Out(1),  # debug exceptions are enabled
        "state": Out(StepState),  # step state
        "last": Out(Last),  # what was stepped before
        # what
        "kind": Out(Retire),  # an instruction, or which exception
        "word": Out(32),  # as fetched; 0 where nothing was
        "event": Out(Event),  # given to the step unit
        # exception: what was written to the registers of the target EL
        "target_el": Out(EL),  # EL that it was taken to
        "esr": Out(64),
        "elr": Out(64),
        "spsr": Out(64),
        "far": Out(64),
        "hpfar": Out(64),
        "sets_esr": Out(1),  # ESR was written
        "sets_far": Out(1),  # FAR was written
        "sets_hpfar": Out(1),  # HPFAR was written
        # general registers written: a result or the link, the second of a pair, a base written
        # back. 31 is the stack pointer in use.
        "x0_en": Out(1),
        "x0_reg": Out(5),
        "x0_value": Out(64),
        "x1_en": Out(1),
        "x1_reg": Out(5),
        "x1_value": Out(64),
        "x2_en": Out(1),
        "x2_reg": Out(5),
        "x2_value": Out(64),
        # system register written by MSR (register)
        "sys_en": Out(1),
        "sys_reg": Out(15),  # arch.SysReg.number
        "sys_value": Out(64),
        # memory
        "mem": Out(Access),  # whether there was an access, and which
        "mem_address": Out(64),
        "mem_size": Out(3),  # log2 of the bytes
        "mem_data": Out(128),  # as loaded or stored, in the low bytes
        # after
        "pc_after": Out(64),
        "el_after": Out(EL),
        "sp_after": Out(1),  # SPSel
        "nzcv_after": Out(4),
        "daif_after": Out(4),
        "ss_after": Out(1),
        "il_after": Out(1),
        "state_after": Out(StepState),
        "exclusive_after": Out(1),  # the exclusive monitor is marked
        "event_after": Out(1),  # event register
    }
)

#: The part of the row that the control side knows.
CONTROL_FIELDS = (
    *("el", "eld", "enabled", "state", "last", "kind", "event"),
    *("target_el", "esr", "elr", "spsr", "far", "hpfar", "sets_esr", "sets_far", "sets_hpfar"),
    *("cycle_count", "sys_en", "sys_reg", "sys_value"),
    *("el_after", "sp_after", "nzcv_after", "daif_after", "ss_after", "il_after", "state_after"),
    "event_after",
)
ControlTrace = wiring.Signature({name: CoreTrace.members[name] for name in CONTROL_FIELDS})
