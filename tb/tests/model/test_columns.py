"""The input columns of the vector file: defaults, cells, and what a line must not say."""

from dataclasses import fields

import numpy as np
import pytest

from model.arch import Event, Last
from model.columns import BY_NAME, COLUMNS, parse_cell, problems, to_lines

MAX = 18446744073709551615

# The column table of the vector file's page: name to default (None: the cell gives nothing).
DEFAULTS = {
    "el": 1,
    "d": 0,
    "ss": 0,
    "il": 0,
    "mdscr_el1": 0,
    "mdcr_el2": 0,
    "hcr_el2": 0,
    "mdcr_el3": 0,
    "sder32_el3": 0,
    "oslsr_el1": 0,
    "scr_el3": 1,
    "double_lock": 0,
    "halted": 0,
    "el1_aarch32": 0,
    "el2_aarch32": 0,
    "have_el2": 1,
    "have_el3": 1,
    "have_sel2": 1,
    "last": Last.NOTHING,
    "isv_choice": 1,
    "event": None,
    "target_el": None,
    "spsr": 0,
    "d_write": None,
    "mdscr_write": None,
    "mdscr_seen": 1,
    "async_first": 0,
}
REGISTERS = [
    "mdscr_el1",
    "mdcr_el2",
    "hcr_el2",
    "mdcr_el3",
    "sder32_el3",
    "oslsr_el1",
    "scr_el3",
    "spsr",
    "mdscr_write",
]
EVENTS = {
    "execute": Event.EXECUTE,
    "load_exclusive": Event.LOAD_EXCLUSIVE,
    "isb": Event.ISB,
    "svc": Event.SVC,
    "hvc": Event.HVC,
    "smc": Event.SMC,
    "exception": Event.EXCEPTION,
    "interrupt": Event.INTERRUPT,
    "eret": Event.ERET,
    "debug_exit": Event.DEBUG_EXIT,
}
LASTS = {
    "nothing": Last.NOTHING,
    "instruction": Last.INSTRUCTION,
    "load_exclusive": Last.LOAD_EXCLUSIVE,
    "eret_or_isb": Last.ERET_OR_ISB,
    "other_exception": Last.OTHER_EXCEPTION,
    "other_exception_ex": Last.OTHER_EXCEPTION_EX,
}


# Columns and their defaults


def test_columns_and_defaults_are_those_of_the_page():
    assert {column.name: column.default for column in COLUMNS} == DEFAULTS


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name != "event"])
def test_empty_cell_is_the_default(name):
    assert parse_cell(BY_NAME[name], "") == (DEFAULTS[name] or 0)


def test_empty_event_is_an_error():
    with pytest.raises(ValueError, match=r"^'' is not one of execute, load_exclusive, isb, svc, "):
        parse_cell(BY_NAME["event"], "")


def test_column_left_out_takes_its_default():
    line = to_lines({"event": Event.EXECUTE})
    for name, default in DEFAULTS.items():
        holder = line.pe if hasattr(line.pe, name) else line.given
        if name not in ("event", "d_write", "mdscr_write"):
            assert getattr(holder, name) == (default or 0), name
    assert not line.given.d_write
    assert not line.given.mdscr_write
    assert not line.has_target
    assert line.pe.mdscr_el1_written == 0


# Cells


@pytest.mark.parametrize("name", REGISTERS)
@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("0", 0),
        ("0x0", 0),
        ("10", 10),
        ("0x10", 16),
        ("0xaBcDeF", 0xABCDEF),
        ("007", 7),
        ("0x0000000000000000000001", 1),
        ("18446744073709551615", MAX),
        ("0xFFFFFFFFFFFFFFFF", MAX),
        ("0xffffffffffffffff", MAX),
    ],
)
def test_register_is_hexadecimal_or_decimal_up_to_64_bits(name, cell, value):
    assert parse_cell(BY_NAME[name], cell) == value


def test_largest_register_value_reaches_the_pe_whole():
    line = to_lines({"hcr_el2": [MAX], "spsr": [MAX], "mdscr_write": [MAX], "event": [0]})
    values = line.pe.hcr_el2[0], line.given.spsr[0], line.given.mdscr_value[0]
    assert values == (MAX, MAX, MAX)


