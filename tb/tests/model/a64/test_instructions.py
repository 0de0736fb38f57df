"""Unicorn, which shares nothing with the model, executes the same words on the same states."""

from contextlib import suppress
from random import Random

import pytest
from unicorn import Uc, UcError

from model.a64.decode import Reserved, Row, UndefinedWord
from model.a64.instructions import ROWS
from model.a64.interpreter import DECODER
from model.a64.loads_stores import ROWS as LOADS_STORES
from model.a64.state import MASK64
from tb.tests.model.a64.unicorn_judge import (
    DATA,
    DATA_SIZE,
    TEXT,
    Judge,
    hook_exceptions,
    new_unicorn,
    random_value,
)

WORDS_PER_ROW = 1000

#: What unicorn does not judge: EL and traps come in, or unicorn has no such state.
NOT_JUDGED = {
    "MRS": "unicorn has other system registers",
    "MSR (register)": "unicorn has other system registers",
    "MSR DAIFSet": "test_system judges it",
    "MSR DAIFClr": "test_system judges it",
    "MSR SPSel": "test_system judges it",
    "SVC": "an exception: unicorn gives it to a hook",
    "HVC": "an exception: unicorn gives it to a hook",
    "SMC": "an exception: unicorn gives it to a hook",
    "BRK": "an exception: unicorn gives it to a hook",
    "ERET": "unicorn restores PSTATE",
}
JUDGED = [row for row in ROWS if row.name not in NOT_JUDGED]

INDIRECT = {"BR", "BLR", "RET"}
#: These may end elsewhere, or end the emulation.
BRANCHES = {"B", "BL", *INDIRECT, "B.cond", "CBZ", "CBNZ", "TBZ", "TBNZ", "WFE", "WFI", "YIELD"}

BASED = {row.name for row in LOADS_STORES if "Rn" in row.fields}
REGISTER_FIELDS = {"Rd", "Rn", "Rm", "Ra", "Rt", "Rt2", "Rs"}


@pytest.fixture(scope="module")
def unicorn() -> Uc:
    return new_unicorn()


def word_of(row: Row, **fields: int) -> int:
    return row.value | sum(row.fields[name].put(value) for name, value in fields.items())


def random_word(row: Row, rng: Random) -> int:
    """A word of the row that is not reserved, and whose address can be chosen."""
    while True:
        fields = {name: rng.getrandbits(field.width) for name, field in row.fields.items()}
        if "option" in fields and row.name in BASED and fields["Rm"] == fields["Rn"] != 31:
            continue
        try:
            row.build(**fields)
        except Reserved:
            continue
        return word_of(row, **fields)


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


def accessed_offset(row: Row, word: int, fields: dict[str, int], rm: int) -> int:
    """What the manual adds to the base of a load or store before the access."""
    if "post-index" in row.name:
        return 0
    if "imm12" in fields:
        return fields["imm12"] << (word >> 30)
    if "imm9" in fields:
        return signed(fields["imm9"], 9)
    if "imm7" in fields:
        return signed(fields["imm7"], 7) * (8 if word >> 31 else 4)
    if "option" in fields:
        low = rm if fields["option"] & 1 else rm & 0xFFFF_FFFF
        extended = signed(low, 32) if fields["option"] == 0b110 else low
        return extended << (word >> 30) * fields["S"]
    return 0


def randomize(judge: Judge, row: Row, word: int, rng: Random) -> None:
    """New values in the flags and in all registers that the word names; bases to the data."""
    fields = {name: field.get(word) for name, field in row.fields.items()}
    for name in REGISTER_FIELDS & fields.keys():
        judge.set(fields[name], random_value(rng))
    judge.set_nzcv(rng.getrandbits(4))
    if row.name in BASED:
        rm = judge.state.x[fields.get("Rm", 0)] if fields.get("Rm") != 31 else 0
        aligned = 16 if word >> 24 & 0x3F == 0b001000 else 1  # exclusive and ordered
        target = DATA + rng.randrange(0, DATA_SIZE - 16, aligned)
        offset = accessed_offset(row, word, fields, rm)
        judge.set(fields["Rn"], target - offset & MASK64)
    if row.name in INDIRECT:
        judge.set(fields["Rn"], TEXT + 4 * rng.randrange(0x1000))


