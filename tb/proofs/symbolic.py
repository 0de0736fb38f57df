"""A64 machine code, executed once for all values: registers and memory are terms of z3.

The words are decoded as the interpreter's (`model.a64.decode`); what they do is stated here again,
over bit vectors. It runs at EL2. Where a branch depends on a value, the execution forks, and each
path carries the condition under which it is taken. What is not known here ends a path as UNKNOWN:
nothing is assumed about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

import z3

from model.a64 import sysregs
from model.a64.decode import UndefinedWord
from model.a64.interpreter import DECODER
from model.a64.pseudocode import DecodeBitMasks, Ones, SignExtend, read_slot, write_slot
from model.a64.state import MASK64, SLOTS, SP
from model.a64.system import CALLS, sysreg_name
from model.arch import EL, OSLSR_EL1, Event, SCTLR_ELx, SPSR_ELx

Term = Any  #: a bit vector of z3, which has no types
Condition = Any  #: a Boolean of z3


class GaveUp(Exception):
    """The solver gives no answer, or there are too many paths. The text says which."""


class _Unknown(Exception):
    """What comes next is not known to the symbolic execution."""


class _Over(Exception):
    """The path has ended in an error, whatever the values are."""


class Flags(NamedTuple):
    """NZCV."""

    n: Condition
    z: Condition
    c: Condition
    v: Condition


@dataclass(frozen=True)
class Region:
    """Mapped memory. `alignment` divides its base, whatever that is."""

    base: Term
    size: int
    writable: bool
    alignment: int


@dataclass
class Machine:
    """A PE at EL2 and the memory that it has, between two instructions."""

    pc: int
    x: list[Term]  #: slots as in `model.a64.state.State`
    flags: Flags
    daif: Term  #: 4 bits
    spsel: int
    unused_sps: list[Term]  #: as in `State`
    sysregs: dict[str, Term]
    memory: dict[str, list[Term]]  #: region to its bytes
    conditions: list[Condition] = field(default_factory=list)  #: under which it came here
    executed: list[int] = field(default_factory=list)  #: addresses of instructions, in order

    def copy(self) -> Machine:
        """One that can go another way."""
        return replace(
            self,
            x=self.x.copy(),
            unused_sps=self.unused_sps.copy(),
            sysregs=self.sysregs.copy(),
            memory={name: content.copy() for name, content in self.memory.items()},
            conditions=self.conditions.copy(),
            executed=self.executed.copy(),
        )

    def stack_pointers(self) -> list[Term]:
        """SP_EL0 to SP_EL3."""
        sps = self.unused_sps.copy()
        sps[self._used_sp(self.spsel)] = self.x[SP]
        return sps

    def select_sp(self, spsel: int) -> None:
        """As `State.select_sp`, at EL2."""
        self.unused_sps[self._used_sp(self.spsel)] = self.x[SP]
        self.spsel = spsel
        self.x[SP] = self.unused_sps[self._used_sp(spsel)]

    @staticmethod
    def _used_sp(spsel: int) -> EL:
        return EL.EL2 if spsel else EL.EL0

    def read(self, register: int, width: int = 64) -> Term:
        """Where 31 is XZR."""
        return _low(self.x[read_slot(register)], width)

    def read_sp(self, register: int, width: int = 64) -> Term:
        """Where 31 is SP."""
        return _low(self.x[register], width)

    def write(self, register: int, value: Term) -> None:
        """Where 31 is XZR; the bits above the value's become 0."""
        self.x[write_slot(register)] = z3.simplify(_wide(value))

    def write_sp(self, register: int, value: Term) -> None:
        """Where 31 is SP."""
        self.x[register] = z3.simplify(_wide(value))


class End(Enum):
    """How a path ends."""

    REACHED = "end"  #: at the end of the code, or with its return
    ERROR = "error"  #: in an exception
    UNKNOWN = "unknown"  #: where it cannot be followed


@dataclass(frozen=True)
class Path:
    """One way through the code, with the state at its end."""

    end: End
    machine: Machine
    why: str = ""  #: of ERROR and UNKNOWN


#: What an instruction gives: None for the next one, the address of a branch, or (condition, target)
#: of a conditional one. The address is a term where a register holds it.
Next = Any
Operation = Callable[["Execution", Machine, dict[str, int]], Next]


