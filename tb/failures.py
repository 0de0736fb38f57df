"""What a failing test says: the table of differences, and the events that led there."""

import re
import traceback
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from tb import scoreboard
from tb.harness import ROW, Packing
from tb.scoreboard import DERIVED, Cycle, Mismatch
from tb.testbench import Failure, Testbench

BEFORE = 6  #: events shown that came before
BEFORE_IT = "the events before it:"  #: the line above them


def mismatch(tb: Testbench, error: Mismatch) -> str:
    """Cycle, event, table of the trace with the differences marked, and what came before."""
    lines = [f"cycle {error.cycle}: the hardware is not as the {error.other} says"]
    lines += _table(tb.cycles[error.cycle], error)
    return "\n".join([*lines, *_before(tb.cycles, error.cycle), *tb.remarks])


def failure(tb: Testbench, error: Failure) -> str:
    """The test's own sentence, the events that led there, and what else it had to say."""
    try:
        scoreboard.check(tb.cycles)
    except Mismatch as parted:
        return "\n".join([str(error), mismatch(tb, parted)])
    except ValueError:  # nothing has happened yet: there is nothing to compare
        pass
    return "\n".join([str(error), *_before(tb.cycles, len(tb.cycles)), *tb.remarks])


def last_cycle(tb: Testbench) -> int | None:
    """The last cycle, if there is one."""
    return len(tb.cycles) - 1 if tb.cycles else None


def unexpected(error: Exception) -> str:
    """An exception that no test should raise, and where it came from."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}, in {frame.name}"
    return f"{type(error).__name__}: {error} ({where})"


def cause(failure: str) -> str:
    """What failures of one cause have in common: what differs, or the sentence without numbers."""
    lines = failure.splitlines() or [""]
    differ = [line.split()[0] for line in lines if line.endswith("!!!")]
    if differ:
        return f"the hardware differs in {', '.join(dict.fromkeys(differ))}"
    return re.sub(r"\b(0x[0-9a-fA-F]+|\d+([.,]\d+)*)\b", "…", lines[0])


def value_text(field: str, value: int, row: Packing = ROW) -> str:
    """A trace member's value: enumerations by name, wide ones in hexadecimal."""
    slot = row[field]
    if isinstance(slot.shape, type) and issubclass(slot.shape, IntEnum):
        try:
            member: Any = slot.shape(value)
        except ValueError:
            return f"{value} (no {slot.shape.__name__})"
        return getattr(member, "text", member.name)
    return f"{value:#x}" if slot.width > 1 else str(value)


def _table(cycle: Cycle, error: Mismatch) -> list[str]:
    wrong = {difference.field: difference for difference in error.differences}
    rows = [("field", "hardware", error.other, "")]
    for field in ROW:
        hardware = value_text(field, getattr(cycle.row, field))
        if field in wrong:
            rows.append((field, hardware, value_text(field, wrong[field].expected), "!!!"))
        elif field in DERIVED or field in ("el", "d", "ss") or field.endswith("_after"):
            same = hardware if error.other == "model" else ""
            rows.append((field, hardware, same, ""))
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, indented."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def event_text(at: int, cycle: Cycle) -> str:
    """One cycle in one line."""
    row = cycle.row
    start = ""
    if cycle.loaded is not None:
        state = cycle.loaded
        start = f"start at EL{state['el']}, PSTATE.D={state['d']} SS={state['ss']}"
    if cycle.given is None:
        return f"cycle {at}: {start or 'idle'}"
    given = ", ".join(
        f"{name}={value:#x}" for name, value in cycle.given.items() if name not in ("event", "pc")
    )
    what = value_text("event", row.event) + (f" ({given})" if given else "")
    done = " -> step exception" if row.step_exception else ""
    done = " -> illegal state exception" if row.illegal_state else done
    states = f"{value_text('state', row.state)} -> {value_text('state_after', row.state_after)}"
    parts = [f"EL{row.el} {row.pc:#x} {what}{done}", states, *([f"then {start}"] if start else [])]
    return f"cycle {at}: " + "; ".join(parts)


def _before(cycles: list[Cycle], end: int) -> list[str]:
    first = max(0, end - BEFORE)
    shown = ["  " + event_text(at, cycles[at]) for at in range(first, min(end + 1, len(cycles)))]
    return [BEFORE_IT, *shown]
