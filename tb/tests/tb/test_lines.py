"""Vector files on the hardware: the model's answers, byte for byte, or the line that differs."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from model import vectors
from model.arch import Event, Last, StepState
from model.columns import problems
from model.vectors import VectorFile, expected, model_answer
from tb import lines
from tb.harness import STIMULUS, unpack, words_of
from tb.testbench import columns_of

LINES = 3000
TARGETS = (Event.SVC, Event.HVC, Event.SMC, Event.EXCEPTION, Event.INTERRUPT)
FEW = "el,ss,mdscr_el1,mdcr_el2,event,target_el\n1,1,1,0x100,execute,\n1,0,1,0x100,svc,1\n"


def legal(lines):
    """The columns of each line that a vector file can hold."""
    says = ~np.logical_or.reduce([wrong for wrong, _, _ in problems(lines)])
    return [row_of(lines, at) for at in np.flatnonzero(says)]


def row_of(drawn, at):
    """The columns of a line, those that its event does not take left out."""
    state, given = columns_of(drawn, at)
    del state["nrw"], state["mdscr_el1_written"]  # they follow from the others
    event = given["event"]
    if event not in TARGETS:
        del given["target_el"]
    if event not in (Event.ERET, Event.DEBUG_EXIT):
        del given["spsr"]
    return state | given


def cell(name, value):
    if name in ("event", "last"):
        return (Event if name == "event" else Last)(value).text
    return str(value) if value < 4 else f"{value:#x}"


def write(path, rows):
    names = sorted({name for row in rows for name in row})
    text = [
        ",".join(cell(name, row[name]) if name in row else "" for name in names) for row in rows
    ]
    path.write_text("\n".join([",".join(names), *text]) + "\n")
    return path


def hardware_answer(chunks):
    for chunk in chunks:
        answers = lines.drive("pysim", chunk)
        assert lines.differences(chunk, answers) == []
        yield chunk, answers


def chunk_of(path, text=FEW):
    path.write_text(text)
    (chunk,) = VectorFile(path).chunks()
    return chunk


def test_hardware_and_model_write_the_same_bytes(seed, drawn, tmp_path):
    rows = legal(drawn(seed, 4096))[:LINES]
    assert len(rows) == LINES
    source = write(tmp_path / "in.csv", rows)
    for name, answer in (("hw", hardware_answer), ("model", model_answer)):
        assert vectors.run(source, tmp_path / name, answer) == LINES
    out = (tmp_path / "hw").read_bytes()
    assert out == (tmp_path / "model").read_bytes()
    assert {state.text.encode() in out for state in StepState} == {True}


def test_a_line_starts_where_it_says_whatever_the_line_before_did(tmp_path):
    text = "el,ss,mdscr_el1,mdcr_el2,event,target_el\n"
    text += "1,1,1,0x100,execute,\n2,1,0,0,svc,3\n" * 3
    chunk = chunk_of(tmp_path / "in.csv", text)
    answers = lines.drive("pysim", chunk)
    assert answers.state.tolist() == [1, 0] * 3
    assert answers.el_after.tolist() == [1, 3] * 3


def test_the_lines_of_a_step_are_loaded_in_the_step_before(tmp_path):
    (first, last) = lines.steps(chunk_of(tmp_path / "in.csv").lines, most_lanes=64)
    ports = [unpack(STIMULUS, word) for step in (first, last) for word in words_of(step.ports, 64)]
    loaded, happened = ports[:2], ports[64:66]
    assert [port["event__valid"] for port in loaded + happened] == [0, 0, 1, 1]
    assert [port["load__enable"] for port in loaded + happened] == [1, 1, 0, 0]
    assert [port["load__pstate__ss"] for port in loaded] == [1, 0]
    assert [port["event__kind"] for port in happened] == [Event.EXECUTE, Event.SVC]
    assert happened[1]["event__target_el"] == 1


@pytest.mark.parametrize("count", [1, 63, 64, 65, 300])
def test_any_number_of_lines_fills_the_lanes(count, seed, drawn, tmp_path):
    rows = legal(drawn(seed, 1024))[:count]
    (chunk,) = VectorFile(write(tmp_path / "in.csv", rows)).chunks()
    for simulator in ("pysim", "compiled"):
        answers = lines.drive(simulator, chunk)
        assert [len(column) for column in answers] == [count] * len(answers)
        assert lines.differences(chunk, answers) == []


@dataclass
class Column:
    """An answer made wrong, and what is then said of it."""

    name: str
    value: int
    said: str


@pytest.mark.parametrize(
    "wrong",
    [
        Column("state", 2, "hardware active-pending, model active-not-pending"),
        Column("ss_after", 1, "hardware 1, model 0"),
        Column("eld", 1, "hardware EL1, model EL2"),
        Column("esr", 0xCB000022, "hardware 0xcb000022, model 0x0"),
        Column("spsr_saved", 1, "hardware 1, model 0"),
    ],
    ids=lambda wrong: wrong.name,
)
def test_a_difference_is_named_with_line_column_and_values(wrong, tmp_path):
    chunk = chunk_of(tmp_path / "in.csv", f"# a comment\n{FEW}")
    right = expected(chunk)
    assert lines.differences(chunk, right) == []
    values = getattr(right, wrong.name).copy().astype(np.uint64)
    values[0] = wrong.value
    said = lines.differences(chunk, right._replace(**{wrong.name: values}))
    assert said == [f"line 3: {wrong.name}: {wrong.said}"]


def test_every_column_is_compared(tmp_path):
    chunk = chunk_of(tmp_path / "in.csv")
    right = expected(chunk)
    flipped = right._replace(
        **{name: getattr(right, name).astype(np.uint64) ^ 1 for name in right._fields}
    )
    said = lines.differences(chunk, flipped)
    assert [text.split(": ")[:2] for text in said] == [
        [f"line {number}", name] for name in right._fields for number in (2, 3)
    ]


def test_rows_are_read_back_in_order(tmp_path):
    chunk = chunk_of(tmp_path / "in.csv")
    answers = lines.drive("pysim", chunk)
    for name in answers._fields:
        assert getattr(answers, name).tolist() == getattr(expected(chunk), name).tolist(), name


def test_an_answer_can_be_given_in_chunks(seed, drawn, tmp_path):
    rows = legal(drawn(seed, 64))[:20]
    file = VectorFile(write(tmp_path / "in.csv", rows))
    answer = functools.partial(lines.drive, "pysim")
    (whole,) = map(answer, file.chunks())
    parts = list(map(answer, file.chunks(7)))
    for name in whole._fields:
        together = np.concatenate([getattr(part, name) for part in parts])
        assert together.tolist() == getattr(whole, name).tolist(), name
    assert Path(file.path).exists()