class Execution:
    """Executes code from any machine, as long as the path can be followed."""

    def __init__(
        self,
        code: dict[int, int],
        regions: dict[str, Region],
        assumed: Iterable[Condition] = (),
        returns_to: Term | None = None,
        reads_unknown: bool = False,
        seconds: float | None = None,
    ) -> None:
        """`code` is words by address: a path ends at any other address, or with ERET.

        `assumed` holds before the first instruction. With `returns_to`, the path ends with a branch
        there. With `reads_unknown`, a load outside all regions gives any value.
        """
        self.code, self.regions = code, regions
        self.returns_to, self.reads_unknown = returns_to, reads_unknown
        self.paths: list[Path] = []
        self._loads = 0
        self._solver = solver(seconds)
        self._solver.add(*assumed)

    def run(self, machine: Machine, end: int, max_steps: int, max_paths: int) -> list[Path]:
        """All paths from a machine to the address `end`. GaveUp if they are too many.

        A path of more than `max_steps` instructions is UNKNOWN.
        """
        ahead = [machine]
        while ahead:
            at = ahead.pop()
            if at.pc == end:
                self.paths.append(Path(End.REACHED, at))
            elif len(at.executed) == max_steps:
                why = f"it has not ended after {max_steps} instructions"
                self.paths.append(Path(End.UNKNOWN, at, why))
            else:
                ahead += reversed(self.step(at))
            if len(self.paths) + len(ahead) > max_paths:
                raise GaveUp(f"it has more than {max_paths} paths")
        return self.paths

    def step(self, machine: Machine) -> list[Machine]:
        """Execute one instruction: the machines that it can lead to. Paths that end are kept."""
        at = machine.copy()
        word = self.code.get(at.pc)
        try:
            if word is None:
                raise _error(self, at, f"there is no instruction at {at.pc:#x}")
            instruction = DECODER.decode(word, at.pc)
            at.executed.append(at.pc)
            if instruction.event in CALLS:
                raise _error(self, at, f"{instruction.name} takes an exception")
            operation = OPERATIONS.get(instruction.name)
            if operation is None:
                raise _Unknown(f"{instruction.name} is not known to the symbolic execution")
            target = operation(self, at, instruction.fields)
            if instruction.event is Event.ERET:
                self.paths.append(Path(End.REACHED, at))
                return []
            return self._followed(at, target)
        except _Over:
            return []
        except (UndefinedWord, _Unknown) as error:
            self.paths.append(Path(End.UNKNOWN, at, str(error)))
            return []

    def possible(self, machine: Machine, condition: Condition) -> bool:
        """Whether it can hold where the machine is. GaveUp if the solver does not say."""
        condition = z3.simplify(condition)
        if z3.is_true(condition) or z3.is_false(condition):
            return bool(z3.is_true(condition))
        return self.model([*machine.conditions, condition]) is not None

    def model(self, conditions: Iterable[Condition]) -> Any:
        """Values with which all hold, and what is assumed; None if there are none. GaveUp."""
        self._solver.push()
        try:
            self._solver.add(*conditions)
            answer = self._solver.check()
            if answer == z3.unknown:
                raise GaveUp(f"z3 gives no answer: {self._solver.reason_unknown()}")
            return self._solver.model() if answer == z3.sat else None
        finally:
            self._solver.pop()

    def require(self, machine: Machine, condition: Condition, why: str) -> None:
        """Where it does not hold, a path ends in an error; the machine goes on where it does."""
        if not self.possible(machine, z3.Not(condition)):
            return
        failing = machine.copy()
        failing.conditions.append(z3.Not(condition))
        self.paths.append(Path(End.ERROR, failing, why))
        if not self.possible(machine, condition):
            raise _Over
        machine.conditions.append(condition)

    def load(self, machine: Machine, address: Term, size: int) -> Term:
        """Little-endian."""
        found = self._find(machine, address, size, write=False)
        if found is None:
            self._loads += 1
            return z3.BitVec(f"loaded{self._loads}", 8 * size)
        name, offset = found
        content = machine.memory[name][offset : offset + size]
        return content[0] if size == 1 else z3.simplify(z3.Concat(*reversed(content)))

    def store(self, machine: Machine, address: Term, size: int, value: Term) -> None:
        """Little-endian, the low bytes of a value."""
        found = self._find(machine, address, size, write=True)
        assert found is not None
        name, offset = found
        for n in range(size):
            byte = z3.simplify(z3.Extract(8 * n + 7, 8 * n, value))
            machine.memory[name][offset + n] = byte

    def check_aligned(self, machine: Machine, address: Term, size: int) -> None:
        """Before an access: SCTLR_EL2.A wants a multiple of its size."""
        name = self._at(address, size)
        if size == 1 or (name and self._is_aligned(name, address, size)):
            return
        a = SCTLR_ELx.A.lsb
        unchecked = z3.Extract(a, a, machine.sysregs["SCTLR_EL2"]) == 0
        aligned = address & (size - 1) == 0
        self.require(machine, z3.Or(aligned, unchecked), f"an access not aligned to {size} bytes")

    def check_sp(self, machine: Machine) -> None:
        """Before an access by SP."""
        sa = SCTLR_ELx.SA.lsb
        unchecked = z3.Extract(sa, sa, machine.sysregs["SCTLR_EL2"]) == 0
        aligned = machine.x[SP] & 0xF == 0
        self.require(machine, z3.Or(aligned, unchecked), "SP is not aligned to 16 bytes")

    def _is_aligned(self, name: str, address: Term, size: int) -> bool:
        region = self.regions[name]
        offset = z3.simplify(address - region.base).as_long()
        return region.alignment % size == 0 and offset % size == 0

    def _at(self, address: Term, size: int) -> str | None:
        """The region of an address that is always in the same place of one."""
        for name, region in self.regions.items():
            offset = z3.simplify(address - region.base)
            if z3.is_bv_value(offset) and offset.as_long() <= region.size - size:
                return name
        return None

    def _find(
        self, machine: Machine, address: Term, size: int, write: bool
    ) -> tuple[str, int] | None:
        """Region and offset; None for a load of any value."""
        what = f"{'store' if write else 'load'} of {size} bytes"
        if (name := self._at(address, size)) is not None:
            region = self.regions[name]
            if write and not region.writable:
                raise _error(self, machine, f"{what} to read-only memory")
            return name, z3.simplify(address - region.base).as_long()
        if self.reads_unknown and not write:
            return None
        inside = [
            z3.ULE(address - region.base, region.size - size)
            for region in self.regions.values()
            if region.size >= size
        ]
        self.require(machine, z3.Or(*inside), f"{what} where no memory is mapped")
        raise _Unknown(f"the address of a {what} is not known")

    def _followed(self, machine: Machine, target: Next) -> list[Machine]:
        """The machines after an instruction."""
        if target is None:
            machine.pc += 4
            return [machine]
        if isinstance(target, tuple):
            return self._forked(machine, *target)
        if not isinstance(target, int):
            target = z3.simplify(target)
            if self.returns_to is not None and target.eq(self.returns_to):
                self.paths.append(Path(End.REACHED, machine))
                return []
            target = self._address(machine, target)
        machine.pc = target & MASK64
        return [machine]

    def _forked(self, machine: Machine, condition: Condition, target: int) -> list[Machine]:
        taken, other = machine, machine.copy()
        next_pc = machine.pc + 4
        ways = []
        for way, pc, holds in ((taken, target, condition), (other, next_pc, z3.Not(condition))):
            holds = z3.simplify(holds)
            if self.possible(way, holds):
                if not z3.is_true(holds):
                    way.conditions.append(holds)
                way.pc = pc & MASK64
                ways.append(way)
        return ways

    def _address(self, machine: Machine, target: Term) -> int:
        if z3.is_bv_value(target):
            return int(target.as_long())
        known = z3.Or(*(target == address for address in self.code))
        self.require(machine, known, "a branch to where no code is")
        raise _Unknown("the target of a branch is not known")


