"""The manual's tables as data: the second route to the same truth.

The CSV files in `model/manual` were typed from the manual's tables (D2.4, D2.5, D2.12), separately
from the rules. A row becomes `Claims`: every PE state and event that the row covers, and what it
says of the effect. `disagreements` holds the rules against them; the bench holds the hardware
against the same claims. `gaps` asks whether the rows cover all that they should, once each.
"""

import csv
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.arch import (
    EL,
    HCR_EL2,
    IFSC_DEBUG,
    MDCR_EL2,
    MDCR_EL3,
    MDSCR_EL1,
    OSLSR_EL1,
    SCR_EL3,
    ESR_ELx,
    Event,
    ExceptionClass,
    Last,
    Mode,
    Mode32,
    SPSR_ELx,
    StepISS,
    StepState,
)
from model.columns import Lines, to_lines
from model.machine import take

TABLES = (
    "routing-enable",
    "step-state",
    "exception-return",
    "exception-entry-spsr-ss",
    "syndrome",
)

DIRECTORY = Path(__file__).parent / "manual"

Row = dict[str, str]
#: one combination that a row covers: the table's column to its value there
Combination = dict[str, str]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a table says of n cases."""

    names: list[str]  #: n, the file and line of the row (of both rows, for exception returns)
    lines: Lines  #: n PE states and events
    expected: dict[str, npt.NDArray[Any]]  #: output column to n values, or -1 where nothing is said


def rows(name: str) -> list[tuple[int, Row]]:
    """(line number, row) of a table's file."""
    with (DIRECTORY / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        lines = [(at, line) for at, line in enumerate(file, 1) if not line.startswith("#")]
    numbers = [at for at, _ in lines[1:]]
    return list(zip(numbers, csv.DictReader(line for _, line in lines), strict=True))


#: values of a table's input column, where they are not 0 and 1
_DOMAINS = {
    "el1": ("32", "64"),
    "el2": ("32", "64"),
    "eld_aarch": ("32", "64"),
    "from_el": ("1", "2", "3"),
    "target_el": ("0", "1", "2", "3"),
}


def _domain(column: str) -> tuple[str, ...]:
    return _DOMAINS.get(column, ("0", "1"))


def _expand(row: Row, columns: tuple[str, ...]) -> Iterator[Combination]:
    """Every combination of the input columns that a row covers (x = any)."""
    choices = [_domain(name) if row[name] == "x" else (row[name],) for name in columns]
    for values in itertools.product(*choices):
        yield dict(zip(columns, values, strict=True))


# The cases of each table: vector file columns in, output columns expected


@dataclass(frozen=True, slots=True)
class _Case:
    name: str
    given: Mapping[str, int]
    expected: Mapping[str, int]


def _registers(on: Mapping[str, str]) -> dict[str, int]:
    """Vector file columns from the tables' columns. The OS Lock stands for `lock`."""

    def bit(name: str) -> int:
        return int(on.get(name, "0"))

    return {
        "mdscr_el1": MDSCR_EL1.SS.put(bit("mdscr_ss")) | MDSCR_EL1.KDE.put(bit("kde")),
        "mdcr_el2": MDCR_EL2.TDE.put(bit("tde")),
        "hcr_el2": HCR_EL2.TGE.put(bit("tge")),
        "scr_el3": SCR_EL3.NS.put(int(on.get("ns", "1"))) | SCR_EL3.EEL2.put(bit("eel2")),
        "mdcr_el3": MDCR_EL3.SDD.put(bit("sdd")),
        "oslsr_el1": OSLSR_EL1.OSLK.put(bit("lock")),
        "el1_aarch32": int(on.get("el1") == "32"),
        "el2_aarch32": int(on.get("el2") == "32"),
    }


def _both_locks(name: str, given: dict[str, int], expected: Mapping[str, int]) -> Iterator[_Case]:
    """The case, and where the OS Lock is set, the same with the double lock in its place."""
    yield _Case(name, given, expected)
    if given["oslsr_el1"]:
        yield _Case(name, given | {"oslsr_el1": 0, "double_lock": 1}, expected)


def _spsr(el: int, aarch32: bool, d: int, ss: int) -> int:
    mode = {
        0: Mode32.USER if aarch32 else Mode.EL0t,
        1: Mode32.SVC if aarch32 else Mode.EL1h,
        2: Mode32.HYP if aarch32 else Mode.EL2h,
        3: Mode.EL3h,
    }[el]
    return mode | SPSR_ELx.D.put(d) | SPSR_ELx.SS.put(ss)


_ILLEGAL_MODE = 0b0010  #: SPSR.M<1> is 1: no exception return to AArch64 is legal

_ROUTING = ("halted", "lock", "ns", "sdd", "eel2", "tge", "tde", "kde", "d")


def _routing_enable() -> Iterator[_Case]:
    for number, row in rows("routing-enable"):
        for on, el in itertools.product(_expand(row, _ROUTING), range(4)):
            to = row[f"el{el}"]
            if to == "n":
                continue
            halted = int(on["halted"])
            event = Event.DEBUG_EXIT if halted else Event.EXECUTE
            given = {
                "el": el,
                "d": int(on["d"]),
                "halted": halted,
                "event": event,
                **_registers(on),
            }
            says = {"enabled": 0} if to == "-" else {"enabled": 1, "eld": int(to)}
            # Debug state is left only to what can be there: EL2 needs to be enabled.
            if not (halted and el == EL.EL2 and not _el2_enabled(on)):
                yield from _both_locks(f"routing-enable.csv:{number}", given, says)


def _el2_enabled(on: Mapping[str, str]) -> bool:
    return on["ns"] == "1" or on["eel2"] == "1"


def _step_state() -> Iterator[_Case]:
    columns = ("eld_aarch", "enabled", "mdscr_ss", "pstate_ss")
    states = {state.text: int(state) for state in StepState}
    for number, row in rows("step-state"):
        for on, tde in itertools.product(_expand(row, columns), "01"):
            # From EL0, so that the lock alone decides whether debug exceptions are enabled.
            width = {"el1": on["eld_aarch"], "el2": on["eld_aarch"] if tde == "1" else "64"}
            lock = "0" if on["enabled"] == "1" else "1"
            given = _registers(on | width | {"tde": tde, "lock": lock})
            given |= {"el": 0, "ss": int(on["pstate_ss"]), "event": Event.EXECUTE}
            says = {"state": states[row["state"]], "enabled": int(on["enabled"])}
            yield from _both_locks(f"step-state.csv:{number}", given, says)


_SELECT = ("mdscr_ss", "lock", "ns", "sdd", "eel2", "tge", "tde", "el1", "el2")
_RETURN = ("from_el", "target_el", "kde", "pstate_d", "spsr_d")


def _impossible(on: Mapping[str, str]) -> bool:
    """EL2 uses AArch32 only where EL1 does, and never in Secure state."""
    secure_el2 = on["ns"] == "0" and on["eel2"] == "1"
    return on["el2"] == "32" and (on["el1"] == "64" or secure_el2)


def _not_a_return(on: Mapping[str, str]) -> bool:
    """No ERET can be at that source (AArch32, not enabled), or it cannot reach that target."""
    from_32 = on.get(f"el{on['from_el']}") == "32"
    no_el2 = "2" in (on["from_el"], on["target_el"]) and not _el2_enabled(on)
    no_el1 = on["target_el"] == "1" and on["tge"] == "1" and _el2_enabled(on)
    return from_32 or no_el2 or no_el1


def _exception_return() -> Iterator[_Case]:
    returns = {name: rows(f"exception-return-{name}") for name in ("eld1", "eld2")}
    for number, select in rows("exception-return-select"):
        # Where the selector says 0 the rows of a table still list the returns; their answer is 0.
        table = "eld1" if select["use"] == "0" else select["use"]
        for on in _expand(select, _SELECT):
            if _impossible(on):
                continue
            for line, row in returns[table]:
                name = f"exception-return-select.csv:{number} exception-return-{table}.csv:{line}"
                for way in _expand(row, _RETURN):
                    yield from _one_return(name, select["use"] == "0", row, {**on, **way})


def _one_return(name: str, zero: bool, row: Row, on: Combination) -> Iterator[_Case]:
    if _not_a_return(on):
        return
    source, target = int(on["from_el"]), int(on["target_el"])
    aarch32 = on["el1" if target < 2 else "el2"] == "32" and target < 3
    for ss in (0, 1):
        # PSTATE.SS is 1 before, so that no step exception comes in place of the return.
        given = {"el": source, "d": int(on["pstate_d"]), "ss": 1, **_registers(on)}
        given["event"] = Event.ERET
        given["spsr"] = _spsr(target, aarch32, int(on["spsr_d"]), ss)
        after = ss if not zero and row["pstate_ss"] == "spsr" else 0
        legal = {"ss_after": after, "el_after": target, "il_after": 0}
        if not zero and row["enabled_from"] != "x":
            legal["enabled"] = int(row["enabled_from"])
        yield from _both_locks(name, given, legal)
        if source == target:
            illegal = given | {"spsr": given["spsr"] & ~0x1F | _ILLEGAL_MODE}
            says = {"ss_after": after, "el_after": source, "il_after": 1}
            yield from _both_locks(name, illegal, says)


_ENTRY_EVENTS = {
    "svc": Event.SVC,
    "hvc": Event.HVC,
    "smc": Event.SMC,
    "trapped-smc": Event.EXCEPTION,
    "other-synchronous": Event.EXCEPTION,
    "asynchronous-before-execution": Event.INTERRUPT,
}

_STEPPING = {"mdscr_ss": "1", "tde": "1"}  #: from EL0 and EL1, to EL2


def _exception_entry() -> Iterator[_Case]:
    for number, row in rows("exception-entry-spsr-ss"):
        if row["spsr_ss"] == "either":
            continue
        for el, target in itertools.product((0, 1), (1, 2, 3)):
            given = {"el": el, "ss": 1, "target_el": target, **_registers(_STEPPING)}
            given["event"] = _ENTRY_EVENTS[row["exception"]]
            says = {"state": StepState.ACTIVE_NOT_PENDING, "spsr_ss": int(row["spsr_ss"])}
            yield _Case(f"exception-entry-spsr-ss.csv:{number}", given, says)


#: what was stepped to (Last, isv_choice) pairs; AArch32 load-exclusives are outside this project
_STEPPED = {
    "nothing": ((Last.NOTHING, 0), (Last.NOTHING, 1)),
    "load-exclusive": ((Last.LOAD_EXCLUSIVE, 0), (Last.LOAD_EXCLUSIVE, 1)),
    "failed-conditional-load-exclusive-aarch32": (),
    "exception-return": ((Last.ERET_OR_ISB, 0), (Last.ERET_OR_ISB, 1)),
    "isb": ((Last.ERET_OR_ISB, 0), (Last.ERET_OR_ISB, 1)),
    "other-exception-taken-first-isv0": ((Last.OTHER_EXCEPTION, 0), (Last.OTHER_EXCEPTION_EX, 0)),
    "other-exception-taken-first-isv1": ((Last.OTHER_EXCEPTION, 1), (Last.OTHER_EXCEPTION_EX, 1)),
    "anything-else": ((Last.INSTRUCTION, 0), (Last.INSTRUCTION, 1)),
}


def _syndrome() -> Iterator[_Case]:
    for number, row in rows("syndrome"):
        for (last, choice), el in itertools.product(_STEPPED[row["stepped"]], (0, 1, 2)):
            isv = choice if row["isv"] == "either" else int(row["isv"])
            correct = int(last == Last.OTHER_EXCEPTION_EX)
            ex = correct if row["ex"] == "correct" else int(row["ex"])
            ec = ExceptionClass.SOFTSTEP_SAME if el == EL.EL2 else ExceptionClass.SOFTSTEP_LOWER
            esr = ESR_ELx.EC.put(ec) | ESR_ELx.IL.put(1) | StepISS.IFSC.put(IFSC_DEBUG)
            esr |= StepISS.ISV.put(isv) | StepISS.EX.put(ex)
            given = {"el": el, "last": last, "isv_choice": choice, "event": Event.EXECUTE}
            given |= _registers(_STEPPING | {"kde": "1"})
            yield _Case(f"syndrome.csv:{number}", given, {"esr": esr, "step_exception": 1})


_CASES = {
    "routing-enable": _routing_enable,
    "step-state": _step_state,
    "exception-return": _exception_return,
    "exception-entry-spsr-ss": _exception_entry,
    "syndrome": _syndrome,
}


def claims(table: str) -> Claims:
    """All that one of `TABLES` says. The three exception-return files are one table."""
    cases = list(_CASES[table]())
    inputs = {name for case in cases for name in case.given} - {"target_el"}
    outputs = sorted({name for case in cases for name in case.expected})
    defaults = {"scr_el3": 1, "isv_choice": 1}
    values = {
        name: [case.given.get(name, defaults.get(name, 0)) for case in cases] for name in inputs
    }
    if any("target_el" in case.given for case in cases):
        values["target_el"] = [case.given["target_el"] for case in cases]
    expected = {name: np.array([case.expected.get(name, -1) for case in cases]) for name in outputs}
    return Claims([case.name for case in cases], to_lines(values), expected)


def disagreements(table: str) -> list[str]:
    """One sentence for each case where the rules say something else than the table."""
    said = claims(table)
    effect = take(said.lines.pe, said.lines.given)
    found = []
    for column, values in said.expected.items():
        ruled = getattr(effect, column)
        for at in np.flatnonzero((values >= 0) & (values != ruled)):
            found.append(f"{said.names[at]}: {column} is {values[at]}, the rules say {ruled[at]}")
    return found


# What the rows cover

_INPUTS = {
    "routing-enable": _ROUTING,
    "step-state": ("eld_aarch", "enabled", "mdscr_ss", "pstate_ss"),
    "exception-return-select": _SELECT,
    "exception-return-eld1": _RETURN,
    "exception-return-eld2": _RETURN,
}


def _need_not_be_covered(name: str, on: Combination) -> bool:
    if name == "exception-return-select":
        return _impossible(on)
    if name.startswith("exception-return-eld"):
        return on["target_el"] > on["from_el"]
    return False


def gaps(name: str) -> list[str]:
    """One sentence for each combination that a file's rows cover not once, but must."""
    columns = _INPUTS[name]
    covered = [tuple(on.values()) for _, row in rows(name) for on in _expand(row, columns)]
    found = []
    for values in itertools.product(*map(_domain, columns)):
        on = dict(zip(columns, values, strict=True))
        times = covered.count(values)
        if times > 1 or (times == 0 and not _need_not_be_covered(name, on)):
            found.append(f"{name}.csv: {times} rows cover {on}")
    return found