@pytest.mark.parametrize(
    "cell",
    [
        "x",
        "0x",
        "0X10",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "1_0",
        "0x1_0",
        "0b1",
        "0o7",
        " 1",
        "1 ",
        "1\n",
        "0xg",
        "1h",
        "١",
        "１",
        "18446744073709551616",
        "0x10000000000000000",
    ],
)
@pytest.mark.parametrize("name", ["mdscr_el1", "scr_el3", "mdscr_write"])
def test_ill_formed_register_is_refused(name, cell):
    with pytest.raises(ValueError) as error:
        parse_cell(BY_NAME[name], cell)
    says = "is not a number of at most 64 bits, hexadecimal (0x...) or decimal"
    assert str(error.value) == f"{cell!r} {says}"


def test_number_with_too_many_digits_to_convert_is_refused_and_cut_short_in_the_text():
    with pytest.raises(ValueError) as error:
        parse_cell(BY_NAME["spsr"], "9" * 5000)
    assert str(error.value).startswith("'" + "9" * 40 + "' is not a number of at most 64 bits")


FLAGS = [name for name in DEFAULTS if name not in (*REGISTERS, "el", "target_el", "last", "event")]


@pytest.mark.parametrize("name", FLAGS)
def test_flag_is_0_or_1(name):
    assert [parse_cell(BY_NAME[name], cell) for cell in "01"] == [0, 1]
    for cell in ("2", "-1", "00", "01", "0x1", "true", "yes", " 1"):
        with pytest.raises(ValueError) as error:
            parse_cell(BY_NAME[name], cell)
        assert str(error.value) == f"{cell!r} is not one of 0, 1"


@pytest.mark.parametrize("name", ["el", "target_el"])
def test_exception_level_is_0_to_3(name):
    assert [parse_cell(BY_NAME[name], cell) for cell in "0123"] == [0, 1, 2, 3]
    for cell in ("4", "-1", "EL1", "01", "0x1", "1 "):
        with pytest.raises(ValueError) as error:
            parse_cell(BY_NAME[name], cell)
        assert str(error.value) == f"{cell!r} is not one of 0, 1, 2, 3"


@pytest.mark.parametrize(("column", "names"), [("event", EVENTS), ("last", LASTS)])
def test_names(column, names):
    assert {name: parse_cell(BY_NAME[column], name) for name in names} == names
    for cell in ("0", "EXECUTE", "Nothing", "load-exclusive", "execute ", "none"):
        with pytest.raises(ValueError) as error:
            parse_cell(BY_NAME[column], cell)
        assert str(error.value) == f"{cell!r} is not one of {', '.join(names)}"


# Lines


def test_lines_take_the_shape_of_their_columns():
    lines = to_lines({"el": [0, 1, 2], "event": Event.SVC, "target_el": 2})
    for part in (lines.pe, lines.given):
        assert {getattr(part, f.name).shape for f in fields(part)} == {(3,)}
    assert lines.has_target.tolist() == [True] * 3
    assert to_lines({"event": 0}).pe.el.shape == ()


def test_what_a_line_may_leave_out_is_there_line_by_line():
    given = {"event": [0, 0], "d_write": [1, 0], "mdscr_write": [5, 0], "target_el": [2, 0]}
    present = {name: [True, False] for name in ("d_write", "mdscr_write", "target_el")}
    lines = to_lines(given, present)
    assert lines.given.d_write.tolist() == [True, False]
    assert lines.given.mdscr_write.tolist() == [True, False]
    assert lines.has_target.tolist() == [True, False]


@pytest.mark.parametrize(
    ("el", "el1_aarch32", "el2_aarch32", "nrw"),
    [
        (0, 0, 0, 0),
        (1, 0, 0, 0),
        (0, 1, 0, 1),
        (1, 1, 0, 1),
        (2, 1, 0, 0),
        (2, 1, 1, 1),
        (3, 1, 1, 0),
    ],
)
def test_el0_uses_aarch32_exactly_when_el1_does(el, el1_aarch32, el2_aarch32, nrw):
    line = to_lines({"el": el, "el1_aarch32": el1_aarch32, "el2_aarch32": el2_aarch32, "event": 0})
    assert line.pe.nrw == nrw


