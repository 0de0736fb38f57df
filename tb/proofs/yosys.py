"""The engine: what an Amaranth design asserts, proved by Yosys' SAT solver.

A design says what it claims with `Assert`, what may be relied on with `Assume`, and with `Cover`
what must be possible for the claim to be about anything. Yosys runs in a process of its own, and is
stopped when its time is over. What goes wrong there is an `EngineError`, never anything else.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Elaboratable, Module, Value
from amaranth.hdl._ir import PortDirection

from tb.proofs.claims import Outcome, Status

TOP = "claim"
COVER = "cover_"  #: and its number: a cover's cell
RUN = "from pyosys import libyosys as y; y.run_pass('script script', y.Design())"

READ = """\
read_rtlil design.il
hierarchy -top {top}
proc -norom
flatten -noscopeinfo
setundef -undriven -anyseq
async2sync
chformal -lower
setattr -set keep 1 t:$assert t:$assume t:$cover
opt -fast
design -save read
"""
#: A cover is sought as the counterexample to its never being met.
SEEK = """\
(* techmap_celltype = "$cover" *)
module seek(input A, input EN);
  \\$assert _TECHMAP_REPLACE_ (.A(~A), .EN(EN));
endmodule
"""
SAT = (
    "tee -q -o {name}.log sat {how} -prove-asserts -set-assumes -show-ports -dump_json {name}.json"
)
ANYWHERE = "setattr -unset init w:*"  #: the state before the first cycle is any

Cycles = Sequence[Mapping[str, int]]  #: names of ports to values, cycle by cycle


class EngineError(Exception):
    """There is no answer: its text says why, in one line."""


@dataclass(frozen=True)
class Problem:
    """A design with what drives it. A signal that is not among its inputs is what it starts as.

    Every register in it is of the domain `sync`; at first, all are as after a reset.
    """

    design: Elaboratable
    inputs: Mapping[str, Value]
    shown: Mapping[str, Value]  #: what a counterexample shows besides the inputs

    def rtlil(self) -> str:
        """The design, its covers named after their numbers."""
        module = Module()
        module.domains.sync = clock = ClockDomain("sync", reset_less=True)
        module.submodules.design = self.design
        ports = {"clk": (clock.clk, PortDirection.Input)}
        ports |= {name: (value, PortDirection.Input) for name, value in self.inputs.items()}
        ports |= {name: (value, PortDirection.Output) for name, value in self.shown.items()}
        return _name_covers(rtlil.convert(module, name=TOP, emit_src=False, ports=ports))


@dataclass(frozen=True, slots=True)
class Check:
    """What is asked: that nothing that is asserted fails, or that a cover can be met."""

    name: str  #: of its files
    depth: int  #: cycles that are looked at; of a proof by induction, its greatest length
    cover: int | None = None  #: the number of the cover to meet; None: the assertions
    unbounded: bool = False  #: by temporal induction
    anywhere: bool = False  #: from any state, not from the reset

    def script(self) -> Iterator[str]:
        """The commands for Yosys."""
        yield "design -load read"
        if self.anywhere:
            yield ANYWHERE
        if self.cover is None:
            yield "chformal -cover -remove"
        else:
            yield "chformal -assert -remove"
            yield f"delete t:$cover c:*{COVER}{self.cover}. %d"
            yield "techmap -map seek.v"
        how = "-tempinduct" if self.unbounded else "-tempinduct-baseonly"
        yield SAT.format(name=self.name, how=f"{how} -maxsteps {self.depth}")


class Verdict(Enum):
    """What became of a check."""

    HOLDS = "holds"
    FOUND = "found"  #: a counterexample, or what meets the cover
    OPEN = "open"  #: neither: the induction needs to be longer


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a check."""

    verdict: Verdict
    depth: int
    cycles: Cycles = ()  #: of FOUND: the last one is where it happens


def ask(text: str, checks: Sequence[Check], place: Path, limit: float) -> list[Answer]:
    """Have Yosys do the checks of a `Problem.rtlil`, within so many seconds. Raises EngineError.

    Its files stay in the directory, which is made if it is not there.
    """
    script = [READ.format(top=TOP), *(line for check in checks for line in check.script())]
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / "design.il").write_text(text)
        (place / "seek.v").write_text(SEEK)
        (place / "script").write_text("\n".join(script) + "\n")
        for check in checks:  # nothing of an earlier run is taken for this one's
            for suffix in (".log", ".json"):
                (place / (check.name + suffix)).unlink(missing_ok=True)
        _run(place, limit)
        return [_answer(check, place) for check in checks]
    except OSError as error:
        raise EngineError(f"{error.filename or place}: {error.strerror}") from None


