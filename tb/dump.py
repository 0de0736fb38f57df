"""A waveform's VCD: what it declares, when its cycles are, and the lanes that are added to it.

pyvcd's reader stops at a name that starts with "$": Amaranth's of a nameless signal, "$signal", and
Verilator's outermost scope, "$rootio". All simulators write a line for each declaration, time and
value.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import IO, NamedTuple

from amaranth.lib.data import Layout

from model.files import writing
from tb.harness import Design
from tb.lanes import Listing, Text, Values, number

#: ends the name of a variable that holds a value as text, beside the one that holds it as a number
TEXT = "_text"

SCOPE = "softstep"  #: of the lanes, in the VCD

MOST_STEPS = 10_000  #: of time that a row's lanes are kept for: those of a longer one begin later


@dataclass(frozen=True, slots=True)
class Lanes:
    """What is added to the VCD of a design."""

    design: Design
    texts: Callable[[Listing], Mapping[str, Text]]  #: lanes by name, for a listing
    spans: bool  #: a row takes the cycles since the row before; else each cycle is one
    fields: Sequence[str] = ()  #: registers' fields, as `port.FIELD`: numbers
    layouts: Mapping[str, Layout] = field(default_factory=dict)  #: of ports that are mere numbers
    #: What is marked to where it is first: a lane that says something, and how that begins. The
    #: last that is found is the most interesting.
    marks: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def field_of(self, signal: str) -> tuple[str, int, int]:
        """(port, lowest bit, width) of `port.FIELD`."""
        port, _, name = signal.partition(".")
        ports = {**self.design.stimulus, **self.design.row}
        place = (self.layouts.get(port) or ports[port].shape)[name]
        return port, place.offset, place.width

    def names(self, port: str) -> list[str]:
        """A port's names in a VCD: in `tb.sims.cocotb_sim`, and Amaranth's."""
        if port not in self.design.row:
            return [f"stimulus_{port}", port]
        own = port.removeprefix("out_")
        return [f"row_{port}", f"{self.design.trace}__{port}" if own == port else own]


class Variable(NamedTuple):
    """A variable that the VCD declares."""

    code: bytes  #: what its values are written under
    path: str  #: scopes, name and range, as GTKWave has them
    is_text: bool

    @property
    def is_packed(self) -> bool:
        """Its text is in a vector's bits, a byte a character."""
        return self.is_text and self.path.endswith("]")


Variables = Mapping[str, Variable]  #: by name; of lanes, `softstep.NAME`


class Timeline(NamedTuple):
    """When things happen, in the VCD's unit of time."""

    cycles: list[int]  #: the middle of each of `Testbench.cycles`
    marks: dict[str, int]  #: what is marked and was found, the last the most interesting: a cycle
    reset: int  #: when the reset ended
    end: int

    @property
    def left_out(self) -> int:
        """How many cycles are missing before the first. There are two at least."""
        return (self.cycles[0] - self.reset) // (self.cycles[1] - self.cycles[0])

    def moment(self, cycle: int | None = None) -> int:
        """One of `Testbench.cycles`; without it what is marked last, and without that the first.

        It is an index of `cycles`, of which there are two at least.
        """
        at = next(reversed(self.marks.values()), 0) if cycle is None else cycle - self.left_out
        return max(0, min(at, len(self.cycles) - 1))


# Declarations

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
            known_as = f"{SCOPE}.{name}" if scopes == [SCOPE] else name
            variables.setdefault(known_as, Variable(code.encode(), in_full, is_text))
    return variables


def _range(kind: str, width: int, declared: str | None) -> str:
    """What GTKWave puts after a variable's name. All vectors here end at bit 0."""
    if kind == "string" or (width == 1 and not declared):
        return ""
    return f"[{width - 1}:0]" if width > 1 else "[0]"


def variable_of(variables: Variables, port: str, lanes: Lanes) -> Variable | None:
    """A port's variable: the one with its value as text, if there is one."""
    names = [name + suffix for suffix in (TEXT, "") for name in lanes.names(port)]
    return next((variables[name] for name in names if name in variables), None)


def lane_of(variables: Variables, lane: str) -> Variable | None:
    """The variable of a lane, or of a register's field."""
    return variables.get(f"{SCOPE}.{_declared(lane)}")


def _declared(lane: str) -> str:
    return lane.replace("__", "_").replace(".", "_")  # a viewer would take a dot for a scope


