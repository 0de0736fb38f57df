"""A counterexample about the step unit, for people: the cycles, and their waveform."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from amaranth.lib.wiring import In, Out
from vcd import VCDWriter

from model.arch import Event
from tb.failures import event_text, value_text
from tb.harness import ROW, STIMULUS, UNIT, pack, unpack
from tb.proofs.manual import BITS
from tb.proofs.yosys import Cycles
from tb.scoreboard import Cycle, Difference
from tb.shown import FAILURE
from tb.testbench import EVENT, LOAD, WRITES
from tb.waves import UNIT_SHOWN, write_views

PERIOD = 10  #: of the clock, in nanoseconds
CONTROLS, AFTER = "controls__", "controls_after__"
WHEN, EXPECTED = "when_", "expected_"  #: what a `tb.proofs.property.Unit` shows, by number

#: what each event uses, of the columns in `tb.testbench.EVENT`
_USES = {
    Event.INTERRUPT: ("target_el", "async_first"),
    Event.ERET: ("spsr",),
    Event.DEBUG_EXIT: ("spsr",),
    **dict.fromkeys((Event.SVC, Event.HVC, Event.SMC, Event.EXCEPTION), ("target_el",)),
}


def row(cycle: Mapping[str, int]) -> dict[str, int]:
    """A cycle's outputs, by the names of `tb.harness.ROW`."""
    ports = UNIT.ports(Out)
    return unpack(ROW, pack(ports, {name: cycle[name] for name in ports}))


def _stimulus(cycle: Mapping[str, int]) -> dict[str, int]:
    ports = UNIT.ports(In)
    return unpack(STIMULUS, pack(ports, {name: cycle[name] for name in ports}))


def expected(cycle: Mapping[str, int]) -> dict[str, int]:
    """What was expected of a cycle: names of `ROW` to values."""
    found = {}
    for name, value in cycle.items():
        number, _, field = name.removeprefix(EXPECTED).partition("__")
        if name.startswith(EXPECTED) and cycle[WHEN + number]:
            found[field] = value
    return found


def differences(cycle: Mapping[str, int]) -> list[Difference]:
    """Where a cycle is not as expected."""
    found, values = row(cycle), expected(cycle)
    return [Difference(n, found[n], values[n]) for n in ROW if found[n] != values.get(n, found[n])]


# The cycles, a line each


def history(cycles: Cycles) -> list[str]:
    """The cycles, and what the registers are in the last one."""
    lines = [event_text(at, _cycle(cycle)) for at, cycle in enumerate(cycles)]
    last = cycles[-1]
    lines.append(f"there, {_state(row(last))}")
    lines.append(f"with {_registers(last, CONTROLS)}")
    if last["event__valid"] and _registers(last, AFTER) != _registers(last, CONTROLS):
        lines.append(f"and once the event has happened {_registers(last, AFTER)}")
    return lines


def _cycle(cycle: Mapping[str, int]) -> Cycle:
    stimulus = _stimulus(cycle)
    loaded = (
        {name: stimulus[port] for name, port in LOAD.items()} if cycle["load__enable"] else None
    )
    given = _given(stimulus) if cycle["event__valid"] else None
    return Cycle({}, given, SimpleNamespace(**row(cycle)), loaded)


def _given(stimulus: Mapping[str, int]) -> dict[str, int]:
    """The event, and what it uses."""
    kind = Event(stimulus["event__kind"])
    given = {name: stimulus[EVENT[name]] for name in ("event", "pc", *_USES.get(kind, ()))}
    completes = kind in (Event.EXECUTE, Event.LOAD_EXCLUSIVE, Event.ISB)
    for name, (port, value) in WRITES.items():
        if completes and stimulus[port]:
            given[name] = stimulus[value]
    return given


def _state(shown: Mapping[str, int]) -> str:
    """The state that the unit holds."""
    pstate = ", ".join(f"{name}={shown[name]}" for name in ("el", "nrw", "d", "ss", "il"))
    last = value_text("last", shown["last"])
    return (
        f"PSTATE {pstate}; MDSCR_EL1 {shown['mdscr_el1']:#x} seen,"
        f" {shown['mdscr_el1_written']:#x} written; stepped: {last}"
    )


