"""Pictures as they stand in the page: each text once, a lane as the numbers of its texts."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from tb.page.wave import Wave


class Pictures:
    """The pictures of a page, up to so many bytes of it."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._texts: dict[str, int] = {}  #: to where it stands
        self._waves: list[str] = []

    def add(self, found: Wave) -> int | None:
        """One more picture: its number; None if there is no room for it."""
        texts = dict.fromkeys(text for _, values in found.lanes for text in values)
        new = [text for text in texts if text not in self._texts]
        added = {text: len(self._texts) + n for n, text in enumerate(new)}
        numbers = added | {text: self._texts[text] for text in texts if text in self._texts}
        wave = _json(_packed(found, numbers))
        size = len(wave) + len(_json(new))
        if size > self._left:
            return None
        self._left -= size
        self._texts |= added
        self._waves.append(wave)
        return len(self._waves) - 1

    @property
    def json(self) -> Markup:
        """All of them, for a script element."""
        return Markup(f'{{"texts":{_json(list(self._texts))},"waves":[{",".join(self._waves)}]}}')


def _json(value: Any) -> str:
    return str(htmlsafe_json_dumps(value, separators=(",", ":")))


def _packed(found: Wave, numbers: dict[str, int]) -> dict[str, Any]:
    """Cycles as distances, lanes as numbers of texts; a lane that says nothing is left out."""
    lanes = [
        (name, [numbers[text] for text in values]) for name, values in found.lanes if any(values)
    ]
    return {
        "first": found.first,
        "cycles": [found.cycles[0] - found.first, *(b - a for a, b in pairwise(found.cycles))],
        "moment": found.moment,
        "what": found.what,
        "lanes": [[name, list(_runs(lane))] for name, lane in lanes],
    }


def _runs(numbers: Sequence[int]) -> Iterator[int]:
    """-n after a number: so many times more."""
    for number, run in groupby(numbers):
        yield number
        if more := len(list(run)) - 1:
            yield -more
