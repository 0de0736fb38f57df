"""The symbolic execution against the interpreter: the same code, the same values, the same end."""

import struct

import pytest
import z3

from model.a64 import A64Error
from model.a64.data_processing import ROWS as DATA_PROCESSING
from model.a64.decode import UndefinedWord
from model.a64.instructions import ROWS
from model.a64.interpreter import DECODER, record, step
from model.a64.state import SLOTS, SP, State
from model.a64.system import MRS, MSR_REGISTER
from model.arch import EL, SYSREGS, Event
from model.hyp.entry import TEXT, VCPU
from tb.proofs.sequences import Setting, evaluated, observed, observed_in, state_of
from tb.proofs.symbolic import OPERATIONS, End, Execution, Flags, Machine, Region, symbols

SIZE = 0x40  #: bytes of memory
WORDS = 16  #: of code around the one that is executed, for literals
EDGES = (0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 63) - 1, (1 << 64) - 1)

KNOWN = [row for row in ROWS if row.name in OPERATIONS]


def value(rng):
    return rng.choice(EDGES) if rng.random() < 0.3 else rng.getrandbits(64)


def some_word(rng, row):
    """A random word of a row, which is not reserved."""
    while True:
        word = row.value | rng.getrandbits(32) & ~row.mask
        if row.name in (MRS, MSR_REGISTER) and rng.random() < 0.95:
            register = rng.choice(list(SYSREGS.values()))
            parts = {"o0": register.op0 - 2, "op1": register.op1, "CRn": register.crn}
            parts |= {"CRm": register.crm, "op2": register.op2}
            for name, part in parts.items():
                field = row.fields[name]
                word = word & ~field.mask | field.put(part)
        try:
            DECODER.decode(word, TEXT)
        except UndefinedWord:
            continue
        return word


def random_values(rng):
    """Of everything at EL2, under the names of `observed`."""
    values = {name: value(rng) for name in State().sysregs}
    values |= {f"x{n}": value(rng) for n in range(31)}
    values |= {f"SP_EL{n}": value(rng) for n in (0, 1, 3)}
    values |= {f"vcpu+{at:#x}": value(rng) for at in range(0, SIZE, 8)}
    sp = rng.choice((VCPU, VCPU + 16, VCPU + 8, value(rng)))
    return values | {"x0": VCPU, "sp": sp, "nzcv": rng.getrandbits(4), "daif": rng.getrandbits(4)}


def near_memory(rng, values, word):
    """The registers of a load or store, so that it mostly finds memory."""
    fields = DECODER.decode(word, TEXT).fields
    if fields["Rn"] not in (0, SP):
        values[f"x{fields['Rn']}"] = VCPU + rng.randrange(-8, SIZE)
    if "Rm" in fields and fields["Rm"] not in (0, 31, fields["Rn"]):
        values[f"x{fields['Rm']}"] = rng.choice((0, 1, 2, (1 << 64) - 2, 0xFFFF_FFFE, value(rng)))


def numbers(values, text):
    """A machine in which nothing is unknown."""
    machine = symbols(TEXT, {"vcpu": SIZE}, list(State().sysregs))
    x = [z3.BitVecVal(values[f"x{n}"], 64) for n in range(31)]
    x += [z3.BitVecVal(values["sp"], 64)] + [z3.BitVecVal(0, 64)] * (SLOTS - SP - 1)
    flags = Flags(*(z3.BoolVal(bool(values["nzcv"] >> n & 1)) for n in (3, 2, 1, 0)))
    memory = b"".join(struct.pack("<Q", values[f"vcpu+{at:#x}"]) for at in range(0, SIZE, 8))
    machine.x, machine.flags, machine.daif = x, flags, z3.BitVecVal(values["daif"], 4)
    machine.unused_sps = [z3.BitVecVal(values.get(f"SP_{el.name}", 0), 64) for el in EL]
    machine.sysregs = {name: z3.BitVecVal(values[name], 64) for name in machine.sysregs}
    machine.memory = {
        "vcpu": [z3.BitVecVal(byte, 8) for byte in memory],
        "text": [z3.BitVecVal(byte, 8) for byte in text],
    }
    return machine


def execution(words, base):
    code = {TEXT + 4 * n: word for n, word in enumerate(words)}
    regions = {
        "vcpu": Region(base, SIZE, True, 8),
        "text": Region(z3.BitVecVal(TEXT, 64), 4 * len(words), False, 4),
    }
    return Execution(code, regions)


def as_numbers(machine: Machine):
    found = {name: z3.simplify(term) for name, term in observed(machine).items()}
    return {name: term.as_long() for name, term in found.items()}


