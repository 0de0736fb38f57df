"""What a run is to do: which tests, on which simulators, with which seeds; dealt into units."""

import fnmatch
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from model.hyp import sequences
from model.programs import load as programs
from tb import work
from tb.arguments import UsageError
from tb.cases import CASES
from tb.harness import DESIGNS
from tb.work import Job, Unit

ROOT = Path(__file__).parents[1]

#: About how much longer a random case takes than another: seconds, not some hundredths.
_RANDOM = 10

#: How much is in a unit, where a case that is not random is 1. The simulator's start must not take
#: longer, and the results come all at once: it takes 0.1 s where it has a size, else 1 to 2 s.
_SIZES = {"pysim": 20, "compiled": 20}
_SIZE = 100


def _version() -> str:
    digest = hashlib.sha256()
    for package in ("hw", "model", "tb"):
        for path in sorted((ROOT / package).rglob("[!.]*")):
            name = path.relative_to(ROOT)
            no_source = path.suffix == ".pyc" or name.parts[:2] == ("tb", "tests")
            if path.is_file() and not no_source:
                digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


#: Of the code. Taken when it is loaded: a process that goes on for days keeps what it has loaded.
VERSION = _version()


def sequence_digest(hyp: str | None) -> str | None:
    """What the user's own sequence is. SequenceError if there is none."""
    return None if hyp is None else _digest(sequences.load(hyp))


def program_digest(elf: str | None) -> str | None:
    """What the user's own program is. ProgramError if there is none."""
    return None if elf is None else _digest(programs.load_elf(Path(elf)).segments)


def _digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the results of a run depend on."""

    simulators: tuple[str, ...]
    cases: tuple[str, ...]
    seed: int = 1  #: the first
    seeds: int = 1  #: how many a random case runs with
    hyp: str | None = None  #: the file of the user's own sequence, if any
    sequence: str | None = None  #: its digest
    elf: str | None = None  #: the file of the user's own program, if any
    program: str | None = None  #: its digest
    whole: bool = False  #: every case was selected: a hole in the coverage means something
    tests: int = 0  #: in all shards together
    shard: int = 1  #: this one is the shard-th
    shards: int = 1  #: of so many
    only: tuple[tuple[str, str, int], ...] | None = None  #: (simulator, case, seed), if not all
    version: str = VERSION

    @property
    def share(self) -> int:
        """How many of the tests are in this shard."""
        return len(range(self.shard - 1, self.tests, self.shards))

    def jobs(self) -> list[tuple[str, Job]]:
        """(simulator, job) of this shard."""
        if self.only is not None:
            jobs = [(simulator, Job(case, seed)) for simulator, case, seed in self.only]
            return jobs[self.shard - 1 :: self.shards]
        # The short and certain ones first: with -x, a fault shows at once.
        names = sorted(self.cases, key=lambda name: CASES[name].random)
        everything = [
            (simulator, Job(name, self.seed + more))
            for simulator in self.simulators
            for name in names
            for more in range(self.seeds if CASES[name].random else 1)
            if simulator == work.COMPILED or not CASES[name].bulk
        ]
        return everything[self.shard - 1 :: self.shards]

    def record(self) -> dict[str, Any]:
        """For JSON, as it is when it is read again."""
        only = self.only and [list(each) for each in self.only]
        lists = {"simulators": list(self.simulators), "cases": list(self.cases), "only": only}
        return {**asdict(self), **lists}


def from_record(content: dict[str, Any]) -> Plan:
    """A plan from its record. LookupError or TypeError if it is none."""
    values: dict[str, Any] = {field.name: content[field.name] for field in fields(Plan)}
    lists = {name: tuple(values[name]) for name in ("simulators", "cases")}
    only = values["only"] and tuple(map(tuple, values["only"]))
    return Plan(**{**values, **lists, "only": only})


def difference(ours: dict[str, Any], theirs: dict[str, Any], but: Sequence[str] = ()) -> str | None:
    """The first thing in which two plans' records differ, in words."""
    for name, value in ours.items():
        other = theirs.get(name)
        if name in but or value == other:
            continue
        if name in ("cases", "tests", "whole", "only"):
            return "other tests"
        if name == "version":
            return f"another version of the code ({other}, not {value})"
        return f"{name} {_text(other)}, not {_text(value)}"
    return None


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def select(patterns: Sequence[str]) -> list[str]:
    """The cases that match any pattern: a name, a part of one between dots, or with * and ?."""
    if not patterns:
        return list(CASES)
    for pattern in patterns:
        if not any(matches(name, pattern) for name in CASES):
            raise UsageError(f"no test matches {pattern!r}; python -m tb.run -l lists them")
    return [name for name in CASES if any(matches(name, pattern) for pattern in patterns)]


def matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or f".{pattern}." in f".{name}."


def units(
    plan: Plan,
    jobs: Sequence[tuple[str, Job]],
    workers: int,
    first: bool,
    waves: Path | None,
    alone: bool = False,
) -> Iterator[Unit]:
    """The jobs in units: enough for all workers, small enough that results keep coming.

    With waves or `alone`, each has one of its own.
    """
    used = dict.fromkeys(CASES[name].design.name for name in plan.cases)
    designs = sorted(used, key=[*DESIGNS, *used].index)  # the smaller one first
    for simulator in plan.simulators:
        # Several units a worker, so that none waits long for the last, where a start costs little.
        hands = workers * (3 if simulator in _SIZES else 1)
        size = 1 if waves or alone else _SIZES.get(simulator, _SIZE)
        here = [job for name, job in jobs if name == simulator]
        dealt = [
            [
                Unit(simulator, hand, plan.hyp, plan.elf, first, waves, design)
                for hand in _hands(_of_design(here, design), hands, hands * size)
            ]
            for design in designs
        ]
        # In turn, so that the designs are built at the same time; but with -x the smaller one
        # first: what is wrong with it shows before the core is built around it.
        in_turn = chain(*dealt) if first else chain(*zip_longest(*dealt))
        yield from (unit for unit in in_turn if unit)


def _of_design(jobs: Sequence[Job], design: str) -> list[Job]:
    return [job for job in jobs if CASES[job.case].design.name == design]


def _hands(jobs: list[Job], count: int, size: int) -> Iterator[tuple[Job, ...]]:
    """Jobs up to some size dealt out, then more."""
    begun, so_far = [], 0
    for job in jobs:
        begun.append(job)
        so_far += _RANDOM if CASES[job.case].random else 1
        if so_far >= size:
            yield from work.deal(begun, count)
            begun, so_far = [], 0
    yield from work.deal(begun, count)
