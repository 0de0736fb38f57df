"""Groups of bins: a bin is one combination of the values of a group's dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]  #: hits by bin, over the groups of a design


@dataclass(frozen=True, slots=True)
class Group:
    """Some dimensions, crossed: name to the names of the values."""

    name: str
    dimensions: dict[str, list[str]]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(values) for values in self.dimensions.values())

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


def name(groups: Sequence[Group], index: int) -> str:
    """A bin, as the report writes it: group, then dimension=value."""
    for group in groups:
        if index < group.size:
            values = np.unravel_index(index, group.shape)
            parts = zip(group.dimensions.items(), values, strict=True)
            return f"{group.name}: " + " ".join(f"{n}={names[at]}" for (n, names), at in parts)
        index -= group.size
    raise IndexError(index)