@pytest.mark.parametrize("row", KNOWN, ids=lambda row: row.name)
def test_an_instruction_does_what_it_does_on_the_interpreter(row, rng):
    for _ in range(12):
        word = some_word(rng, row)
        words = (word, *(rng.getrandbits(32) for _ in range(WORDS)))
        values = random_values(rng)
        if {"Rn", "Rt"} <= row.fields.keys():
            near_memory(rng, values, word)
        state, memory = state_of(Setting("test", words, TEXT, SIZE), values)
        made = execution(words, z3.BitVecVal(VCPU, 64))
        machine = numbers(values, struct.pack(f"<{len(words)}I", *words))
        after = made.step(machine)
        told = f"{word:#010x} with {values}"
        try:
            event = step(state)
        except A64Error as error:
            assert after == [], (told, error)
            assert [path.end for path in made.paths] == [End.ERROR], (told, error)
            continue
        if event is Event.ERET:
            (path,) = made.paths
            assert path.end is End.REACHED
            assert as_numbers(path.machine) == observed_in(state, memory)
            continue
        (end,) = after
        assert end.pc == state.pc, told
        assert as_numbers(end) == observed_in(state, memory), told
        assert end.conditions == []


@pytest.mark.parametrize("name", ["SVC", "HVC", "SMC", "BRK"])
def test_a_call_is_an_error(name, rng):
    (row,) = [row for row in ROWS if row.name == name]
    made = execution((some_word(rng, row),), z3.BitVecVal(VCPU, 64))
    assert made.step(numbers(random_values(rng), bytes(4))) == []
    (path,) = made.paths
    assert (path.end, path.why) == (End.ERROR, f"{name} takes an exception")


def test_all_other_instructions_are_not_known(rng):
    unknown = [row for row in ROWS if row.name not in OPERATIONS]
    assert {row.name for row in unknown} > {"LDXR", "STLR", "WFI", "CLREX"}
    for row in unknown:
        if row.event in (Event.SVC, Event.HVC, Event.SMC, Event.EXCEPTION):
            continue
        made = execution((some_word(rng, row),), z3.BitVecVal(VCPU, 64))
        assert made.step(numbers(random_values(rng), bytes(4))) == []
        (path,) = made.paths
        assert path.end is End.UNKNOWN
        assert path.why == f"{row.name} is not known to the symbolic execution"


def test_a_word_that_is_none_is_not_known(rng):
    made = execution((0,), z3.BitVecVal(VCPU, 64))
    assert made.step(numbers(random_values(rng), bytes(4))) == []
    (path,) = made.paths
    assert path.end is End.UNKNOWN
    assert path.why.startswith("0x00000000 at 0x40080000 is no instruction")


LDR_X1 = 0xF940_0401  # ldr x1, [x0, #8]
STR_X2 = 0xB900_1C02  # str w2, [x0, #28]
_SLOW = {"UDIV", "SDIV", "SMULH", "UMULH"}


def program(rng, length):
    """Arithmetic, flags, loads and stores, and branches forwards."""
    rows = [row for row in DATA_PROCESSING if row.name not in _SLOW]
    branches = [row for row in ROWS if row.name in ("B.cond", "CBZ", "CBNZ", "TBZ", "TBNZ")]
    words = []
    for n in range(length):
        kind = rng.random()
        if kind < 0.2:
            words.append(rng.choice((LDR_X1, STR_X2)))
        elif kind < 0.45:
            row = rng.choice(branches)
            offset = row.fields["imm14" if "imm14" in row.fields else "imm19"]
            word = some_word(rng, row) & ~offset.mask
            words.append(word | offset.put(rng.randint(1, length - n)))
        else:
            word = some_word(rng, rng.choice(rows))
            rd = DECODER.decode(word, TEXT).fields.get("Rd")
            words.append(0xD503_201F if rd == 0 else word)  # x0 is where memory is
    return tuple(words)


def test_a_program_of_symbols_is_one_of_numbers_for_any_of_them(rng):
    """Of all paths, just the one that the interpreter takes has a condition that holds."""
    forked = 0
    for _ in range(12):
        words = program(rng, 10)
        machine = symbols(TEXT, {"vcpu": SIZE}, list(State().sysregs))
        before = observed(machine)
        made = execution(words, machine.x[0])
        paths = made.run(machine, TEXT + 4 * len(words), max_steps=100, max_paths=5000)
        forked += len(paths) > 1
        for _ in range(6):
            values = random_values(rng)
            setting = Setting("test", words, TEXT, SIZE)
            state, memory = state_of(setting, values)
            retired = record(state, setting.end, 100)
            taken = [
                path
                for path in paths
                if all(_is_so(condition, before, values) for condition in path.machine.conditions)
            ]
            (path,) = taken
            assert path.end is End.REACHED
            assert [one.pc for one in retired] == path.machine.executed
            assert evaluated(observed(path.machine), before, values) == observed_in(state, memory)
    assert forked > 3


def _is_so(condition, before, values):
    one = z3.If(condition, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1))
    return evaluated({"it": one}, before, values)["it"] == 1
