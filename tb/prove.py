"""`python -m tb.prove`: the proofs, each claim in a process of its own.

Exit code: 0 all selected claims are proved, 1 one is refuted or not proved, 2 it could not run
(nothing selected counts as that, and being interrupted).
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

from rich.console import Console

from model.hyp import SequenceError
from tb import failures, proofs, report, runner
from tb.arguments import (
    COULD_NOT_RUN,
    OutputConsole,
    Parser,
    UsageError,
    bar,
    check_writable,
    count,
    seconds,
    stop,
    stop_at,
)
from tb.harness import ROW
from tb.plan import matches
from tb.proofs import results, sequences
from tb.proofs.claims import CLAIMS, Claim, Method, Outcome, Status
from tb.sims.builds import SIM_BUILD

PROVED, NOT_PROVED = 0, 1

#: Seconds that a claim may take.
TIMEOUT = 600.0

#: Part of them that a claim is told of: with the rest it says itself what it has not done.
_TOLD = 0.95

TICK = 0.5  #: seconds that nothing can be told for

#: Where the files of each claim go, in a directory of its name.
DIRECTORY = SIM_BUILD / "proofs"

#: Marks of the list of claims in a Markdown file.
BEGIN, END = "<!-- claims: python -m tb.prove -l --markdown FILE -->", "<!-- end of claims -->"

_FORK = multiprocessing.get_context("fork")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="python -m tb.prove",
        description="Prove what holds for every input.",
        epilog="Exit code: 0 all are proved, 1 one is refuted or not proved, 2 it could not run.",
    )
    p.add_argument("patterns", nargs="*", metavar="PATTERN", help="claims: sequences, '*.v1', v1")
    p.add_argument("-l", "--list", action="store_true", help="list the claims and stop")
    p.add_argument("-j", type=count, default=runner.cores(), metavar="N", help="processes")
    p.add_argument("-v", action="store_true", dest="verbose", help="what a proof has to show, too")
    p.add_argument("--json", type=Path, metavar="FILE", help="write JSON")
    p.add_argument("--hyp", metavar="FILE", help="prove a guest-entry sequence: .S, words, ELF")
    p.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"that a claim may take (default: {TIMEOUT:.0f})",
    )
    p.add_argument("--markdown", type=Path, metavar="FILE", help="with -l: put the list into FILE")
    return p


# The claims


def load() -> None:
    """Import every module of proofs."""
    for module in walk_packages(proofs.__path__, f"{proofs.__name__}."):
        import_module(module.name)


def select(patterns: Sequence[str]) -> list[Claim]:
    """The claims that match any pattern, as `tb.plan.select`. UsageError for none."""
    for pattern in patterns:
        if not any(matches(name, pattern) for name in CLAIMS):
            raise UsageError(f"no claim matches {pattern!r}; python -m tb.prove -l lists them")
    found = [
        claim
        for name, claim in CLAIMS.items()
        if not patterns or any(matches(name, pattern) for pattern in patterns)
    ]
    return sorted(found, key=_group)  # whichever module was loaded first


def _group(claim: Claim) -> str:
    return claim.name.partition(".")[0]


def markdown(claims: Sequence[Claim]) -> str:
    """The claims as a table."""
    rows = [("claim", "what holds", "source", "method"), ("---",) * 4]
    rows += [(f"`{c.name}`", c.sentence, c.source, c.method.value) for c in claims]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def write_markdown(path: Path, claims: Sequence[Claim]) -> bool:
    """Put the table between the marks of a file; whether it was another. UsageError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8; --markdown takes a Markdown file") from None
    found = re.search(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", text, re.DOTALL)
    if found is None:
        raise UsageError(f"{path}: no place for the list: it has no lines {BEGIN} and {END}")
    new = text[: found.start()] + "\n" + markdown(claims) + "\n" + text[found.end() :]
    if new != text:
        report.write(path, new)
    return new != text


# Running


@dataclass(frozen=True, slots=True)
class Done:
    """A claim, and what became of it."""

    claim: Claim
    outcome: Outcome
    seconds: float


class _Process:
    """A claim's process, the leader of a group with all that it starts."""

    def __init__(self, claim: Claim, timeout: float):
        self.claim, self.timeout = claim, timeout
        self.start = time.monotonic()
        self.connection, end = _FORK.Pipe(duplex=False)
        directory = DIRECTORY / claim.name
        directory.mkdir(parents=True, exist_ok=True)
        arguments = (claim, directory, _TOLD * timeout, end)
        self._process = _FORK.Process(target=_prove, args=arguments, daemon=True)
        self._process.start()
        end.close()

    @property
    def seconds(self) -> float:
        """That it has taken so far."""
        return time.monotonic() - self.start

    def outcome(self) -> Outcome | None:
        """What became of it; None if it is still at work."""
        if self.connection.poll():
            outcome = self._received()
        elif self.seconds > self.timeout:
            reason = f"it is not done after {self.timeout:g} s; give it more with --timeout"
            outcome = Outcome(Status.NOT_PROVED, reason)
        else:
            return None
        self.end()
        return outcome

    def _received(self) -> Outcome:
        try:
            return _checked(self.connection.recv())
        except (EOFError, ConnectionError):
            self._process.join()
            return Outcome(Status.NOT_PROVED, f"its process {self._end_text()}")
        except Exception as error:  # what came is nothing that can be read
            reason = f"what its process gave cannot be read: {failures.unexpected(error)}"
            return Outcome(Status.NOT_PROVED, reason)

    def _end_text(self) -> str:
        code = self._process.exitcode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code} and no result"

    def end(self) -> None:
        """Kill it, and the solvers that it has started."""
        self.connection.close()
        self._process.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # type: ignore[arg-type]  # it has started
        self._process.join()