def solver(seconds: float | None = None) -> Any:
    """A solver for bit vectors; it gives up after so many seconds."""
    made = z3.SolverFor("QF_BV")
    if seconds is not None:
        made.set("timeout", max(1, int(1000 * seconds)))
    return made


def symbols(pc: int, memory: dict[str, int], names: Sequence[str]) -> Machine:
    """A machine in which every value is any, named after what holds it.

    `memory` has the bytes of each region, a multiple of 8; doublewords are named REGION+OFFSET.
    """
    slots = [z3.BitVec(f"x{n}", 64) for n in range(31)]
    slots += [z3.BitVec("sp", 64), *(z3.BitVecVal(0, 64) for _ in range(SLOTS - SP - 1))]
    sps = [z3.BitVec(f"SP_{el.name}", 64) for el in EL]
    sps[EL.EL2] = slots[SP]
    return Machine(
        pc=pc,
        x=slots,
        flags=Flags(*(z3.Bool(name) for name in Flags._fields)),
        daif=z3.BitVec("daif", 4),
        spsel=1,
        unused_sps=sps,
        sysregs={name: z3.BitVec(name, 64) for name in names},
        memory={
            name: [
                z3.Extract(8 * n + 7, 8 * n, z3.BitVec(f"{name}+{offset:#x}", 64))
                for offset in range(0, size, 8)
                for n in range(8)
            ]
            for name, size in memory.items()
        },
    )


def _error(execution: Execution, machine: Machine, why: str) -> _Over:
    execution.paths.append(Path(End.ERROR, machine, why))
    return _Over()


# Bit vectors


def _low(value: Term, width: int) -> Term:
    return value if value.size() == width else z3.Extract(width - 1, 0, value)


def _wide(value: Term, width: int = 64) -> Term:
    return value if value.size() == width else z3.ZeroExt(width - value.size(), value)


def _signed(value: Term, width: int) -> Term:
    return value if value.size() == width else z3.SignExt(width - value.size(), value)


