"""The committed words are those of the sources; and what the build says when it cannot run."""

import dataclasses
import shutil
import subprocess

import pytest

from model.arch import EL
from model.programs import ProgramError, build
from model.programs.build import PROGRAMS, Program, find_compiler, recorded_version, version
from model.programs.layout import GUEST_BASE
from model.programs.load import DIRECTORY, load_elf
from tb.tests.model.programs.run import run


@pytest.fixture
def compiler():
    """The installed cross compiler; the test is skipped if there is none."""
    try:
        return find_compiler()
    except ProgramError as error:
        pytest.skip(f"not run: {error}")


@pytest.fixture
def recorded(compiler):
    """The same, if it is the one that the words are from."""
    text = (DIRECTORY / "boot.words").read_text()
    if recorded_version(text) != version(compiler):
        pytest.skip(f"not run: the words are from {recorded_version(text)}")
    return compiler


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The build works on a copy of model/programs: its directory."""
    directory = tmp_path / "programs"
    shutil.copytree(DIRECTORY, directory)
    monkeypatch.setattr(build, "DIRECTORY", directory)
    return directory


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.name for program in PROGRAMS])
def test_words_match_sources(program, recorded):
    assert (DIRECTORY / f"{program.name}.words").read_text() == build.build(program, recorded)


def test_check_tells_what_differs(recorded, copied, capsys):
    assert build.main(["--check"]) == 0
    (copied / "fibonacci.c").write_text((copied / "fibonacci.c").read_text().replace("= 7", "= 8"))
    before = (copied / "fibonacci.words").read_text()
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().out == "fibonacci.words: differs from its sources\n"
    assert (copied / "fibonacci.words").read_text() == before
    assert build.main([]) == 0
    assert capsys.readouterr().out == "fibonacci.words: rewritten\n"
    assert build.main(["--check"]) == 0


def test_check_without_the_words_differs(recorded, copied, capsys):
    (copied / "boot.words").unlink()
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().out == "boot.words: differs from its sources\n"


def test_check_by_another_compiler_cannot_run(compiler, copied, capsys):
    path = copied / "sort.words"
    path.write_text(path.read_text().replace("compiler: ", "compiler: other-"))
    assert build.main(["--check"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: sort.words is from other-")
    assert message.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_without_a_compiler_it_cannot_run(arguments, monkeypatch, capsys):
    monkeypatch.setattr(build, "find_assemblers", list)
    assert build.main(arguments) == 2
    assert capsys.readouterr().err == f"error: {build.NO_COMPILER}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int run(void) { return x; }\n", r"broken\.c:1: 'x' undeclared"),
        ("int f(void);\nint run(void) { return f(); }\n", "against undefined symbol `f'"),
    ],
)
def test_a_program_that_cannot_be_built_is_told_in_a_line(text, message, compiler, copied):
    (copied / "broken.c").write_text(text)
    program = Program("broken", ("start.S", "broken.c"), GUEST_BASE)
    with pytest.raises(ProgramError, match=message) as error:
        build.build(program, compiler)
    assert "\n" not in str(error.value)


def test_an_image_that_is_linked_elsewhere_is_refused(compiler):
    elsewhere = dataclasses.replace(PROGRAMS[0], origin=0x9000_0000)
    with pytest.raises(ProgramError, match="are outside RAM for programs"):
        build.build(elsewhere, compiler)


def test_a_program_linked_as_the_loader_says_is_loaded(compiler, tmp_path):
    source, output = tmp_path / "own.S", tmp_path / "own"
    source.write_text(
        ".globl _start\n_start: adrp x1, v\n ldr x0, [x1, #:lo12:v]\n b .\n"
        ".data\n.balign 8\nv: .quad 5\n"
    )
    command = [compiler.command[0], "-nostdlib", "-o", str(output), str(source)]
    for where in (["-static", "-no-pie"], ["-static-pie"]):
        subprocess.run([*command, *where], check=True)
        if "-no-pie" in where:
            with pytest.raises(ProgramError, match="outside RAM") as error:
                load_elf(output)
            advice = str(error.value).rpartition("link it with ")[2].split()
            subprocess.run([*command, *advice], check=True)
        ended = run(load_elf(output))
        assert ended.processor.state.el == EL.EL1
        assert ended.processor.state.x[0] == 5
