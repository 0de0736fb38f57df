"""The picture of the growth."""

import pytest

from tb import plot
from tb.growth import Point, Series

pytest.importorskip("matplotlib")

GROWN = [
    Series("cycles", "cycle", {}, [Point(100, 0.1, 60), Point(1000, 1.1, 61)]),
    Series("one point", "seed", {}, [Point(1, 0.1, 60)]),
]


def test_both_files_are_written_and_are_the_same_each_time(tmp_path):
    first = [path.read_bytes() for path in plot.write(GROWN, tmp_path / "new")]
    again = [path.read_bytes() for path in plot.write(GROWN, tmp_path / "new")]
    assert first == again
    png, svg = first
    assert png.startswith(b"\x89PNG")
    assert b"<svg" in svg
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == list(plot.FILES)


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    plot.write(GROWN, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(Figure, "savefig", _full)
    with pytest.raises(OSError, match="No space left"):
        plot.write([], tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def _full(figure, path, **_):
    path.write_bytes(b"half")
    if path.suffix == ".svg":
        raise OSError(28, "No space left on device", str(path))


def test_matplotlib_is_named_when_it_is_missing(monkeypatch):
    assert plot.missing() is None
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    assert plot.missing() == "matplotlib is not installed (pip install 'softstep[bench]')"