def test_mdscr_is_written_and_seen_before_the_line():
    line = to_lines({"mdscr_el1": 0x2001, "event": 0})
    assert line.pe.mdscr_el1 == line.pe.mdscr_el1_written == 0x2001


# What a line must not say

SECURE, EEL2, TGE = {"scr_el3": 0}, {"scr_el3": 1 << 18}, {"hcr_el2": 1 << 27}
NOT_IMPLEMENTED = "that EL is not implemented (have_el2, have_el3)"
NOT_ENABLED = "EL2 is not enabled in Secure state (scr_el3.NS = 0 needs have_sel2 and EEL2)"
NO_TARGET = "this event needs the EL it is taken to"
TOO_LOW = "an exception never goes below the current EL, nor to EL0"
TO_AARCH32 = "that EL uses AArch32; exceptions here are taken to AArch64"
FROM_AARCH32 = "a return starts in AArch64 state, the PE is in AArch32"
AARCH32 = {"el1_aarch32": 1}
AARCH32_2 = {"el1_aarch32": 1, "el2_aarch32": 1}

TARGETED = [Event.SVC, Event.HVC, Event.SMC, Event.EXCEPTION, Event.INTERRUPT]

WRONG = [
    ({"el": 2, "have_el2": 0}, "el", NOT_IMPLEMENTED),
    ({"el": 3, "have_el3": 0}, "el", NOT_IMPLEMENTED),
    ({"el": 2, **SECURE}, "el", NOT_ENABLED),
    ({"el": 2, **EEL2, "have_sel2": 0}, "el", NOT_ENABLED),
    ({"el2_aarch32": 1}, "el2_aarch32", "EL2 uses AArch32 only where EL1 does"),
    ({**AARCH32_2, **EEL2}, "el2_aarch32", "Secure EL2 never uses AArch32"),
    ({"halted": 1}, "halted", "in Debug state the event is debug_exit"),
    ({"halted": 1, "event": Event.ERET}, "halted", "in Debug state the event is debug_exit"),
    ({"event": Event.DEBUG_EXIT}, "halted", "debug_exit needs halted = 1"),
    *[({"event": event}, "target_el", NO_TARGET) for event in TARGETED],
    *[
        ({"event": event, "target_el": 3, "have_el3": 0}, "target_el", "that EL is not implemented")
        for event in TARGETED
    ],
    (
        {"event": Event.HVC, "target_el": 2, "have_el2": 0},
        "target_el",
        "that EL is not implemented",
    ),
    ({"event": Event.HVC, "target_el": 2, **SECURE}, "target_el", NOT_ENABLED),
    ({"event": Event.HVC, "target_el": 2, **EEL2, "have_sel2": 0}, "target_el", NOT_ENABLED),
    ({"event": Event.SVC, "target_el": 0, "el": 0}, "target_el", TOO_LOW),
    ({"event": Event.SVC, "target_el": 0}, "target_el", TOO_LOW),
    ({"event": Event.EXCEPTION, "target_el": 1, "el": 2}, "target_el", TOO_LOW),
    ({"event": Event.INTERRUPT, "target_el": 2, "el": 3}, "target_el", TOO_LOW),
    ({"event": Event.SVC, "target_el": 1, **AARCH32}, "target_el", TO_AARCH32),
    ({"event": Event.HVC, "target_el": 2, **AARCH32_2}, "target_el", TO_AARCH32),
    ({"event": Event.ERET, "el": 0}, "event", "there is no eret at EL0"),
    ({"event": Event.ERET, **AARCH32}, "event", FROM_AARCH32),
    ({"event": Event.ERET, "el": 2, **AARCH32_2}, "event", FROM_AARCH32),
    ({"event": Event.DEBUG_EXIT, "halted": 1, "el": 0, **AARCH32}, "event", FROM_AARCH32),
    *[
        ({"event": event, "target_el": 1, "d_write": 0}, "d_write", "only execute writes PSTATE.D")
        for event in Event
        if event not in (Event.EXECUTE, Event.DEBUG_EXIT)
    ],
    *[
        (
            {"event": event, "target_el": 1, "mdscr_write": 0},
            "mdscr_write",
            "only execute writes MDSCR_EL1",
        )
        for event in Event
        if event not in (Event.EXECUTE, Event.DEBUG_EXIT)
    ],
    (
        {"halted": 1, "event": Event.DEBUG_EXIT, "d_write": 1},
        "d_write",
        "only execute writes PSTATE.D",
    ),
    (
        {"d_write": 1, "mdscr_write": 1},
        "mdscr_write",
        "one instruction writes PSTATE.D or MDSCR_EL1, not both",
    ),
    ({"el": 0, "mdscr_write": 1}, "mdscr_write", "EL0 cannot write MDSCR_EL1"),
    ({"d_write": 1, **AARCH32}, "d_write", "AArch32 state has no PSTATE.D"),
    ({"d_write": 1, "el": 0, **AARCH32}, "d_write", "AArch32 state has no PSTATE.D"),
    (
        {"il": 1, "el": 0, **AARCH32},
        "il",
        "the Illegal Execution state exception would go to AArch32",
    ),
    ({"il": 1, **AARCH32}, "il", "the Illegal Execution state exception would go to AArch32"),
    (
        {"il": 1, "el": 0, **AARCH32_2, **TGE},
        "il",
        "the Illegal Execution state exception would go to AArch32",
    ),
]