def _prove(claim: Claim, directory: Path, seconds: float, end: Connection) -> None:
    """In the claim's own process: what solvers print goes to a file."""
    os.setpgid(0, 0)  # Ctrl-C goes to the group of the terminal: the parent alone answers to it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with (directory / "output.txt").open("w", encoding="utf-8") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        sys.stdout = sys.stderr = output
        try:
            outcome = claim.prove(directory, seconds)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            outcome = Outcome(Status.NOT_PROVED, _error_text(error))
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    try:
        end.send(outcome)
    except OSError:  # the parent is gone
        pass
    except Exception as error:
        end.send(Outcome(Status.NOT_PROVED, _error_text(error)))


def _error_text(error: BaseException) -> str:
    text = failures.unexpected(error) if isinstance(error, Exception) else type(error).__name__
    return " ".join(text.split())


def _checked(outcome: Any) -> Outcome:
    """The outcome, or that it is none."""
    if not isinstance(outcome, Outcome):
        return Outcome(Status.NOT_PROVED, f"its proof gave no outcome, but {outcome!r:.80}")
    return outcome


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C comes after the block: no process is begun that nobody knows of.

    A mask does not do: it is of one thread, and what is raised while a process forks is lost.
    """
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came and callable(before):
        before(signal.SIGINT, None)


def run(
    claims: Sequence[Claim], workers: int, timeout: float
) -> Generator[Done | None, None, None]:
    """What became of each, as they end; None every TICK. Ended early, it ends all processes."""
    waiting, running = list(claims), list[_Process]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                with _uninterrupted():
                    running.append(_Process(waiting.pop(0), timeout))
            soonest = min(one.timeout - one.seconds for one in running)
            wait([one.connection for one in running], max(0.0, min(TICK, soonest)))
            for one in list(running):
                outcome = one.outcome()
                if outcome is not None:
                    running.remove(one)
                    yield Done(one.claim, outcome, one.seconds)
            yield None
    finally:
        for one in running:
            one.end()


# What is printed


_STYLES = {
    Status.PROVED: "green",
    Status.REFUTED: "bold red",
    Status.NOT_PROVED: "bold red",
}

_WIDTHS = {"result": 10, "method": 10, "extent": 18, "seconds": 9}


def _name_width(claims: Sequence[Claim]) -> int:
    return max(len("claim"), *(len(claim.name) for claim in claims))


def print_header(console: Console, claims: Sequence[Claim]) -> None:
    """Above the rows of the table."""
    cells = ["claim".ljust(_name_width(claims)), "method".ljust(_WIDTHS["method"])]
    cells += ["depth or inputs".ljust(_WIDTHS["extent"]), "seconds".rjust(_WIDTHS["seconds"])]
    cells = ["result".ljust(_WIDTHS["result"]), *cells, "what holds (source)"]
    console.print("  ".join(cells), style="dim", markup=False)


def print_row(console: Console, done: Done, width: int) -> None:
    """The row of a claim."""
    claim, outcome = done.claim, done.outcome
    result = outcome.status.value.upper()
    cells = [
        claim.name.ljust(width),
        claim.method.value.ljust(_WIDTHS["method"]),
        extent(claim, outcome).ljust(_WIDTHS["extent"]),
        f"{done.seconds:.1f}".rjust(_WIDTHS["seconds"]),
        f"{claim.sentence} ({claim.source})",
    ]
    console.print(result.ljust(_WIDTHS["result"]), style=_STYLES[outcome.status], end="  ")
    console.print("  ".join(cells), markup=False)


def extent(claim: Claim, outcome: Outcome) -> str:
    """How deep a proof goes, or how many inputs it has."""
    if outcome.inputs is not None:
        return f"{outcome.inputs:,} inputs"
    if outcome.depth is None:
        return "-"
    unit = "instruction" if claim.method is Method.SYMBOLIC else "cycle"
    return f"{outcome.depth:,} {unit}{'' if outcome.depth == 1 else 's'}"


def print_outcome(console: Console, done: Done, options: argparse.Namespace) -> None:
    """What a claim that is not proved has to say; with -v, one that is, too."""
    claim, outcome = done.claim, done.outcome
    lines = []
    if outcome.reason:
        lines.append(outcome.reason)
    lines += _differences(claim, outcome)
    lines += [f"  {line}" for line in outcome.history]
    if outcome.status is not Status.PROVED:
        lines.append(f"reproduce: {reproduce(claim, options)}")
    if outcome.waves:
        vcd = os.path.relpath(outcome.waves)
        save = os.path.relpath(outcome.waves.with_suffix(".gtkw"))
        lines.append(f"waveform:  gtkwave {shlex.quote(vcd)} {shlex.quote(save)}")
    for line in lines:
        style = "bold" if line.endswith("!!!") else ""
        console.print("  " + line.rstrip(), style=style, markup=False)


def _differences(claim: Claim, outcome: Outcome) -> list[str]:
    """The table of a counterexample, in the form of a failing test's."""
    if not outcome.differences:
        return []
    rows = [[*row, "!!!" if at else ""] for at, row in enumerate(_table(claim, outcome))]
    return [line.rstrip() for line in failures.table(rows)]


