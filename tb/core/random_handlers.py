"""The code that random programs take their exceptions to, and the tables that it reads.

Each exception uses up an entry of its EL's table: where to return to, with which SPSR, and what to
write to control registers before. So no exception is returned from in the same way for ever.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from model.arch import EL, ESR_ELx, Field, SPSR_ELx
from tb.core.program import ERET, NOP, WORD_BYTES, Code, mrs, msr
from tb.core.random_body import Body, Pool
from tb.core.random_layout import TABLES, VECTORS, Roles
from tb.core.random_registers import Values

ELS = (EL.EL1, EL.EL2, EL.EL3)  #: that exceptions are taken to

_VECTORS = 16
_VECTOR_BYTES = 0x80

#: The control registers that an entry has values for, after ELR and SPSR.
_CONTROLS = {
    EL.EL1: ("MDSCR_EL1", "OSLAR_EL1", "SCTLR_EL1", "OSDLR_EL1", "MDSCR_EL1", "OSLAR_EL1"),
    EL.EL2: ("HCR_EL2", "MDCR_EL2", "MDSCR_EL1", "OSLAR_EL1", "SCTLR_EL2", "SCTLR_EL1"),
    EL.EL3: ("SCR_EL3", "MDCR_EL3", "MDCR_EL2", "MDSCR_EL1", "HCR_EL2", "OSLAR_EL1"),
}
_FIRST_CONTROL = 2  #: doublewords before them
_ENTRY_BYTES = 8 * (_FIRST_CONTROL + 6)
_ROWS_PER_ENTRY = 8  #: fewer than this, on average, would be needed to come to a table's end

# Bits of an entry above its SPSR: what the handler does, if it can.
_STEP_ON = Field(32)  #: after a Software Step exception: step the next instruction
_RESUME = Field(33)  #: after an interrupt: return to where it came
_BUSY = Field(34)  #: write control registers, execute something else
_SKIP = Field(35)  #: after another synchronous exception: return to the next instruction

#: What else a handler executes, and fields that are pointers: SVC takes an exception in it,
#: DAIFClr lets it be stepped. No general register is written.
_MORE = {
    **dict.fromkeys(("MSR DAIFClr", "MSR DAIFSet", "ISB", "SVC", "SMC", "CLREX", "WFE"), ()),
    "STR (post-index)": ("Rn",),
    "STLR": ("Rn",),
}


def table_bytes(rows: int) -> int:
    """The size of an EL's table for a program of so many rows."""
    return (rows // _ROWS_PER_ENTRY + 1) * _ENTRY_BYTES


def tables(rows: int) -> dict[EL, int]:
    """Where the tables are."""
    return {el: TABLES + n * table_bytes(rows) for n, el in enumerate(ELS)}


def entries(
    values: Values, pool: Mapping[str, Sequence[int]], rows: int, elr: Callable[[EL, EL], int]
) -> Iterator[tuple[int, int]]:
    """(address, doubleword) of all tables.

    `pool` has values of control registers, `elr(el, to)` gives an address to return to from an EL.
    """
    rng = values.rng
    chances = {_STEP_ON: 0.7, _RESUME: 0.7, _BUSY: 0.35, _SKIP: values.theme.skip}
    for el, start in tables(rows).items():
        for at in range(start, start + table_bytes(rows), _ENTRY_BYTES):
            spsr, to = values.spsr(el)
            flags = sum(flag.put(rng.random() < chance) for flag, chance in chances.items())
            yield at, elr(el, to)
            yield at + 8, spsr | flags
            for n, name in enumerate(_CONTROLS[el], _FIRST_CONTROL):
                yield at + 8 * n, rng.choice(pool[name])


class Handlers:
    """All vectors of an EL."""

    def __init__(self, values: Values, roles: Roles, pool: Pool, el: EL) -> None:
        self._rng, self._theme = values.rng, values.theme
        self._roles, self._pool, self._el = roles, pool, el
        self._other, self._elr, self._spsr = roles.scratch[el]

    def image(self) -> dict[int, int]:
        """Address to word."""
        words: dict[int, int] = {}
        for n in range(_VECTORS):
            code = Code(VECTORS[self._el] + n * _VECTOR_BYTES)
            from_lower_el = n >= _VECTORS // 2
            if n % 4:
                self._interrupt(code, from_lower_el)
            else:
                self._synchronous(code, from_lower_el)
            assert len(code.words) <= _VECTOR_BYTES // WORD_BYTES
            words |= code.image()
        return words

    def _synchronous(self, code: Code, from_lower_el: bool) -> None:
        self._next_entry(code)
        if self._rng.random() < 0.8:
            self._after_step(code, from_lower_el)
            self._skip(code)
        code.label("elsewhere")
        self._return_elsewhere(code)

    def _skip(self, code: Code) -> None:
        """Return to the next instruction: never after a step, which would miss one that matters."""
        self._if(code, _SKIP, 0, "elsewhere")
        code.put(mrs(self._other, f"ELR_{self._el.name}"))
        code.add("ADD (immediate)", sf=1, imm12=WORD_BYTES, Rn=self._other, Rd=self._other)
        code.put(msr(f"ELR_{self._el.name}", self._other), ERET)

    def _interrupt(self, code: Code, from_lower_el: bool) -> None:
        """What it interrupts at its own EL may be an ERET: to resume that would be for ever."""
        self._next_entry(code)
        if from_lower_el:
            self._if(code, _RESUME, 0, "elsewhere")
            code.put(ERET)
        code.label("elsewhere")
        self._return_elsewhere(code)

    def _return_elsewhere(self, code: Code) -> None:
        self._if(code, _BUSY, 0, "return")
        self._write_controls(code)
        if self._rng.random() < 0.5:
            self._execute_more(code)
        code.label("return")
        # From here on, no exception to this EL can be returned from into this handler.
        code.put(msr(f"ELR_{self._el.name}", self._elr))
        code.put(msr(f"SPSR_{self._el.name}", self._spsr), ERET)

    def _next_entry(self, code: Code) -> None:
        pair = {"Rt": self._elr, "Rt2": self._spsr, "Rn": self._roles.cursors[self._el]}
        code.add("LDP (post-index)", sf=1, imm7=_ENTRY_BYTES // 8, **pair)

    def _if(self, code: Code, flag: Field, value: int, label: str) -> None:
        """Branch if a flag of the entry has a value."""
        self._test(code, self._spsr, flag.lsb, value, label)

    def _test(self, code: Code, t: int, bit: int, value: int, label: str) -> None:
        form = "TBNZ" if value else "TBZ"
        code.branch(form, label, b5=bit >> 5, b40=bit & 31, Rt=t)

    def _after_step(self, code: Code, from_lower_el: bool) -> None:
        """After a Software Step exception: return with SPSR.SS = 1."""
        self._if(code, _STEP_ON, 0, "elsewhere")
        code.put(mrs(self._other, f"ESR_{self._el.name}"))
        # The upper two bits of EC: of those that come, step exceptions and BRK alone have both.
        for bit in (5, 4):
            self._test(code, self._other, ESR_ELx.EC.lsb + bit, 0, "not a step")
        if not from_lower_el:
            self._unless_at_eret(code)
        code.put(mrs(self._spsr, f"SPSR_{self._el.name}"))
        ss = {"immr": 64 - SPSR_ELx.SS.lsb, "imms": 0}
        code.add("ORR (immediate)", sf=1, N=1, **ss, Rn=self._spsr, Rd=self._spsr)
        code.put(msr(f"SPSR_{self._el.name}", self._spsr), ERET)
        code.label("not a step")

    def _unless_at_eret(self, code: Code) -> None:
        """To return to an ERET at this EL would be for ever: it returns to where this one does."""
        code.put(mrs(self._other, f"ELR_{self._el.name}"))
        code.add("LDRB (unsigned offset)", imm12=3, Rn=self._other, Rt=self._other)
        code.add("SUB (immediate)", sf=1, imm12=ERET >> 24, Rn=self._other, Rd=self._other)
        code.branch("CBZ", "elsewhere", sf=1, Rt=self._other)

    def _write_controls(self, code: Code) -> None:
        """One or two, with the entry's values."""
        names = list(enumerate(_CONTROLS[self._el], _FIRST_CONTROL))
        for n, name in self._rng.sample(names, self._rng.choice((1, 2))):
            if name == "SCR_EL3":
                self._restore_vectors(code)
            cursor = self._roles.cursors[self._el]
            offset = 8 * n - _ENTRY_BYTES & 0x1FF
            code.add("LDUR", sz=1, imm9=offset, Rn=cursor, Rt=self._other)
            code.put(msr(name, self._other))

    def _restore_vectors(self, code: Code) -> None:
        """Before SCR_EL3.EA can become 0: see `Body`."""
        for el in (EL.EL1, EL.EL2):
            code.adr(self._other, VECTORS[el])
            code.put(msr(f"VBAR_{el.name}", self._other))

    def _execute_more(self, code: Code) -> None:
        """A word that may fault, or be stepped, in the handler."""
        body = Body(self._rng, self._theme, self._roles, self._pool, self._el, code.at)
        form = self._rng.choice(sorted(_MORE))
        fields = {name: self._rng.choice(self._roles.moving) for name in _MORE[form]}
        # The handler of its exception, if it has one, may skip the word after it.
        code.put(body.plain(form, **fields), NOP)