def _registers(cycle: Mapping[str, int], prefix: str) -> str:
    """The controls: the bits that are 1, by name."""
    names = []
    for port, value in cycle.items():
        if not port.startswith(prefix):
            continue
        register = port.removeprefix(prefix)
        bits = {f"{register.upper()}.{bit}": at for bit, at in BITS.get(register, {}).items()}
        bits = bits or {register: 0}
        names += [name for name, at in bits.items() if value >> at & 1]
    if cycle["halted"] and prefix == CONTROLS:
        names.append("halted")
    return ", ".join(sorted(names)) or "no control bit set"


# The waveform


def write(vcd: Path, cycles: Cycles) -> Path:
    """Write the cycles as a VCD, with a GTKWave save file beside it. Raises OSError."""
    with vcd.open("w") as file, VCDWriter(file, "1 ns", check_values=False) as writer:
        clock = writer.register_var("ports", "clk", "wire", 1, init=0)
        reset = writer.register_var("ports", "reset", "wire", 1, init=1)
        variables = {}
        for name, shape, width in _variables(cycles):
            kind = "string" if _members(shape) else "wire"
            init = "" if kind == "string" else "x"
            variables[name] = writer.register_var("ports", name, kind, width, init=init)
        writer.change(reset, PERIOD // 2, 0)
        for at, cycle in enumerate(cycles):
            time = PERIOD * at + PERIOD // 2
            shown = _shown(cycle)
            for name, shape, _ in _variables(cycles):
                value = _members(shape).get(shown.get(name, -1), shown.get(name, "x"))
                writer.change(variables[name], time, value)
            writer.change(clock, time, 1)
            writer.change(clock, time + PERIOD // 2, 0)
        writer.close(PERIOD * len(cycles) + PERIOD // 2)
    groups = {**UNIT_SHOWN.groups, "expected": _expected_names(cycles)}
    groups["controls after the event"] = [name for name in cycles[-1] if name.startswith(AFTER)]
    shown_as = replace(
        UNIT_SHOWN, groups=groups, closed=UNIT_SHOWN.closed | {"controls after the event"}
    )
    write_views(vcd, "yosys", {FAILURE: len(cycles) - 1}, shown_as)
    return vcd


def _variables(cycles: Cycles) -> list[tuple[str, Any, int]]:
    """(name, shape, width) of what the VCD declares."""
    found = [(f"stimulus_{name}", slot.shape, slot.width) for name, slot in STIMULUS.items()]
    found += [(f"row_{name}", slot.shape, slot.width) for name, slot in ROW.items()]
    found += [
        (name, slot.shape, slot.width)
        for port, slot in STIMULUS.items()
        if port.startswith(CONTROLS) and (name := port.replace(CONTROLS, AFTER)) in cycles[0]
    ]
    for name in _expected_names(cycles):
        slot = ROW[name.removeprefix(EXPECTED)]
        found.append((name, slot.shape, slot.width))
    return found


def _expected_names(cycles: Cycles) -> Sequence[str]:
    """What is said of the last cycle."""
    return [EXPECTED + name for name in expected(cycles[-1])]


def _shown(cycle: Mapping[str, int]) -> dict[str, int]:
    """The variables' values in a cycle."""
    return {
        **{f"stimulus_{name}": value for name, value in _stimulus(cycle).items()},
        **{f"row_{name}": value for name, value in row(cycle).items()},
        **{name: value for name, value in cycle.items() if name.startswith(AFTER)},
        **{EXPECTED + name: value for name, value in expected(cycle).items()},
    }


def _members(shape: Any) -> dict[int, str]:
    """The names of an enumeration's values; none of another shape."""
    if isinstance(shape, type) and issubclass(shape, IntEnum):
        return {int(member): member.name for member in shape}
    return {}
