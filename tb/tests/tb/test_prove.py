"""`python -m tb.prove`: what it proves, what it prints, and its exit code."""

import errno
import faulthandler
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tb
from model.hyp.sequences import load as load_sequence
from tb import prove, report
from tb.proofs import results, sequences
from tb.proofs.claims import CLAIMS, Claim, Method, Outcome, Status
from tb.proofs.results import ResultError
from tb.prove import main
from tb.scoreboard import Difference

TREE = Path(tb.__file__).parent.parent


def proved(directory, seconds):
    (directory / "model.txt").write_text("as it should be")
    print("a solver talks")
    return Outcome(Status.PROVED, depth=20, history=["a witness"])


def counted(directory, seconds):
    return Outcome(Status.PROVED, inputs=4096)


def told(directory, seconds):
    return Outcome(Status.PROVED, depth=int(seconds))


def refuted(directory, seconds):
    differences = [Difference("el_after", 1, 2), Difference("state", 2, 1)]
    differences.append(Difference("esr", 0xCA000022, 0xCB000022))
    history = ["cycle 0: [start]", "cycle 1: execute"]
    vcd = directory / "refuted.vcd"
    return Outcome(Status.REFUTED, "two [fields] differ", 2, None, differences, history, vcd)


def gives_up(directory, seconds):
    return Outcome(Status.NOT_PROVED, "the solver gives up")


def breaks(directory, seconds):
    raise RuntimeError("[broken]\nin two lines")


def has_no_solver(directory, seconds):
    subprocess.run(["no-such-solver"], check=True)


def crashes(directory, seconds):
    faulthandler.disable()  # pytest's
    os.kill(os.getpid(), signal.SIGSEGV)


def is_killed(directory, seconds):
    os.kill(os.getpid(), signal.SIGKILL)


def leaves(directory, seconds):
    os._exit(3)


def talks_nonsense(directory, seconds):
    return "sat"


def unpicklable(directory, seconds):
    return lambda: None


def never_ends(directory, seconds):
    with subprocess.Popen(["sleep", "600"]) as solver:
        (directory / "pid").write_text(str(solver.pid))
    return Outcome(Status.PROVED)


def interrupts(directory, seconds):
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)


TOYS = {
    **{proof.__name__: (proof, Method.BOUNDED) for proof in (proved, refuted, gives_up, breaks)},
    "counted": (counted, Method.EXHAUSTIVE),
    "told": (told, Method.SYMBOLIC),
    **{proof.__name__: (proof, Method.INDUCTION) for proof in (has_no_solver, crashes, is_killed)},
    **{proof.__name__: (proof, Method.INDUCTION) for proof in (leaves, talks_nonsense)},
    **{proof.__name__: (proof, Method.INDUCTION) for proof in (unpicklable, never_ends)},
    "interrupts": (interrupts, Method.INDUCTION),
}


