"""What is claimed, and what a proof comes to. Each module of proofs registers its claims here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tb.scoreboard import Difference


class Method(Enum):
    """How a claim is proved."""

    INDUCTION = "induction"  #: unbounded: it holds at first, and where it held it holds again
    BOUNDED = "bounded"  #: from any state that is allowed, for so many cycles
    EXHAUSTIVE = "exhaustive"  #: every input, one by one or by a solver that knows no state
    SYMBOLIC = "symbolic"  #: machine code, executed once for all values


class Status(Enum):
    """What became of a claim."""

    PROVED = "proved"
    REFUTED = "refuted"  #: there is a counterexample
    NOT_PROVED = "not proved"  #: there is none, but no proof either


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a proof, to be pickled."""

    status: Status
    reason: str = ""  #: of NOT_PROVED and REFUTED: one line
    depth: int | None = None  #: cycles, of a bounded proof or of the induction
    inputs: int | None = None  #: how many there are, where they are counted
    differences: Sequence[Difference] = ()  #: of the counterexample: what is, what should be
    history: Sequence[str] = ()  #: of the counterexample: the cycles, or instructions, before
    waves: Path | None = None  #: the counterexample's VCD, with a GTKWave save file beside it


@dataclass(frozen=True)
class Claim:
    """A claim.

    `prove` is given a directory for its files and the seconds that it may take. It proves that its
    assumptions and precondition can be met, too: a claim about nothing is NOT_PROVED.
    """

    name: str  #: group.name
    sentence: str
    source: str  #: section of the manual, or of the statement
    method: Method
    prove: Callable[[Path, float], Outcome]


Prove = Callable[[Path, float], Outcome]

CLAIMS: dict[str, Claim] = {}


def register(claim: Claim) -> None:
    """Add a claim. ValueError if the name is taken."""
    if claim.name in CLAIMS:
        raise ValueError(f"two claims are named {claim.name}")
    CLAIMS[claim.name] = claim


def stated_by(write: Callable[..., None], group: str, source: str, prove: Prove) -> None:
    """Add a claim that a function states: it has its name, and its docstring is the sentence."""
    assert write.__doc__
    sentence = " ".join(write.__doc__.split())
    name = f"{group}.{write.__name__}"
    register(Claim(name, sentence, source, Method.INDUCTION, prove))
