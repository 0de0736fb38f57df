"""`python -m tb.watch`: what it shows of each state of the file, and how it ends."""

import contextlib
import importlib.util
import io
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

import tb
from model.hyp import assemble, check
from tb import failures, report, run, watch, work
from tb.cases import hyp
from tb.plan import Plan
from tb.report import Report
from tb.watch import Screen, Verdict, main, stamp, wait_for_change
from tb.work import FAILED, Result

TREE = Path(tb.__file__).parent.parent
V1 = (TREE / "model" / "hyp" / "v1.words").read_text()
NO_EOR = re.sub(r".*  // eor.*", "0xd503201f  // nop", V1)
ASSEMBLER = shutil.which("aarch64-linux-gnu-gcc") or importlib.util.find_spec("ziglang")
DEADLINE = 300  #: seconds: other work may be on the machine
CLEAR = "\x1b[2J\x1b[H"

PASSES = re.compile(r"PASS: 1 tests, .*\n")
FAILS = re.compile(r"FAIL: 1 of 1 tests, .*\n")


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """The file is in a directory of its own; a check is a short one."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hyp, "VALUES", 100)
    monkeypatch.setattr(check, "MAX_FAILURES", 100)


@pytest.fixture
def interrupted_then(monkeypatch):
    """Ctrl-C in place of the wait after the first verdict."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "wait_for_change", interrupt)


def replace(name, text):
    """As editors do: whoever reads the file sees the old text or the new."""
    Path("new").write_text(text)
    Path("new").replace(name)


class Session:
    """A process of tb.watch, and what it has written since last asked."""

    def __init__(self, file, terminal=None, **environment):
        ours, theirs = os.openpty() if terminal else os.pipe()
        if terminal:
            columns, rows = terminal
            termios.tcsetwinsize(theirs, (rows, columns))
        self._ours, self._text = ours, ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tb.watch", file],
            env={**os.environ, "PYTHONPATH": str(TREE), "TERM": "xterm", **environment},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        os.close(self._ours)

    def until(self, pattern):
        """All that it writes up to something."""
        end = time.monotonic() + DEADLINE
        while not (found := re.search(pattern, self._text)):
            ready, _, _ = select.select([self._ours], [], [], end - time.monotonic())
            assert ready, f"waiting for {pattern!r}; it wrote {self._text!r}"
            self._text += os.read(self._ours, 1 << 16).decode().replace("\r\n", "\n")
        text, self._text = self._text[: found.end()], self._text[found.end() :]
        return text

    def interrupt(self):
        """Ctrl-C, which a terminal sends to all of the group. (exit code, lines of errors)."""
        os.killpg(self.process.pid, signal.SIGINT)
        _, err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, err


# In a pipe


def test_a_verdict_follows_each_change_in_plain_lines():
    replace("my.words", NO_EOR)
    with Session("my.words") as session:
        first = session.until(r"reproduce: .*\n\n")
        replace("my.words", V1)
        second = session.until(PASSES.pattern + "\n")
        assert session.interrupt() == (0, "")
    lines = first.splitlines()
    assert re.fullmatch(r"my\.words, changed \d\d:\d\d:\d\d", lines[0])
    assert FAILS.fullmatch(lines[1] + "\n")
    assert f"FAIL {hyp.USER} [{work.default_simulator()}, seed 1]" in lines
    assert "    last changed by +0x10: 0xb26b0021  orr x1, x1, #DBG_SPSR_SS" in lines
    assert "  the events before it:" in lines
    assert len(second.splitlines()) == 3
    assert "\x1b" not in first + second


def test_what_it_says_of_a_failure_is_what_the_run_says(capsys, interrupted_then):
    replace("my.words", NO_EOR)
    assert main(["my.words"]) == 1
    seen = capsys.readouterr().out.splitlines()
    assert run.main(["--hyp", "my.words", "-q", "-j", "1"]) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    (waveform,) = [line for line in told if line.startswith("  waveform:")]
    assert [line for line in seen if line.startswith("  ")] == [
        line for line in told if line != waveform
    ]


BAD = [
    ("empty", "error: my.words: the file is empty: write the sequence there"),
    ("gone", "error: my.words: no such file"),
    ("directory", "error: my.words: not a file; a sequence is source, words or an ELF object"),
    ("junk", "error: my.words:1: 'mov' is not a 32-bit hexadecimal word"),
    ("undefined", "error: my.words: 0x00000000 at 0x40080000 is no instruction that is known here"),
]


