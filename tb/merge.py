"""`--merge`: the files that `--json` wrote for every shard of a run, as the report of the whole."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from tb import totals
from tb.bins import Counts
from tb.plan import VERSION, Plan, difference, from_record
from tb.report import Report, by_name
from tb.testbench import Table
from tb.work import ERROR, FAILED, PASSED, Result


class MergeError(Exception):
    """Files that make no whole: one line that says which, why and the mend."""


@dataclass(frozen=True, slots=True)
class _Part:
    path: Path
    plan: Plan
    results: list[Result]
    counts: Counts
    not_run: list[tuple[str, str]]
    seconds: float


def merge(paths: Sequence[Path]) -> Report:
    """The report of the whole run. MergeError if the files are not all of its shards, once each."""
    parts = sorted((_read(path) for path in paths), key=lambda part: part.plan.shard)
    first = parts[0]
    for part in parts:
        _check(first, part)
    shards = [part.plan.shard for part in parts]
    for before, after in pairwise(parts):
        if before.plan.shard == after.plan.shard:
            same = f"{before.path} and {after.path} are both shard"
            raise MergeError(f"{same} {_shard(after)}; give each shard once")
    missing = [str(at) for at in range(1, first.plan.shards + 1) if at not in shards]
    if missing:
        which = f"{', '.join(missing)} of {first.plan.shards}"
        raise MergeError(f"shard {which} is missing; give the files of all shards")
    whole = replace(first.plan, shard=1, shards=1)
    found = Report(whole, not_run=first.not_run, seconds=sum(part.seconds for part in parts))
    for part in parts:
        found.results += part.results
        found.counts += part.counts
    found.results = by_name(found.results)
    if len({(each.simulator, each.name, each.seed) for each in found.results}) < whole.tests:
        names = ", ".join(str(part.path) for part in parts)
        raise MergeError(f"{names}: a test is in there twice; run the shards again")
    return found


def _shard(part: _Part) -> str:
    return f"{part.plan.shard}/{part.plan.shards}"


def _check(first: _Part, part: _Part) -> None:
    """MergeError if the part is not of this code, not of the same run, or not finished."""
    if part.plan.version != VERSION:
        raise MergeError(
            f"{part.path}: written by another version of the code "
            f"({part.plan.version}, here {VERSION}); run the shard again with this one"
        )
    differs = difference(first.plan.record(), part.plan.record(), but=("shard",))
    if differs:
        mend = "merge only files of one run"
        raise MergeError(f"{part.path}: not of the same run as {first.path}: {differs}; {mend}")
    if len(part.results) != part.plan.share:
        done = f"only {len(part.results)} of its {part.plan.share} tests were run"
        raise MergeError(f"{part.path}: {done}; finish shard {_shard(part)} with --resume")


def _read(path: Path) -> _Part:
    try:
        return _part(path, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise MergeError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, LookupError, AttributeError):
        mend = "give files that python -m tb.run --json wrote, whole"
        raise MergeError(f"{path}: not the result of a run, or not all of it; {mend}") from None


def _part(path: Path, content: Any) -> _Part:
    plan = from_record(content["run"])
    if not 1 <= plan.shard <= plan.shards or not plan.share:
        raise ValueError
    counts = totals.none()
    for at, hits in content["coverage"]["counts"].items():
        counts[int(at)] = hits
    return _Part(
        path,
        plan,
        [_result(test) for test in content["tests"]],
        counts,
        [(each["name"], each["reason"]) for each in content["not_run"]],
        float(content["seconds"]),
    )


def _result(test: dict[str, Any]) -> Result:
    if test["status"] not in (PASSED, FAILED, ERROR):
        raise ValueError(test["status"])
    return Result(
        str(test["name"]),
        str(test["sim"]),
        int(test["seed"]),
        test["status"],
        int(test["cycles"]),
        float(test["seconds"]),
        totals.none(),
        str(test["failure"]),
        inputs=int(test["inputs"]),
        tables=[Table(**table) for table in test["tables"]],
    )
