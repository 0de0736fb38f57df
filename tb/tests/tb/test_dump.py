"""The VCD: its declarations and cycles are read, and the lanes are added."""

import os
import re
import shutil
import stat
import subprocess
from itertools import islice

import pytest

from tb import dump
from tb.core.waves import CORE_SHOWN
from tb.waves import UNIT_SHOWN

HEADER = """\
$timescale 1ns $end
$scope module ports $end
$var wire 1 ! clk $end
$var wire 1 " reset $end
$var wire 1 # row_valid $end
$var wire 64 $ row_pc [63:0] $end
$var wire 32 % row_word [31:0] $end
$var string 1 & row_kind $end
$var string 1 ' row_el $end
$var wire 64 ( row_esr [63:0] $end
$scope module inner $end
$var wire 1 ) row_valid $end
$upscope $end
$upscope $end
$enddefinitions $end
"""
NOP = "b11010101000000110010000000011111 %"


def cycle(number, *changes):
    """Of a clock that rises at 10 times the number, and falls half a period later."""
    return [f"#{10 * number}", "1!", *changes, f"#{10 * number + 5}", "0!"]


@pytest.fixture
def core(tmp_path):
    """Makes a VCD of the core with some cycles, and adds the lanes: its path."""

    def make(*cycles, listing=None):
        vcd = tmp_path / "test.vcd"
        lines = ["#0", "0!", '0"', "0#", "sINSTRUCTION &", "sEL1 '", NOP]
        lines += [
            line for number, changes in enumerate(cycles, 1) for line in cycle(number, *changes)
        ]
        vcd.write_text(HEADER + "\n".join(lines) + "\n")
        dump.annotate(vcd, CORE_SHOWN.lanes, listing or {})
        return vcd

    return make


def changes(vcd, lane):
    """(time, value) of each change of a lane."""
    with vcd.open("rb") as file:
        code = dump.lane_of(dump.declarations(file), lane).code
        now, found = 0, []
        for line in file:
            if line.startswith(b"#"):
                now = int(line[1:])
            elif dump.value_of(line)[0] == code:
                found.append((now, dump.text_of(dump.value_of(line)[1])))
    return found


def test_a_row_is_said_from_its_first_cycle_on(core):
    vcd = core([], [], ["1#"], ["0#"], ["1#", "sEL2 '"], ["0#"], listing={0: "b ."})
    pc = "b" + "0" * 64 + " $"
    assert changes(vcd, "EL") == [(0, ""), (10, "EL1"), (40, "EL2")]
    vcd = core([pc], [], ["1#"], ["0#"], ["1#", "sEL2 '"], ["0#"], listing={0: "b ."})
    assert changes(vcd, "guest") == [(0, ""), (10, "b ."), (40, "")]
    assert changes(vcd, "hypervisor") == [(0, ""), (40, "b .")]


def test_a_row_that_is_not_ended_is_not_said(core):
    assert changes(core([], ["1#"], ["0#"], ["sEL2 '"]), "EL") == [(0, ""), (10, "EL1")]


def test_a_reset_ends_what_has_begun(core):
    """What the core was about when the next program was loaded is not said, nor is it of that."""
    vcd = core([], ["1#"], ["0#"], [], ['1"'], ['0"'], ["1#", "sEL2 '"], ["0#"])
    assert changes(vcd, "EL") == [(0, ""), (10, "EL1"), (30, ""), (60, "EL2")]


def test_a_row_longer_than_what_is_kept_begins_late(core, monkeypatch):
    monkeypatch.setattr(dump, "MOST_STEPS", 6)
    vcd = core(["1#"], ["0#"], [], [], [], ["1#", "sEL2 '"], ["0#"])
    assert changes(vcd, "EL") == [(0, ""), (10, "EL1"), (20, ""), (50, "EL2")]


@pytest.mark.parametrize("most", [6, 7, 8])
def test_a_row_as_long_as_what_is_kept_is_whole(core, monkeypatch, most):
    monkeypatch.setattr(dump, "MOST_STEPS", most)
    vcd = core([], [], ["1#"], ["0#"], ["1#", "sEL2 '"], ["0#"])
    assert changes(vcd, "EL") == [(0, ""), (10, "EL1"), (40, "EL2")]


def test_text_with_blanks_and_backslashes_comes_back(core):
    text = "str  x0, \\name"
    vcd = core(["1#", "b" + "0" * 64 + " $"], listing={0: text})
    assert changes(vcd, "guest")[-1] == (10, text)


