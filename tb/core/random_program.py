"""Random programs for the core, each made from a seed: code, data, and what the pins do.

The boot code gives every register a value and goes to a random EL. The body has a part for each
EL. Exceptions are taken to handlers that return, mostly into the body, at an EL and with a
PSTATE drawn beforehand: to be stepped, if it can be.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from model.a64.trace import Inputs
from model.arch import EL, SCR_EL3
from tb.core import random_handlers, random_registers, random_themes
from tb.core.program import ERET, WORD_BYTES, Code, Program, msr
from tb.core.random_body import WORDS, Body, Pool
from tb.core.random_handlers import ELS, Handlers
from tb.core.random_layout import (
    BODY,
    BODY_WORDS,
    BOOT,
    BOOT_DATA,
    DATA_MIDDLE,
    LAST_WORDS,
    POOL,
    TABLES,
    TABLES_END,
    VECTORS,
    Roles,
)
from tb.core.random_registers import Values

#: Registers that the boot code writes, in any order: EL3 has no traps, and its return synchronises.
_BOOTED = (
    *(
        f"{name}_EL{n}"
        for n in (1, 2, 3)
        for name in ("SCTLR", "VBAR", "ELR", "SPSR", "ESR", "FAR")
    ),
    *("SCR_EL3", "HCR_EL2", "MDCR_EL2", "MDCR_EL3", "SDER32_EL3", "MDSCR_EL1"),
    *("OSDLR_EL1", "OSLAR_EL1", "NZCV", "HPFAR_EL2", "SP_EL0", "SP_EL1", "SP_EL2"),
    *("TPIDR_EL0", "TPIDRRO_EL0", "TPIDR_EL1", "TPIDR_EL2", "TPIDR_EL3"),
)

_POOL_VALUES = 16  #: of each kind
_RANDOM_DATA = 0x2000  #: bytes that are not 0 from the start

#: For how many rows a pin goes high.
_BURST_ROWS = (1, 1, 1, 2, 3, 4, 6, 12)


@dataclass(frozen=True)
class RandomProgram:
    """A program, and what the core meets from outside in each row."""

    seed: int
    program: Program
    inputs: tuple[Inputs, ...]  #: a row's, from the first on

    @property
    def length(self) -> int:
        """Rows that it is to be run for."""
        return len(self.inputs)


def generate(seed: int, length: int) -> RandomProgram:
    """The program of a seed, for `length` rows of the retire trace.

    It depends on nothing else. ValueError if it would need more memory than there is for it.
    """
    if TABLES + len(ELS) * random_handlers.table_bytes(length) > TABLES_END:
        raise ValueError(f"a random program of {length} rows is too long")
    theme = random_themes.of_seed(seed)
    return _Generator(Values(Random(seed), theme), length).program(seed)


class _Generator:
    def __init__(self, values: Values, length: int) -> None:
        self.values, self.rng, self.theme = values, values.rng, values.theme
        self.length = length
        self.roles = Roles.drawn(self.rng)
        self.data: dict[int, int] = {}
        self.drawn = self._drawn()
        self.pool = self._pool()
        self.bodies = {el: self._body(el) for el in EL}

    def program(self, seed: int) -> RandomProgram:
        entries = random_handlers.entries(self.values, self.drawn, self.length, self._elr)
        for address, value in entries:
            self._put(address, value)
        for address in range(DATA_MIDDLE, DATA_MIDDLE + _RANDOM_DATA, 8):
            self._put(address, self.values.number())
        code = self._boot() | self._last_words()
        for body in self.bodies.values():
            code |= body.image()
        for el in ELS:
            code |= Handlers(self.values, self.roles, self.pool, el).image()
        return RandomProgram(seed, Program(code, self.data), tuple(self._inputs()))

    def _put(self, address: int, value: int) -> None:
        """A doubleword of data."""
        self.data[address] = value & 0xFFFF_FFFF
        self.data[address + WORD_BYTES] = value >> 32

    def _drawn(self) -> dict[str, list[int]]:
        """What the pool has: values for control registers, and instructions."""
        many = range(_POOL_VALUES)
        drawn = {
            name: [self.values.control(name) for _ in many] for name in random_registers.CONTROLS
        }
        drawn["SCR_EL3 with EA"] = [value | SCR_EL3.EA.mask for value in drawn["SCR_EL3"]]
        for el in ELS:
            drawn[f"SPSR from {el.name}"] = [self.values.spsr(el)[0] for _ in many]
        body = Body(self.rng, self.theme, self.roles, Pool({}), EL.EL0, BODY)
        drawn[WORDS] = [body.filler() | body.filler() << 32 for _ in many]
        return drawn

    def _pool(self) -> Pool:
        addresses: dict[str, list[int]] = {}
        at = POOL
        for name, values in self.drawn.items():
            addresses[name] = [at + 8 * n for n in range(len(values))]
            for value in values:
                self._put(at, value)
                at += 8
        return Pool(addresses)

    def _body(self, el: EL) -> Body:
        words = max(64, min(BODY_WORDS, self.length // 12))
        body = Body(
            self.rng, self.theme, self.roles, self.pool, el, BODY + el * BODY_WORDS * WORD_BYTES
        )
        body.fill(words)
        return body

    def _last_words(self) -> dict[int, int]:
        """Code that runs off the end of the RAM."""
        body = Body(self.rng, self.theme, self.roles, self.pool, EL.EL0, LAST_WORDS)
        return {LAST_WORDS + WORD_BYTES * n: body.filler() for n in range(8)}

    def _elr(self, el: EL, to: EL) -> int:
        """Where a return goes: mostly to the code for the EL, now and then nowhere."""
        kind = self.rng.random()
        body = self.bodies[to if kind < 0.85 else self.rng.choice(list(EL))]
        if kind > 1 - self.theme.nowhere:
            return body.wrong_address()
        if self.rng.random() < self.theme.notable:
            # An ERET at the EL of this one would return to where this one does: itself.
            return self.rng.choice(body.notable if to == el else body.notable + 3 * body.returns)
        return self.rng.choice(body.pieces)

    def _boot(self) -> dict[int, int]:
        registers = self._registers()
        code = Code(BOOT)
        code.adr(0, BOOT_DATA)
        # The general-purpose registers come last, X0 the last of all: it is the base.
        values = [(name, self._system_register(name)) for name in (*_BOOTED, "SP_EL3")]
        for n, (name, value) in enumerate(values, len(registers)):
            self._put(BOOT_DATA + 8 * n, value)
            code.add("LDR (unsigned offset)", sz=1, imm12=n, Rn=0, Rt=1)
            if name == "SP_EL3":
                code.add("ADD (immediate)", sf=1, Rn=1, Rd=31)
            else:
                code.put(msr(name, 1))
        for n, value in reversed(list(enumerate(registers))):
            self._put(BOOT_DATA + 8 * n, value)
            code.add("LDR (unsigned offset)", sz=1, imm12=n, Rn=0, Rt=n)
        code.put(ERET)
        return code.image()

    def _registers(self) -> list[int]:
        """X0 to X30."""
        roles = self.roles
        registers = [self.values.number() for _ in range(31)]
        for n in (*roles.aligned, *roles.moving, roles.window):
            registers[n] = self._pointer()
        registers[roles.chance] = self.rng.getrandbits(64)
        registers[roles.factor] = self.rng.getrandbits(64) & ~3 | 1  # a cycle of all numbers
        for el, at in random_handlers.tables(self.length).items():
            registers[roles.cursors[el]] = at
        return registers

    def _pointer(self) -> int:
        return DATA_MIDDLE + 16 * self.rng.randrange(0x100)

    def _system_register(self, name: str) -> int:
        kind = name.split("_")[0]
        if name == "OSLAR_EL1":
            return 0  # it is locked at reset
        if name == "ELR_EL3":
            return self.rng.choice(self.bodies[self.values.el()].pieces)
        if kind == "VBAR":
            return VECTORS[EL[name[-3:]]]
        if kind == "SP":
            return self._pointer()
        if kind == "SPSR":
            return self.values.spsr(EL[name[-3:]])[0]
        if name in random_registers.CONTROLS:
            return self.values.control(name)
        return self.values.number()

    def _inputs(self) -> Iterator[Inputs]:
        rng = self.rng
        rows = [0, 0, 0]  # that irq, fiq and serror stay high for
        for n in range(self.length):
            rows = [left - 1 if left else self._burst() for left in rows]
            pins = [int(left > 0) for left in rows]
            # Without a pin that is high, a WFI that does not end by itself would never end.
            ends = int(not any(pins) or rng.random() < 0.5)
            first, isv, seen = (rng.getrandbits(1) for _ in range(3))
            yield Inputs(pins[0], pins[1], pins[2], first, isv, seen, ends, cycle_count=3 * n)

    def _burst(self) -> int:
        return self.rng.choice(_BURST_ROWS) if self.rng.random() < self.theme.interrupt else 0
