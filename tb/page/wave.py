"""A waveform as the page draws it: the rows around one moment, lane by lane, read from its VCD.

A row is what the trace shows in a cycle. The core's takes the cycles since the row before; the step
unit shows its state in every cycle, and a cycle without an event is a row of its own.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from model.arch import ESR_ELx, ExceptionClass
from tb.core import program
from tb.core.waves import CORE_SHOWN
from tb.harness import CORE
from tb.waves import TEXT, UNIT_SHOWN, Shown, declarations, timeline_of, variable_of

BEFORE, AFTER = 300, 100  #: rows kept before the moment and after it

Values = Mapping[str, str]  #: port to its value, as text


@dataclass(slots=True)
class Wave:
    """What is drawn of a waveform."""

    cycles: list[int]  #: of the rows: the last cycle of each
    first: int  #: the first cycle of the first row
    moment: int  #: index of the row to look at
    lanes: list[tuple[str, list[str]]]  #: name, and the value in each row: "" where there is none
    what: str  #: what the moment is
    cut: str = ""  #: says so if not all rows are kept


@dataclass(slots=True)
class _Scan:
    """What has been read so far."""

    before: deque[tuple[int, int, Values]]  #: (first cycle, last cycle, values)
    after: list[tuple[int, int, Values]] = field(default_factory=list)
    seen: int = 0  #: rows


def read(vcd: Path, design: str, mismatch: int | None) -> Wave | None:
    """The rows around the cycle `mismatch`; without one, around the first exception.

    None if nothing happened. Raises OSError.
    """
    shown = CORE_SHOWN if design == CORE.name else UNIT_SHOWN
    spans = design == CORE.name
    with vcd.open("rb") as dump:
        variables = declarations(dump)
        start = dump.tell()
        timeline = timeline_of(dump, variables, shown)
        cycles = timeline.cycles
        if len(cycles) < 2:
            return None
        left_out = (cycles[0] - timeline.reset) // (cycles[1] - cycles[0])
        at = timeline.marked if mismatch is None else mismatch - left_out
        at = max(0, min(at, len(cycles) - 1))
        dump.seek(start)
        ports = {
            found.code: (port, found.path.partition("[")[0].endswith(TEXT))
            for port in _ports(shown)
            if (found := variable_of(variables, port, shown))
        }
        scan = _scan(_sampled(dump, ports, cycles), at, spans)
    rows = [*scan.before, *scan.after]
    if not rows:
        return None
    moment = next((n for n, (_, last, _) in enumerate(rows) if last >= at), len(rows) - 1)
    lanes = _CORE_LANES if spans else _UNIT_LANES
    whole = scan.seen == len(rows) and len(scan.after) < AFTER
    cut = f"Cut: at most {BEFORE} rows up to cycle {at + left_out} and {AFTER} after it are drawn"
    return Wave(
        [last + left_out for _, last, _ in rows],
        rows[0][0] + left_out,
        moment,
        [(name, [text(values) for _, _, values in rows]) for name, text in lanes.items()],
        _moment(mismatch, timeline.marked),
        "" if whole else cut,
    )


def _moment(mismatch: int | None, marked: int) -> str:
    if mismatch is not None:
        return "where the test failed"
    return "the first exception" if marked else "the first row"


def _ports(shown: Shown) -> Iterator[str]:
    yield from ("clk", "reset")
    yield from dict.fromkeys(
        signal.partition(".")[0] for signals in shown.groups.values() for signal in signals
    )


def _sampled(
    dump: IO[bytes], ports: Mapping[bytes, tuple[str, bool]], cycles: list[int]
) -> Iterator[dict[str, str]]:
    """The values in each of the cycles, at its middle. One dictionary, which changes."""
    values: dict[str, str] = {}
    now, ends = 0, iter(cycles)
    end = next(ends)
    for line in dump:
        if line.startswith(b"#"):
            if now == end:
                yield values
                following = next(ends, None)
                if following is None:
                    return
                end = following
            now = int(line[1:])
            continue
        if line[:1] in b"bsr":
            value, _, code = line[1:].rstrip().partition(b" ")
        else:
            value, code = line[:1], line[1:].rstrip()
        if port := ports.get(code):
            name, packed = port
            values[name] = _decoded(value) if packed else value.decode("ascii", "replace")
    if now == end:
        yield values


def _decoded(bits: bytes) -> str:
    """Text in a vector's bits, a byte a character."""
    try:
        number = int(bits, 2)
    except ValueError:
        return "?"
    raw = number.to_bytes(-(-number.bit_length() // 8), "big")
    return raw.decode("ascii", "replace").strip("\0 ")


def _scan(sampled: Iterable[dict[str, str]], at: int, spans: bool) -> _Scan:
    scan = _Scan(deque(maxlen=BEFORE))
    first = 0
    for cycle, values in enumerate(sampled):
        if spans and values.get("valid") != "1":
            continue
        row = (first if spans else cycle, cycle, dict(values))
        scan.seen += 1
        first = cycle + 1
        if cycle <= at:
            scan.before.append(row)
        else:
            scan.after.append(row)
        if len(scan.after) == AFTER:
            break
    return scan


# Lanes


def _number(values: Values, port: str) -> int | None:
    try:
        return int(values.get(port, ""), 2)
    except ValueError:  # unknown, or not there
        return None


def _hex(port: str) -> Callable[[Values], str]:
    def text(values: Values) -> str:
        number = _number(values, port)
        return "" if number is None else f"{number:#x}"

    return text


def _bit(port: str) -> Callable[[Values], str]:
    return lambda values: values.get(port, "")


def _name(port: str) -> Callable[[Values], str]:
    """Of a member of an enumeration, as Arm and the report write it."""

    def text(values: Values) -> str:
        name = values.get(port, "")
        return name if name.startswith("EL") else name.lower().replace("_", "-")

    return text


def _unit_event(values: Values) -> str:
    if values.get("event__valid") != "1":
        return "load" if values.get("load__enable") == "1" else ""
    return _name("event__kind")(values)


def _unit_outcome(values: Values) -> str:
    if values.get("step_exception") == "1":
        return "step exception"
    return "illegal state" if values.get("illegal_state") == "1" else ""


def _when(port: str, text: Callable[[Values], str]) -> Callable[[Values], str]:
    return lambda values: text(values) if values.get(port) == "1" else ""


def _core_kind(values: Values) -> str:
    kind = _name("kind")(values)
    esr = _number(values, "esr")
    if values.get("sets_esr") != "1" or esr is None:
        return _name("event")(values) if kind == "instruction" else kind
    number = ESR_ELx.EC.get(esr)
    try:
        return ExceptionClass(number).name.lower()
    except ValueError:
        return f"EC {number:#x}"


def _disassembled(values: Values) -> str:
    word, pc = _number(values, "word"), _number(values, "pc")
    return disassembly(word, pc or 0) if word else ""


_UNIT_LANES: dict[str, Callable[[Values], str]] = {
    "state": _name("state"),
    "EL": _name("el"),
    "event": _unit_event,
    "outcome": _unit_outcome,
    "PC": _when("event__valid", _hex("event__pc")),
    "ss": _bit("ss"),
    "ss after": _bit("ss_after"),
    "d": _bit("d"),
    "MDSCR_EL1": _hex("mdscr_el1"),
    "state after": _name("state_after"),
    "ESR": _when("step_exception", _hex("esr")),
}
_CORE_LANES: dict[str, Callable[[Values], str]] = {
    "state": _name("state"),
    "EL": _name("el"),
    "what": _core_kind,
    "PC": _hex("pc"),
    "instruction": _disassembled,
    "ss after": _bit("ss_after"),
    "state after": _name("state_after"),
    "EL after": _name("el_after"),
    "ESR": _when("sets_esr", _hex("esr")),
}


@cache
def _capstone() -> Any:
    try:
        import capstone
    except ImportError:
        return None
    return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)


def disassembly(word: int, address: int) -> str:
    """A word as an assembler has it, or, if Capstone does not know it, as the reference's row."""
    if machine := _capstone():
        found = next(machine.disasm_lite(word.to_bytes(4, "little"), address), None)
        if found:
            return f"{found[2]} {found[3]}".strip()
    return program.text(word, address)
