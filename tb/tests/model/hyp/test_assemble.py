import shutil
import subprocess

import pytest

from model.hyp import SequenceError, assemble
from model.hyp.assemble import NAMES, NO_ASSEMBLER, find_assemblers
from model.hyp.words import from_text

ASSEMBLERS = find_assemblers()

needs_assembler = pytest.mark.skipif(
    not ASSEMBLERS, reason="not run: no A64 assembler is installed (pip install 'softstep[asm]')"
)
every_assembler = pytest.mark.parametrize(
    "assembler", ASSEMBLERS, ids=[" ".join(a.command[:3]) for a in ASSEMBLERS]
)


@pytest.fixture
def source(tmp_path):
    """Writes a source file and returns its path."""

    def write(text: str, name: str = "x.S"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refusal(path, assembler=None) -> str:
    with pytest.raises(SequenceError) as error:
        assemble.assemble(path, assembler)
    return str(error.value)


@needs_assembler
@every_assembler
@pytest.mark.parametrize("name", NAMES)
def test_words_match_sources(name, assembler):
    kept = from_text((assemble.DIRECTORY / f"{name}.words").read_text(), name)
    made = assemble.assemble(assemble.DIRECTORY / f"{name}.S", assembler)
    assert made.words == kept.words
    assert made.listing == kept.listing


@needs_assembler
@every_assembler
def test_an_error_is_one_line_with_file_and_line(source, assembler):
    path = source("\tnop\n\tfrobnicate x1\n")
    message = refusal(path, assembler)
    assert message.startswith(f"{path}:2: ")
    assert "\n" not in message


@needs_assembler
@every_assembler
def test_an_unknown_name_is_refused(source, assembler):
    path = source("\tldr x3, [x0, #GUEST_DEBUG]\n\tb elsewhere\n")
    assert refusal(path, assembler) == (
        f"{path}: .text+0x4 refers to elsewhere (R_AARCH64_JUMP26): a sequence must stand alone"
    )


@needs_assembler
@every_assembler
def test_content_outside_text_is_refused(source, assembler):
    path = source('\tnop\n\t.section .hyp.text, "ax"\n\tnop\n')
    assert refusal(path, assembler) == f"{path}: 4 bytes in .hyp.text: only .text is run"


@needs_assembler
@every_assembler
def test_a_preprocessor_directive_works_or_is_refused(source, assembler):
    path = source("\n#define STEP nop\n\tSTEP\n")
    if assembler.has_preprocessor:
        assert assemble.assemble(path, assembler).words == (0xD503_201F,)
    else:
        assert refusal(path, assembler) == (
            f"{path}:2: #define needs a C preprocessor, and the assembler found has none:"
            " apt-get install gcc-aarch64-linux-gnu"
        )


@needs_assembler
def test_the_listing_is_the_code_of_each_line(source):
    text = "// no code\n1:\tnop\t// why\n/* two\n lines */ here: there: b\t 1b\n\t.p2align 2\n"
    assert assemble.assemble(source(text)).listing == ("nop", "b 1b")


@needs_assembler
def test_the_listing_is_blank_where_a_macro_hides_it(source):
    sequence = assemble.assemble(source("\t.rept 3\n\tnop\n\t.endr\n"))
    assert sequence.listing == ("", "", "")


def test_no_assembler_at_all_names_the_mends(monkeypatch, source):
    monkeypatch.setattr(assemble, "find_assemblers", list)
    path = source("\tnop\n")
    assert refusal(path) == (
        f"{path}: no A64 assembler is installed: pip install 'softstep[asm]',"
        " or apt-get install gcc-aarch64-linux-gnu"
    )


def test_the_prefix_of_the_kernel_build_comes_first(monkeypatch):
    monkeypatch.setenv("CROSS_COMPILE", "/opt/cross/a64-")
    monkeypatch.setattr(shutil, "which", lambda name: f"/found/{name}")
    commands = [assembler.command[0] for assembler in find_assemblers()]
    assert commands[:5] == [
        "/opt/cross/a64-gcc",
        "aarch64-linux-gnu-gcc",
        "clang",
        "/opt/cross/a64-as",
        "aarch64-linux-gnu-as",
    ]


def test_without_a_prefix_no_tool_is_listed_twice(monkeypatch):
    monkeypatch.delenv("CROSS_COMPILE", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/found/{name}")
    assemblers = find_assemblers()
    assert len(set(assemblers)) == len(assemblers)
    assert assemblers[0].command[0] == "aarch64-linux-gnu-gcc"


def test_an_assembler_that_says_nothing_is_reported(monkeypatch, source):
    silent = subprocess.CompletedProcess([], returncode=1, stdout="", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: silent)
    path = source("\tnop\n")
    tool = assemble.Assembler(("as",), "-D{name}={value}")
    assert refusal(path, tool) == f"{path}: the assembler failed and said nothing"


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """This project's sequences, where a test may change them."""
    for name in NAMES:
        for suffix in ("S", "words"):
            shutil.copy(assemble.DIRECTORY / f"{name}.{suffix}", tmp_path)
    monkeypatch.setattr(assemble, "DIRECTORY", tmp_path)
    return tmp_path


@needs_assembler
def test_check_is_content_with_what_is_kept(copy, capsys):
    assert assemble.main(["--check"]) == 0
    assert capsys.readouterr().out == ""


@needs_assembler
def test_check_reports_a_difference_and_changes_nothing(copy, capsys):
    (copy / "v1.words").write_text("0x00000000\n")
    (copy / "bic.words").unlink()
    assert assemble.main(["--check"]) == 1
    assert capsys.readouterr().out == "v1.words: differs from v1.S\nbic.words: differs from bic.S\n"
    assert (copy / "v1.words").read_text() == "0x00000000\n"


@needs_assembler
def test_words_are_rewritten_where_they_differ(copy, capsys):
    kept = (copy / "v1.words").read_bytes()
    (copy / "v1.words").write_text("0x00000000\n")
    assert assemble.main([]) == 0
    assert capsys.readouterr().out == "v1.words: rewritten\n"
    assert (copy / "v1.words").read_bytes() == kept
    assert len(list(copy.iterdir())) == 2 * len(NAMES)


def test_check_that_cannot_run_says_why(copy, capsys, monkeypatch):
    monkeypatch.setattr(assemble, "find_assemblers", list)
    assert assemble.main(["--check"]) == 2
    assert capsys.readouterr().err == f"error: {copy / 'v1.S'}: {NO_ASSEMBLER}\n"


def test_a_source_that_is_missing_is_named(tmp_path):
    path = tmp_path / "none.S"
    tool = assemble.Assembler(("as",), "-D{name}={value}")
    assert refusal(path, tool).startswith(f"{path}: cannot be read: ")