def test_all_else_stays_as_it_was(core):
    vcd = core(["1#"], ["0#"], ["1#", "sEL2 '"])
    with vcd.open("rb") as file:
        variables = dump.declarations(file)
    added = {found.code for name, found in variables.items() if name.startswith("softstep.")}
    text = re.sub(r"(?s)\$scope module softstep.*?\$upscope \$end\n", "", vcd.read_text())
    lines = [line for line in text.splitlines() if dump.value_of(line.encode())[0] not in added]
    begin = lines.index("$enddefinitions $end") + 1
    assert lines[:begin] == HEADER.splitlines()
    assert lines[begin] == "#0"  # of the lanes before anything is known
    assert lines[begin + 1 :] == [
        *["#0", "0!", '0"', "0#", "sINSTRUCTION &", "sEL1 '", NOP],
        *cycle(1, "1#"),
        *cycle(2, "0#"),
        *cycle(3, "1#", "sEL2 '"),
    ]


def test_a_time_is_no_value(core):
    """A code may be a number: here that of `valid` is the time at which it is looked at."""
    vcd = core()
    vcd.write_text(
        HEADER.replace("1 # row", "1 15 row") + "#0\n0!\nsEL1 '\n115\n#10\n1!\n#15\n0!\n"
    )
    dump.annotate(vcd, CORE_SHOWN.lanes, {})
    assert changes(vcd, "EL") == [(0, ""), (10, "EL1")]


def test_a_second_time_nothing_is_added(core):
    vcd = core(["1#"])
    once = vcd.read_text()
    dump.annotate(vcd, CORE_SHOWN.lanes, {})
    assert vcd.read_text() == once


def test_the_lanes_codes_are_those_of_no_other_variable(core):
    text = core(["1#"]).read_text()
    codes = re.findall(r"\$var \w+ \d+ (\S+) ", text)
    assert len(codes) == len(set(codes)) == text.count("$var ")
    free = list(islice(dump._free_codes({b"!", b"#", b'"!'}), 10_000))
    assert len(set(free)) == 10_000
    assert not {b"!", b"#", b'"!'} & set(free)
    assert max(map(len, free)) == 3


def test_a_vcd_that_cannot_be_read_is_left_as_it_is(tmp_path):
    vcd = tmp_path / "test.vcd"
    vcd.write_bytes(b"\xff\xfe no waveform")
    with pytest.raises(ValueError):
        dump.annotate(vcd, UNIT_SHOWN.lanes, {})
    assert list(tmp_path.iterdir()) == [vcd]
    assert vcd.read_bytes() == b"\xff\xfe no waveform"


def test_an_empty_vcd_has_no_cycle(tmp_path):
    vcd = tmp_path / "test.vcd"
    vcd.write_text("$enddefinitions $end\n")
    dump.annotate(vcd, UNIT_SHOWN.lanes, {})
    with vcd.open("rb") as file:
        assert dump.timeline_of(file, dump.declarations(file), UNIT_SHOWN.lanes).cycles == []


# FST


def test_the_fst_has_the_lanes_text(core):
    if not shutil.which("vcd2fst"):
        pytest.skip("not run: vcd2fst is not installed (apt-get install gtkwave)")
    vcd = core(["1#"], ["0#"], ["1#", "sEL2 '", "b" + "0" * 64 + " $"], listing={0: "b  ."})
    assert dump.write_fst(vcd) == ""
    assert sorted(path.name for path in vcd.parent.iterdir()) == ["test.fst", "test.vcd"]
    back = vcd.with_name("back.vcd")
    command = ["fst2vcd", "-f", vcd.with_suffix(".fst"), "-o", back]
    subprocess.run(command, check=True, capture_output=True)
    for lane in ("EL", "hypervisor"):
        *_, (time, text) = changes(back, lane)
        assert (time, text.replace("\\040", " ")) == changes(vcd, lane)[-1]


def test_without_vcd2fst_there_is_none_and_a_line_says_so(core, monkeypatch):
    monkeypatch.setenv("PATH", "")
    vcd = core(["1#"])
    vcd.with_suffix(".fst").write_text("of another run")
    said = dump.write_fst(vcd)
    assert said == "no FST is written: vcd2fst is not installed (apt-get install gtkwave)"
    assert list(vcd.parent.iterdir()) == [vcd]


def test_a_vcd2fst_that_fails_leaves_none_and_a_line_says_so(core, monkeypatch, tmp_path_factory):
    programs = tmp_path_factory.mktemp("bin")
    program = programs / "vcd2fst"
    program.write_text("#!/bin/sh\necho half > $2\necho one >&2\necho bad things >&2\nexit 3\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    vcd = core(["1#"])
    assert dump.write_fst(vcd) == f"no FST is written of {vcd}: vcd2fst: bad things"
    assert list(vcd.parent.iterdir()) == [vcd]