def _table(claim: Claim, outcome: Outcome) -> list[list[str]]:
    """A header, and what differs."""
    heads = ("code", "must be") if claim.method is Method.SYMBOLIC else ("hardware", "model")
    rows = [["field", *heads]]
    for field, hardware, expected in outcome.differences:
        rows.append([field, _value_text(field, hardware), _value_text(field, expected)])
    return rows


def _value_text(field: str, value: int) -> str:
    if field in ROW:
        return failures.value_text(field, value)
    return f"{value:#x}" if value > 9 else str(value)


def reproduce(claim: Claim, options: argparse.Namespace) -> str:
    """The command that proves a claim again."""
    command = f"python -m tb.prove {claim.name}"
    if claim.name == sequences.USER and options.hyp:
        command += f" --hyp {shlex.quote(options.hyp)}"
    if options.timeout != TIMEOUT:
        command += f" --timeout {options.timeout:g}"
    return command


def verdict(
    claims: Sequence[Claim], done: Sequence[Done], seconds: float, interrupted: bool
) -> str:
    """The last line."""
    counts = dict.fromkeys(Status, 0)
    for one in done:
        counts[one.outcome.status] += 1
    proved, total = counts[Status.PROVED], len(claims)
    bad = [f"{counts[s]} {s.value}" for s in (Status.REFUTED, Status.NOT_PROVED) if counts[s]]
    took = f"{seconds:.1f} s"
    if interrupted:
        figures = ", ".join([f"{proved} of {total} claims proved", *bad, took])
        return f"[bold red]INTERRUPTED[/]: {figures}"
    if proved == total > 0:
        noun = "claim" if total == 1 else "claims"
        return f"[bold green]PASS[/]: {total} {noun} proved ({_methods(claims)}), {took}"
    return f"[bold red]FAIL[/]: {', '.join(bad)}, {proved} of {total} claims proved, {took}"


