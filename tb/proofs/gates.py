"""Hardware as numpy, and numpy as hardware.

`Gates` does a combinational block's gates on the rows of `model.planes`, a bit for each input.
`Wire` is the other way round: the reference model, which runs on `Planes`, becomes a circuit.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring

from hw.emit import EmitError, rtlil, run_pyosys
from model.planes import ONES, ZEROS, Planes

SCRIPT = """
read_rtlil design.il
hierarchy -top design
proc -norom
flatten -noscopeinfo
opt_expr
opt_clean
techmap
simplemap
opt_clean
write_json gates.json
"""

#: what each gate does to the rows of its inputs
_GATES: dict[str, Callable[..., Any]] = {
    "$_BUF_": lambda a: a,
    "$_NOT_": lambda a: ~a,
    "$_AND_": lambda a, b: a & b,
    "$_NAND_": lambda a, b: ~(a & b),
    "$_OR_": lambda a, b: a | b,
    "$_NOR_": lambda a, b: ~(a | b),
    "$_XOR_": lambda a, b: a ^ b,
    "$_XNOR_": lambda a, b: ~(a ^ b),
    "$_ANDNOT_": lambda a, b: a & ~b,
    "$_ORNOT_": lambda a, b: a | ~b,
    "$_MUX_": lambda a, b, s: (a & ~s) | (b & s),
}


class Gates:
    """A combinational component as gates. Raises EmitError."""

    def __init__(self, block: wiring.Component, place: Path):
        (place / "design.il").write_text(rtlil(block, "design"))
        run_pyosys(SCRIPT, place)
        module: Any = json.loads((place / "gates.json").read_text())["modules"]["design"]
        self._ports = module["ports"]
        #: a net to the gate that drives it and the nets that go in there
        self._driver: dict[Any, tuple[Callable[..., Any], list[Any]]] = {}
        for cell in module["cells"].values():
            if cell["type"] not in _GATES:
                raise EmitError(f"Yosys left a cell {cell['type']} among the gates")
            pins = {pin: bits[0] for pin, bits in cell["connections"].items()}
            inputs = [pins[pin] for pin in "ABS" if pin in pins]
            self._driver[pins["Y"]] = (_GATES[cell["type"]], inputs)

    def outputs(self, inputs: Mapping[str, Planes]) -> dict[str, Planes]:
        """Every output, for every lane of the inputs. What is not named is 0."""
        rows: dict[Any, Any] = {"0": ZEROS, "1": ONES}
        for name, port in self._ports.items():
            if port["direction"] == "input":
                value = inputs.get(name, Planes.constant(0))
                rows |= {bit: value.row(n) for n, bit in enumerate(port["bits"])}
        for bit in self._order():
            gate, ends = self._driver[bit]
            rows[bit] = gate(*(rows[end] for end in ends))
        return {
            name: Planes([rows[bit] for bit in port["bits"]])
            for name, port in self._ports.items()
            if port["direction"] == "output"
        }

    def _order(self) -> Iterator[Any]:
        """The bits that gates drive, each after those that it depends on."""
        done = set()
        waiting = list(self._driver)
        while waiting:
            bit = waiting[-1]
            before = [b for b in self._driver[bit][1] if b in self._driver and b not in done]
            if before and bit not in done:
                waiting += before
                continue
            waiting.pop()
            if bit not in done:
                done.add(bit)
                yield bit


class Wire:
    """A bit of a circuit, in place of a row of `Planes`: each operation is a gate of its own."""

    __array_ufunc__ = None  # numpy's scalars leave the operators to this class

    def __init__(self, m: Module, value: Value):
        self._m = m
        self.value = Signal()
        m.d.comb += self.value.eq(value)

    def _with(self, other: Any) -> Value:
        """A constant row is all ones or all zeros."""
        return other.value if isinstance(other, Wire) else Const(int(bool(other)), 1)

    def __and__(self, other: Any) -> "Wire":
        return Wire(self._m, self.value & self._with(other))

    def __or__(self, other: Any) -> "Wire":
        return Wire(self._m, self.value | self._with(other))

    def __xor__(self, other: Any) -> "Wire":
        return Wire(self._m, self.value ^ self._with(other))

    def __invert__(self) -> "Wire":
        return Wire(self._m, ~self.value)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__


def planes_of(m: Module, value: Value) -> Any:
    """A value of a circuit as `Planes`, for the reference model."""
    rows: Any = [Wire(m, bit) for bit in Value.cast(value)]
    return Planes(rows)


def value_of(planes: Any) -> Value:
    """What the reference model makes of such, as a value of the circuit."""
    bits = (row.value if isinstance(row, Wire) else Const(int(bool(row)), 1) for row in planes.rows)
    return Cat(bits)
