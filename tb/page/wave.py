"""A waveform as the page draws it: the rows around one moment, lane by lane, read from its VCD.

A row is what the trace shows in a cycle. The core's takes the cycles since the row before; the step
unit shows its state in every cycle, and a cycle without an event is a row of its own.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tb.core.waves import CORE_SHOWN
from tb.dump import declarations, lane_of, text_of, timeline_of, value_of, variable_of
from tb.harness import CORE
from tb.lanes import Values
from tb.waves import UNIT_SHOWN

BEFORE, AFTER = 300, 100  #: rows kept before the moment and after it


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


def read(vcd: Path, design: str, noted: tuple[str, int] | None = None) -> Wave | None:
    """The rows around the cycle `noted`, with what it is; without, around the first exception.

    None if nothing happened. Raises OSError.
    """
    lanes = (CORE_SHOWN if design == CORE.name else UNIT_SHOWN).lanes
    with vcd.open("rb") as dump:
        variables = declarations(dump)
        start = dump.tell()
        timeline = timeline_of(dump, variables, lanes)
        cycles = timeline.cycles
        if len(cycles) < 2:
            return None
        at = timeline.moment(noted[1] if noted else None)
        dump.seek(start)
        names = list(lanes.texts({}))
        wanted = {found.code: name for name in names if (found := lane_of(variables, name))}
        if valid := variable_of(variables, "valid", lanes):
            wanted[valid.code] = "valid"
        scan = _scan(_sampled(dump, wanted, cycles), at, lanes.spans)
    rows = [*scan.before, *scan.after]
    if not rows:
        return None
    moment = next((n for n, (_, last, _) in enumerate(rows) if last >= at), len(rows) - 1)
    whole = scan.seen == len(rows)
    left_out = timeline.left_out
    cut = f"Cut: at most {BEFORE} rows up to cycle {at + left_out} and {AFTER} after it are drawn"
    return Wave(
        [last + left_out for _, last, _ in rows],
        rows[0][0] + left_out,
        moment,
        [(name, [values.get(name, "") for _, _, values in rows]) for name in names],
        _what(noted, rows[moment][1] + left_out, list(timeline.marks)),
        "" if whole else cut,
    )


def _what(noted: tuple[str, int] | None, cycle: int, marks: list[str]) -> str:
    """What is at a cycle, the last of its row."""
    if noted:
        what, at = noted
        return what if at <= cycle else f"the last row before {what}"
    return f"the first {marks[-1].removeprefix('first ')}" if marks else "the first row"


def _sampled(
    dump: IO[bytes], wanted: Mapping[bytes, str], cycles: list[int]
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
        code, value = value_of(line)
        if name := wanted.get(code):
            values[name] = text_of(value)
    if now == end:
        yield values


def _scan(sampled: Iterable[dict[str, str]], at: int, spans: bool) -> _Scan:
    scan = _Scan(deque(maxlen=BEFORE))
    first = 0
    for cycle, values in enumerate(sampled):
        if spans and values.get("valid") != "1":
            continue
        row = (first if spans else cycle, cycle, dict(values))
        scan.seen += 1
        if len(scan.after) == AFTER:
            break
        first = cycle + 1
        if cycle <= at:
            scan.before.append(row)
        else:
            scan.after.append(row)
    return scan
