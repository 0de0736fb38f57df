"""The page of a run: what is in it, and that it needs nothing else and is whole or not there."""

import json
import os
import re
from html.parser import HTMLParser
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest

from model.arch import EL, Event, StepState
from tb import coverage, prove, totals, work
from tb.core import coverage as core_coverage
from tb.core.groups import GROUPS as CORE_GROUPS
from tb.harness import UNIT
from tb.page import covered, page, proved, wave
from tb.page.packed import Pictures
from tb.plan import Plan
from tb.report import Report
from tb.run import main

from .conftest import HOSTILE, keep

VOID = {"meta", "link", "input", "br", "img", "path", "rect"}


class Parsed(HTMLParser):
    """Elements with their attributes, and the text of each; every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], {}, []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for place in self.open:
            self.text[place] = self.text.get(place, "") + data

    def of(self, tag, at=None):
        return self.text[tag, at]

    def links(self):
        return [
            (tag, value)
            for tag, attributes in self.elements
            for name, value in attributes.items()
            if name in ("src", "href", "action", "xlink:href")
        ]


@pytest.fixture(scope="module")
def pages(passing, failing):
    return {each: Parsed(each.path.read_text()) for each in (passing, failing)}


def drawn(parsed):
    """The pictures, as the script has them."""
    content = json.loads(parsed.of("script", "data"))
    for picture in content["waves"]:
        cycles = list(accumulate(picture["cycles"], initial=picture["first"]))[1:]
        lanes = [(name, unpacked(runs, content["texts"])) for name, runs in picture["lanes"]]
        yield {**picture, "cycles": cycles, "lanes": lanes}


def unpacked(runs, texts):
    values = []
    for number in runs:
        values += [texts[number]] if number >= 0 else values[-1:] * -number
    return values


def lanes(picture):
    return dict(map(tuple, picture["lanes"]))


# What is in it


def test_the_verdict_is_the_runs(pages, passing, failing):
    assert (passing.code, failing.code) == (0, 1)
    assert pages[passing].of("p", "verdict").startswith("PASS: 3 tests, ")
    assert pages[failing].of("p", "verdict").startswith("FAIL: 2 of 2 tests, ")
    assert pages[failing].of("title").startswith("FAIL")


def test_the_page_needs_nothing_else(pages):
    for parsed in pages.values():
        for tag, link in parsed.links():
            assert not re.match(r"(?i)\s*(https?:)?//", link), (tag, link)
            assert tag == "a" or link == "data:,"
        assert "url(" not in parsed.of("style")
        code = parsed.of("style") + parsed.of("script")
        assert "addEventListener" in code
        assert not re.search(r"@import|fetch\(|XMLHttp|import\(", code)


def test_every_link_leads_somewhere(pages):
    for made, parsed in pages.items():
        names = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
        assert len(names) == len(set(names))
        for tag, link in parsed.links():
            if tag == "a" and link.startswith("#"):
                assert link[1:] in names
            elif tag == "a":
                assert (made.path.parent / link).is_file()


def test_hostile_text_is_text(pages, failing):
    parsed = pages[failing]
    assert HOSTILE in parsed.of("table", "test-table")
    assert not [tag for tag, _ in parsed.elements if tag == "img"]
    scripts = [attributes for tag, attributes in parsed.elements if tag == "script"]
    assert len(scripts) == 2
    assert not any(name.startswith("on") for _, each in parsed.elements for name in each)


def test_each_test_is_listed_those_that_failed_with_what_they_say(pages, passing, failing):
    table = pages[failing].of("table", "test-table")
    assert "ss_after" in table and "python -m tb.run toy.steps --sim pysim --seed 1 -w" in table
    rows = [each for tag, each in pages[passing].elements if each.get("data-status") == "passed"]
    assert len(rows) == 3


def test_failures_are_counted_by_cause(pages, passing, failing):
    cells = next(table for table in _tables(failing) if table[0] == ["tests", "cause", "the first"])
    found = {cause: (count, first) for count, cause, first in cells[1:]}
    first = "toy.hostile [pysim, seed 1]"
    assert found == {"the hardware differs in ss_after": ("2", first)}
    assert ("table", {"id": "causes"}) not in pages[passing].elements


def test_labels_for_screen_readers(pages):
    for parsed in pages.values():
        tags = [tag for tag, _ in parsed.elements]
        assert tags.count("main") == tags.count("header") == tags.count("nav") == 1
        assert tags.count("caption") == tags.count("table") > 1
        for tag, attributes in parsed.elements:
            if tag == "section":
                assert attributes["aria-labelledby"]
            if attributes.get("role") == "application":
                assert attributes["tabindex"] == "0" and attributes["aria-roledescription"]


def test_sequences_stand_side_by_side(pages, passing):
    (table,) = [
        table
        for table in _tables(passing)
        if table[0][:4] == ["guest debug", "cycles", "v1", "bic"]
    ]
    assert table[1:] == [["off", "entry", "6", "7"], ["on", "entry", "25", "26"]]


def _tables(made):
    """The cells of each table."""
    for table in re.findall(r"(?s)<table.*?</table>", made.path.read_text()):
        rows = re.findall(r"(?s)<tr.*?</tr>", table)
        cells = [re.findall(r"(?s)<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
        yield [[re.sub("<.*?>", "", cell).strip() for cell in row] for row in cells]


def test_sections_without_data_are_left_out(pages, failing):
    names = {attributes.get("id") for _, attributes in pages[failing].elements}
    assert {"tests", "waves", "sequences", "proofs"} <= names
    assert not {"machine", "coverage"} & names  # a test that fails covers nothing
    assert not {"defects", "tables"} & names


# Waveforms


def test_the_rows_around_a_mismatch_are_drawn(pages, failing):
    for picture in drawn(pages[failing]):
        assert picture["what"] == "where the test failed"
        assert picture["first"] == 0 and picture["cycles"][:31] == list(range(31))
        shown = lanes(picture)
        assert shown["event"][:3] == ["load", "execute", "execute"]
        assert shown["state"][1:4] == ["active-not-pending", "active-pending", "inactive"]
        assert shown["exception"][2].startswith("step exception to EL")
        assert shown["state_after"][1:3] == ["active-pending", "inactive"]
    _, toy = drawn(pages[failing])
    assert toy["cycles"][toy["moment"]] == 1


def test_the_differences_stand_beside_it(pages, failing):
    found = [
        table for table in _tables(failing) if table[0] == ["field", "hardware", "model", "differs"]
    ]
    assert ["ss_after", "1", "0", "differs"] in found[-1]
    assert ["el", "EL1", "EL1", ""] in found[-1]


def test_the_differences_of_a_text():
    lines = (
        "cycle 3: no",
        "  field  hardware  model     ",
        "  el     EL1       EL1       ",
        "  d      1         0      !!!",
        "the events before it:",
        "    x  y  z",
    )
    assert page.differences("\n".join(lines)) == [
        ["field", "hardware", "model"],
        ["el", "EL1", "EL1", ""],
        ["d", "1", "0", "differs"],
    ]
    assert page.differences("no table") == []


def test_the_core_is_drawn_with_its_instructions(pages, passing):
    picture, *_ = drawn(pages[passing])
    shown = lanes(picture)
    assert "guest" not in shown and shown["EL"][0] == "EL3"  # all of it is at EL3
    assert shown["PC"][1] == hex(int(shown["PC"][0], 16) + 4)
    assert any(text.lower().startswith("mov") for text in shown["hypervisor"])
    assert all(before < after for before, after in pairwise(picture["cycles"]))


@pytest.mark.parametrize("simulator", work.SIMULATORS)
def test_every_simulators_waveform_is_read_alike(simulator, tmp_path):
    if missing := work.adapter(simulator).missing():
        pytest.skip(f"not run: {missing}")
    work.load_cases(None)
    job = work.Job("directed.eret_keeps_the_ss_it_has_just_loaded", seed=1)
    (result,) = work.run_unit(work.Unit(simulator, (job,), waves=tmp_path))
    found = wave.read(result.waves.with_suffix(".vcd"), UNIT.name, (page.FAILED, 1))
    assert (found.cycles, found.first, found.moment, found.cut) == ([0, 1, 2, 3, 4], 0, 1, "")
    shown = dict(found.lanes)
    assert shown["event"] == ["load", "eret", "execute", "execute", ""]
    assert shown["EL"] == ["EL3", "EL2", "EL1", "EL1", "EL2"]
    assert shown["state"][1:4] == ["inactive", "active-not-pending", "active-pending"]
    assert shown["ESR"] == ["", "", "", "0xcb000022", ""]


def test_a_long_waveform_is_cut_and_says_so(made, monkeypatch):
    monkeypatch.setattr(wave, "BEFORE", 10)
    monkeypatch.setattr(wave, "AFTER", 5)
    parsed = Parsed(made("toy.steps", "--report", "-w").path.read_text())
    (picture,) = drawn(parsed)
    assert len(picture["cycles"]) <= 15
    (cut,) = [each["data-cut"] for _, each in parsed.elements if "data-cut" in each]
    assert cut.startswith("Cut: at most 10 rows ")
    assert picture["what"] == "the first step to EL2"
    assert lanes(picture)["exception"][picture["moment"]].startswith("step exception")


@pytest.mark.parametrize("left_out", [0, 1])
def test_a_waveform_that_is_whole_is_not_cut(stepped, monkeypatch, left_out):
    whole = wave.read(stepped, UNIT.name, (page.FAILED, 1))
    monkeypatch.setattr(wave, "BEFORE", whole.moment + 1)
    monkeypatch.setattr(wave, "AFTER", len(whole.cycles) - whole.moment - 1 - left_out)
    found = wave.read(stepped, UNIT.name, (page.FAILED, 1))
    assert found.cycles == whole.cycles[: len(whole.cycles) - left_out]
    assert bool(found.cut) == bool(left_out)


def test_what_is_noted_is_said_of_its_row(stepped):
    assert wave.read(stepped, UNIT.name, (page.FAILED, 2)).what == "where the test failed"
    assert wave.read(stepped, UNIT.name).what == "the first step to EL2"


@pytest.fixture
def stepped(tmp_path):
    """The VCD of a test on the default simulator."""
    work.load_cases(None)
    job = work.Job("directed.eret_keeps_the_ss_it_has_just_loaded", seed=1)
    unit = work.Unit(work.default_simulator(), (job,), waves=tmp_path)
    return work.run_unit(unit)[0].waves.with_suffix(".vcd")


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"\xff\n#1\n1!\n", b"$enddefinitions $end\n#x\n"]
)
def test_a_waveform_that_cannot_be_read_is_not_drawn(here, content, capsys):
    assert main(["toy.hostile", "-j", "1", "--sim", "pysim", "-q"]) == 1
    vcd = Path("sim_build/waves/toy.hostile.pysim.1.vcd")
    result = work.Result(
        *("toy.hostile", "pysim", 1, work.FAILED, 31, 0.1, totals.none(), "no"),
        waves=vcd.with_suffix(".gtkw"),
    )
    vcd.write_bytes(content)
    text = page.html(Report(Plan(("pysim",), ("toy.hostile",)), [result]))
    assert re.search("Not drawn: (nothing happened|its file cannot be read)", text)
    assert 'href="../waves/toy.hostile.pysim.1.vcd"' in text


def test_a_file_name_that_is_no_text_does_no_harm(here):
    plan = Plan(("pysim",), (), hyp=os.fsdecode(b"\xff.S"))
    assert "--hyp ?.S" in page.write(Report(plan)).read_text()


def test_pictures_are_as_they_were_read():
    found = wave.Wave([4, 5, 9], 2, 1, [("a", ["x", "x", "y"]), ("b", ["", "", ""])], "here")
    pictures = Pictures(10_000)
    assert (pictures.add(found), pictures.add(found)) == (0, 1)
    content = json.loads(pictures.json)
    assert content["texts"] == ["x", "y", ""]
    assert content["waves"][1] == {
        "first": 2,
        "cycles": [2, 1, 4],
        "moment": 1,
        "what": "here",
        "lanes": [["a", [0, -1, 1]]],  # what says nothing is no lane
    }


def test_a_page_that_would_be_too_large_has_the_first_pictures(made, monkeypatch):
    monkeypatch.setattr(page, "MOST_DRAWN", 900)
    text = made("toy.steps", "toy.tells", "--report", "-w").path.read_text()
    assert len(list(drawn(Parsed(text)))) == 1
    assert text.count("Not drawn: the page has ") == 1
    assert 'href="../waves/toy.tells.pysim.1.vcd"' in text


def test_a_test_without_a_waveform_says_how_it_is_made(made):
    table = Parsed(made("toy.steps", "--report").path.read_text()).of("table", "test-table")
    assert "python -m tb.run toy.steps --sim pysim --seed 1 -w --report" in table


# The known defects


def test_a_known_defect_has_a_row_and_its_waveform(catalogue):
    parsed = Parsed(catalogue.path.read_text())
    (rows,) = [table for table in _tables(catalogue) if table[0][0] == "defect"]
    assert [row[0].partition(":")[0] for row in rows[1:]] == ["K1", "M2"]
    assert rows[2][1:7] == ["caught, twin clean", "waveform", "plain", "P1", "-", "start"]
    assert "tables" not in {attributes.get("id") for _, attributes in parsed.elements}
    for row, picture in zip(rows[1:], drawn(parsed), strict=True):
        assert picture["what"] == page.MARKED
        assert f"{picture['cycles'][picture['moment']]:,}" == row[8]


def test_a_defect_whose_test_failed_is_not_said_to_be_caught(here):
    result = work.Result(
        *("catalogue.M2", "compiled", 1, work.FAILED, 31, 0.1, totals.none(), "not caught")
    )
    text = page.html(Report(Plan(("compiled",), ("catalogue.M2",)), [result]))
    assert 'class="status failed">fail</a>' in text
    assert "caught, twin clean" not in text
    assert "python -m tb.run catalogue -w --report" in text


# Proofs


def test_every_claim_is_there_with_what_became_of_it(pages, failing):
    text = pages[failing].of("section", "proofs")
    claims = prove.select([])
    assert all(claim.name in text and claim.sentence in text for claim in claims)
    counts = f"1 refuted, 1 not proved, {len(claims) - 4} not run, 2 proved"
    assert f"Of {len(claims)} claims, each for every input: {counts}; 1 of these" in text
    assert "result.json cannot be read" in text
    assert "the solver gives up" in text and "python -m tb.prove sequences.v1" in text
    table = [["field", "hardware", "model"], ["ss_after", "1", "0"]]
    assert table in list(_tables(failing))
    assert 'href="../proofs/state.table/refuted.vcd"' in failing.path.read_text()


def test_what_is_not_proved_is_told_in_full_above_the_topics(pages, failing):
    articles = [each for tag, each in pages[failing].elements if tag == "article"]
    assert [each["id"] for each in articles][-2:] == ["claim-sequences.v1", "claim-state.table"]
    text = pages[failing].of("article", "claim-state.table")
    assert HOSTILE in text and "cycle 0: [start]" in text
    assert "python -m tb.prove state.table" in text


def test_before_any_proof_the_claims_are_not_run(pages, passing):
    text = pages[passing].of("section", "proofs")
    assert f"Not run. There are {len(prove.select([]))} claims" in text
    assert "python -m tb.prove" in text


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"status": "so"}', None]
)
def test_a_result_that_cannot_be_read_costs_a_line(here, content):
    path = keep("state.table")
    if content is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content)
    found = proved.proofs(str)
    assert [line.endswith("state.table/result.json cannot be read") for line in found.unreadable]
    assert {proof.word for proof in found.all} == {"not run"}
    assert "state.table/result.json cannot be read" in page.html(Report(Plan(("pysim",), ())))


def test_proofs_that_cannot_be_loaded_cost_a_line(here, monkeypatch):
    def missing():
        raise ImportError("no z4")

    monkeypatch.setattr(prove, "load", missing)
    assert "the proofs cannot be loaded: no z4" in page.html(Report(Plan(("pysim",), ())))


# Coverage


def _everything():
    counts = totals.none()
    totals.part(counts, UNIT.name)[:] = coverage.legal()
    return counts


def test_every_arrow_is_a_possible_transition():
    nodes, arrows = covered.states(coverage.legal().astype(np.int64))
    assert [node.name for node in nodes] == [state.text for state in StepState]
    assert {(arrow.source, arrow.target) for arrow in arrows if arrow.count} == {
        (arrow.source, arrow.target) for arrow in arrows
    }
    assert len(arrows) == 8
    _, nothing = covered.states(coverage.none())
    assert [arrow.events for arrow in nothing] == [""] * 8


def test_the_arrows_are_counted_by_what_took_them(pages, passing):
    found = {tuple(row[:2]): row[2:] for t in _tables(passing) for row in t if len(row) == 4}
    assert found["active-not-pending", "active-pending"] == ["2", "execute 2"]
    assert found["active-pending", "inactive"] == ["2", "step exception before execute 2"]


def test_every_cell_that_is_impossible_has_its_reason():
    matrix = covered.unit_matrix(coverage.none())
    assert len(matrix.rows) == len(Event) * len(StepState)
    cells = [cell for _, row in matrix.rows for cell in row]
    assert len(cells) == len(matrix.rows) * len(EL)
    for cell in cells:
        assert bool(cell.reason) == (cell.kind == "impossible")
        assert not cell.reason.startswith("the model never")
    full = covered.unit_matrix(totals.part(_everything(), UNIT.name))
    assert {cell.kind for _, row in full.rows for cell in row} == {"full", "impossible"}


def test_the_cores_impossible_cells_have_theirs():
    for matrix in covered.core_matrices(core_coverage.none()):
        for _, row in matrix.rows:
            assert {cell.kind for cell in row} <= {"hole", "impossible"}
            assert all(bool(cell.reason) == (cell.kind == "impossible") for cell in row)


def test_the_groups_add_up():
    counts = _everything()
    totals.part(counts, "core")[0] = 1
    (_, of_unit), (_, of_core) = covered.parts(counts)
    assert sum(part.hit for part in of_unit) == sum(part.legal for part in of_unit)
    assert sum(part.legal for part in of_unit + of_core) == totals.legal(counts)
    assert [part.name for part in of_core] == [group.name for group in CORE_GROUPS]
    (first, *_) = of_core
    assert len(first.holes) + first.more == first.legal - 1


# When it is written


def test_a_run_that_passes_writes_none_unless_it_is_asked_to(here, capsys):
    assert main(["toy.steps", "-j", "1", "--sim", "pysim"]) == 0
    assert "page:" not in capsys.readouterr().out
    assert not Path("sim_build/report").exists()


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_its_path_is_the_line_before_the_verdict(here, capsys, quiet):
    assert main(["toy.steps", "-j", "1", "--sim", "pysim", "--report", *quiet]) == 0
    *_, line, verdict = capsys.readouterr().out.splitlines()
    assert line == "page: sim_build/report/index.html"
    assert verdict.startswith("PASS")
    assert Path("sim_build/report/index.html").is_file()


def test_it_is_whole_or_not_there(here, monkeypatch, capsys):
    path = Path("sim_build/report/index.html")
    path.parent.mkdir(parents=True)
    path.write_text("the one before")

    def breaks(self, target):
        raise OSError(28, "No space left on device", str(target))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", breaks)
        assert page_of_a_run() == 2
    assert path.read_text() == "the one before"
    assert [each.name for each in path.parent.iterdir()] == ["index.html"]
    assert page_of_a_run() == 0
    assert path.read_text().startswith("<!doctype html>")
    assert [each.name for each in path.parent.iterdir()] == ["index.html"]


def page_of_a_run():
    return main(["toy.steps", "-j", "1", "--sim", "pysim", "--report"])


def test_one_line_if_it_cannot_be_written(here, capsys):
    Path("sim_build").mkdir()
    Path("sim_build/report").write_text("a file")
    assert page_of_a_run() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: sim_build/report: File exists"


def test_shards_that_are_merged_make_a_page(here, capsys):
    common = ["-j", "1", "--sim", "pysim", "toy.steps", "toy.tells"]
    for shard in ("1", "2"):
        assert main([*common, "--shard", f"{shard}/2", "--json", f"{shard}.json"]) == 0
    assert main(["--merge", "1.json", "2.json", "--report"]) == 0
    parsed = Parsed(Path("sim_build/report/index.html").read_text())
    assert parsed.of("p", "verdict").startswith("PASS: 2 tests, ")
