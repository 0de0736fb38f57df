"""Vector files on the hardware: the model's answers, byte for byte, or the line that differs."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from model import vectors
from model.arch import Event, Last, StepState
from model.columns import problems, to_lines
from model.vectors import VectorFile, expected, model_answer
from tb import lines, stimulus
from tb.harness import STIMULUS, unpack, width

LINES = 3000
TARGETS = (Event.SVC, Event.HVC, Event.SMC, Event.EXCEPTION, Event.INTERRUPT)
FEW = "el,ss,mdscr_el1,mdcr_el2,event,target_el\n1,1,1,0x100,execute,\n1,0,1,0x100,svc,1\n"


def random_line(rng):
    """The columns of a line that may be illegal."""
    event = rng.choice(list(Event))
    line = stimulus.start(rng) | {"event": event, "halted": int(event == Event.DEBUG_EXIT)}
    line |= {name: rng.getrandbits(1) for name in ("isv_choice", "mdscr_seen", "async_first")}
    if event in TARGETS:
        line["target_el"] = rng.choice([1, 2, 3])
    if event in (Event.ERET, Event.DEBUG_EXIT):
        line["spsr"] = stimulus.spsr(rng, line)
    if event == Event.EXECUTE and rng.random() < 0.6:
        line |= rng.choice([{"d_write": rng.getrandbits(1)}, {"mdscr_write": rng.getrandbits(64)}])
    return line


def legal(rows):
    optional = ("target_el", "d_write", "mdscr_write")
    present = {name: np.array([name in row for row in rows]) for name in optional}
    names = {name for row in rows for name in row}
    all_lines = to_lines({name: [row.get(name, 0) for row in rows] for name in names}, present)
    wrong = np.zeros(len(rows), dtype=bool)
    for where, _, _ in problems(all_lines):
        wrong |= where
    return [row for row, is_wrong in zip(rows, wrong, strict=True) if not is_wrong]


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
        answers = lines.outputs(lines.drive("pysim", chunk))
        assert lines.differences(chunk, answers) == []
        yield chunk, answers


def chunk_of(path, text=FEW):
    path.write_text(text)
    (chunk,) = VectorFile(path).chunks()
    return chunk


def test_hardware_and_model_write_the_same_bytes(rng, tmp_path):
    rows = legal([random_line(rng) for _ in range(2 * LINES)])[:LINES]
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
    answers = lines.outputs(lines.drive("pysim", chunk))
    assert answers.state.tolist() == [1, 0] * 3
    assert answers.el_after.tolist() == [1, 3] * 3


def test_there_is_one_word_more_than_lines(tmp_path):
    words = lines.stimulus(chunk_of(tmp_path / "in.csv").lines)
    ports = [unpack(STIMULUS, word) for word in words]
    assert [port["event__valid"] for port in ports] == [0, 1, 1]
    assert [port["load__enable"] for port in ports] == [1, 1, 0]
    assert [port["load__pstate__ss"] for port in ports[:2]] == [1, 0]
    assert [port["event__kind"] for port in ports[1:]] == [Event.EXECUTE, Event.SVC]
    assert ports[2]["event__target_el"] == 1
    assert all(word >> width(STIMULUS) == 0 for word in words)


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
    answers = lines.outputs(lines.drive("pysim", chunk))
    for name in answers._fields:
        assert getattr(answers, name).tolist() == getattr(expected(chunk), name).tolist(), name


def test_an_answer_can_be_given_in_chunks(rng, tmp_path):
    rows = legal([random_line(rng) for _ in range(60)])[:20]
    file = VectorFile(write(tmp_path / "in.csv", rows))
    answer = functools.partial(lines.drive, "pysim")
    whole = [row for chunk in file.chunks() for row in answer(chunk)]
    parts = [row for chunk in file.chunks(7) for row in answer(chunk)]
    assert parts == whole
    assert Path(file.path).exists()
