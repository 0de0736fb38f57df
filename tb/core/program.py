"""Programs for the core, made of 32-bit words: encoded from the reference's rows, and listed.

No assembler is needed: an instruction is the name of a row and the values of its diagram's fields.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from model.a64.decode import Decoder, Instruction, UndefinedWord
from model.a64.instructions import ROWS
from model.a64.pseudocode import SignExtend
from model.arch import SYSREGS, SysReg

#: Name to row.
FORMS = {row.name: row for row in ROWS}

_DECODER = Decoder(ROWS)
_SYSREG_NAMES = {register: name for name, register in SYSREGS.items()}

MASK64 = (1 << 64) - 1
UNDEFINED = "UNDEFINED"  #: in a listing: a word that no row decodes
WORD_BYTES = 4

#: Immediates of branches and literals, in words: name to width.
_DISTANCES = {"imm26": 26, "imm19": 19, "imm14": 14}


# Words


def word(form: str, **fields: int) -> int:
    """A 32-bit instruction; fields not given are 0. ValueError if a value does not fit."""
    row = FORMS[form]
    return row.value | sum(row.fields[name].put(value) for name, value in fields.items())


def distance(form: str, words: int) -> dict[str, int]:
    """The field of a branch or literal load to so many words on. ValueError if it is too far."""
    (name,) = FORMS[form].fields.keys() & _DISTANCES.keys()
    width = _DISTANCES[name]
    if not -(1 << width - 1) <= words < 1 << width - 1:
        raise ValueError(f"{form} does not reach {words} words")
    return {name: words & (1 << width) - 1}


def adr(d: int, offset: int) -> int:
    """ADR to so many bytes on, less than 1 MB either way."""
    if not -(1 << 20) <= offset < 1 << 20:
        raise ValueError(f"ADR does not reach {offset} bytes")
    return word("ADR", Rd=d, immlo=offset & 3, immhi=offset >> 2 & (1 << 19) - 1)


def msr(register: str, t: int) -> int:
    """MSR (register): write Xt to a system register."""
    return word("MSR (register)", Rt=t, **_encoding(register))


def mrs(t: int, register: str) -> int:
    """MRS: read a system register to Xt."""
    return word("MRS", Rt=t, **_encoding(register))


def _encoding(register: str) -> dict[str, int]:
    r = SYSREGS[register]
    return {"o0": r.op0 & 1, "op1": r.op1, "CRn": r.crn, "CRm": r.crm, "op2": r.op2}


def mov(d: int, value: int) -> list[int]:
    """MOVZ, and MOVK as often as needed: a 64-bit constant in Xd."""
    parts = [(hw, value >> 16 * hw & 0xFFFF) for hw in range(4)]
    (hw, imm16), *others = [part for part in parts if part[1]] or parts[:1]
    first = word("MOVZ", sf=1, hw=hw, imm16=imm16, Rd=d)
    return [first, *(word("MOVK", sf=1, hw=hw, imm16=imm16, Rd=d) for hw, imm16 in others)]


NOP = word("NOP")
ISB = word("ISB", CRm=15)
ERET = word("ERET")


# Code with labels


@dataclass
class Code:
    """Instructions from an address on. Labels may be used before they stand."""

    start: int
    words: list[int] = field(default_factory=list)
    _labels: dict[str, int] = field(default_factory=dict)
    _open: list[tuple[int, str, str, dict[str, int]]] = field(default_factory=list)

    @property
    def at(self) -> int:
        """The address of the next word."""
        return self.start + WORD_BYTES * len(self.words)

    def add(self, form: str, **fields: int) -> None:
        """An instruction, as `word`."""
        self.words.append(word(form, **fields))

    def put(self, *words: int) -> None:
        """Words."""
        self.words += words

    def label(self, name: str) -> None:
        """The next word has this name. ValueError if another has."""
        if name in self._labels:
            raise ValueError(f"two labels are named {name}")
        self._labels[name] = self.at

    def branch(self, form: str, label: str, **fields: int) -> None:
        """A branch to a label, or a load of what stands there."""
        self._open.append((len(self.words), form, label, fields))
        self.words.append(0)

    def adr(self, d: int, address: int) -> None:
        """The address in Xd, by ADR."""
        self.put(adr(d, address - self.at))

    def address_of(self, label: str) -> int:
        """Where a label stands. KeyError if it stands nowhere."""
        return self._labels[label]

    def labels(self) -> dict[str, int]:
        """Label to address."""
        return dict(self._labels)

    def image(self) -> dict[int, int]:
        """Address to word. KeyError if a label that is used stands nowhere."""
        words = list(self.words)
        for index, form, label, fields in self._open:
            words_on = (self._labels[label] - self.start) // WORD_BYTES - index
            words[index] = word(form, **fields, **distance(form, words_on))
        return {self.start + WORD_BYTES * n: value for n, value in enumerate(words)}


# Programs


@dataclass(frozen=True)
class Program:
    """What memory holds when the core begins, by address of a word (a multiple of 4)."""

    code: Mapping[int, int]
    data: Mapping[int, int] = field(default_factory=dict)  #: the words that are no instructions

    def segments(self) -> list[tuple[int, bytes]]:
        """(address, bytes) of what lies together, by address."""
        return list(_runs({**self.data, **self.code}))

    def changed(self, words: Mapping[int, int]) -> "Program":
        """The same program with other instructions at some addresses."""
        return replace(self, code={**self.code, **words})


def _runs(words: Mapping[int, int]) -> Iterator[tuple[int, bytes]]:
    start, run = 0, bytearray()
    for address in sorted(words):
        if address != start + len(run):
            if run:
                yield start, bytes(run)
            start, run = address, bytearray()
        run += words[address].to_bytes(WORD_BYTES, "little")
    if run:
        yield start, bytes(run)


# Listings


def listing(words: Mapping[int, int]) -> list[str]:
    """A line a word: address, word, instruction. NOPs that follow one another are one line."""
    lines: list[str] = []
    skipped = 0
    expected = None
    for address in sorted(words):
        if words[address] == NOP and address == expected:
            skipped += 1
        else:
            lines += _nops(skipped)
            skipped = 0
            lines.append(f"{address:#010x}  {words[address]:08x}  {text(words[address], address)}")
        expected = address + WORD_BYTES if words[address] == NOP else None
    return lines + _nops(skipped)


def _nops(count: int) -> list[str]:
    return [f"{'...':>10}  {count} more NOP"] if count else []


def text(instruction_word: int, address: int) -> str:
    """A word at an address as a row's name and its fields: "ADD (immediate) sf=1 imm12=0x8 ..."."""
    try:
        instruction = _DECODER.decode(instruction_word, address)
    except UndefinedWord:
        return UNDEFINED
    return " ".join([instruction.name, *_fields(instruction, address)])


def _fields(instruction: Instruction, address: int) -> Iterable[str]:
    fields = dict(instruction.fields)
    if "CRn" in fields:
        op0 = 2 + fields.pop("o0")
        encoding = SysReg(op0, *(fields.pop(name) for name in ("op1", "CRn", "CRm", "op2")))
        yield _SYSREG_NAMES[encoding]
    for name, value in fields.items():
        if name in _DISTANCES:
            on = WORD_BYTES * SignExtend(value, _DISTANCES[name])
            yield f"to {address + on & MASK64:#x}"
        else:
            yield f"{name}={value:#x}" if value > 9 else f"{name}={value}"