@pytest.fixture(autouse=True)
def toys(monkeypatch, tmp_path):
    """Small claims beside the others; everything generated goes to tmp_path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prove, "DIRECTORY", tmp_path / "sim_build" / "proofs")
    for name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    prove.load()
    for name, (proof, method) in TOYS.items():
        claim = Claim(f"toy.{name}", f"{name} is [so]", "a toy", method, proof)
        monkeypatch.setitem(CLAIMS, claim.name, claim)
    yield
    CLAIMS.pop(sequences.USER, None)


@pytest.fixture
def run(capsys):
    """Runs a command line in this process: (exit code, lines of output, lines of errors)."""

    def go(*words):
        code = main(["-j", "1", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return go


def written(path="out.json"):
    content = json.loads(Path(path).read_text())
    return content["verdict"], {claim["name"]: claim for claim in content["claims"]}


# Proved


def test_a_proof(run):
    code, out, err = run("toy.proved")
    assert (code, err) == (0, [])
    assert out[0].split() == [
        *("result", "claim", "method", "depth", "or", "inputs", "seconds", "what", "holds"),
        "(source)",
    ]
    assert out[1].split()[:5] == ["PROVED", "toy.proved", "bounded", "20", "cycles"]
    assert out[1].endswith("  proved is [so] (a toy)")
    assert out[2].startswith("PASS: 1 claim proved (1 bounded), ")
    assert len(out) == 3


def test_the_files_of_a_claim_are_in_its_directory(run):
    run("toy.proved")
    directory = Path("sim_build/proofs/toy.proved")
    assert (directory / "model.txt").read_text() == "as it should be"
    assert (directory / "output.txt").read_text() == "a solver talks\n"


def test_what_a_proof_has_to_show_is_shown_with_v(run):
    _, out, _ = run("toy.proved", "-v")
    assert out[2] == "    a witness"


def test_several_at_once(run):
    code, out, _ = run("toy.proved", "toy.counted", "toy.told", "-j", 3, "--timeout", 100)
    assert code == 0
    rows = {line.split()[1]: line for line in out[1:-1]}
    assert list(rows["toy.counted"].split()[2:5]) == ["exhaustive", "4,096", "inputs"]
    assert list(rows["toy.told"].split()[2:5]) == ["symbolic", "95", "instructions"]
    assert out[-1].startswith("PASS: 3 claims proved (1 bounded, 1 exhaustive, 1 symbolic), ")


# Refuted and not proved


def test_a_counterexample_is_told_with_all_that_it_takes_to_look_into_it(run):
    code, out, err = run("toy.refuted", "toy.proved")
    assert (code, err) == (1, [])
    at = next(n for n, line in enumerate(out) if line.startswith("REFUTED     toy.refuted"))
    assert out[at + 1 : at + 10] == [
        "  two [fields] differ",
        "    field     hardware        model",
        "    el_after  EL1             EL2                 !!!",
        "    state     active-pending  active-not-pending  !!!",
        "    esr       0xca000022      0xcb000022          !!!",
        "    cycle 0: [start]",
        "    cycle 1: execute",
        "  reproduce: python -m tb.prove toy.refuted",
        "  waveform:  gtkwave sim_build/proofs/toy.refuted/refuted.vcd"
        " sim_build/proofs/toy.refuted/refuted.gtkw",
    ]
    assert out[-1].startswith("FAIL: 1 refuted, 1 of 2 claims proved, ")


NOT_PROVED = {
    "gives_up": "the solver gives up",
    "breaks": "RuntimeError: [broken] in two lines (test_prove.py:",
    "has_no_solver": "FileNotFoundError: [Errno 2] No such file or directory: 'no-such-solver'",
    "crashes": "its process was ended by SIGSEGV",
    "is_killed": "its process was ended by SIGKILL",
    "leaves": "its process ended with exit code 3 and no result",
    "talks_nonsense": "its proof gave no outcome, but 'sat'",
    "unpicklable": "",
}


@pytest.mark.parametrize("name", NOT_PROVED)
def test_what_goes_wrong_proves_nothing_and_says_why(run, name):
    code, out, err = run(f"toy.{name}")
    assert (code, err) == (1, [])
    assert out[1].startswith(f"NOT PROVED  toy.{name} ")
    assert out[2].startswith(f"  {NOT_PROVED[name]}")
    assert out[3] == f"  reproduce: python -m tb.prove toy.{name}"
    assert out[4].startswith("FAIL: 1 not proved, 0 of 1 claims proved, ")
    assert len(out) == 5


def test_a_proof_that_takes_too_long_is_ended_with_all_that_it_has_started(run):
    start = time.monotonic()
    code, out, _ = run("toy.never_ends", "toy.proved", "--timeout", 0.5)
    assert code == 1
    assert time.monotonic() - start < 20
    assert "  it is not done after 0.5 s; give it more with --timeout" in out
    assert "  reproduce: python -m tb.prove toy.never_ends --timeout 0.5" in out
    assert out[-1].startswith("FAIL: 1 not proved, 1 of 2 claims proved, ")
    solver = int(Path("sim_build/proofs/toy.never_ends/pid").read_text())
    end = time.monotonic() + 10  # it has been killed, and dies when it is its turn
    while _runs(solver) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _runs(solver)


def _runs(pid):
    """Whether a process does anything still; one that waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_an_interrupt_gives_the_summary_so_far(run):
    code, out, err = run("toy.proved", "toy.interrupts", "toy.told", "--json", "out.json")
    assert (code, err) == (2, [])
    assert out[1].startswith("PROVED      toy.proved")
    assert out[-1].startswith("INTERRUPTED: 2 of 3 claims proved, ")
    verdict, claims = written()
    assert (verdict, list(claims)) == ("interrupted", ["toy.proved", "toy.told"])


# Kept for the page of a run


def kept(name):
    return results.read(prove.DIRECTORY / name)


def test_what_became_of_a_claim_is_kept(run):
    run("toy.refuted", "toy.counted")
    found = kept("toy.refuted")
    assert (found.status, found.reason) == (Status.REFUTED, "two [fields] differ")
    assert (found.extent, found.current) == ("2 cycles", True)
    assert found.table[:2] == [["field", "hardware", "model"], ["el_after", "EL1", "EL2"]]
    assert found.history == ["cycle 0: [start]", "cycle 1: execute"]
    assert found.reproduce == "python -m tb.prove toy.refuted"
    assert kept("toy.counted").extent == "4,096 inputs"
    assert kept("toy.proved") is None