def _bit(value: Term, position: int) -> Condition:
    return z3.Extract(position, position, value) == 1


def _number(condition: Condition, width: int) -> Term:
    return z3.If(condition, z3.BitVecVal(1, width), z3.BitVecVal(0, width))


def _width(f: dict[str, int]) -> int:
    return 64 if f.get("sf", 1) else 32


def _shifted(value: Term, kind: int, amount: int | Term) -> Term:
    """As `pseudocode.SHIFTS`."""
    if kind == 3:
        return z3.RotateRight(value, amount)
    return (value << amount, z3.LShR(value, amount), value >> amount)[kind]


def _extended(value: Term, option: int, shift: int) -> Term:
    """As `pseudocode.ExtendReg`."""
    low = _low(value, 8 << (option & 0b11))
    return (_signed(low, 64) if option & 0b100 else _wide(low)) << shift


def _add(x: Term, y: Term, carry: Condition) -> tuple[Term, Flags]:
    """As `pseudocode.AddWithCarry`."""
    width = x.size()
    total = _wide(x, width + 1) + _wide(y, width + 1) + _number(carry, width + 1)
    result = z3.simplify(_low(total, width))
    overflow = (x ^ result) & (y ^ result)
    found = Flags(
        _bit(result, width - 1), result == 0, _bit(total, width), _bit(overflow, width - 1)
    )
    return result, Flags(*map(z3.simplify, found))


def _logical_flags(result: Term) -> Flags:
    no = z3.BoolVal(False)
    negative, zero = _bit(result, result.size() - 1), result == 0
    return Flags(z3.simplify(negative), z3.simplify(zero), no, no)


def holds(cond: int, flags: Flags) -> Condition:
    """As `pseudocode.ConditionHolds`."""
    n, z, c, v = flags
    plain = (z, c, n, v, z3.And(c, z3.Not(z)), n == v, z3.And(n == v, z3.Not(z)), z3.BoolVal(True))
    condition = plain[cond >> 1]
    return z3.Not(condition) if cond & 1 and cond != 0b1111 else condition


def _chosen_flags(condition: Condition, yes: Flags, no: Flags) -> Flags:
    return Flags(
        *(z3.simplify(z3.If(condition, a, b)) for a, b in zip(yes, no, strict=True)),
    )


# Data processing


def _adr(page: bool) -> Operation:
    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        offset = SignExtend(f["immhi"] << 2 | f["immlo"], 21)
        value = (m.pc & ~0xFFF) + (offset << 12) if page else m.pc + offset
        m.write(f["Rd"], z3.BitVecVal(value & MASK64, 64))

    return execute


_LOGICAL: dict[str, tuple[Callable[[Term, Term], Term], bool, bool]] = {
    #: the function, whether the second operand is inverted, whether flags are set
    "AND": (lambda x, y: x & y, False, False),
    "BIC": (lambda x, y: x & y, True, False),
    "ORR": (lambda x, y: x | y, False, False),
    "ORN": (lambda x, y: x | y, True, False),
    "EOR": (lambda x, y: x ^ y, False, False),
    "EON": (lambda x, y: x ^ y, True, False),
    "ANDS": (lambda x, y: x & y, False, True),
    "BICS": (lambda x, y: x & y, True, True),
}


def _logical_immediate(name: str) -> Operation:
    function, _, sets_flags = _LOGICAL[name]

    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        width = _width(f)
        imm, _tmask = DecodeBitMasks(f["N"], f["imms"], f["immr"], True, width)
        result = function(m.read(f["Rn"], width), z3.BitVecVal(imm, width))
        if sets_flags:
            m.write(f["Rd"], result)
            m.flags = _logical_flags(result)
        else:
            m.write_sp(f["Rd"], result)

    return execute


def _logical_shifted(name: str) -> Operation:
    function, inverts, sets_flags = _LOGICAL[name]

    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        width = _width(f)
        operand2 = _shifted(m.read(f["Rm"], width), f["shift"], f["imm6"])
        result = function(m.read(f["Rn"], width), ~operand2 if inverts else operand2)
        m.write(f["Rd"], result)
        if sets_flags:
            m.flags = _logical_flags(result)

    return execute


def _add_immediate(m: Machine, f: dict[str, int], width: int) -> Term:
    return z3.BitVecVal(f["imm12"] << (12 if f["sh"] else 0), width)


def _add_shifted(m: Machine, f: dict[str, int], width: int) -> Term:
    return _shifted(m.read(f["Rm"], width), f["shift"], f["imm6"])


def _add_extended(m: Machine, f: dict[str, int], width: int) -> Term:
    return _low(_extended(m.read(f["Rm"]), f["option"], f["imm3"]), width)