def _methods(claims: Sequence[Claim]) -> str:
    counts = {method: sum(claim.method is method for claim in claims) for method in Method}
    return ", ".join(f"{count} {method.value}" for method, count in counts.items() if count)


# JSON


def _record(done: Done, options: argparse.Namespace) -> dict[str, Any]:
    claim, outcome = done.claim, done.outcome
    return {
        "name": claim.name,
        "sentence": claim.sentence,
        "source": claim.source,
        "method": claim.method.value,
        "status": outcome.status.value,
        "reason": outcome.reason,
        "depth": outcome.depth,
        "inputs": outcome.inputs,
        "seconds": round(done.seconds, 3),
        "differences": [difference._asdict() for difference in outcome.differences],
        "history": list(outcome.history),
        "waves": str(outcome.waves) if outcome.waves else None,
        "reproduce": reproduce(claim, options),
    }


def _keep(done: Done, options: argparse.Namespace) -> None:
    """For the page of a run: with the texts that are printed. Raises OSError."""
    claim, outcome = done.claim, done.outcome
    table = _table(claim, outcome) if outcome.differences else []
    record = {**_record(done, options), "extent": extent(claim, outcome), "table": table}
    results.write(DIRECTORY / claim.name, record)


# The command


@contextlib.contextmanager
def _bar(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    shown = bar(console)
    with shown:
        task = shown.add_task("claims", total=total)
        yield lambda done: shown.update(task, completed=done, refresh=True)


def prove(options: argparse.Namespace, console: Console) -> int:
    """Prove what the options select; print, write, return the exit code."""
    if options.hyp == "":
        raise UsageError("--hyp needs the name of a file")
    if options.markdown and not options.list:
        raise UsageError("--markdown FILE goes with -l")
    load()
    if options.hyp:
        sequences.register_user(options.hyp)
    own = options.hyp and not options.patterns
    claims = [CLAIMS[sequences.USER]] if own else select(options.patterns)
    if not claims:
        raise UsageError("there are no claims")
    check_writable(options.json, options.markdown)
    if options.list:
        return _list(options, claims)
    start = time.monotonic()
    done: list[Done] = []
    interrupted = False
    print_header(console, claims)
    width = _name_width(claims)
    with contextlib.closing(run(claims, options.j, options.timeout)) as ended:
        try:
            with _bar(console, len(claims)) as show:
                for one in ended:
                    if one is not None:
                        done.append(one)
                        _keep(one, options)
                        print_row(console, one, width)
                        if one.outcome.status is not Status.PROVED or options.verbose:
                            print_outcome(console, one, options)
                    show(len(done))
        except KeyboardInterrupt:
            interrupted = True
    seconds = time.monotonic() - start
    passed = not interrupted and all(one.outcome.status is Status.PROVED for one in done)
    if options.json:
        content = {
            "verdict": "interrupted" if interrupted else "pass" if passed else "fail",
            "seconds": round(seconds, 3),
            "selected": [claim.name for claim in claims],
            "claims": [_record(one, options) for one in done],
        }
        report.write(options.json, json.dumps(content, indent=2) + "\n")
    console.print(verdict(claims, done, seconds, interrupted))
    if interrupted:
        return COULD_NOT_RUN
    return PROVED if passed else NOT_PROVED


def _list(options: argparse.Namespace, claims: Sequence[Claim]) -> int:
    if options.markdown:
        changed = write_markdown(options.markdown, claims)
        print(f"{options.markdown}: {'rewritten' if changed else 'is as it should be'}")
        return PROVED
    width = _name_width(claims)
    for claim in claims:
        method = claim.method.value.ljust(_WIDTHS["method"])
        print(f"{claim.name:{width}}  {method}  {claim.sentence} ({claim.source})")
    return PROVED


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parser().parse_intermixed_args(argv)
    console = OutputConsole(highlight=False, soft_wrap=True)
    try:
        code = prove(options, console)
        console.file.flush()
        return code
    except (UsageError, SequenceError) as error:
        return stop(str(error))
    except ImportError as error:
        return stop(f"the proofs cannot be loaded: {error}")
    except OSError as error:
        return stop_at(error)
    except KeyboardInterrupt:
        return stop("interrupted")


if __name__ == "__main__":
    sys.exit(main())
