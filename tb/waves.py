"""Waveforms: where a VCD is, and the GTKWave save file beside it.

Every simulator names the harness's ports in its own way, so the VCD is asked: a port that it does
not declare is not listed.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from amaranth.lib.data import Field, Layout
from vcd.gtkw import GTKWColor, GTKWSave

from model.files import writing
from tb.harness import STIMULUS, UNIT, Design

#: ends the name of a variable that holds a value as text, beside the one that holds it as a number
TEXT = "_text"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a save file shows of a design."""

    design: Design
    #: Group to what it shows: the clock, the reset, ports, and registers' fields as `port.FIELD`.
    groups: Mapping[str, Sequence[str]]
    closed: frozenset[str]  #: groups shown only when opened
    colours: Mapping[str, GTKWColor]  #: what the eye should find first; the rest is green
    #: where no mismatch is: the marker is at the first cycle in which these, of one bit, are all 1
    marked: Sequence[str]
    layouts: Mapping[str, Layout] = field(default_factory=dict)  #: of ports that are mere numbers

    def field_of(self, port: str, name: str) -> Field:
        """A register's field."""
        if port in self.layouts:
            return self.layouts[port][name]
        return {**self.design.stimulus, **self.design.row}[port].shape[name]

    def names(self, port: str) -> list[str]:
        """A port's names in a VCD: in `tb.sims.cocotb_sim`, and Amaranth's."""
        if port not in self.design.row:
            return [f"stimulus_{port}", port]
        own = port.removeprefix("out_")
        return [f"row_{port}", f"{self.design.trace}__{port}" if own == port else own]


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
    ),
    "writes and choices": (
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
COLOURS = {
    "event__kind": GTKWColor.violet,
    "event__spsr.SS": GTKWColor.orange,
    "state": GTKWColor.yellow,
    "ss": GTKWColor.orange,
    "mdscr_el1.SS": GTKWColor.orange,
    "step_exception": GTKWColor.red,
    "illegal_state": GTKWColor.red,
    "esr": GTKWColor.red,
    "state_after": GTKWColor.yellow,
    "ss_after": GTKWColor.orange,
}

UNIT_SHOWN = Shown(
    UNIT,
    GROUPS,
    closed=frozenset({"writes and choices", "control registers"}),
    colours=COLOURS,
    marked=("valid", "step_exception"),
)

WINDOW = (1400, 1000)  #: pixels
NAMES_WIDTH = 350  #: pixels of the window for names and values ...
WAVES_WIDTH = 1000  #: ... and for the waves, or a little less
CYCLE_WIDTH = 120  #: pixels: enough for the name of a member of an enumeration
CYCLES_BEFORE = 6  #: clock cycles shown before the marker


class Variable(NamedTuple):
    """A variable that the VCD declares."""

    code: bytes  #: what its values are written under
    path: str  #: scopes, name and range, as GTKWave has them
    is_text: bool


class Timeline(NamedTuple):
    """When things happen, in the VCD's unit of time."""

    cycles: list[int]  #: the middle of each of `Testbench.cycles`
    marked: int  #: the first cycle that is worth a look; 0 if there is none
    reset: int  #: when the reset ended
    end: int


def path(directory: Path, case: str, simulator: str, seed: int) -> Path:
    """Where the VCD of a test goes. The directory is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{case}.{simulator}.{seed}.vcd"


def write_save_file(
    vcd: Path, simulator: str, mismatch: int | None, shown: Shown = UNIT_SHOWN
) -> Path:
    """Write the GTKWave save file beside a VCD; returns its path.

    The marker is in the cycle `mismatch` of `Testbench.cycles`; without one, in that of the first
    step exception; without that, in the first. Raises OSError.
    """
    with vcd.open("rb") as dump:
        variables = declarations(dump)
        timeline = timeline_of(dump, variables, shown)
    save_file = vcd.with_suffix(".gtkw")
    with writing(save_file) as file:
        save = GTKWSave(file)
        save.comment(f"{vcd.stem}, on {simulator}")
        # Both by name alone, so that GTKWave looks for the one where the other is.
        save.dumpfile(vcd.name, abspath=False)
        save.savefile(save_file.name, abspath=False)
        _write_view(save, timeline, mismatch)
        for name, signals in shown.groups.items():
            with save.group(name, closed=name in shown.closed):
                for signal in signals:
                    _write_signal(save, variables, signal, shown)
    return save_file


# The save file


def _write_view(save: GTKWSave, timeline: Timeline, mismatch: int | None) -> None:
    """The window, and what it shows first."""
    save.size(*WINDOW)
    save.sst_expanded(False)
    save.signals_width(NAMES_WIDTH)
    cycles = timeline.cycles
    if len(cycles) < 2:  # the test broke off before anything happened
        return
    period = cycles[1] - cycles[0]
    at = timeline.marked
    if mismatch is not None:
        left_out = (cycles[0] - timeline.reset) // period
        at = max(0, min(mismatch - left_out, len(cycles) - 1))
    # GTKWave ignores a start from which the window would reach beyond the end.
    last_start = timeline.end - period * WAVES_WIDTH // CYCLE_WIDTH
    save.timestart(max(0, min(cycles[at] - CYCLES_BEFORE * period, last_start)))
    # At zoom 0, 200 pixels are a unit of time; one less doubles that.
    save.zoom_markers(-math.log2(200 * period / CYCLE_WIDTH), cycles[at])


def _write_signal(
    save: GTKWSave, variables: Mapping[str, Variable], signal: str, shown: Shown
) -> None:
    """A line of the wave window, if the VCD has the signal."""
    port, _, field = signal.partition(".")
    variable = variable_of(variables, port, shown)
    if variable is None:
        return
    label, name = _label(signal), variable.path
    if field:
        bits = _bits(variable, shown.field_of(port, field))
        name = bits[0] if len(bits) == 1 else f"#{{{label}}} {' '.join(bits)}"
    save.trace(
        name,
        alias=label,
        color=shown.colours.get(signal),
        datafmt="ascii" if variable.is_text else "hex",
    )


def _label(signal: str) -> str:
    """How a signal is shown. GTKWave would drop what is before a dot."""
    for prefix in ("event__", "choice__", "controls__", "pins__", "out_"):
        signal = signal.removeprefix(prefix)
    return signal.replace("__", " ").replace(".", ":")


def _bits(variable: Variable, field: Field) -> list[str]:
    """The bits of a field as GTKWave has them: numbered from the left of a 64-bit register."""
    first = 64 - field.offset - field.width
    return [f"({bit}){variable.path}" for bit in range(first, first + field.width)]


# The VCD. pyvcd's reader stops at a name that starts with "$": Amaranth's of a nameless signal,
# "$signal", and Verilator's outermost scope, "$rootio". All simulators write a line for each
# declaration, time and value.

_SCOPE = re.compile(r"\$scope \w+ (\S+) \$end")
_VAR = re.compile(r"\$var (\w+) +(\d+) (\S+) (\S+?) ?(\[\d+:\d+\])? \$end")


def declarations(dump: IO[bytes]) -> dict[str, Variable]:
    """Reads the header: name to variable. The first scope that declares a name is the outermost."""
    variables: dict[str, Variable] = {}
    scopes: list[str] = []
    for line in dump:
        text = line.decode("ascii").strip()
        if scope := _SCOPE.match(text):
            scopes.append(scope[1])
        elif text.startswith("$upscope"):
            scopes.pop()
        elif text.startswith("$enddefinitions"):
            break
        elif var := _VAR.match(text):
            kind, width, code, name, declared = var.groups()
            in_full = ".".join([*scopes, name]) + _range(kind, int(width), declared)
            is_text = kind == "string" or name.endswith(TEXT)
            variables.setdefault(name, Variable(code.encode(), in_full, is_text))
    return variables


def _range(kind: str, width: int, declared: str | None) -> str:
    """What GTKWave puts after a variable's name. All vectors here end at bit 0."""
    if kind == "string" or (width == 1 and not declared):
        return ""
    return f"[{width - 1}:0]" if width > 1 else "[0]"


def variable_of(variables: Mapping[str, Variable], port: str, shown: Shown) -> Variable | None:
    """A port's variable: the one with its value as text, if there is one."""
    names = [name + suffix for suffix in (TEXT, "") for name in shown.names(port)]
    return next((variables[name] for name in names if name in variables), None)


def timeline_of(dump: IO[bytes], variables: Mapping[str, Variable], shown: Shown) -> Timeline:
    """Reads the values.

    An adapter drives and samples after a rising edge, and the values stay until the next: at the
    falling edge between, all are as they were sampled. The first cycle is the one after the reset.
    The reset ends with a rising edge, half a period before the middle of the first cycle.
    """
    watched = {
        variable.code: port
        for port in ("clk", "reset", *shown.marked)
        if (variable := variable_of(variables, port, shown))
    }
    high = dict.fromkeys(watched.values(), False)
    cycles: list[int] = []
    marked: list[int] = []
    now = reset = 0
    for line in dump:
        if line.startswith(b"#"):
            now = int(line[1:])
        elif port := watched.get(line[1:].rstrip()):
            if port == "reset":
                cycles.clear()
                marked.clear()
                reset = now
            elif port == "clk" and high["clk"]:
                if all(high.get(port) for port in shown.marked):
                    marked.append(len(cycles))
                cycles.append(now)
            high[port] = line.startswith(b"1")
    return Timeline(cycles, next(iter(marked), 0), reset, now)