#: Form of ADD and its kind to the second operand, and whether Rn and Rd of 31 may be SP.
_ADD_FORMS: dict[str, tuple[Callable[[Machine, dict[str, int], int], Term], bool]] = {
    "immediate": (_add_immediate, True),
    "shifted register": (_add_shifted, False),
    "extended register": (_add_extended, True),
}


def _adding(form: str, subtract: bool, sets_flags: bool) -> Operation:
    second, by_sp = _ADD_FORMS[form]

    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        width = _width(f)
        first = m.read_sp(f["Rn"], width) if by_sp else m.read(f["Rn"], width)
        operand2 = second(m, f, width)
        result, flags = _add(first, ~operand2 if subtract else operand2, z3.BoolVal(subtract))
        if by_sp and not sets_flags:
            m.write_sp(f["Rd"], result)
        else:
            m.write(f["Rd"], result)
        if sets_flags:
            m.flags = flags

    return execute


def _add_carry(subtract: bool, sets_flags: bool) -> Operation:
    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        width = _width(f)
        operand2 = m.read(f["Rm"], width)
        second = ~operand2 if subtract else operand2
        result, flags = _add(m.read(f["Rn"], width), second, m.flags.c)
        m.write(f["Rd"], result)
        if sets_flags:
            m.flags = flags

    return execute


def _move_wide(kind: str) -> Operation:
    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        width, position = _width(f), 16 * f["hw"]
        value = z3.BitVecVal(f["imm16"] << position, width)
        if kind == "MOVN":
            value = ~value
        elif kind == "MOVK":
            value |= m.read(f["Rd"], width) & (Ones(width) & ~(0xFFFF << position))
        m.write(f["Rd"], value)

    return execute


def _bitfield(inserts: bool, extends: bool) -> Operation:
    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        width = _width(f)
        wmask, tmask = DecodeBitMasks(f["N"], f["imms"], f["immr"], False, width)
        source = m.read(f["Rn"], width)
        old = m.read(f["Rd"], width) if inserts else z3.BitVecVal(0, width)
        bottom = old & ~z3.BitVecVal(wmask, width) | z3.RotateRight(source, f["immr"]) & wmask
        ones, zeros = z3.BitVecVal(-1, width), z3.BitVecVal(0, width)
        top = z3.If(_bit(source, f["imms"]), ones, zeros) if extends else old
        m.write(f["Rd"], top & ~z3.BitVecVal(tmask, width) | bottom & tmask)

    return execute


def _extr(_: Execution, m: Machine, f: dict[str, int]) -> None:
    width = _width(f)
    both = z3.Concat(m.read(f["Rn"], width), m.read(f["Rm"], width))
    m.write(f["Rd"], z3.Extract(f["imms"] + width - 1, f["imms"], both))


def _select(inverts: bool, increments: bool) -> Operation:
    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        width = _width(f)
        other = m.read(f["Rm"], width)
        other = (~other if inverts else other) + int(increments)
        m.write(f["Rd"], z3.If(holds(f["cond"], m.flags), m.read(f["Rn"], width), other))

    return execute


def _compare_if(subtract: bool, immediate: bool) -> Operation:
    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        width = _width(f)
        second = z3.BitVecVal(f["imm5"], width) if immediate else m.read(f["Rm"], width)
        second = ~second if subtract else second
        _result, compared = _add(m.read(f["Rn"], width), second, z3.BoolVal(subtract))
        given = Flags(*(z3.BoolVal(bool(f["nzcv"] >> bit & 1)) for bit in (3, 2, 1, 0)))
        m.flags = _chosen_flags(holds(f["cond"], m.flags), compared, given)

    return execute


def _one_source(function: Callable[[Term], Term], width: int | None = None) -> Operation:
    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        m.write(f["Rd"], function(m.read(f["Rn"], width or _width(f))))

    return execute


def _two_source(function: Callable[[Term, Term], Term]) -> Operation:
    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        width = _width(f)
        m.write(f["Rd"], function(m.read(f["Rn"], width), m.read(f["Rm"], width)))

    return execute


def _variable_shift(kind: int) -> Operation:
    return _two_source(lambda x, y: _shifted(x, kind, y & (x.size() - 1)))


def _divided(function: Callable[[Term, Term], Term]) -> Operation:
    return _two_source(lambda x, y: z3.If(y == 0, z3.BitVecVal(0, x.size()), function(x, y)))


def _reversed_bits(x: Term) -> Term:
    return z3.Concat(*(z3.Extract(n, n, x) for n in range(x.size())))


def _reversed_bytes(container: int) -> Callable[[Term], Term]:
    def reverse(x: Term) -> Term:
        parts = []
        for top in range(x.size(), 0, -container):
            parts += [z3.Extract(n + 7, n, x) for n in range(top - container, top, 8)]
        return z3.Concat(*parts)

    return reverse


