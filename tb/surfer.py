"""Surfer's command file: `surfer --command-file NAME.sucl NAME.vcd`.

The commands are those of the documentation of Surfer 0.7 (docs/commands/README.md in its sources;
`marker_set` with a time, as in its examples). None of them selects items, so that a group is a
divider with its name and is always open; and none but `zoom_in` says how much is to be seen, half
of it each time.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from model.files import writing
from tb.shown import Colour, Line, View

CYCLES = 12  #: around the cursor that are shown, at most twice as many

#: GTKWave's colours, by the names that Surfer's themes have
_COLOURS = {
    Colour.red: "Red",
    Colour.orange: "Orange",
    Colour.yellow: "Yellow",
    Colour.indigo: "Blue",
    Colour.violet: "Pink",
}
_DIGITS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def write(view: View) -> Path:
    """Write the command file beside the VCD; returns its path. Raises OSError."""
    path = view.vcd.with_suffix(".sucl")
    with writing(path) as file:
        file.writelines(f"{command}\n" for command in _commands(view))
    return path


def _commands(view: View) -> Iterator[str]:
    rows: list[Line | None] = []  # what is on the screen, from the top; None is a divider
    for group in view.shown.groups:
        yield f"divider_add {_word(group)}"
        rows.append(None)
        for line in view.lines(group):
            yield f"variable_add {_name(line)}"
            rows.append(line)
    for at, row in enumerate(rows):
        if row and (changes := list(_changes(row))):
            yield f"item_focus {_letters(at)}_"
            yield from changes
    yield "item_unfocus"
    if not view.is_empty:
        yield from _moment(view)


def _changes(line: Line) -> Iterator[str]:
    """How a variable is shown otherwise than it would be."""
    if line.label != _name(line).rpartition(".")[2]:
        yield f"item_rename {line.label}"
    if line.colour in _COLOURS:
        yield f"item_set_color {_COLOURS[line.colour]}"
    if line.variable.is_packed:
        yield "item_set_format ASCII"


def _moment(view: View) -> Iterator[str]:
    """Cursor and markers, which have to be named in one word, and what is shown first."""
    yield "zoom_fit"
    cycles = view.timeline.end / view.period
    yield from ["zoom_in"] * max(0, math.floor(math.log2(cycles / CYCLES)))
    for mark, time in view.marks.items():
        yield f"marker_set {_word(mark)} {time}"
    yield f"cursor_set {view.moment}"
    yield "goto_cursor"


def _name(line: Line) -> str:
    return line.variable.path.partition("[")[0]


def _word(text: str) -> str:
    return text.replace(" ", "_")


def _letters(at: int) -> str:
    """A row's number as Surfer writes it: hexadecimal, in the letters a to p."""
    return f"{at:x}".translate(_DIGITS)