def test_a_run_of_others_leaves_it(run):
    run("toy.proved")
    run("toy.counted")
    assert kept("toy.proved").status is kept("toy.counted").status is Status.PROVED


def test_a_new_result_takes_the_place_of_the_old_one_even_of_a_broken_file(run):
    path = Path("sim_build/proofs/toy.proved") / results.NAME
    run("toy.proved")
    path.write_text("no JSON")
    with pytest.raises(ResultError, match="cannot be read"):
        kept("toy.proved")
    run("toy.proved")
    assert kept("toy.proved").status is Status.PROVED


def test_a_result_of_another_version_of_the_code_is_told_from_one_of_this(run, monkeypatch):
    run("toy.proved")
    monkeypatch.setattr(results, "VERSION", "another")
    assert not kept("toy.proved").current


def test_what_is_interrupted_keeps_what_was_done(run):
    run("toy.proved", "toy.interrupts")
    assert kept("toy.proved").status is Status.PROVED
    assert kept("toy.interrupts") is None


# JSON


def test_json_has_all_of_it(run):
    run("toy.refuted", "toy.gives_up", "toy.counted", "--json", "out.json")
    verdict, claims = written()
    assert verdict == "fail"
    wrong = claims["toy.refuted"]
    assert (wrong["status"], wrong["method"], wrong["source"]) == ("refuted", "bounded", "a toy")
    assert wrong["differences"][0] == {"field": "el_after", "hardware": 1, "expected": 2}
    assert wrong["history"] == ["cycle 0: [start]", "cycle 1: execute"]
    assert wrong["waves"].endswith("sim_build/proofs/toy.refuted/refuted.vcd")
    assert wrong["reproduce"] == "python -m tb.prove toy.refuted"
    assert claims["toy.gives_up"]["reason"] == "the solver gives up"
    assert claims["toy.counted"]["inputs"] == 4096
    assert claims["toy.counted"]["waves"] is None


@pytest.mark.parametrize("path", ["none/out.json", "."])
def test_json_that_cannot_be_written_is_told_before_anything_runs(run, path):
    code, out, err = run("toy.proved", "--json", path)
    assert (code, out) == (2, [])
    why = "cannot be written; give a file in an existing directory"
    assert err == [f"error: {path}: {why}"]
    assert not Path("sim_build").exists()


def test_a_full_disk_is_named(run, monkeypatch):
    writing, full = report.writing, "out.json"

    def maybe(path):
        if path.name == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), full)
        return writing(path)

    monkeypatch.setattr(report, "writing", maybe)
    code, _, err = run("toy.proved", "--json", "out.json")
    assert (code, err) == (2, ["error: out.json: No space left on device"])
    full = results.NAME
    code, _, (line,) = run("toy.proved")
    assert (code, line.endswith("result.json: No space left on device")) == (2, True)


# The command line


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["none"], "no claim matches 'none'; python -m tb.prove -l lists them"),
        (["toy.proved", "toy.x*"], "no claim matches 'toy.x*'; python -m tb.prove -l lists them"),
        (["--hyp", ""], "--hyp needs the name of a file"),
        (["--markdown", "README.md"], "--markdown FILE goes with -l"),
        (
            ["--hyp", "none.S"],
            "none.S: no such file, nor one of the sequences here: v1, bic, callout, upstream",
        ),
    ],
)
def test_what_cannot_run_is_told_in_a_line(run, words, why):
    assert run(*words) == (2, [], [f"error: {why}"])


@pytest.mark.parametrize(
    "words", [["-j", "0"], ["-j", "x"], ["--timeout", "0"], ["--timeout", "nan"], ["--what"]]
)
def test_a_wrong_option_is_told_in_a_line(capsys, words):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith("python -m tb.prove -h lists the options")


def test_no_claims_at_all_cannot_run(run, monkeypatch):
    monkeypatch.setattr(prove, "CLAIMS", {})
    assert run() == (2, [], ["error: there are no claims"])


@pytest.mark.parametrize("pattern", ["toy", "toy.*ed", "*ved"])
def test_patterns_are_those_of_the_regression(run, pattern):
    code, out, _ = run("-l", pattern)
    assert code == 0
    names = {line.split()[0] for line in out}
    assert "toy.proved" in names
    assert ("toy.crashes" in names) == (pattern == "toy")