def _leading_zeros(x: Term) -> Term:
    width = x.size()
    count = z3.BitVecVal(width, width)
    for n in range(width):
        count = z3.If(_bit(x, n), z3.BitVecVal(width - 1 - n, width), count)
    return count


def _leading_signs(x: Term) -> Term:
    return _leading_zeros((x ^ x << 1) | 1)


def _multiply(subtract: bool, extended: Callable[[Term, int], Term] | None = None) -> Operation:
    """With `extended`, of 32 bits by 32."""

    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        width = _width(f)
        if extended:
            x, y = (extended(m.read(f[name], 32), 64) for name in ("Rn", "Rm"))
        else:
            x, y = (m.read(f[name], width) for name in ("Rn", "Rm"))
        addend = m.read(f["Ra"], width)
        m.write(f["Rd"], addend - x * y if subtract else addend + x * y)

    return execute


def _multiply_high(extended: Callable[[Term, int], Term]) -> Operation:
    return _two_source(lambda x, y: z3.Extract(127, 64, extended(x, 128) * extended(y, 128)))


# Branches


def _offset(f: dict[str, int], name: str, width: int) -> int:
    return SignExtend(f[name], width) * 4


def _b(_: Execution, m: Machine, f: dict[str, int]) -> Next:
    return m.pc + _offset(f, "imm26", 26)


def _bl(_: Execution, m: Machine, f: dict[str, int]) -> Next:
    m.write(30, z3.BitVecVal(m.pc + 4 & MASK64, 64))
    return m.pc + _offset(f, "imm26", 26)


def _br(_: Execution, m: Machine, f: dict[str, int]) -> Next:
    return m.read(f["Rn"])


def _blr(_: Execution, m: Machine, f: dict[str, int]) -> Next:
    target = m.read(f["Rn"])
    m.write(30, z3.BitVecVal(m.pc + 4 & MASK64, 64))
    return target


def _b_cond(_: Execution, m: Machine, f: dict[str, int]) -> Next:
    return holds(f["cond"], m.flags), m.pc + _offset(f, "imm19", 19)


def _compare_and_branch(nonzero: bool) -> Operation:
    def execute(_: Execution, m: Machine, f: dict[str, int]) -> Next:
        value = m.read(f["Rt"], _width(f))
        return value != 0 if nonzero else value == 0, m.pc + _offset(f, "imm19", 19)

    return execute


def _test_and_branch(nonzero: bool) -> Operation:
    def execute(_: Execution, m: Machine, f: dict[str, int]) -> Next:
        is_set = _bit(m.read(f["Rt"]), f["b5"] << 5 | f["b40"])
        return is_set if nonzero else z3.Not(is_set), m.pc + _offset(f, "imm14", 14)

    return execute


# System


def _nothing(_: Execution, m: Machine, f: dict[str, int]) -> None:
    """Hints and barriers: what is written here is seen at once."""


def _check_access(e: Execution, m: Machine, name: str, write: bool) -> None:
    if name == "SP_EL0":
        if not m.spsel:
            raise _error(e, m, "access to SP_EL0, which is in use")
    elif sysregs.unchecked_from(name, write) > EL.EL2:
        raise _error(e, m, f"access to {name} at EL2")


def _mrs(e: Execution, m: Machine, f: dict[str, int]) -> None:
    name = sysreg_name(f)
    _check_access(e, m, name, write=False)
    if name == "NZCV":
        bits = z3.Concat(*(_number(flag, 1) for flag in m.flags))
        value = _wide(bits) << SPSR_ELx.V.lsb
    elif name == "DAIF":
        value = _wide(m.daif) << SPSR_ELx.F.lsb
    elif name in ("SPSel", "CurrentEL"):
        value = z3.BitVecVal(m.spsel if name == "SPSel" else EL.EL2 << 2, 64)
    elif name.startswith("SP_"):
        value = m.unused_sps[EL[name[3:]]]
    else:
        value = m.sysregs[name]
    m.write(f["Rt"], value)


def _msr(e: Execution, m: Machine, f: dict[str, int]) -> None:
    name, value = sysreg_name(f), m.read(f["Rt"])
    _check_access(e, m, name, write=True)
    if name == "NZCV":
        first = SPSR_ELx.V.lsb
        m.flags = Flags(*(z3.simplify(_bit(value, first + n)) for n in (3, 2, 1, 0)))
    elif name == "DAIF":
        first = SPSR_ELx.F.lsb
        m.daif = z3.simplify(z3.Extract(first + 3, first, value))
    elif name == "SPSel":
        chosen = z3.simplify(z3.Extract(0, 0, value))
        if not z3.is_bv_value(chosen):
            raise _Unknown("what MSR writes to SPSel is not known")
        m.select_sp(chosen.as_long())
    elif name == "OSLAR_EL1":
        lock = OSLSR_EL1.OSLK
        unlocked = m.sysregs["OSLSR_EL1"] & (MASK64 & ~lock.mask)
        m.sysregs["OSLSR_EL1"] = z3.simplify(unlocked | (value & 1) << lock.lsb)
    elif name.startswith("SP_"):
        m.unused_sps[EL[name[3:]]] = value
    else:
        m.sysregs[name] = value