FINE = [
    {},
    {"el": 0},
    {"el": 2},
    {"el": 3},
    {"el": 3, **SECURE},
    {"el": 2, **EEL2},
    {"el": 2, "have_el3": 0, **SECURE},
    {"have_el2": 0, "el2_aarch32": 1},
    {**AARCH32_2},
    {**AARCH32_2, **SECURE},
    {**AARCH32_2, **EEL2, "have_sel2": 0},
    {"halted": 1, "event": Event.DEBUG_EXIT},
    {"halted": 1, "event": Event.DEBUG_EXIT, "el": 0},
    *[{"event": event, "target_el": 1} for event in TARGETED],
    *[{"event": event, "target_el": 2, **TGE} for event in TARGETED],
    {"event": Event.SVC, "target_el": 1, **TGE},
    {"el": 1, **TGE},
    {"event": Event.HVC, "target_el": 2, **EEL2},
    {"event": Event.INTERRUPT, "target_el": 3, **SECURE},
    {"event": Event.SVC, "target_el": 2, **AARCH32},
    {"event": Event.SVC, "target_el": 3, **AARCH32_2},
    {"event": Event.EXECUTE, "target_el": 0},  # not used
    {"event": Event.EXECUTE, "target_el": 3, "have_el3": 0},  # not used
    {"event": Event.ERET},
    {"event": Event.ERET, "el": 2, **AARCH32},
    {"d_write": 1},
    {"d_write": 1, "el": 0},
    {"mdscr_write": 1},
    {"mdscr_write": 1, **AARCH32},
    {"il": 1, "el": 0, **AARCH32, **TGE},
    {"il": 1, "event": Event.EXCEPTION, "target_el": 2, **AARCH32},
    # The Software Step exception comes first, to an EL that uses AArch64.
    {"il": 1, "el": 0, **AARCH32, "mdscr_el1": 1, "mdcr_el2": 1 << 8},
]


def complaints(**given):
    line = to_lines({"event": Event.EXECUTE, **given})
    return [(column, text) for wrong, column, text in problems(line) if wrong]


@pytest.mark.parametrize(("given", "column", "text"), WRONG)
def test_line_that_must_not_be_is_refused(given, column, text):
    assert (column, text) in complaints(**given)


@pytest.mark.parametrize("given", FINE)
def test_line_that_may_be_is_taken(given):
    assert complaints(**given) == []


def test_problems_say_which_lines_are_wrong():
    lines = to_lines({"el": [1, 2, 3, 2], "have_el2": [0, 0, 0, 1], "event": Event.EXECUTE})
    wrong = {text: lines.tolist() for lines, _, text in problems(lines) if lines.any()}
    assert wrong == {NOT_IMPLEMENTED: [False, True, False, False]}


def test_every_problem_names_a_column():
    assert {column for _, column, _ in problems(to_lines({"event": np.array([0])}))} <= set(BY_NAME)
