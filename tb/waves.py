"""Waveforms: where a VCD is, and the GTKWave save file beside it.

The simulators name the harness's ports each in its own way, and not every one shows every field of
a register. So the VCD is asked: what it does not declare is not listed.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from vcd.gtkw import GTKWColor, GTKWFlag, GTKWSave

from model.files import writing
from tb.harness import ROW, STIMULUS

#: Group to what it shows: `clk`, `reset`, a port (a key of STIMULUS or ROW) or `port.FIELD`.
GROUPS = {
    "clock and reset": ("clk", "reset", "load__enable"),
    "event": (
        "event__valid",
        "event__kind",
        "event__pc",
        "event__target_el",
        "event__spsr",
        "event__spsr.SS",
        "event__spsr.D",
        "event__spsr.IL",
        "event__d_write",
        "event__d_value",
        "event__mdscr_write",
        "event__mdscr_value",
        "choice__async_first",
        "choice__isv_choice",
        "choice__mdscr_seen",
    ),
    "before": (
        "el",
        "state",
        "enabled",
        "eld",
        "nrw",
        "d",
        "ss",
        "il",
        "last",
        "mdscr_el1",
        "mdscr_el1.SS",
        "mdscr_el1.KDE",
        "mdscr_el1_written",
    ),
    "what was done": (
        "step_exception",
        "illegal_state",
        "esr",
        "esr.EC",
        "esr.ISV",
        "esr.EX",
        "spsr_saved",
        "spsr_ss",
    ),
    "after": ("el_after", "state_after", "nrw_after", "d_after", "ss_after", "il_after"),
    "control registers": (
        *(port for port in STIMULUS if port.startswith("controls__")),
        "controls__mdcr_el2.TDE",
        "controls__hcr_el2.TGE",
        "controls__scr_el3.NS",
        "controls__scr_el3.EEL2",
        "controls__mdcr_el3.SDD",
        "controls__sder32_el3.SUIDEN",
        "controls__oslsr_el1.OSLK",
        "halted",
    ),
}
CLOSED = {"control registers"}  #: groups that GTKWave shows only when asked to

#: What the eye should find first. The rest is green.
COLOURS = {
    "event__kind": GTKWColor.orange,
    "state": GTKWColor.yellow,
    "state_after": GTKWColor.yellow,
    "ss": GTKWColor.blue,
    "ss_after": GTKWColor.blue,
    "event__spsr.SS": GTKWColor.blue,
    "mdscr_el1.SS": GTKWColor.blue,
    "step_exception": GTKWColor.red,
    "illegal_state": GTKWColor.red,
    "esr": GTKWColor.red,
}


class Variable(NamedTuple):
    """A variable that the VCD declares."""

    code: bytes  #: what the VCD writes its values under
    path: str  #: scopes and name, as GTKWave has it


class Moment(NamedTuple):
    """The middle of a clock cycle."""

    time: int  #: in the VCD's unit
    step_exception: bool


def path(directory: Path, case: str, simulator: str, seed: int) -> Path:
    """Where the VCD of a test goes. The directory is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{case}.{simulator}.{seed}.vcd"


def write_save_file(vcd: Path, simulator: str, mismatch: int | None) -> Path:
    """Write the GTKWave save file beside a VCD, and return its path.

    The marker is at the cycle `mismatch` of `Testbench.cycles`; without one, at the first step
    exception; without that, at the first cycle.
    """
    with vcd.open("rb") as file:
        variables = _declarations(file)
        cycles = list(_cycles(file, variables, mismatch))
    save_file = vcd.with_suffix(".gtkw")
    with writing(save_file) as file:
        pass
    return save_file
