"""The code of random programs: for each instruction form, a few words that make it worth its row.

Base registers point into the data, or somewhere chosen for the fault that it gives. A branch
back is taken by the program's own random number, so that no loop is endless; every other one goes
forward. What is written for one EL may run at any: it is then mostly UNDEFINED.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from model.a64.decode import Reserved, Row
from model.a64.loads_stores import ROWS as LOADS_STORES
from model.arch import EL, RAM_BASE, SYSREGS, Event
from tb.core.program import (
    ERET,
    FORMS,
    ISB,
    NOP,
    UNDEFINED,
    WORD_BYTES,
    adr,
    distance,
    mov,
    mrs,
    msr,
    text,
    word,
)
from tb.core.random_layout import (
    BODY,
    DATA_MIDDLE,
    LAST_WORDS,
    RAM_END,
    VECTORS,
    Roles,
)
from tb.core.random_registers import CONTROLS
from tb.core.random_themes import Theme

T = TypeVar("T")

PATCH = "PATCH"  #: a piece that stores its own last word
WORDS = "words"  #: in the pool: two instructions that only compute, in a doubleword

_MEMORY = {row.name for row in LOADS_STORES}
_BRANCHES = {"B", "BL", "B.cond", "CBZ", "CBNZ", "TBZ", "TBNZ"}
_INDIRECT = {"BR", "BLR", "RET"}
_REGISTERS = {"Rd", "Rt", "Rt2", "Rs", "Rn", "Rm", "Ra"}
_READ_ONLY = {"OSLSR_EL1", "MIDR_EL1", "MPIDR_EL1", "CurrentEL"}
_PLAIN = [name for name, row in FORMS.items() if "Rd" in row.fields and name not in _MEMORY]

#: Where a step, a return or an interrupt is worth more than anywhere.
_NOTABLE = {"SVC", "HVC", "SMC", "BRK", "ISB", "MSR DAIFSet", "MSR DAIFClr", "WFI", "WFE"}

_FORWARD = 12  #: pieces that a branch skips at most
_BACK = 10  #: pieces that a branch goes back at most
_IN_CODE = 8 * 1024  #: bytes from BODY on that may hold code

#: The number of a window, by what it is: addresses where no RAM is, or just some.
_WINDOWS: tuple[Callable[[Random], int], ...] = (
    lambda rng: RAM_END - rng.randrange(1, 40),
    lambda rng: RAM_BASE - rng.randrange(1, 40),
    lambda rng: rng.getrandbits(16),
    lambda rng: rng.getrandbits(16) << 16 * rng.randrange(2, 4),
    lambda rng: RAM_END + rng.getrandbits(12),
)


@dataclass(frozen=True, slots=True)
class Pool:
    """Doublewords in memory: name of what they are to addresses."""

    addresses: Mapping[str, Sequence[int]]

    def one(self, rng: Random, name: str) -> int:
        """The address of one."""
        return rng.choice(self.addresses[name])


@dataclass
class Body:
    """Code for an EL, from an address on: filled piece by piece, each for one form."""

    rng: Random
    theme: Theme
    roles: Roles
    pool: Pool
    el: EL
    start: int
    words: list[int] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)  #: addresses where a piece begins
    notable: list[int] = field(default_factory=list)  #: addresses to step from, or return to
    returns: list[int] = field(default_factory=list)  #: addresses of ERETs
    #: those that are still to come, by form
    _registers: dict[str, list[str]] = field(default_factory=dict)
    #: (index of the word, what makes it from the words to its target)
    _open: list[tuple[int, Callable[[int], int]]] = field(default_factory=list)

    @property
    def at(self) -> int:
        """The address of the next word."""
        return self.start + WORD_BYTES * len(self.words)

    def fill(self, length: int) -> None:
        """Write `length` words. The last takes an exception: there may be none before."""
        weights = {form: self.theme.weight(form) for form in (*FORMS, UNDEFINED, PATCH)}
        all_forms = [form for form, weight in weights.items() for _ in range(weight)]
        forms: list[str] = []
        while len(self.words) < length - 1:
            forms = forms or self._shuffled(all_forms)
            self.piece(forms.pop())
        del self.words[length - 1 :]
        for addresses in (self.pieces, self.notable, self.returns):
            addresses[:] = [address for address in addresses if address < self.at]
        self.piece("SVC")
        self._close()

    def _shuffled(self, values: Sequence[T]) -> list[T]:
        return self.rng.sample(values, len(values))

    def _close(self) -> None:
        for index, made in self._open:
            here = self.start + WORD_BYTES * index
            if index >= len(self.words) - 1:
                continue  # it is cut off
            later = [address for address in self.pieces if address > here][:_FORWARD]
            if later:
                self.words[index] = made((self.rng.choice(later) - here) // WORD_BYTES)

    def image(self) -> dict[int, int]:
        """Address to word."""
        return {self.start + WORD_BYTES * n: word for n, word in enumerate(self.words)}

    def piece(self, form: str) -> None:
        """The words for one form."""
        self.pieces.append(self.at)
        if form == UNDEFINED:
            self._put(self._undefined())
        elif form == PATCH:
            self._patch()
        elif form in _MEMORY:
            self._memory(FORMS[form])
        elif form in _BRANCHES:
            self._branch(FORMS[form])
        elif form in _INDIRECT:
            self._indirect(FORMS[form])
        elif form in ("MSR (register)", "MRS"):
            self._system_register(form)
        elif form == "ERET":
            self._return()
        else:
            self._put(self.plain(form))
        if form in _NOTABLE:
            self.notable.append(self.at - WORD_BYTES)

    def _put(self, *words: int) -> None:
        self.words += words

    def _likely(self, of_one: float) -> bool:
        return self.rng.random() < of_one

    # Registers

    def _any(self) -> int:
        """A register to read: 31 among them."""
        return self.rng.randrange(32) if self._likely(0.3) else self._general()

    def _general(self) -> int:
        return self.rng.choice(self.roles.general)

    def _destination(self) -> int:
        return 31 if self._likely(0.03) else self._general()

    def _pointer(self, written: bool = False, aligned: bool = False) -> int:
        pointers = self.roles.moving if written else self.roles.aligned
        if not (written or aligned):
            pointers = self.roles.moving + self.roles.aligned
        return self.rng.choice(pointers)

    # Data processing, and whatever has no piece of its own

    def plain(self, form: str, **fixed: int) -> int:
        """A word of a form with random fields, but for those given."""
        row = FORMS[form]
        while True:
            fields = {name: self._field(row, name) for name in row.fields} | fixed
            try:
                row.build(**fields)
            except Reserved:
                continue
            return word(form, **fields)

    def _field(self, row: Row, name: str) -> int:
        loads = not row.name.startswith(("ST", "CB", "TB", "PRF"))
        if name in ("Rd", "Rs") or (name in ("Rt", "Rt2") and loads):
            return self._destination()
        if name in _REGISTERS:
            return self._any()
        return self.rng.getrandbits(row.fields[name].width)

    def filler(self) -> int:
        """A word that only computes."""
        return self.plain(self.rng.choice(_PLAIN))

    def _undefined(self) -> int:
        while True:
            candidate = self.rng.choice((self.rng.getrandbits(32), self.rng.getrandbits(8)))
            if text(candidate, 0) == UNDEFINED:
                return candidate

    # Loads and stores

    def _memory(self, row: Row) -> None:
        if row.name.endswith("(literal)"):
            self._literal(row)
        elif "Rs" in row.fields or row.event is Event.LOAD_EXCLUSIVE:
            self._exclusive(row)
        else:
            base = self._base(row)
            fields = {"Rn": base}
            if "imm12" in row.fields and self._likely(0.7):
                fields["imm12"] = self.rng.randrange(64)
            if "option" in row.fields:
                fields["Rm"] = self._index()
            self._put(self.plain(row.name, **fields))

    def _base(self, row: Row) -> int:
        """Words that prepare a base register, and its number: no store is to change code."""
        written = "index" in row.name
        ordered = row.name in ("LDAR", "STLR")
        if self._likely(self.theme.window):
            return self._window(aligned=ordered)
        if self._likely(0.88):
            return self._pointer(written, aligned=ordered and self._likely(0.9))
        if row.name.startswith("ST") or self._likely(0.85):
            imm12 = 16 * self.rng.randrange(32) + (self._likely(0.15) and 8)
            self._put(word("ADD (immediate)", sf=1, imm12=imm12, Rn=self._pointer(), Rd=31))
        return 31

    def _window(self, aligned: bool) -> int:
        """A register with an address where no RAM is, or where it ends.

        If it is to be aligned, it mostly is: another address would give another fault.
        """
        base, address = self.roles.window, self.rng.choice(_WINDOWS)(self.rng)
        if aligned and self._likely(0.9):
            address &= ~15
        self._put(*mov(base, address))
        return base

    def _index(self) -> int:
        """A register offset: small, or 0, or whatever a register holds."""
        kind = self.rng.random()
        if kind < 0.3:
            return 31
        if kind < 0.4:
            return self._any()
        d = self._general()
        # UBFM of the low bits to a place further up: 0 to 0xFF8.
        imms, shift = self.rng.randrange(9), self.rng.randrange(4)
        lsl = {"immr": -shift & 63, "imms": imms} if shift else {"immr": 0, "imms": imms}
        self._put(word("UBFM", sf=1, N=1, **lsl, Rn=self._any(), Rd=d))
        return d

    def _literal(self, row: Row) -> None:
        kind = self.rng.random()
        if kind < 0.05:
            self._put(self.plain(row.name))
            return
        start = BODY if kind < 0.15 else DATA_MIDDLE
        target = start + WORD_BYTES * self.rng.randrange(_IN_CODE // WORD_BYTES)
        on = distance(row.name, (target - self.at) // WORD_BYTES)
        self._put(self.plain(row.name, **on))

    def _exclusive(self, row: Row) -> None:
        """A load-exclusive, and mostly the store-exclusive that goes with it."""
        base = self._pointer(aligned=True)
        if self._likely(self.theme.window):
            base = self._window(aligned=True)
        elif self._likely(0.08):
            odd, base = self.rng.randrange(1, 16), self.roles.window
            imm = {"imm12": odd, "Rn": self._pointer(aligned=True), "Rd": base}
            self._put(word("ADD (immediate)", sf=1, **imm))
        pair = row.name.endswith("P")
        size = "sz" if pair else "size"
        of = {size: self.rng.getrandbits(row.fields[size].width)}
        ordered = self.rng.choice(("", "A")), self.rng.choice(("", "L"))
        load, store = f"LD{ordered[0]}X", f"ST{ordered[1]}X"
        load, store = (name + row.name[-1] for name in (load, store))
        if row.event is Event.LOAD_EXCLUSIVE:
            load = row.name
        else:
            store = row.name
        self.notable.append(self.at)
        self._put(self.plain(load, Rn=base, **of))
        self._put(*(self.filler() for _ in range(self.rng.choice((0, 0, 1, 2)))))
        if self._likely(0.1):
            of = {size: self.rng.getrandbits(row.fields[size].width)}
        if self._likely(0.05):
            self._put(self.plain("CLREX"))
        other = self._pointer(aligned=True) if self._likely(0.1) else base
        self._put(self.plain(store, Rn=other, **of))

    def _patch(self) -> None:
        """The memory is coherent: what is fetched is what was stored before."""
        t, address = self.rng.sample(self.roles.kept(), 2)
        self.load(t, WORDS)
        self._put(adr(address, 2 * WORD_BYTES))
        self._put(word("STR (unsigned offset)", Rn=address, Rt=t), NOP)

    # Branches

    def _branch(self, row: Row) -> None:
        if len(self.pieces) > _BACK and self._likely(0.25):
            self._branch_back(row.name)
            return
        template = self.plain(row.name)
        (name,) = row.fields.keys() & {"imm26", "imm19", "imm14"}
        kept = template & ~row.fields[name].mask
        self._forward(lambda on: kept | row.fields[name].put(distance(row.name, on)[name]))

    def _forward(self, made: Callable[[int], int]) -> None:
        self._open.append((len(self.words), made))
        self._put(word("NOP"))

    def _back(self) -> int:
        """Words from the next one to a piece before it."""
        return (self.rng.choice(self.pieces[-_BACK:-1]) - self.at) // WORD_BYTES

    def _draw(self) -> int:
        """A new random number; returns which of its bits to trust: high ones."""
        chance, factor = self.roles.chance, self.roles.factor
        self._put(word("MADD", sf=1, Rm=factor, Ra=factor, Rn=chance, Rd=chance))
        return self.rng.randrange(33, 63)

    def _skip_one(self) -> None:
        """As often as not, the next word is not executed."""
        bit = self._draw()
        form = self.rng.choice(("TBZ", "TBNZ"))
        on = distance(form, 2)
        self._put(word(form, b5=bit >> 5, b40=bit & 31, Rt=self.roles.chance, **on))

    def _branch_back(self, form: str) -> None:
        chance = self.roles.chance
        if form in ("B", "BL"):
            self._skip_one()
            self._put(word(form, **distance(form, self._back())))
            return
        bit = self._draw()
        one_bit = {"sf": 1, "N": 1, "immr": 64 - bit, "imms": 0, "Rn": chance}
        if form == "B.cond":
            self._put(word("ANDS (immediate)", **one_bit, Rd=31))
            fields = {"cond": self.rng.choice((0, 1))}
        elif form in ("CBZ", "CBNZ"):
            fields = {"sf": 1, "Rt": self._general()}
            self._put(word("AND (immediate)", **one_bit, Rd=fields["Rt"]))
        else:
            fields = {"b5": bit >> 5, "b40": bit & 31, "Rt": chance}
        self._put(word(form, **fields, **distance(form, self._back())))

    def _indirect(self, row: Row) -> None:
        n = self._general()
        kind = self.rng.random()
        if kind < 0.06:
            wrong = (LAST_WORDS + WORD_BYTES * self.rng.randrange(8), self.wrong_address())
            self._put(*mov(n, self.rng.choice(wrong)))
        elif kind < 0.2 and len(self.pieces) > _BACK:
            self._put(adr(n, WORD_BYTES * self._back()))
            self._skip_one()
        else:
            self._forward(lambda on: adr(n, WORD_BYTES * on))
        self._put(word(row.name, Rn=n))

    def wrong_address(self) -> int:
        """An address that no instruction can be fetched from."""
        if self._likely(0.3):
            return BODY + self.rng.randrange(_IN_CODE) | self.rng.randrange(1, 4)
        return self._nowhere()

    def _nowhere(self) -> int:
        """An address outside RAM for an instruction."""
        return self.rng.choice(_WINDOWS[1:])(self.rng) & ~3

    # System

    def _system_register(self, form: str) -> None:
        registers = self._registers.setdefault(form, [])
        if not registers:
            registers += self._shuffled(list(SYSREGS))
        name = registers.pop()
        if form == "MRS":
            self._put(mrs(self._destination(), name))
        else:
            self._write(name)
            if name != "SCR_EL3" and not name.startswith("VBAR"):  # not of just any value
                self.notable.append(self.at - WORD_BYTES)

    def _write(self, name: str) -> None:
        """MSR of a value that is worth it, where it can be written."""
        # Not one that a handler may change between the two instructions.
        t = self.rng.choice(self.roles.kept())
        if name == "SCR_EL3" or name.startswith("VBAR"):
            self._put(NOP)  # a handler may skip the word after a call, but not the value's
        if name == "SCR_EL3":
            self._write_scr(t)
            return
        if name.startswith("VBAR"):
            el = EL[name[-3:]]
            self._put(adr(t, VECTORS[el] + self.rng.getrandbits(11) - self.at))
        elif name in _READ_ONLY or self.el < lowest_el(name):
            t = self._any()
        elif name.startswith("ELR") and self._likely(0.7):
            self._forward(lambda on: adr(t, WORD_BYTES * on))
        elif name.startswith("SP_") and self._likely(0.8):
            t = self._pointer(aligned=True)
        elif name in CONTROLS:
            self.load(t, name)
        else:
            t = self._any()
        self._put(msr(name, t))
        if self._likely(0.3 if name in CONTROLS else 0.1):
            self._put(ISB)

    def load(self, t: int, name: str) -> None:
        """LDR (literal) of a value from the pool."""
        on = distance("LDR (literal)", (self.pool.one(self.rng, name) - self.at) // WORD_BYTES)
        self._put(word("LDR (literal)", sz=1, Rt=t, **on))

    def _write_scr(self, t: int) -> None:
        """The vectors below may be where no memory is, while external aborts go to EL3."""
        if self.el < EL.EL3:
            self.load(t, "SCR_EL3 with EA")
            self._put(msr("SCR_EL3", t))
            return
        for el in (EL.EL1, EL.EL2):
            self._put(adr(t, VECTORS[el] - self.at), msr(f"VBAR_{el.name}", t))
        bad = self._likely(0.2)
        self.load(t, "SCR_EL3 with EA" if bad else "SCR_EL3")
        self._put(msr("SCR_EL3", t))
        if bad:
            self._put(*mov(t, self._nowhere()))
            self._put(msr(self.rng.choice(("VBAR_EL1", "VBAR_EL2")), t))

    def _return(self) -> None:
        """ERET, at this EL alone, to a place that is set before.

        One with an ELR_ELx from before could come back here, and again, without end. So could one
        where an interrupt to the same EL came in between: they are masked.
        """
        if self.el == EL.EL0:
            # Not to come to it from above, even where a handler skips a word.
            self._put(NOP, word("B", **distance("B", 2)))
        else:
            t, el = self._general(), self.el.name
            self._put(word("MSR DAIFSet", CRm=self.rng.choice((0b1111, 0b0111))))
            self._put(mrs(t, "CurrentEL"))
            self._put(word("SUB (immediate)", sf=1, imm12=self.el << 2, Rn=t, Rd=t))
            guard = len(self.words)
            self._put(NOP)
            self._target(t)
            self._put(msr(f"ELR_{el}", t))
            if self._likely(0.85):
                self.load(t, f"SPSR from {el}")
                self._put(msr(f"SPSR_{el}", t))
            past = distance("CBNZ", len(self.words) + 1 - guard)
            self.words[guard] = word("CBNZ", sf=1, Rt=t, **past)
        self.returns.append(self.at)
        self._put(ERET)

    def _target(self, t: int) -> None:
        """Where an exception return goes: forward, or nowhere."""
        if self._likely(0.06):
            self._put(*mov(t, self.wrong_address()))
        else:
            self._forward(lambda on: adr(t, WORD_BYTES * on))


def lowest_el(name: str) -> EL:
    """The lowest EL that may write a system register."""
    if name in ("NZCV", "DAIF", "TPIDR_EL0"):
        return EL.EL0
    if name in ("SP_EL0", "SP_EL1", "SP_EL2"):
        return EL(int(name[-1]) + 1)
    if name[-4:-1] != "_EL" or name.endswith("EL0"):
        return EL.EL1
    return EL[name[-3:]]