def settle(problem: Problem, depth: int, place: Path, limit: float) -> tuple[Outcome, Cycles]:
    """Prove what a design asserts, unbounded, and that each of its covers can be met.

    The covers are met under the assumptions, so these can be met, too. The cycles are those of the
    counterexample, if there is one.
    """
    try:
        text = problem.rtlil()
        count = text.count(rf"cell $check \{COVER}")
        if not count:
            return not_proved("it has no cover: nothing says that it is about anything"), ()
        seek = [Check(f"cover_{n}", depth, cover=n) for n in range(count)]
        proof, *met = ask(text, [Check("proof", depth, unbounded=True), *seek], place, limit)
    except EngineError as error:
        return not_proved(str(error)), ()
    if proof.verdict is Verdict.FOUND:
        return Outcome(Status.REFUTED, depth=proof.depth), proof.cycles
    unmet = [str(n) for n, answer in enumerate(met) if answer.verdict is not Verdict.FOUND]
    if unmet:
        which = f"{'cover' if len(unmet) == 1 else 'covers'} {', '.join(unmet)} of {count}"
        return not_proved(f"nothing meets {which} in {depth} cycles"), ()
    if proof.verdict is Verdict.OPEN:
        return not_proved(f"no counterexample from reset, and no induction of length {depth}"), ()
    return Outcome(Status.PROVED, depth=proof.depth), ()


def not_proved(reason: str) -> Outcome:
    """The outcome of a proof that is none."""
    return Outcome(Status.NOT_PROVED, reason)


def _name_covers(text: str) -> str:
    """Give each `$check` cell of a cover a name of its own, whatever module it is in."""
    numbers = iter(range(len(text)))

    def name(cell: re.Match[str]) -> str:
        body = cell[2]
        if '\\FLAVOR "cover"' not in body:
            return cell[0]
        return rf"{cell[1]}\{COVER}{next(numbers)}.{body}"

    return re.sub(r"(  cell \$check )\S+(\n.*?\n  end\n)", name, text, flags=re.DOTALL)


def _run(place: Path, limit: float) -> None:
    """Run the script in a directory."""
    if not find_spec("pyosys"):
        raise EngineError("pyosys is not installed (pip install pyosys)")
    with (place / "yosys.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN], cwd=place, stdout=log, stderr=log, start_new_session=True
        )
        try:
            status = process.wait(timeout=max(limit, 0))
        except subprocess.TimeoutExpired:
            raise EngineError(f"Yosys was not done after {limit:.0f} s") from None
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if status < 0:
        raise EngineError(f"Yosys was ended by {signal.Signals(-status).name}")
    if status:
        said = (place / "yosys.log").read_text(errors="replace")
        why = next((line for line in said.splitlines() if line.startswith("ERROR:")), "")
        raise EngineError(f"Yosys stopped with status {status}. {why}".strip())


_LENGTH = re.compile(r"\*\* Trying induction with length (\d+) \*\*")


def _answer(check: Check, place: Path) -> Answer:
    """Read what Yosys left of a check."""
    try:
        said = (place / f"{check.name}.log").read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        raise EngineError(f"Yosys left no answer to {check.name}") from None
    depth = max((int(n) for n in _LENGTH.findall(said)), default=0)
    if "model found for base case: FAIL!" in said:
        return Answer(Verdict.FOUND, depth, _cycles(place / f"{check.name}.json"))
    if "Induction step proven: SUCCESS!" in said or "proved base case for" in said:
        return Answer(Verdict.HOLDS, depth)
    if "Reached maximum number of time steps -> proof failed" in said:
        return Answer(Verdict.OPEN, depth)
    raise EngineError(f"Yosys' answer to {check.name} is none that is known")


def _cycles(path: Path) -> Cycles:
    """The values in a WaveJSON file. Bits that do not matter are 0."""
    try:
        waves: list[Any] = json.loads(path.read_text())["signal"]
        values = {wave["name"].lstrip("\\"): list(_values(wave)) for wave in waves}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        raise EngineError(f"Yosys' counterexample in {path.name} cannot be read") from None
    count = max(map(len, values.values()), default=0)
    if not count:
        raise EngineError(f"Yosys' counterexample in {path.name} is empty")
    return [{name: each[at] for name, each in values.items()} for at in range(count)]


def _values(wave: Mapping[str, Any]) -> Iterator[int]:
    """A signal, cycle by cycle: "." repeats, "=" is the next of the data, as is "4", of no value.

    What is before the first cycle is left out.
    """
    data = iter(wave.get("data", ()))
    value = 0
    for at, sign in enumerate(wave["wave"]):
        if sign in "01":
            value = int(sign)
        elif sign != ".":
            digits = next(data, "") if sign in "=4" else ""
            value = int(digits.replace("x", "0") or "0", 2)
        if at:
            yield value
