"""The reference of command lines and file formats: what it says is what there is."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hw import emit
from hw.step import StepUnit
from tb import bench, cases, growth, mutate, plot, prove, reference, run, work
from tb.bench import Line
from tb.growth import Point, Series
from tb.mutation.mutants import TARGETS, draw
from tb.testbench import Failure

ROOT = Path(reference.__file__).parents[1]


def test_the_file_is_what_the_code_says():
    assert reference.PATH.read_text(encoding="utf-8") == reference.text(), (
        "docs/reference.md is not what the code says: python -m tb.reference writes it"
    )


def test_the_file_is_rewritten_only_when_it_has_to_be(tmp_path, monkeypatch, capsys):
    path = tmp_path / "docs" / "reference.md"
    path.parent.mkdir()
    monkeypatch.setattr(reference, "PATH", path)
    assert reference.main(["--check"]) == 1
    assert not path.exists()
    assert [reference.main([]), reference.main([]), reference.main(["--check"])] == [0, 0, 0]
    assert path.read_text(encoding="utf-8") == reference.text()
    assert capsys.readouterr().out.splitlines() == [
        "docs/reference.md: is not what python -m tb.reference writes",
        "docs/reference.md: rewritten",
        "docs/reference.md: is as it should be",
        "docs/reference.md: is as it should be",
    ]


def test_every_command_line_is_in_it():
    files = [path for name in ("model", "hw", "tb") for path in (ROOT / name).rglob("*.py")]
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in files}
    found = {
        ".".join(path.with_suffix("").parts)
        for path, text in texts.items()
        if "\ndef parser(" in text and '__name__ == "__main__"' in text
    }
    assert found == set(reference.COMMANDS)


# Ports and traces


@pytest.mark.parametrize("name", ["UNIT_TRACE", "CORE_TRACE", *dict(reference.UNIT_INPUTS)])
def test_every_member_has_its_row(name):
    group = dict(reference.UNIT_INPUTS).get(name) or getattr(reference, name)
    rows = [row for row, bits, _ in group.rows() if bits]
    assert rows == [f"`{group.prefix}{member}`" for member in group.members]


def test_every_port_of_the_verilog_is_in_it_with_its_width():
    verilog = emit.verilog(StepUnit(), emit.NAME)
    top = verilog[verilog.index(f"module {emit.NAME}(") :].partition("endmodule")[0]
    ports = re.findall(r"^  (?:input|output) (?:\[(\d+):0\] )?(\w+);", top, re.MULTILINE)
    text = reference.text()
    said = dict(re.findall(r"^\| `(\w+)` \| (\d+)(?: \(\w+\))? \|", text, re.MULTILINE))
    of_verilog = {
        name.replace("controls_after__", "controls__"): str(int(high or 0) + 1)
        for high, name in ports
        if name not in ("clk", "rst")
    }
    assert len(of_verilog) > 50
    assert {name: said.get(name) for name in of_verilog} == of_verilog


# Files


def paths(value, path=""):
    """The paths to all leaves of a JSON value, as the reference writes them."""
    if isinstance(value, list):
        return set().union(*(paths(each, f"{path}[]") for each in value))
    if isinstance(value, dict):
        if value and all(key.isdecimal() for key in value):
            return {f"{path}{{}}"}
        inside = (paths(each, f"{path}.{key}".lstrip(".")) for key, each in value.items())
        return set().union(*inside)
    return {path}


def leaves(fields):
    """What is described, but for what has something inside."""
    return {path for path in fields if not any(other.startswith(f"{path}.") for other in fields)}


async def _finds_a_table(bench):
    """Fails after a table: a result with all that one can have."""
    bench.tables.append(work.Table("title", ["a"], [["1"]]))
    raise Failure("not good enough")


async def _breaks(bench):
    raise RuntimeError("broken")


@pytest.fixture
def report(tmp_path, monkeypatch):
    """The files of a run in which all happens that a file can tell."""
    monkeypatch.chdir(tmp_path)
    cases.load()
    for name, body in (("toy.table", _finds_a_table), ("toy.breaks", _breaks)):
        monkeypatch.setitem(cases.CASES, name, cases.Case(name, body, "a toy", False))
    words = ["--json", "out.json", "--junit", "out.xml", "--sim", "pysim", "-j", "1"]
    assert run.main(["toy", "exhaustive", "directed.load_puts_the_pe_anywhere", *words]) == 1
    return tmp_path


def test_the_json_of_a_run_has_the_fields_described(report):
    content = json.loads((report / "out.json").read_text())
    content["coverage"]["illegal"] = ["a bin"]  # which needs hardware that is wrong
    assert paths(content) == leaves(reference.RUN_JSON)


def test_the_files_of_a_waveform_are_those_described(report):
    files = {path.suffix for path in (report / "sim_build" / "waves").glob("toy.table.pysim.1.*")}
    smaller = {".fst"} if shutil.which("vcd2fst") else set()
    assert files | {".fst"} == set(reference.WAVEFORM)
    assert smaller <= files


def test_the_junit_of_a_run_has_the_attributes_described(report):
    root = ElementTree.parse(report / "out.xml").getroot()
    found = {f"{element.tag}@{name}" for element in root.iter() for name in element.attrib}
    assert set(reference.JUNIT) <= found
    counts = {f"{tag}@{name}" for tag in ("testsuites", "testsuite") for name in COUNTS}
    assert found - counts == set(reference.JUNIT)


COUNTS = ("tests", "failures", "errors", "skipped", "time")


def test_the_json_of_the_proofs_has_the_fields_described(tmp_path, monkeypatch):
    pytest.importorskip("z3", reason="not run: z3 is not installed (pip install z3-solver)")
    monkeypatch.chdir(tmp_path)
    Path("nothing.words").write_text("0xd503201f  // nop\n")
    assert prove.main(["--hyp", "nothing.words", "--json", "out.json"]) == 1
    assert paths(json.loads(Path("out.json").read_text())) == leaves(reference.PROVE_JSON)


def test_the_json_of_the_mutants_has_the_fields_described():
    (mutant,) = draw(TARGETS["unit"], 1, 1)
    found = mutate.Found(1, 1, [mutate.Fate(mutant, Path())])
    assert paths(mutate.as_json(found)) == leaves(reference.MUTATE_JSON)


def test_the_json_of_the_benchmark_has_the_fields_described(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "COMPILED", "NAME")
    monkeypatch.setattr(bench, "measure", lambda *_: [Line("NAME", [1.0], {"OTHER": [2.0]})])
    grown = Series("NAME", "cycles", {}, [Point(1, 1.0, 1.0)])
    monkeypatch.setattr(growth, "series", lambda *_: [grown])
    monkeypatch.setattr(plot, "missing", lambda: "not here")
    monkeypatch.setattr(bench, "_missing", lambda: {"NAME": "not here"})
    assert bench.main(["--json", str(tmp_path / "out.json")]) == 0
    found = paths(json.loads((tmp_path / "out.json").read_text()))
    assert found == leaves(reference.BENCH_JSON)
