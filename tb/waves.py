"""Waveforms: where a VCD is, and what is made of it for the viewers.

Lanes (`tb.lanes`) are added to it, under one name on every simulator. The harness's ports have
names of each simulator's own, so the VCD is asked: a port that it does not declare is not listed.
"""

from collections.abc import Mapping
from pathlib import Path

from tb import dump, gtkw, lanes, surfer
from tb.dump import Lanes
from tb.harness import STIMULUS, UNIT
from tb.lanes import Listing
from tb.shown import Colour, Shown, View, fields_of

GROUPS = {
    "clock and reset": ("clk", "reset", "load__enable"),
    "guest": ("guest",),
    "hypervisor": (
        "hypervisor",
        "event__mdscr_write",
        "event__mdscr_value",
        "event__spsr",
        "event__spsr.SS",
        "event__spsr.D",
        "event__spsr.IL",
    ),
    "step unit": (
        "event",
        "PC",
        "EL",
        "state",
        "enabled",
        "eld",
        "d",
        "ss",
        "mdscr_el1.SS",
        "mdscr_el1.KDE",
        "last",
        "EL_after",
        "state_after",
        "d_after",
        "ss_after",
    ),
    "exceptions": (
        "exception",
        "EC",
        "step_exception",
        "illegal_state",
        "esr",
        "esr.ISV",
        "esr.EX",
        "spsr_saved",
        "spsr_ss",
    ),
    "writes and choices": (
        "event__target_el",
        "event__d_write",
        "event__d_value",
        "choice__async_first",
        "choice__isv_choice",
        "choice__mdscr_seen",
        "mdscr_el1",
        "mdscr_el1_written",
        "nrw",
        "nrw_after",
        "il",
        "il_after",
    ),
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
COLOURS = {
    "guest": Colour.violet,
    "hypervisor": Colour.indigo,
    "event__spsr.SS": Colour.orange,
    "state": Colour.yellow,
    "ss": Colour.orange,
    "mdscr_el1.SS": Colour.orange,
    "state_after": Colour.yellow,
    "ss_after": Colour.orange,
    "exception": Colour.red,
    "EC": Colour.red,
    "step_exception": Colour.red,
    "illegal_state": Colour.red,
    "esr": Colour.red,
}

UNIT_SHOWN = Shown(
    Lanes(
        UNIT,
        lanes.unit,
        spans=False,
        fields=fields_of(GROUPS),
        marks={
            "first event": ("event", ""),
            "step exception": ("exception", "step exception"),
            "step to EL2": ("exception", "step exception to EL2"),
        },
    ),
    GROUPS,
    closed=frozenset({"writes and choices", "control registers"}),
    colours=COLOURS,
    cycle_width=160,
)


def path(directory: Path, case: str, simulator: str, seed: int) -> Path:
    """Where the VCD of a test goes. The directory is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{case}.{simulator}.{seed}.vcd"


def write_views(
    vcd: Path,
    simulator: str,
    noted: Mapping[str, int | None],
    shown: Shown = UNIT_SHOWN,
    listing: Listing | None = None,
) -> Path:
    """Add the lanes to a VCD, and write beside it what GTKWave and Surfer open it with.

    `noted` are cycles of `Testbench.cycles` by what they are (`tb.shown.NOTED`). The cursor is in
    the last of them; without any, in the most interesting that is marked; without that, in the
    first. Returns the path of GTKWave's save file. Raises OSError.
    """
    dump.annotate(vcd, shown.lanes, listing or {})
    with vcd.open("rb") as file:
        variables = dump.declarations(file)
        timeline = dump.timeline_of(file, variables, shown.lanes)
    view = View(vcd, simulator, shown, variables, timeline, noted)
    surfer.write(view)
    return gtkw.write(view)
