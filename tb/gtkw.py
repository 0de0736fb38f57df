"""GTKWave's save file: groups, names, colours, zoom and markers."""

import math
from pathlib import Path
from string import ascii_uppercase
from typing import IO, Any

from vcd.gtkw import GTKWSave

from model.files import writing
from tb.shown import NOTED, Line, View

WINDOW = (1400, 1000)  #: pixels
NAMES_WIDTH = 380  #: pixels of the window for names and values ...
WAVES_WIDTH = 970  #: ... and for the waves, or a little less
BEFORE = 740  #: pixels shown before the marker


def write(view: View) -> Path:
    """Write the save file beside the VCD; returns its path. Raises OSError."""
    path = view.vcd.with_suffix(".gtkw")
    with writing(path) as file:
        save = GTKWSave(file)
        save.comment(f"{view.vcd.stem}, on {view.simulator}")
        # Both by name alone, so that GTKWave looks for the one where the other is.
        save.dumpfile(view.vcd.name, abspath=False)
        save.savefile(path.name, abspath=False)
        save.size(*WINDOW)
        save.sst_expanded(False)
        save.signals_width(NAMES_WIDTH)
        if not view.is_empty:
            _write_moment(save, file, view)
        for name in view.shown.groups:
            with save.group(name, closed=name in view.shown.closed):
                for line in view.lines(name):
                    _write_line(save, line)
    return path


def _write_moment(save: GTKWSave, file: IO[str], view: View) -> None:
    """What is shown first, and the markers: each kind of mark has its letter."""
    width, moment, period = view.shown.cycle_width, view.moment, view.period
    # GTKWave ignores a start from which the window would reach beyond the end.
    last_start = view.timeline.end - period * WAVES_WIDTH // width
    save.timestart(max(0, min(moment - BEFORE * period // width, last_start)))
    names = [*view.shown.lanes.marks, *NOTED]
    letters = dict(zip(names, ascii_uppercase, strict=False))
    marks = view.marks
    named: dict[str, Any] = {letters[name].lower(): time for name, time in marks.items()}
    # At zoom 0, 200 pixels are a unit of time; one less doubles that.
    save.zoom_markers(-math.log2(200 * period / width), moment, **named)
    for name in marks:
        file.write(f"[markername] {letters[name]}{name}\n")


def _write_line(save: GTKWSave, line: Line) -> None:
    datafmt = "ascii" if line.variable.is_text else "hex"
    save.trace(line.variable.path, alias=line.label, color=line.colour, datafmt=datafmt)
