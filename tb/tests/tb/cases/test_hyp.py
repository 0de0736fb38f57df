"""The guest-entry sequences: ours pass; v1 with a mistake is caught, and the mistake explained."""

import re
from pathlib import Path

import pytest

import model.hyp
from model.hyp import SequenceError, check
from model.hyp.assemble import NAMES
from model.hyp.entry import TEXT
from model.hyp.sequences import load
from tb import cases, work
from tb.cases import hyp, kvm
from tb.work import FAILED, PASSED, Job, Unit, run_unit

V1 = (Path(model.hyp.__file__).parent / "v1.words").read_text()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(hyp, "VALUES", 500)
    cases.load()
    yield
    for user in (hyp.USER, kvm.USER):
        cases.CASES.pop(user, None)


def run(text, path):
    """The result of the user's own sequence."""
    path.write_text(text)
    (result,) = run_unit(Unit("pysim", (Job(hyp.USER, 1),), str(path)))
    return result


def edited(*changes):
    """v1, words and sources changed."""
    text = V1
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("name", NAMES)
def test_ours_pass(name):
    (result,) = run_unit(Unit("pysim", (Job(f"hyp.{name}", 1),)))
    assert (result.status, result.failure) == (PASSED, "")
    assert result.cycles > 8 * len(hyp.situations())


def test_v1_given_as_the_users_own_passes(tmp_path):
    assert run(V1, tmp_path / "v1.words").status == PASSED


NO_EOR = edited(
    ("0xd26b0021  // eor x1, x1, #DBG_SPSR_SS\n", ""),
    ("0xd2400042  // eor x2, x2, #DBG_MDSCR_SS\n", ""),
    ("0x36000143", "0x36000103"),  # the labels come two words earlier
    ("0x37080063", "0x37080023"),
)
SWAPPED = edited(
    ("0x36000143  // tbz x3", "0x37000143  // tbnz x3"),
    ("0x37080063  // tbnz x3", "0x36080063  // tbz x3"),
)
SPSR_20 = edited(
    ("0xb26b0021  // orr x1, x1, #DBG_SPSR_SS", "0xb26c0021  // orr x1, x1, #1 << 20"),
    ("0xd26b0021  // eor x1, x1, #DBG_SPSR_SS", "0xd26c0021  // eor x1, x1, #1 << 20"),
)
MDSCR_1 = edited(
    ("0xb2400042  // orr x2, x2, #DBG_MDSCR_SS", "0xb27f0042  // orr x2, x2, #1 << 1"),
    ("0xd2400042  // eor x2, x2, #DBG_MDSCR_SS", "0xd27f0042  // eor x2, x2, #1 << 1"),
)


def findings(failure):
    """The blocks of text that explain a mistake."""
    head, *blocks = re.split(r"^.*wrong\.words: ", failure, flags=re.MULTILINE)
    assert head
    return blocks


@pytest.mark.parametrize(
    ("text", "situation", "problem", "given", "instruction"),
    [
        pytest.param(
            NO_EOR,
            "guest_debug = ENABLE; guest at EL0t, PSTATE.D = 0, PSTATE.SS = 0, MDSCR_EL1 = 0x0: ",
            "SPSR_EL2.SS is 1 and must be 0",
            "guest_debug = 0x1 (ENABLE), SPSR_EL2 = 0x0, MDSCR_EL1 = 0x0",
            "+0x10: 0xb26b0021  orr x1, x1, #DBG_SPSR_SS",
            id="no eor",
        ),
        pytest.param(
            SWAPPED,
            "guest_debug = ENABLE; guest at EL0t, PSTATE.D = 0, PSTATE.SS = 0, MDSCR_EL1 = 0x1: ",
            "SPSR_EL2.SS is 0 and must be 1",
            "guest_debug = 0x3 (ENABLE | SINGLESTEP), SPSR_EL2 = 0x0, MDSCR_EL1 = 0x0",
            "+0x4: 0x37000143  tbnz x3, #KVM_GUESTDBG_ENABLE_SHIFT, 2f",
            id="tbz and tbnz swapped",
        ),
        pytest.param(
            SPSR_20,
            "guest_debug = ENABLE | SINGLESTEP; guest at EL0t, PSTATE.D = 0, PSTATE.SS = 0, ",
            "SPSR_EL2.IL is 1 and must be 0",
            "guest_debug = 0x3 (ENABLE | SINGLESTEP), SPSR_EL2 = 0x0, MDSCR_EL1 = 0x0",
            "+0x10: 0xb26c0021  orr x1, x1, #1 << 20",
            id="bit 20 of SPSR",
        ),
        pytest.param(
            MDSCR_1,
            "guest_debug = ENABLE; guest at EL0t, PSTATE.D = 0, PSTATE.SS = 0, MDSCR_EL1 = 0x1: ",
            "MDSCR_EL1<1> is 1 and must be 0",
            "guest_debug = 0x3 (ENABLE | SINGLESTEP), SPSR_EL2 = 0x0, MDSCR_EL1 = 0x0",
            "+0x14: 0xb27f0042  orr x2, x2, #1 << 1",
            id="bit 1 of MDSCR",
        ),
    ],
)
def test_a_mistake_is_caught_and_explained(tmp_path, text, situation, problem, given, instruction):
    result = run(text, tmp_path / "wrong.words")
    assert result.status == FAILED
    assert result.failure.startswith(situation)
    assert "\nthe events before it:\n" in result.failure
    (block,) = [
        block
        for block in findings(result.failure)
        if block.startswith(f"{problem} (in ") and f"given    {given}" in block
    ]
    assert instruction in block