def test_the_list_says_what_each_claim_is(run):
    code, out, _ = run("-l")
    assert code == 0
    assert [line.split()[0] for line in out] == [claim.name for claim in prove.select([])]
    (line,) = [line for line in out if line.startswith("sequences.v1 ")]
    assert "  symbolic " in line
    assert line.endswith(" (guest entry, model.hyp.entry)")


def test_on_a_terminal_there_is_a_bar(tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tb.prove", "sequences.callout"]
    environment = {**os.environ, "PYTHONPATH": str(TREE), "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        command, stdout=theirs, stderr=theirs, env=environment, cwd=tmp_path
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                more = os.read(ours, 4096)
            except OSError:
                break
            if not more:
                break
            shown += more
    os.close(ours)
    assert process.returncode == 0
    assert "━".encode() in shown
    assert b"\x1b[32mPROVED" in shown


def test_a_reader_that_has_seen_enough_ends_it(tmp_path):
    command = f"{shlex.quote(sys.executable)} -m tb.prove -l | true; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(TREE)}
    done = subprocess.run(
        ["bash", "-c", command], env=environment, cwd=tmp_path, capture_output=True, check=False
    )
    assert done.stderr == b""
    assert done.returncode in (0, 2)  # all may have been written before the reader went


# The user's own sequence


def words_file(words):
    Path("my.words").write_text("\n".join(f"{word:#010x}" for word in words))


def test_the_users_own_sequence_is_proved(run):
    words_file(load_sequence("bic").words)
    code, out, _ = run("--hyp", "my.words")
    assert code == 0
    assert out[1].startswith("PROVED      sequences.user ")
    assert "my.words does what guest entry must" in out[1]
    assert out[-1].startswith("PASS: 1 claim proved (1 symbolic), ")


def test_the_users_own_sequence_is_refuted_as_tb_run_would(run):
    words = list(load_sequence("v1").words)
    del words[7:9]
    words[6] = 0x3708_0023  # tbnz to the next word
    words_file(words)
    code, out, _ = run("--hyp", "my.words")
    assert code == 1
    at = out.index("    my.words: SPSR_EL2.SS is 1 and must be 0 (in 1 run)")
    assert out[at + 1] == (
        "      given    guest_debug = 0x1 (ENABLE), SPSR_EL2 = 0x0, MDSCR_EL1 = 0x0"
    )
    assert out[at + 2 : at + 4] == [
        "      expected SPSR_EL2 = 0x0",
        "      found    SPSR_EL2 = 0x200000 (SS=1)",
    ]
    assert out[at + 4].startswith("      last changed by +0x10: 0xb26b0021  ORR")
    assert out[at + 5].startswith("      written by +0x1c: 0xd51c4001  MSR")
    assert any(line.split() == ["field", "code", "must", "be"] for line in out)
    assert "  reproduce: python -m tb.prove sequences.user --hyp my.words" in out


# The list in docs/proofs.md


def test_the_list_is_put_between_its_marks(run):
    Path("text.md").write_text(f"before\n{prove.BEGIN}\nold\n{prove.END}\nafter\n")
    assert run("-l", "toy.told", "toy.counted", "--markdown", "text.md")[0] == 0
    assert Path("text.md").read_text().splitlines() == [
        "before",
        prove.BEGIN,
        "",
        "| claim | what holds | source | method |",
        "| --- | --- | --- | --- |",
        "| `toy.counted` | counted is [so] | a toy | exhaustive |",
        "| `toy.told` | told is [so] | a toy | symbolic |",
        "",
        prove.END,
        "after",
    ]
    code, out, _ = run("-l", "toy.told", "toy.counted", "--markdown", "text.md")
    assert (code, out) == (0, ["text.md: is as it should be"])


def test_a_file_without_the_marks_is_left_as_it_is(run):
    Path("text.md").write_text("no marks\n")
    code, _, err = run("-l", "toy.told", "--markdown", "text.md")
    assert code == 2
    assert err[0].startswith("error: text.md: no place for the list: ")
    assert Path("text.md").read_text() == "no marks\n"


def test_the_page_has_the_list():
    """`python -m tb.prove -l --markdown docs/proofs.md` writes it."""
    claims = prove.select([])
    own = [c for c in claims if not c.name.startswith("toy.") and c.name != sequences.USER]
    text = (TREE / "docs" / "proofs.md").read_text(encoding="utf-8")
    assert f"{prove.BEGIN}\n\n{prove.markdown(own)}\n{prove.END}\n" in text
