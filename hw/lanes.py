"""A design for many lanes at once: C++ in which bit n of a word belongs to lane n.

Yosys makes gates of the design; each gate is then written as one operation on a word, and each
wire as a word, and that netlist goes through CXXRTL. An instruction of the machine so does one gate
for `LANES` copies of the design that share nothing.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from hw.emit import EmitError, rtlil, run_pyosys

LANES = 32  #: in a word: CXXRTL keeps values in chunks of 32 bits, and one chunk compiles fast

GATES = """
read_rtlil design.il
hierarchy -top design
proc
flatten -noscopeinfo
opt -full -nodffe -nosdff
wreduce
opt -full -nodffe -nosdff
dffunmap
techmap
opt -nodffe -nosdff
abc -g AND,OR,XOR,ANDNOT,ORNOT
opt_clean
dfflegalize -cell $_DFF_P_ 01
opt_clean
write_json gates.json
"""
CXXRTL = """
read_rtlil lanes.il
hierarchy -top lanes
write_cxxrtl -g0 lanes.cc
"""

_REGISTER = "$_DFF_P_"
_CELLS = {"$_AND_": "$and", "$_OR_": "$or", "$_XOR_": "$xor", "$_NOT_": "$not"}
_COMPLEMENTED = {"$_ANDNOT_": "$and", "$_ORNOT_": "$or"}  #: gates that take B's complement

Bit = int | str  #: a net's number, or a constant: "0", "1", "x"
Pin = tuple[str, int]  #: a port of the design and the number of a bit in it


@dataclass(frozen=True, slots=True)
class Lanes:
    """A design as C++: the class `cxxrtl_design::p_lanes` of the CXXRTL runtime.

    Its members are of LANES bits: `p_i<n>` for the n-th pin of `inputs`, `p_q<n>` for registers,
    `p_o<n>` for what drives outputs. Only the pins that something depends on are inputs.
    """

    source: str
    inputs: Sequence[Pin]
    #: output pin to what drives it: "0", "1", "i<n>" or "o<n>"; several may share one
    outputs: Mapping[Pin, str]
    driven: int  #: number of `p_o<n>`
    registers: int  #: they start as anything: the design is to be reset by a port of its own


def lanes(design: wiring.Component) -> Lanes:
    """The C++ of a design with a clock `clk` and a reset `rst` that is never used. EmitError."""
    return lanes_of(rtlil(design, "design"))


def lanes_of(text: str) -> Lanes:
    """The same of RTLIL with such a design as its top module `design`. EmitError."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "design.il").write_text(text)
        run_pyosys(GATES, place)
        netlist = _Netlist(json.loads((place / "gates.json").read_text())["modules"]["design"])
        (place / "lanes.il").write_text("\n".join(netlist.rtlil()) + "\n")
        run_pyosys(CXXRTL, place)
        source = (place / "lanes.cc").read_text()
    return Lanes(source, netlist.inputs, netlist.outputs, len(netlist.driven), netlist.registers)


