"""The retire trace: what scoreboard, coverage, waves and proofs all read.

One row for each event, valid in the cycle in which the event happens: the PE before it, what was
done about it, the PE after it.
"""

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hw.registers import MDSCR_EL1, StepESR
from model.arch import EL, Event, Last, StepState

Trace = wiring.Signature(
    {
        "valid": Out(1),  # there is an event in this cycle
        "event": Out(Event),  # as it was given, whatever was done instead
        "pc": Out(64),  # address of the instruction; the step exception's ELR
        # before
        "el": Out(EL),  # current EL
        "nrw": Out(1),  # PSTATE.nRW: AArch32
        "d": Out(1),  # PSTATE.D
        "ss": Out(1),  # PSTATE.SS
        "il": Out(1),  # PSTATE.IL
        "mdscr_el1": Out(MDSCR_EL1),  # as the PE sees it
        "mdscr_el1_written": Out(MDSCR_EL1),  # as last written
        "last": Out(Last),  # what was stepped before this event
        "eld": Out(EL),  # debug target
        "enabled": Out(1),  # debug exceptions are enabled
        "state": Out(StepState),  # step state
        # what was done
        "step_exception": Out(1),  # the Software Step exception was taken instead of the event
        "illegal_state": Out(1),  # the Illegal Execution state exception was, instead of the event
        "esr": Out(StepESR),  # of the step exception, else 0
        "spsr_saved": Out(1),  # an exception was taken, to an EL that uses AArch64 ...
        "spsr_ss": Out(1),  # ... which saved this PSTATE.SS
        # after
        "el_after": Out(EL),
        "nrw_after": Out(1),
        "d_after": Out(1),
        "ss_after": Out(1),
        "il_after": Out(1),
        "state_after": Out(StepState),
    }
)
