"""Surfer's command file, held against the VCD and the documentation of its commands."""

import re

import pytest

from tb import dump, waves
from tb.shown import FAILURE
from tb.tests.tb.test_gtkw import EXECUTE, named, nothing, run, step, stepped
from tb.waves import UNIT_SHOWN

__all__ = ["run", "stepped"]  # fixtures

#: of docs/commands/README.md
COMMANDS = {
    *("divider_add", "variable_add", "item_focus", "item_unfocus", "item_rename"),
    *("item_set_color", "item_set_format", "zoom_fit", "zoom_in", "marker_set", "cursor_set"),
    "goto_cursor",
}

DIGITS = str.maketrans("abcdefghijklmnop", "0123456789abcdef")


def commands(save_file):
    """(command, argument) of each line."""
    lines = save_file.with_suffix(".sucl").read_text().splitlines()
    return [tuple(line.partition(" ")[::2]) for line in lines]


def items(said):
    """What is on the screen, by the letters that Surfer gives it: [kind, name, colour]."""
    rows, focus = [], None
    for command, argument in said:
        if command in ("divider_add", "variable_add"):
            assert focus is None  # it would come after what has the focus
            rows.append([command, argument.rpartition(".")[2], None])
        elif command == "item_focus":
            digits = argument.removesuffix("_").translate(
                str.maketrans("abcdefghijklmnop", "0123456789abcdef")
            )
            focus = int(digits, 16)
        elif command == "item_rename":
            rows[focus][1] = argument
        elif command == "item_set_color":
            rows[focus][2] = argument
        elif command == "item_unfocus":
            focus = None
    return rows


def test_only_commands_that_are_documented(stepped):
    said = commands(stepped)
    assert {command for command, _ in said} <= COMMANDS
    assert not any(set(argument) & set("#;") for _, argument in said)  # a comment, another command


def test_every_variable_is_in_the_vcd(stepped):
    with stepped.with_suffix(".vcd").open("rb") as file:
        paths = {found.path.partition("[")[0] for found in dump.declarations(file).values()}
    added = [argument for command, argument in commands(stepped) if command == "variable_add"]
    assert added and set(added) <= paths


def test_groups_names_and_colours_are_gtkwaves(stepped):
    found = re.findall(r"(?m)^@[8c]00200\n-(.*)|^\+\{(.*?)\}", stepped.read_text())
    of_gtkwave = [group.replace(" ", "_") or label for group, label in found]
    rows = items(commands(stepped))
    assert [name for _, name, _ in rows] == of_gtkwave
    colours = {name: colour for _, name, colour in rows if colour}
    assert colours["exception"] == "Red"
    assert colours["state"] == "Yellow"
    assert len(colours) == len(UNIT_SHOWN.colours)


def test_cursor_and_markers_are_gtkwaves(stepped):
    text = stepped.read_text()
    said = commands(stepped)
    markers = dict(argument.split() for command, argument in said if command == "marker_set")
    assert {name.replace(" ", "_"): str(time) for name, (_, time) in named(text).items()} == markers
    assert ("cursor_set", re.search(r"(?m)^\*\S+ (\S+)", text)[1]) in said
    assert said[-1] == ("goto_cursor", "")


def test_the_cursor_is_in_the_cycle_of_the_mismatch(run):
    said = commands(waves.write_views(run(step).vcd, "pysim", {FAILURE: EXECUTE}))
    at = dict(said)["cursor_set"]
    assert ("marker_set", f"failure {at}") in said


def test_a_test_that_broke_off_has_no_cursor(run):
    said = dict(commands(waves.write_views(run(nothing).vcd, "pysim", {})))
    assert not {"cursor_set", "marker_set", "zoom_in"} & said.keys()
    assert "variable_add" in said


@pytest.mark.parametrize(("end", "times"), [(23, 0), (24, 1), (48, 2), (100_000, 13)])
def test_it_zooms_in_on_some_cycles(run, end, times):
    vcd = run(step).vcd
    period = 10**7  # in femtoseconds
    with vcd.open("a") as file:
        file.write(f"#{end * period}\n")
    said = [command for command, _ in commands(waves.write_views(vcd, "pysim", {}))]
    assert said.count("zoom_in") == times