# Values


def value_of(line: bytes) -> tuple[bytes, bytes]:
    """(code, value) of a line that changes a value; of another line, nothing."""
    if line[:1] in b"#$":
        return b"", b""
    if line[:1] in b"bsr":
        value, _, code = line[1:].rstrip().partition(b" ")
        return code, value
    return line[1:].rstrip(), line[:1]


@lru_cache(maxsize=10_000)
def text_of(value: bytes) -> str:
    """The text of a string variable."""
    return value.decode("ascii", "replace").replace("\\x20", " ").replace("\\\\", "\\")


@lru_cache(maxsize=10_000)
def unpacked(bits: bytes) -> str:
    """Text in a vector's bits, a byte a character."""
    try:
        value = int(bits, 2)
    except ValueError:
        return "?"
    raw = value.to_bytes(-(-value.bit_length() // 8), "big")
    return raw.decode("ascii", "replace").strip("\0 ")


def timeline_of(dump: IO[bytes], variables: Variables, lanes: Lanes) -> Timeline:
    """Reads the values.

    An adapter drives and samples after a rising edge, and the values stay until the next: at the
    falling edge between, all are as they were sampled. The first cycle is the one after the reset.
    The reset ends with a rising edge, half a period before the middle of the first cycle.
    """
    watched = {
        variable.code: port
        for port in ("clk", "reset", "valid")
        if (variable := variable_of(variables, port, lanes))
    }
    watched |= {
        variable.code: lane
        for lane, _ in lanes.marks.values()
        if (variable := lane_of(variables, lane))
    }
    values: dict[str, str] = {}
    cycles: list[int] = []
    marks: dict[str, int] = {}
    now = reset = 0
    for line in dump:
        if line.startswith(b"#"):
            now = int(line[1:])
            continue
        code, value = value_of(line)
        port = watched.get(code)
        if port is None:
            continue
        if port == "reset":
            cycles.clear()
            marks.clear()
            reset = now
        elif port == "clk" and values.get("clk") == "1":
            for mark in _marked(values, lanes):
                marks.setdefault(mark, len(cycles))
            cycles.append(now)
        values[port] = text_of(value)
    found = {mark: marks[mark] for mark in lanes.marks if mark in marks}
    return Timeline(cycles, found, reset, now)


def _marked(values: Values, lanes: Lanes) -> Iterator[str]:
    if values.get("valid") != "1":
        return
    for mark, (lane, begins) in lanes.marks.items():
        if values.get(lane) and values[lane].startswith(begins):
            yield mark


# Lanes


def annotate(vcd: Path, lanes: Lanes, listing: Listing) -> None:
    """Add the lanes to a VCD, unless it has them: text of its own for each row, from its beginning.

    Raises OSError.
    """
    with vcd.open("rb") as dump:
        variables = declarations(dump)
        if any(name.startswith(f"{SCOPE}.") for name in variables):
            return
        dump.seek(0)
        added = _Added(lanes, listing, variables, _codes(dump))
        dump.seek(0)
        with writing(vcd) as file:
            for part in _annotated(dump, added):
                file.write(part.decode("ascii", "replace"))


class _Lane(NamedTuple):
    """A variable that is added."""

    code: bytes
    name: str
    width: int  #: 0 for text
    text: Text  #: its text, or its bits

    def change(self, said: str) -> bytes:
        """A line for a value; what is not known is x."""
        if not self.width:
            escaped = said.replace("\\", "\\\\").replace(" ", "\\x20")
            return b"s%s %s\n" % (escaped.encode("ascii", "replace"), self.code)
        return (b"b%s %s\n" if self.width > 1 else b"%s%s\n") % (said.encode() or b"x", self.code)

    def declaration(self) -> str:
        """A line."""
        bits = f" [{self.width - 1}:0]" if self.width > 1 else ""
        kind = f"wire {self.width}" if self.width else "string 1"
        return f"$var {kind} {self.code.decode()} {self.name}{bits} $end\n"


class _Added:
    """The lanes of one VCD: their declarations, and what changes with each row."""

    def __init__(self, lanes: Lanes, listing: Listing, variables: Variables, taken: set[bytes]):
        self.spans = lanes.spans
        self.ports = {
            variable.code: (port, variable.is_packed)
            for port in ("clk", "reset", *lanes.design.stimulus, *lanes.design.row)
            if (variable := variable_of(variables, port, lanes))
        }
        codes = _free_codes(taken)
        self._lanes = [
            _Lane(next(codes), name, 0, text) for name, text in lanes.texts(listing).items()
        ]
        for name in lanes.fields:
            port, lsb, width = lanes.field_of(name)
            text = _bits(port, lsb, width)
            self._lanes.append(_Lane(next(codes), _declared(name), width, text))
        self._last: dict[bytes, str] = {}

    def declarations(self) -> bytes:
        """A scope."""
        lines = "".join(lane.declaration() for lane in self._lanes)
        return f"$scope module {SCOPE} $end\n{lines}$upscope $end\n".encode("ascii")

    def changes(self, values: Values | None) -> bytes:
        """Lines for the lanes that are no longer as they were; without values, all are empty."""
        lines = []
        for lane in self._lanes:
            said = lane.text(values) if values else ""
            if self._last.get(lane.code) != said:
                self._last[lane.code] = said
                lines.append(lane.change(said))
        return b"".join(lines)


def _bits(port: str, lsb: int, width: int) -> Text:
    """The text of a register's field."""

    def text(values: Values) -> str:
        value = number(values, port)
        return "" if value is None else f"{value >> lsb & (1 << width) - 1:0{width}b}"

    return text


def _codes(dump: IO[bytes]) -> set[bytes]:
    """Reads the header: the codes of all variables, in inner scopes too."""
    codes = set()
    for line in dump:
        words = line.split()
        if words[:1] == [b"$enddefinitions"]:
            break
        if words[:1] == [b"$var"]:
            codes.add(words[3])
    return codes


def _free_codes(taken: set[bytes]) -> Iterator[bytes]:
    """Codes for variables, the shortest that are not taken: digits are all printable characters."""
    for n in count():
        code = bytearray()
        while n >= 0:
            n, digit = divmod(n, 94)
            n -= 1
            code.append(33 + digit)
        if bytes(code) not in taken:
            yield bytes(code)


def _annotated(dump: IO[bytes], added: _Added) -> Iterator[bytes]:
    """The VCD in parts. What is of a row is known at its end, and written where it begins."""
    for line in dump:
        if line.lstrip().startswith(b"$enddefinitions"):
            yield added.declarations() + line + b"#0\n" + added.changes(None)
            break
        yield line
    values: dict[str, str] = {}
    row: list[bytes] = []  # what is of it so far, a part a time
    ended = True
    for step in _steps(dump):
        was_high = values.get("clk") == "1"
        _update(values, step, added.ports)
        is_high, in_reset = (values.get(port) == "1" for port in ("clk", "reset"))
        rises, falls = is_high and not was_high, was_high and not is_high
        too_long = len(row) == MOST_STEPS
        if ended and (rises or too_long):
            yield from row
            row, ended = [], not rises
        elif not ended and ((rises and in_reset) or too_long):
            yield row[0] + added.changes(None)
            yield from row[1:]
            row = []
        row.append(b"".join(step))
        if falls and (in_reset or not added.spans or values.get("valid") == "1"):
            row[0] += added.changes(None if in_reset else values)
            ended = True
    yield from row


def _steps(dump: IO[bytes]) -> Iterator[list[bytes]]:
    """The lines of each time."""
    step: list[bytes] = []
    for line in dump:
        if line.startswith(b"#") and step:
            yield step
            step = []
        step.append(line)
    if step:
        yield step


def _update(
    values: dict[str, str], step: Sequence[bytes], ports: Mapping[bytes, tuple[str, bool]]
) -> None:
    for line in step:
        code, value = value_of(line)
        if found := ports.get(code):
            port, packed = found
            values[port] = unpacked(value) if packed else text_of(value)


# FST


def write_fst(vcd: Path) -> str:
    """Write the VCD as FST beside it; returns why that could not be done, in a line, or ""."""
    fst = vcd.with_suffix(".fst")
    fst.unlink(missing_ok=True)  # of another run
    program = shutil.which("vcd2fst")
    if program is None:
        return "no FST is written: vcd2fst is not installed (apt-get install gtkwave)"
    part = vcd.with_suffix(".fst.part")
    try:
        done = subprocess.run([program, vcd, part], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            part.replace(fst)
            return ""
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
    except OSError as error:
        said = str(error.strerror)
    part.unlink(missing_ok=True)
    return f"no FST is written of {vcd}: vcd2fst: {said}"
