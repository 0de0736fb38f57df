"""Programs of a user's own: how they end, and what is said of those that cannot run."""

import struct

import pytest

from tb import cases
from tb.cases.core.elf import USER
from tb.run import main
from tb.tests.model.programs.elf_file import CODE, Segment, elf


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Waveforms and the journal go to tmp_path; each test has a program of its own."""
    monkeypatch.chdir(tmp_path)
    yield
    cases.CASES.pop(USER, None)


MOV_X0_7, B_SELF, HVC, SVC, BRK = 0xD28000E0, 0x14000000, 0xD4000002, 0xD4000001, 0xD4200000


@pytest.fixture
def program(tmp_path):
    """Writes words as a program; returns its path."""

    def write(*words):
        path = tmp_path / "program"
        path.write_bytes(elf([Segment(CODE, struct.pack(f"<{len(words)}I", *words))]))
        return str(path)

    return write


def ran(path, capsys):
    """(exit code, standard output, standard error) of --elf on Amaranth's simulator."""
    code = main(["--elf", path, "--sim", "pysim", "-j", "1"])
    return (code, *capsys.readouterr())


@pytest.mark.parametrize("end", [B_SELF, HVC])
def test_a_program_ends_with_a_branch_to_itself_or_a_hypercall(program, capsys, end):
    code, out, _ = ran(program(MOV_X0_7, end), capsys)
    assert code == 0
    assert "PASS core.elf [pysim, seed 1]" in out
    assert "the program [pysim, seed 1]" in out
    assert out.splitlines()[-1].startswith("PASS: 1 tests")


@pytest.mark.parametrize(
    ("word", "end"), [(SVC, "EL1 with ESR = 0x56000000"), (BRK, "EL1 with ESR = 0xf2000000")]
)
def test_an_exception_that_the_program_does_not_take_fails_it(program, capsys, word, end):
    code, out, _ = ran(program(MOV_X0_7, word), capsys)
    assert code == 1
    text = f"the program does not take the exception at {CODE + 4:#x}: it came to {end}"
    assert text in out
    assert "--elf" in next(line for line in out.splitlines() if "reproduce:" in line)


def test_a_file_that_is_no_program_is_refused_in_one_line(tmp_path, capsys):
    path = tmp_path / "text"
    path.write_text("not a program")
    code, out, err = ran(str(path), capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {path}: ")
    assert len(err.splitlines()) == 1


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    code, _, err = ran(str(tmp_path / "nothing"), capsys)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "nothing" in err


def test_the_option_wants_a_name_and_no_other_machine(capsys):
    assert main(["--elf", ""]) == 2
    assert capsys.readouterr().err == "error: --elf needs the name of a file\n"
    assert main(["--elf", "x", "--dask", "tcp://x:1"]) == 2
    assert capsys.readouterr().err == "error: --elf runs here: give it without --dask\n"
