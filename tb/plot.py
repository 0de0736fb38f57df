"""The growth of time and memory as a picture. It needs matplotlib: the extra `bench`."""

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tb.growth import Series

FILES = ("growth.png", "growth.svg")


def missing() -> str | None:
    """What is not installed, with the mend; None if it can be drawn."""
    if find_spec("matplotlib"):
        return None
    return "matplotlib is not installed (pip install 'softstep[bench]')"


def write(every: Sequence[Series], directory: Path) -> list[Path]:
    """Write the files, whole or not at all. Raises OSError."""
    import matplotlib

    directory.mkdir(parents=True, exist_ok=True)
    # Two runs that measured the same give the same bytes.
    with (
        matplotlib.rc_context({"svg.hashsalt": "softstep"}),
        tempfile.TemporaryDirectory(dir=directory) as temporary,
    ):
        figure, parts = _figure(every), [Path(temporary) / name for name in FILES]
        for part in parts:
            dated = {"Date": None} if part.suffix == ".svg" else {}
            figure.savefig(part, dpi=150, metadata=dated)
        return [part.rename(directory / part.name) for part in parts]


def _figure(every: Sequence[Series]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for each in every:
        sizes = [point.size for point in each.points]
        seconds = [point.seconds for point in each.points]
        (line,) = time.plot(sizes, seconds, marker="o", markersize=4, label=each.name)
        linear = [seconds[-1] * size / sizes[-1] for size in sizes]
        time.plot(sizes, linear, color=line.get_color(), linestyle=":", linewidth=1)
        memory.plot(sizes, [point.peak for point in each.points], marker="o", markersize=4)
    time.plot([], [], color="grey", linestyle=":", linewidth=1, label="linear, through the last")
    time.set(title="time", ylabel="seconds")
    memory.axhline(1024, color="grey", linestyle="--", linewidth=1)
    memory.annotate("1 GiB", (1, 1024), textcoords="offset points", xytext=(0, 4), color="grey")
    memory.set(title="peak memory of the process", ylabel="MiB", ylim=(10, 2000))
    for axes in (time, memory):
        axes.set(xscale="log", yscale="log", xlabel="size: cycles, lanes or seeds")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("The compiled simulator, every cycle checked")
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    return figure
