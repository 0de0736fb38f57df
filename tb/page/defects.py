"""The known defects of guest debugging as the page shows them, with what their tests found out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tb.cases.catalogue import HEADER, TITLE
from tb.kvm.catalogue import CATALOGUE, Defect
from tb.work import PASSED, Result

_PREFIX = "catalogue."


@dataclass(frozen=True, slots=True)
class Row:
    """An entry of the catalogue, and its test."""

    defect: Defect
    test: int  #: number of the test
    passed: bool
    found: dict[str, str]  #: by the table's header; nothing if the test has not come so far


def rows(tests: Sequence[Result]) -> Iterator[Row]:
    """Of those entries whose test ran, in the catalogue's order."""
    number = {result.name: at for at, result in reversed(list(enumerate(tests)))}
    for defect in CATALOGUE:
        at = number.get(_PREFIX + defect.name)
        if at is not None:
            yield Row(defect, at, tests[at].status == PASSED, _found(tests[at]))


def _found(result: Result) -> dict[str, str]:
    lines = [row for table in result.tables if table.title == TITLE for row in table.rows]
    return dict(zip(HEADER, lines[0], strict=False)) if lines else {}
