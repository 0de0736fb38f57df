"""The manual's tables against the rules, and that each of these checks can fail."""

import functools
import shutil
from dataclasses import replace

import numpy as np
import pytest

from model import tables
from model.columns import Lines
from model.machine import take

MANUAL = tables.DIRECTORY

# File to (lines below the comment and the header, the columns of its inputs).
FILES = {
    "routing-enable": "halted lock ns sdd eel2 tge tde kde d",
    "step-state": "eld_aarch enabled mdscr_ss pstate_ss",
    "exception-return-select": "mdscr_ss lock ns sdd eel2 tge tde el1 el2",
    "exception-return-eld1": "from_el target_el kde pstate_d spsr_d",
    "exception-return-eld2": "from_el target_el kde pstate_d spsr_d",
}
LENGTHS = {
    "routing-enable": 24,
    "step-state": 5,
    "exception-return-select": 17,
    "exception-return-eld1": 18,
    "exception-return-eld2": 18,
    "exception-entry-spsr-ss": 7,
    "syndrome": 8,
}

# EL2 uses AArch32 only where EL1 does, and never in Secure state: these rows are about no PE.
NO_PE = [("exception-return-select", 10), ("exception-return-select", 12)]


class Copy:
    """The manual's files in a directory of the test's own, to be changed cell by cell."""

    def __init__(self, directory):
        self.directory = directory
        shutil.copytree(MANUAL, directory, dirs_exist_ok=True)

    def lines(self, name):
        return (self.directory / f"{name}.csv").read_text(encoding="utf-8").splitlines()

    def write(self, name, lines):
        text = "\n".join(lines) + "\n"
        (self.directory / f"{name}.csv").write_text(text, encoding="utf-8")

    def column(self, name, column):
        return self.lines(name)[1].split(",").index(column)

    def cell(self, name, line, column):
        return self.lines(name)[line - 1].split(",")[self.column(name, column)]

    def change(self, name, line, column, value):
        lines = self.lines(name)
        cells = lines[line - 1].split(",")
        assert cells[self.column(name, column)] != value
        cells[self.column(name, column)] = value
        lines[line - 1] = ",".join(cells)
        self.write(name, lines)

    def only(self, name, *numbers):
        """Make comments of all other rows: line numbers stay, and a check takes no time."""
        lines = self.lines(name)
        self.write(
            name,
            [text if at <= 2 or at in numbers else "# " + text for at, text in enumerate(lines, 1)],
        )


@functools.cache
def claims(table):
    """What the manual's own files say."""
    assert tables.DIRECTORY == MANUAL
    return tables.claims(table)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "DIRECTORY", tmp_path)
    return Copy(tmp_path)


def rows_of(name):
    """The line numbers of a table's rows: below a comment and a header."""
    return range(3, 3 + LENGTHS[name])


def each_row(*names):
    return [(name, line) for name in names for line in rows_of(name)]


# What the tables are, and that they hold


@pytest.mark.parametrize("name", LENGTHS)
def test_rows_are_numbered_by_their_lines(name):
    assert [number for number, _ in tables.rows(name)] == list(rows_of(name))


@pytest.mark.parametrize("table", tables.TABLES)
def test_rules_agree_with_the_table(table):
    assert tables.disagreements(table) == []


@pytest.mark.parametrize("name", FILES)
def test_rows_cover_everything_once(name):
    assert tables.gaps(name) == []


@pytest.mark.parametrize("table", tables.TABLES)
def test_every_row_makes_claims(table):
    names = set(" ".join(claims(table).names).split())
    parts = [name for name in LENGTHS if name.startswith(table)]
    silent = {
        # "either", and a load-exclusive of AArch32: nothing is claimed.
        "exception-entry-spsr-ss.csv:9",
        "syndrome.csv:5",
    }
    wanted = {f"{name}.csv:{line}" for name, line in each_row(*parts)} - silent
    about_no_pe = {f"{name}.csv:{line}" for name, line in NO_PE if name in parts}
    assert wanted - names == about_no_pe
    assert names <= wanted


# That each check can fail