def _daif(sets: bool) -> Operation:
    def execute(_: Execution, m: Machine, f: dict[str, int]) -> None:
        mask = f["CRm"]
        m.daif = z3.simplify(m.daif | mask if sets else m.daif & (0xF & ~mask))

    return execute


def _spsel(_: Execution, m: Machine, f: dict[str, int]) -> None:
    m.select_sp(f["CRm"] & 1)


# Loads and stores


@dataclass(frozen=True)
class _Access:
    """One of `model.a64.loads_stores`: bytes are twice as many with sz."""

    bytes: int
    load: bool
    signed: bool = False

    def size(self, f: dict[str, int]) -> int:
        return self.bytes << f.get("sz", 0)

    def move(self, e: Execution, m: Machine, f: dict[str, int], address: Term) -> None:
        size = self.size(f)
        e.check_aligned(m, address, size)
        if not self.load:
            e.store(m, address, size, m.read(f["Rt"]))
            return
        value = e.load(m, address, size)
        if self.signed:
            value = _signed(value, 32 if f.get("narrow", 0) else 64)
        m.write(f["Rt"], value)


def _base(e: Execution, m: Machine, f: dict[str, int]) -> Term:
    if f["Rn"] == SP:
        e.check_sp(m)
    return m.read_sp(f["Rn"])


def _by_offset(access: _Access, offset: Callable[[Machine, dict[str, int]], Term]) -> Operation:
    def execute(e: Execution, m: Machine, f: dict[str, int]) -> None:
        access.move(e, m, f, z3.simplify(_base(e, m, f) + offset(m, f)))

    return execute


def _unscaled(access: _Access) -> Operation:
    return _by_offset(access, lambda m, f: z3.BitVecVal(SignExtend(f["imm9"], 9), 64))


def _unsigned_offset(access: _Access) -> Operation:
    return _by_offset(access, lambda m, f: z3.BitVecVal(f["imm12"] * access.size(f), 64))


def _register_offset(access: _Access) -> Operation:
    def offset(m: Machine, f: dict[str, int]) -> Term:
        shift = access.size(f).bit_length() - 1 if f["S"] else 0
        return _extended(m.read(f["Rm"]), f["option"], shift)

    return _by_offset(access, offset)


def _indexed(access: _Access, post: bool) -> Operation:
    def execute(e: Execution, m: Machine, f: dict[str, int]) -> None:
        base = _base(e, m, f)
        moved = z3.simplify(base + SignExtend(f["imm9"], 9))
        access.move(e, m, f, base if post else moved)
        m.write_sp(f["Rn"], moved)

    return execute


def _literal(access: _Access) -> Operation:
    def execute(e: Execution, m: Machine, f: dict[str, int]) -> None:
        address = m.pc + SignExtend(f["imm19"], 19) * 4
        access.move(e, m, f, z3.BitVecVal(address & MASK64, 64))

    return execute


def _pair(load: bool, mode: str, signed: bool = False) -> Operation:
    def execute(e: Execution, m: Machine, f: dict[str, int]) -> None:
        size = 8 if f.get("sf", 0) else 4
        base = _base(e, m, f)
        moved = z3.simplify(base + SignExtend(f["imm7"], 7) * size)
        address = base if mode == "post-index" else moved
        e.check_aligned(m, address, size)
        if load:
            both = e.load(m, address, 2 * size)
            first, second = _low(both, 8 * size), z3.Extract(16 * size - 1, 8 * size, both)
            m.write(f["Rt"], _signed(first, 64) if signed else first)
            m.write(f["Rt2"], _signed(second, 64) if signed else second)
        else:
            halves = (m.read(f["Rt2"], 8 * size), m.read(f["Rt"], 8 * size))
            e.store(m, address, 2 * size, z3.Concat(*halves))
        if mode != "offset":
            m.write_sp(f["Rn"], moved)

    return execute


# The table: instructions by the names that `model.a64.instructions` gives them