def make_bad(kind):
    path = Path("my.words")
    path.unlink()
    match kind:
        case "empty":
            path.touch()
        case "directory":
            path.mkdir()
        case "junk":
            path.write_text("mov // x1, x2\n")
        case "undefined":
            path.write_text("0x00000000\n")


def mend():
    if Path("my.words").is_dir():
        Path("my.words").rmdir()
    replace("my.words", V1)


def test_a_bad_file_is_one_line_and_it_goes_on():
    replace("my.words", V1)
    with Session("my.words") as session:
        session.until(PASSES.pattern + "\n")
        for kind, said in BAD:
            make_bad(kind)
            lines = session.until(re.escape(said) + ".*\n\n").splitlines()
            assert lines[-3].startswith("my.words, changed ")
            assert lines[-2].startswith(said)
            mend()
            session.until(PASSES.pattern + "\n")
        make_bad("gone")
        session.until("no such file\n")
        assert session.interrupt() == (2, "")


@pytest.mark.skipif(not ASSEMBLER, reason="no A64 assembler")
def test_a_syntax_error_is_the_assemblers_line(capsys, interrupted_then):
    replace("my.S", "\tmov x1, x2\n\tbogus x1\n")
    assert main(["my.S"]) == 2
    _, line, blank = capsys.readouterr().out.splitlines()
    assert line.startswith("error: my.S:2: ")
    assert blank == ""


# On a terminal


def rows_of(text):
    """The rows of the last screen, without styles."""
    screen = text.rpartition(CLEAR)[2].rpartition("\x1b[2K")[2]
    return re.sub(r"\x1b\[[0-9;]*m", "", screen).split("\n")


def test_a_terminal_has_one_screen_drawn_anew():
    replace("my.words", NO_EOR)
    with Session("my.words", terminal=(80, 24)) as session:
        first = session.until("Ctrl-C ends")
        replace("my.words", V1)
        second = session.until("Ctrl-C ends")
        code, err = session.interrupt()
    assert (code, err) == (0, "")
    assert "\x1b[1;31mFAIL\x1b[0m: 1 of 1 tests" in first
    assert "\x1b[1;32mPASS\x1b[0m: 1 tests" in second
    assert second.count(CLEAR) == 1
    assert "checking my.words" in second.partition(CLEAR)[0]
    rows = rows_of(first)
    assert len(rows) == 24
    assert all(len(row) <= 80 for row in rows)
    assert rows[-1] == "waiting for a change; Ctrl-C ends"
    assert re.fullmatch(r"  \.\.\. \d+ more lines; this shows all:", rows[-4])
    assert rows[-3].startswith(f"  reproduce: python -m tb.run {hyp.USER} ")
    assert rows[-3].endswith(" --hyp my.words")
    assert len(rows_of(second)) == 4


def test_no_color_has_the_screen_without_colours():
    replace("my.words", V1)
    with Session("my.words", terminal=(80, 24), NO_COLOR="1") as session:
        text = session.until("Ctrl-C ends")
        assert session.interrupt()[0] == 0
    assert CLEAR in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)


class Terminal(io.StringIO):
    """A file that says that it is one."""

    def isatty(self):
        return True


def failing(failure):
    plan = Plan(("pysim",), (hyp.USER,), hyp="my.S", tests=1)
    found = Report(plan)
    found.add(Result(hyp.USER, "pysim", 1, FAILED, 1, 0.0, found.counts, failure))
    return Verdict(1, report.verdict(found), found)