@pytest.mark.parametrize(
    ("line", "column", "was"),
    [
        (line, column, row[column])
        for line, row in tables.rows("routing-enable")
        for column in ("el0", "el1", "el2", "el3")
        if row[column] != "n"  # the manual says nothing there
    ],
)
def test_wrong_route_is_found(copy, line, column, was):
    name = "routing-enable"
    copy.only(name, line)
    assert tables.disagreements(name) == []
    copy.change(name, line, column, {"-": "1", "1": "2", "2": "1"}[was])
    found = tables.disagreements(name)
    says = {
        "-": "enabled is 1, the rules say False",
        "1": "eld is 2, the rules say 1",
        "2": "eld is 1, the rules say 2",
    }
    assert f"{name}.csv:{line}: {says[was]}" in found
    assert all(sentence.startswith(f"{name}.csv:{line}: ") for sentence in found)


@pytest.mark.parametrize(("name", "line"), each_row("step-state"))
def test_wrong_state_is_found(copy, name, line):
    was = copy.cell(name, line, "state")
    copy.change(name, line, "state", "inactive" if was != "inactive" else "active-pending")
    found = tables.disagreements(name)
    assert found
    assert all(sentence.startswith(f"step-state.csv:{line}: state is ") for sentence in found)


@pytest.mark.parametrize("line", range(3, 9))
def test_wrong_saved_ss_is_found(copy, line):
    name = "exception-entry-spsr-ss"
    was = copy.cell(name, line, "spsr_ss")
    copy.change(name, line, "spsr_ss", str(1 - int(was)))
    found = tables.disagreements(name)
    assert found
    assert all(sentence.startswith(f"{name}.csv:{line}: spsr_ss is ") for sentence in found)


@pytest.mark.parametrize("line", [line for line in rows_of("syndrome") if line != 5])
@pytest.mark.parametrize("column", ["isv", "ex"])
def test_wrong_syndrome_is_found(copy, line, column):
    was = copy.cell("syndrome", line, column)
    copy.change("syndrome", line, column, {"0": "1", "1": "0", "either": "1", "correct": "1"}[was])
    found = tables.disagreements("syndrome")
    assert found
    assert all(sentence.startswith(f"syndrome.csv:{line}: esr is ") for sentence in found)


@pytest.mark.parametrize("eld", ["eld1", "eld2"])
@pytest.mark.parametrize("line", rows_of("exception-return-eld1"))
def test_wrong_return_is_found(copy, eld, line):
    name = f"exception-return-{eld}"
    # One row selects each table: Non-secure, with and without TDE.
    copy.only("exception-return-select", 15 if eld == "eld1" else 17)
    copy.only(name, line)
    assert tables.disagreements("exception-return") == []
    was = copy.cell(name, line, "pstate_ss")
    copy.change(name, line, "pstate_ss", {"0": "spsr", "spsr": "0"}[was])
    found = tables.disagreements("exception-return")
    assert found
    assert all(f" {name}.csv:{line}: ss_after is " in sentence for sentence in found)


@pytest.mark.parametrize("eld", ["eld1", "eld2"])
@pytest.mark.parametrize("line", rows_of("exception-return-eld1"))
def test_wrong_enable_at_the_source_of_a_return_is_found(copy, eld, line):
    name = f"exception-return-{eld}"
    was = copy.cell(name, line, "enabled_from")
    copy.only("exception-return-select", 15 if eld == "eld1" else 17)
    copy.only(name, line)
    copy.change(name, line, "enabled_from", {"0": "1", "1": "0", "x": "0"}[was])
    found = tables.disagreements("exception-return")
    assert found
    assert all(f" {name}.csv:{line}: enabled is " in sentence for sentence in found)


@pytest.mark.parametrize(
    ("name", "line"), [row for row in each_row("exception-return-select") if row not in NO_PE]
)
def test_wrong_selection_is_found(copy, name, line):
    copy.only(name, line)
    copy.only("exception-return-eld1", 8)  # from EL3 to EL0
    copy.only("exception-return-eld2", 8)
    assert tables.disagreements("exception-return") == []
    was = copy.cell(name, line, "use")
    copy.change(name, line, "use", {"0": "eld1", "eld1": "0", "eld2": "0"}[was])
    found = tables.disagreements("exception-return")
    assert found
    assert all(sentence.startswith(f"{name}.csv:{line} ") for sentence in found)


@pytest.mark.parametrize(("name", "line"), [row for row in each_row(*FILES) if row not in NO_PE])
def test_missing_row_is_a_gap(copy, name, line):
    lines = copy.lines(name)
    lines[line - 1] = "# " + lines[line - 1]
    copy.write(name, lines)
    found = tables.gaps(name)
    assert found
    assert all(sentence.startswith(f"{name}.csv: 0 rows cover ") for sentence in found)