def _data_processing() -> dict[str, Operation]:
    table: dict[str, Operation] = {"ADR": _adr(page=False), "ADRP": _adr(page=True), "EXTR": _extr}
    table |= {f"{name} (shifted register)": _logical_shifted(name) for name in _LOGICAL}
    for name in ("AND", "ORR", "EOR", "ANDS"):
        table[f"{name} (immediate)"] = _logical_immediate(name)
    for form in _ADD_FORMS:
        table[f"ADD ({form})"] = _adding(form, False, False)
        table[f"ADDS ({form})"] = _adding(form, False, True)
        table[f"SUB ({form})"] = _adding(form, True, False)
        table[f"SUBS ({form})"] = _adding(form, True, True)
    table |= {name: _move_wide(name) for name in ("MOVZ", "MOVN", "MOVK")}
    table |= {f"{name}V": _variable_shift(n) for n, name in enumerate(("LSL", "LSR", "ASR"))}
    return table | {
        "ADC": _add_carry(False, False),
        "ADCS": _add_carry(False, True),
        "SBC": _add_carry(True, False),
        "SBCS": _add_carry(True, True),
        "SBFM": _bitfield(inserts=False, extends=True),
        "BFM": _bitfield(inserts=True, extends=False),
        "UBFM": _bitfield(inserts=False, extends=False),
        "CSEL": _select(False, False),
        "CSINC": _select(False, True),
        "CSINV": _select(True, False),
        "CSNEG": _select(True, True),
        "CCMN (register)": _compare_if(False, immediate=False),
        "CCMP (register)": _compare_if(True, immediate=False),
        "CCMN (immediate)": _compare_if(False, immediate=True),
        "CCMP (immediate)": _compare_if(True, immediate=True),
        "RORV": _variable_shift(3),
        "UDIV": _divided(z3.UDiv),
        "SDIV": _divided(lambda x, y: x / y),
        "RBIT": _one_source(_reversed_bits),
        "REV16": _one_source(_reversed_bytes(16)),
        "REV (32-bit)": _one_source(_reversed_bytes(32), 32),
        "REV32": _one_source(_reversed_bytes(32), 64),
        "REV (64-bit)": _one_source(_reversed_bytes(64), 64),
        "CLZ": _one_source(_leading_zeros),
        "CLS": _one_source(_leading_signs),
        "MADD": _multiply(False),
        "MSUB": _multiply(True),
        "SMADDL": _multiply(False, _signed),
        "SMSUBL": _multiply(True, _signed),
        "UMADDL": _multiply(False, _wide),
        "UMSUBL": _multiply(True, _wide),
        "SMULH": _multiply_high(_signed),
        "UMULH": _multiply_high(_wide),
    }


def _loads_stores() -> dict[str, Operation]:
    accesses = {
        "STRB": _Access(1, load=False),
        "LDRB": _Access(1, load=True),
        "LDRSB": _Access(1, load=True, signed=True),
        "STRH": _Access(2, load=False),
        "LDRH": _Access(2, load=True),
        "LDRSH": _Access(2, load=True, signed=True),
        "STR": _Access(4, load=False),
        "LDR": _Access(4, load=True),
        "LDRSW": _Access(4, load=True, signed=True),
    }
    table: dict[str, Operation] = {}
    for name, access in accesses.items():
        table[f"{name} (unsigned offset)"] = _unsigned_offset(access)
        table[f"{name} (register)"] = _register_offset(access)
        table[f"{name} (post-index)"] = _indexed(access, post=True)
        table[f"{name} (pre-index)"] = _indexed(access, post=False)
        table[f"{name[:2]}U{name[2:]}"] = _unscaled(access)
    for name in ("LDR", "LDRSW"):
        table[f"{name} (literal)"] = _literal(accesses[name])
    for mode in ("offset", "post-index", "pre-index"):
        table[f"STP ({mode})"] = _pair(False, mode)
        table[f"LDP ({mode})"] = _pair(True, mode)
        table[f"LDPSW ({mode})"] = _pair(True, mode, signed=True)
    return table | {"STNP": _pair(False, "offset"), "LDNP": _pair(True, "offset")}


def _system() -> dict[str, Operation]:
    ranges = ("#6 to #7", "#8 to #15", "#16 to #31", "#32 to #63", "#64 to #127")
    hints = ("NOP", "YIELD", *(f"HINT {numbers}" for numbers in ranges))
    return {
        **dict.fromkeys((*hints, "DSB", "DMB", "ISB", "ERET"), _nothing),
        "MRS": _mrs,
        "MSR (register)": _msr,
        "MSR DAIFSet": _daif(sets=True),
        "MSR DAIFClr": _daif(sets=False),
        "MSR SPSel": _spsel,
    }


OPERATIONS: dict[str, Operation] = {
    **_data_processing(),
    **_loads_stores(),
    **_system(),
    "B": _b,
    "BL": _bl,
    "BR": _br,
    "BLR": _blr,
    "RET": _br,
    "B.cond": _b_cond,
    "CBZ": _compare_and_branch(nonzero=False),
    "CBNZ": _compare_and_branch(nonzero=True),
    "TBZ": _test_and_branch(nonzero=False),
    "TBNZ": _test_and_branch(nonzero=True),
}