@pytest.mark.parametrize("size", [(80, 24), (40, 20), (200, 60), (60, 14)])
@pytest.mark.parametrize("lines", [1, 10, 200])
def test_a_failure_fits_the_screen(monkeypatch, size, lines):
    monkeypatch.setenv("TERM", "xterm")
    columns, height = size
    file = Terminal()
    console = Console(file=file, width=columns, height=height, highlight=False, soft_wrap=True)
    failure = "\n".join(f"{'  ' * (at % 3)}a line {at} {'word ' * 18}" for at in range(lines))
    Screen(console, "my.S").show(failing(failure), None)
    rows = rows_of(file.getvalue())
    assert sum(max(1, -(-len(row) // columns)) for row in rows) <= height
    shown = [at for at in range(lines) if any(f"a line {at} " in row for row in rows)]
    assert shown == list(range(len(shown)))
    assert any("more lines; this shows all:" in row for row in rows) is (len(shown) < lines)


def test_the_findings_come_before_the_events_and_both_before_what_is_cut(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = Terminal()
    console = Console(file=file, width=80, height=13, highlight=False, soft_wrap=True)
    events = ["  cycle 1: one", "  cycle 2: two"]
    findings = ["my.S: it is 1 and must be 0", "  given    this", "  found    that"]
    lines = ["the sentence", failures.BEFORE_IT, *events, *findings]
    Screen(console, "my.S").show(failing("\n".join(lines)), None)
    rows = [row.rstrip() for row in rows_of(file.getvalue()) if row.startswith("  ")]
    assert rows[:-1] == [
        *(f"  {line}" for line in ["the sentence", *findings, failures.BEFORE_IT]),
        "  ... 2 more lines; this shows all:",
    ]


# Changes


def changed_by(change, path):
    """Whether waiting ends after a change."""
    seen = stamp(path)
    waiting = threading.Thread(target=wait_for_change, args=(path, seen), daemon=True)
    waiting.start()
    change()
    waiting.join(DEADLINE)
    return not waiting.is_alive()


def test_a_change_to_what_a_link_leads_to_is_seen():
    Path("elsewhere").mkdir()
    Path("elsewhere/my.words").write_text(V1)
    Path("my.words").symlink_to("elsewhere/my.words")
    assert changed_by(lambda: Path("elsewhere/my.words").write_text(NO_EOR), Path("my.words"))


def test_a_directory_that_is_replaced_is_seen():
    path = Path("directory/my.words")
    path.parent.mkdir()
    path.write_text(V1)
    assert changed_by(lambda: shutil.rmtree("directory"), path)

    def make_again():
        path.parent.mkdir()
        path.write_text(V1)

    assert changed_by(make_again, path)


def test_a_file_is_looked_at_where_nothing_tells_of_changes(monkeypatch):
    def refuse(*_, **__):
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(watch, "changes_in", refuse)
    Path("my.words").write_text(V1)
    assert changed_by(lambda: Path("my.words").write_text(NO_EOR), Path("my.words"))


def test_a_check_is_given_up_when_the_file_changes_again(monkeypatch, capsys, interrupted_then):
    run_unit = work.run_unit

    def never_ends(unit):
        if Path(unit.hyp).read_text() == NO_EOR:
            replace("my.words", V1)
            time.sleep(2 * DEADLINE)
        return run_unit(unit)

    monkeypatch.setattr(work, "run_unit", never_ends)
    replace("my.words", NO_EOR)
    assert main(["my.words"]) == 0
    assert len(PASSES.findall(capsys.readouterr().out)) == 1


def test_a_check_that_kills_its_process_is_told_and_it_goes_on(
    monkeypatch, capsys, interrupted_then
):
    monkeypatch.setattr(work, "run_unit", lambda unit: os.kill(os.getpid(), signal.SIGKILL))
    replace("my.words", V1)
    assert main(["my.words"]) == 1
    assert "killed its worker process" in capsys.readouterr().out


# How it ends


@pytest.mark.parametrize(("text", "code"), [(V1, 0), (NO_EOR, 1), ("mov\n", 2)])
def test_ctrl_c_gives_the_code_of_the_last_verdict(capsys, interrupted_then, text, code):
    replace("my.words", text)
    assert main(["my.words"]) == code
    assert capsys.readouterr().err == ""


def test_ctrl_c_before_the_first_verdict_is_2_and_quiet(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "check", interrupt)
    replace("my.words", V1)
    assert main(["my.words"]) == 2
    assert capsys.readouterr() == ("", "")


def processes_of(session):
    """Those in the session of a process that leads one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(int(process.name)) == session.process.pid:
                found.append(process.name)
    return found


def test_ctrl_c_amid_a_check_is_quiet_and_leaves_nothing_behind():
    Path("my.words").write_text("0x14000000  // b .\n")  # each of its runs goes to the limit
    with Session("my.words") as session:
        end = time.monotonic() + DEADLINE
        while len(processes_of(session)) < 2:
            assert time.monotonic() < end
        assert session.interrupt() == (2, "")
        while processes_of(session):
            assert time.monotonic() < end


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("no.S", "no.S: no such file"),
        (".", ".: not a file; a sequence is source, words or an ELF object"),
        ("v1", "v1 is a sequence of the project's: for a file give ./v1"),
        ("my.S", f"my.S: {assemble.NO_ASSEMBLER}"),
    ],
)
def test_what_no_change_of_the_file_can_mend_is_one_line(monkeypatch, capsys, file, said):
    monkeypatch.setattr(watch, "find_assemblers", list)
    replace("my.S", "\tnop\n")
    assert main([file]) == 2
    assert capsys.readouterr() == ("", f"error: {said}\n")