@pytest.mark.parametrize(("name", "line"), each_row(*FILES))
def test_row_that_stands_twice_is_a_gap(copy, name, line):
    lines = copy.lines(name)
    copy.write(name, [*lines, lines[line - 1]])
    found = tables.gaps(name)
    assert found
    assert all(sentence.startswith(f"{name}.csv: 2 rows cover ") for sentence in found)


@pytest.mark.parametrize(("name", "line"), [row for row in each_row(*FILES) if row not in NO_PE])
def test_wrong_input_cell_is_a_gap(copy, name, line):
    # One cell of each row, another column in each: more than once round for every table.
    columns = FILES[name].split()
    column = columns[line % len(columns)]
    domain = tables._domain(column)
    copy.change(name, line, column, domain[copy.cell(name, line, column) == domain[0]])
    found = tables.gaps(name)
    assert found
    assert all(sentence.startswith(f"{name}.csv: ") for sentence in found)


def test_gap_says_what_is_not_covered(copy):
    copy.only("step-state", 3, 4, 5, 6)
    assert tables.gaps("step-state") == [
        "step-state.csv: 0 rows cover {'eld_aarch': '64', 'enabled': '1', "
        "'mdscr_ss': '1', 'pstate_ss': '0'}"
    ]


# What the other cells of the tables say


@pytest.mark.parametrize("eld", ["eld1", "eld2"])
@pytest.mark.parametrize("line", rows_of("exception-return-eld1"))
def test_destination_of_a_return_is_enabled_as_the_table_says(copy, eld, line):
    says = copy.cell(f"exception-return-{eld}", line, "enabled_target")
    copy.only("exception-return-select", 15 if eld == "eld1" else 17)
    copy.only(f"exception-return-{eld}", line)
    said = tables.claims("exception-return")
    # MDSCR_EL1.SS is 1 and ELd uses AArch64: the state is inactive exactly where disabled.
    active = take(said.lines.pe, said.lines.given).state_after != 0
    assert set(active.tolist()) == {"0": {False}, "1": {True}, "x": {False, True}}[says]


# The one known difference: the tables omit SUIDEN


def with_suiden(said):
    pe = replace(said.lines.pe, sder32_el3=np.ones_like(said.lines.pe.sder32_el3))
    return Lines(pe, said.lines.given, said.lines.has_target)


@pytest.mark.parametrize("el1_aarch32", [False, True])
def test_suiden_differs_from_the_routing_table_exactly_where_known(el1_aarch32):
    said = claims("routing-enable")
    lines = with_suiden(said)
    width = np.full_like(lines.pe.el1_aarch32, el1_aarch32)
    pe = replace(lines.pe, el1_aarch32=width)
    ruled = take(pe, lines.given).enabled
    differs = ruled != (said.expected["enabled"] == 1)
    secure = (pe.scr_el3 & 1) == 0
    sdd = (pe.mdcr_el3 >> 16 & 1) == 1
    locked = ((pe.oslsr_el1 & 2) != 0) | pe.double_lock | pe.halted
    known = secure & sdd & (pe.el == 0) & width & ~locked
    assert differs.tolist() == known.tolist()
    assert differs.any() == el1_aarch32
    assert ruled[differs].all()


def test_suiden_differs_from_the_return_tables_exactly_where_known():
    said = claims("exception-return")
    pe, given = with_suiden(said).pe, said.lines.given
    effect = take(pe, given)
    differs = effect.ss_after != said.expected["ss_after"]
    secure = (pe.scr_el3 & 1) == 0
    sdd = (pe.mdcr_el3 >> 16 & 1) == 1
    to_el0 = (said.expected["el_after"] == 0) & pe.el1_aarch32
    # It is a return that steps: not locked, and ELd, which is not EL1 then, uses AArch64.
    steps = ((pe.oslsr_el1 & 2) == 0) & ~pe.double_lock & ((pe.mdscr_el1 & 1) == 1)
    to_el2 = ((pe.hcr_el2 >> 27 | pe.mdcr_el2 >> 8) & 1 == 1) & (pe.scr_el3 >> 18 & 1 == 1)
    copies = (given.spsr >> 21 & 1) == 1
    known = secure & sdd & to_el0 & steps & to_el2 & ~pe.el2_aarch32 & copies
    assert known.any()
    assert differs.tolist() == known.tolist()
    assert (effect.el_after == said.expected["el_after"]).all()
    assert (effect.il_after == said.expected["il_after"]).all()