class _Netlist:
    """Gates and registers, as Yosys' JSON has them, and each net's name in the wide netlist."""

    def __init__(self, module: Mapping[str, Any]):
        ports: dict[str, Any] = module["ports"]
        self._cells = [_Cell.of(cell) for cell in module["cells"].values()]
        registers = [cell for cell in self._cells if cell.kind == _REGISTER]
        self.registers = len(registers)
        outputs = dict(_pins(ports, "output"))
        used = {bit for cell in self._cells for bit in cell.inputs} | set(outputs.values())
        unused = ("clk", "rst")
        given = [each for each in _pins(ports, "input") if each[0][0] not in unused]
        given = [(pin, bit) for pin, bit in given if bit in used]
        self.inputs = [pin for pin, _ in given]
        self._names: dict[Bit, str] = {ports["rst"]["bits"][0]: _constant("0")}
        self._names |= {bit: f"\\i{n}" for n, (_, bit) in enumerate(given)}
        self._names |= {cell.output: f"\\q{n}" for n, cell in enumerate(registers)}

        made = {cell.output for cell in self._cells}
        self.driven = list(dict.fromkeys(bit for bit in outputs.values() if bit in made))
        source: dict[Bit, str] = {"0": "0", "1": "1", "x": "0"}
        source |= {bit: f"i{n}" for n, (_, bit) in enumerate(given)}
        source |= {bit: f"o{n}" for n, bit in enumerate(self.driven)}
        self.outputs = {pin: source[bit] for pin, bit in outputs.items()}

    def _name(self, bit: Bit) -> str:
        return _constant(bit) if isinstance(bit, str) else self._names.get(bit, f"\\n{bit}")

    def rtlil(self) -> Iterator[str]:
        """The wide netlist, line by line."""
        yield "attribute \\top 1"
        yield "module \\lanes"
        yield "  wire input 1 \\clk"
        for n in range(len(self.inputs)):
            yield f"  wire width {LANES} input {2 + n} \\i{n}"
        for n in range(len(self.driven)):
            yield f"  wire width {LANES} output {2 + len(self.inputs) + n} \\o{n}"
        for cell in self._cells:
            yield f"  wire width {LANES} {self._name(cell.output)}"
        for n, cell in enumerate(self._cells):
            yield from self._wide(n, cell)
        for n, bit in enumerate(self.driven):
            yield f"  connect \\o{n} {self._name(bit)}"
        yield "end"

    def _wide(self, n: int, cell: "_Cell") -> Iterator[str]:
        a, *more = (self._name(bit) for bit in cell.inputs)
        output = self._name(cell.output)
        if cell.kind == _REGISTER:
            yield from (f"  cell $dff $g{n}", "    parameter \\CLK_POLARITY 1")
            yield f"    parameter \\WIDTH {LANES}"
            yield from ("    connect \\CLK \\clk", f"    connect \\D {a}")
            yield from (f"    connect \\Q {output}", "  end")
        elif cell.kind in _COMPLEMENTED:
            yield f"  wire width {LANES} \\c{n}"
            yield from _gate("$not", f"$c{n}", [more[0]], f"\\c{n}")
            yield from _gate(_COMPLEMENTED[cell.kind], f"$g{n}", [a, f"\\c{n}"], output)
        else:
            yield from _gate(_CELLS[cell.kind], f"$g{n}", [a, *more], output)


@dataclass(frozen=True, slots=True)
class _Cell:
    kind: str
    inputs: tuple[Bit, ...]
    output: Bit

    @classmethod
    def of(cls, cell: Mapping[str, Any]) -> "_Cell":
        kind = cell["type"]
        if kind not in (_REGISTER, *_CELLS, *_COMPLEMENTED):
            raise EmitError(f"Yosys left a cell {kind} among the gates")
        bit = {port: bits[0] for port, bits in cell["connections"].items()}
        register = kind == _REGISTER
        inputs = (bit["D"],) if register else tuple(bit[name] for name in "AB" if name in bit)
        return cls(kind, inputs, bit["Q" if register else "Y"])


def _pins(ports: Mapping[str, Any], direction: str) -> list[tuple[Pin, Bit]]:
    return [
        ((name, n), bit)
        for name, port in ports.items()
        if port["direction"] == direction
        for n, bit in enumerate(port["bits"])
    ]


def _constant(bit: str) -> str:
    return f"{LANES}'{('1' if bit == '1' else '0') * LANES}"


def _gate(kind: str, name: str, inputs: Sequence[str], output: str) -> Iterator[str]:
    yield f"  cell {kind} {name}"
    for port, bit in zip("AB", inputs, strict=False):
        yield f"    parameter \\{port}_SIGNED 0"
        yield f"    parameter \\{port}_WIDTH {LANES}"
        yield f"    connect \\{port} {bit}"
    yield f"    parameter \\Y_WIDTH {LANES}"
    yield f"    connect \\Y {output}"
    yield "  end"
