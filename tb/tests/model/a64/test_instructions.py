"""Unicorn, which shares nothing with the model, executes the same words on the same states."""

from random import Random

import pytest
from unicorn import Uc

from model.a64.decode import Reserved, Row
from model.a64.instructions import ROWS
from model.a64.loads_stores import ROWS as LOADS_STORES
from model.a64.state import MASK64
from tb.tests.model.a64.unicorn_judge import (
    DATA,
    DATA_SIZE,
    TEXT,
    Judge,
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