def test_a_sequence_that_keeps_the_step_state_but_breaks_a_register_is_caught(tmp_path):
    text = f"{V1}0xd2800004  // mov x4, #0\n"  # the step is right, x4 is not v1's to change
    result = run(text, tmp_path / "wrong.words")
    assert result.status == FAILED
    assert result.failure.splitlines()[0].endswith("wrong.words does not do what guest entry must")
    assert "x4 is wrong" in result.failure
    assert "mov x4, #0" in result.failure


@pytest.mark.parametrize("word", ["0x14000000", "0x14000100"], ids=["endless", "leaves"])
def test_a_sequence_that_does_not_reach_its_end_is_caught_and_explained(
    tmp_path, monkeypatch, word
):
    monkeypatch.setattr(check, "MAX_FAILURES", 100)
    result = run(f"0xd503201f  // nop\n{word}  // b elsewhere\n", tmp_path / "wrong.words")
    assert result.status == FAILED
    assert result.failure.startswith("guest_debug = no guest debug; guest at EL0t, ")
    assert "wrong.words: does not run to its end: " in result.failure
    assert "given    guest_debug = " in result.failure


def test_a_step_that_nobody_asked_for_is_caught(tmp_path):
    words = (
        "0xd53c4001 0xb26b0021 0xd51c4001 0xd5300242 0xb2400042 0xd5100242"  # both SS bits, always
    )
    result = run("\n".join(words.split()), tmp_path / "wrong.words")
    assert result.status == FAILED
    first = result.failure.splitlines()[0]
    assert first.startswith("guest_debug = ENABLE; guest at EL0t, ")
    assert first.endswith("a Software Step exception came to EL1")
    assert "guest_debug = 0x0 (not ENABLE)" in result.failure


def test_every_situation_is_there_once():
    situations = hyp.situations()
    assert len(set(situations)) == len(situations) == 3 * 2 * 2 * 2 * 4
    assert len({str(situation) for situation in situations}) == len(situations)


def test_a_file_that_cannot_be_used_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(SequenceError, match="no such file"):
        hyp.register_user(str(tmp_path / "nothing"))
    (tmp_path / "undefined").write_bytes(bytes(4))
    with pytest.raises(SequenceError, match=r"/undefined: 0x00000000 at 0x40080000 is no instr"):
        hyp.register_user(str(tmp_path / "undefined"))
    assert hyp.USER not in cases.CASES


def test_the_users_own_is_registered_once(tmp_path):
    path = tmp_path / "mine.words"
    path.write_text(V1)
    for _ in range(2):
        work.load_cases(str(path))
    assert cases.CASES[hyp.USER].random
    assert load(str(path)).words == load("v1").words


def test_instructions_are_listed_by_the_lines_of_the_source():
    shown = cases.CASES["hyp.v1"].listing()
    assert shown[TEXT] == "ldr x3, [x0, #GUEST_DEBUG]"
    assert shown[TEXT + 0x10] == "orr x1, x1, #DBG_SPSR_SS"
    assert shown[hyp.GUEST_START].lower().startswith("add")
    assert len(shown) == len(load("v1").words) + len(hyp.GUEST)


def test_instructions_without_a_source_are_disassembled(tmp_path):
    path = tmp_path / "my.words"
    path.write_text(re.sub("//.*", "", V1))
    hyp.register_user(str(path))
    shown = cases.CASES[hyp.USER].listing()
    assert shown[TEXT].lower().startswith("ldr")
    assert "GUEST_DEBUG" not in shown[TEXT]


def test_the_users_own_has_its_instructions_in_the_waveform(tmp_path):
    path = tmp_path / "my.words"
    path.write_text(V1)
    (result,) = run_unit(Unit("pysim", (Job(hyp.USER, 1),), str(path), waves=tmp_path / "waves"))
    text = result.waves.with_suffix(".vcd").read_text()
    assert r"sorr\x20x1,\x20x1,\x20#DBG_SPSR_SS" in text
