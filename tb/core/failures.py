"""What a failing test of the core says: the table of differences, and the rows that led there."""

from collections.abc import Iterable
from types import SimpleNamespace

from model.arch import SYSREGS, ESR_ELx, ExceptionClass, Retire
from tb.core.lockstep import Mismatch
from tb.core.program import text
from tb.core.rows import TRACE, Rows
from tb.core.testbench import CoreTestbench
from tb.failures import table, value_text
from tb.testbench import Failure

BEFORE = 6  #: rows shown that came before

#: Members that the table shows though they do not differ; beside these, all that end in `_after`.
SHOWN = ("pc", "el", "state", "kind", "word", "event")

_SYSREG_NAMES = {register.number: name for name, register in SYSREGS.items()}


def mismatch(tb: CoreTestbench, error: Mismatch) -> str:
    """Cycle, instruction, table of the row with the differences marked, and what came before."""
    row = error.rows.row(error.at)
    return "\n".join(
        [
            f"cycle {row.cycle}, row {row.number}: the core is not as the {error.other} says",
            f"  {_instruction(row)}",
            *_table(row, error),
            *_before(error.rows, error.at + 1),
            *tb.remarks,
        ]
    )


def failure(tb: CoreTestbench, error: Failure) -> str:
    """The test's own sentence, the last rows, and what else it had to say."""
    rows = tb.lockstep.recent if tb.lockstep else None
    last = ["the last rows:", *_lines(rows.tail(BEFORE))] if rows else []
    return "\n".join([str(error), *last, *tb.remarks])


def last_cycle(tb: CoreTestbench) -> int | None:
    """The cycle of the last row, if there is one."""
    rows = tb.lockstep.recent if tb.lockstep else None
    return int(rows.cycles[-1]) if rows else None


def _instruction(row: SimpleNamespace) -> str:
    """What the row is about: address, word and name, or the exception that came instead."""
    what = f"{row.word:#010x} {text(row.word, row.pc)}" if row.word else "no instruction"
    where = f"EL{row.el} {row.pc:#x} {what}"
    if row.kind == Retire.INSTRUCTION:
        return where
    reason = f" ({_exception_class(row.esr)})" if row.sets_esr else ""
    return f"{where} -> {_text('kind', row.kind)}{reason} to EL{row.target_el}"


def _exception_class(esr: int) -> str:
    number = ESR_ELx.EC.get(esr)
    try:
        return ExceptionClass(number).name.lower()
    except ValueError:
        return f"EC {number:#x}"


def _text(field: str, value: int) -> str:
    shown = value_text(field, value, TRACE)
    if field == "sys_reg":
        return f"{shown} {_SYSREG_NAMES.get(value, '')}".rstrip()
    return shown


def _table(row: SimpleNamespace, error: Mismatch) -> list[str]:
    wrong = {difference.field: difference for difference in error.differences}
    lines = [("field", "hardware", error.other, "")]
    for field in TRACE:
        hardware = _text(field, getattr(row, field))
        if field in wrong:
            lines.append((field, hardware, _text(field, wrong[field].expected), "!!!"))
        elif field in SHOWN or field.endswith("_after"):
            lines.append((field, hardware, hardware if error.other == "model" else "", ""))
    return table(lines)


def row_text(row: SimpleNamespace) -> str:
    """One row in one line."""
    states = f"{_text('state', row.state)} -> {_text('state_after', row.state_after)}"
    high = [name for name in ("irq", "fiq", "serror") if getattr(row, name)]
    pins = f" ({', '.join(high)} high)" if high else ""
    return f"row {row.number}, cycle {row.cycle}: {_instruction(row)}{pins}; {states}"


def _before(rows: Rows, end: int) -> list[str]:
    first = max(0, end - 1 - BEFORE)
    return ["the rows before it:", *_lines(map(rows.row, range(first, end)))]


def _lines(rows: Iterable[SimpleNamespace]) -> list[str]:
    return [f"  {row_text(row)}" for row in rows]