def load_exclusive(row: Row, word: int, rng: Random) -> int:
    """The load-exclusive that goes with a store-exclusive, to a register that is not its base."""
    base = row.fields["Rn"].get(word)
    t = rng.choice([n for n in range(31) if n != base])
    kept = word & ~(1 << 15 | 0x1F << 16 | 0x1F << 10 | 0x1F)
    return kept | 1 << 22 | 0x1F << 16 | 0x1F << 10 | t


@pytest.mark.parametrize("row", JUDGED, ids=lambda row: row.name)
def test_unicorn_agrees_on_random_words_and_states(row, unicorn, rng):
    judge = Judge(unicorn, rng)
    branches = row.name in BRANCHES
    stores_exclusive = row.name.startswith("ST") and "Rs" in row.fields
    for _ in range(WORDS_PER_ROW):
        words = [random_word(row, rng)]
        randomize(judge, row, words[0], rng)
        before = judge.state.x.copy()
        if stores_exclusive and rng.random() < 0.7:
            words.insert(0, load_exclusive(row, words[0], rng))
        event = judge.execute(*words, branches=branches)
        assert judge.found() == judge.expected(), f"{row.name}: {words[-1]:#010x} on {before}"
        assert event is row.event


RANDOM_WORDS = 40_000

#: What unicorn executes and the model has not: mask, value, and why.
NOT_HERE = [
    (0x3F00_0000, 0x0800_0000, "an exclusive or ordered access whose should-be-one bits are not"),
    (0xFF60_8000, 0x9B40_0000, "SMULH and UMULH whose should-be-one bits are not"),
    (0x7FE0_E000, 0x1AC0_4000, "CRC32 and CRC32C: an option of Armv8.0 that a Cortex-A53 has"),
    (0x3F20_0C00, 0x3800_0800, "LDTR and STTR: not needed"),
    (0xFFC0_0000, 0xD500_0000, "system instructions and registers that are not known here"),
]
#: What the model has and this unicorn has not: EL2 and EL3.
NOT_IN_UNICORN = {"HVC", "SMC"}

UNDEFINED = 1  #: unicorn's number of the exception


def is_integer(word: int) -> bool:
    """Whether bits 28:25 are of a group that the rows cover: not SVE, SIMD and floating point."""
    op0 = word >> 25 & 0xF
    return op0 in (0b1000, 0b1001, 0b1010, 0b1011, 0b0101, 0b1101, 0b0100, 0b1100)


def unicorn_decodes(judge: Judge, numbers: list[int], word: int) -> bool:
    """Whether a word is an instruction in unicorn, be there memory where it wants it or not."""
    numbers.clear()
    with suppress(UcError):
        judge.execute_in_unicorn(word, branches=word >> 26 & 0b111 == 0b101)
    return UNDEFINED not in numbers


def refusal(word: int) -> str | None:
    """Why the model does not decode a word: None if it does."""
    try:
        DECODER.decode(word, 0)
    except UndefinedWord as error:
        return str(error)
    return None


def test_the_model_decodes_what_unicorn_decodes(rng):
    judge = Judge(new_unicorn(), rng)
    numbers = hook_exceptions(judge.machine)
    compared = 0
    for word in filter(is_integer, (rng.getrandbits(32) for _ in range(RANDOM_WORDS))):
        compared += 1
        why_not = refusal(word)
        decodes = unicorn_decodes(judge, numbers, word)
        if why_not is None:
            name = DECODER.decode(word, 0).name
            assert decodes or name in NOT_IN_UNICORN, f"{word:#010x} is no {name} in unicorn"
        elif decodes and "CONSTRAINED UNPREDICTABLE" not in why_not:
            assert any(word & mask == value for mask, value, _ in NOT_HERE), why_not
    assert compared > RANDOM_WORDS // 3


def test_every_row_is_of_a_group_that_decode_agreement_covers():
    assert all(is_integer(row.value) for row in ROWS)
