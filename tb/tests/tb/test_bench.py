"""The benchmark: what it measures, and how it says it."""

import asyncio
import json

import pytest

from tb import bench, work
from tb.bench import Line, TimedDrive, measure
from tb.harness import STIMULUS, width
from tb.sims import SimulatorError


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A benchmark of a moment: pysim alone."""
    for name, value in {"ROUNDS": 2, "CYCLES": 20, "STATES": 64, "ARRAYS": 1, "SINGLES": 2}.items():
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(work, "SIMULATORS", ("pysim",))


NAMES = [
    "states/s, one at a time",
    "states/s, arrays",
    "events/s, one at a time",
    "events/s, arrays",
    "cycles/s, pysim",
]


def test_everything_is_measured_in_every_round():
    lines = measure(3)
    assert [line.name for line in lines] == NAMES
    for line in lines:
        assert len(line.rates) == 3
        assert all(rate > 0 for rate in line.rates)


def test_ratios_are_taken_round_by_round():
    lines = {line.name: line for line in measure(2)}
    arrays, singles = (lines[f"states/s, {how}"] for how in ("arrays", "one at a time"))
    assert arrays.ratios == [a / b for a, b in zip(arrays.rates, singles.rates, strict=True)]
    assert singles.ratios == []


def test_a_line_gives_the_median_and_what_it_is_compared_with():
    line = Line("states/s, arrays", [30.0, 10.0, 2000.0], [3.0, 1.0, 2.0])
    compared = "x 2.00 (1.00 to 3.00) states/s, one at a time"
    assert line.text() == f"states/s, arrays           30 (10 to 2,000)   {compared}"
    assert Line("cycles/s, pysim", [5.0], []).text() == "cycles/s, pysim            5 (5 to 5)"


def test_a_simulator_is_driven_for_so_many_cycles():
    words = []

    class Recorder:
        async def reset(self):
            assert not words

        async def cycle(self, word):
            words.append(word)
            return 0

    assert asyncio.run(TimedDrive(25)(Recorder())) > 0
    assert len(words) == 25
    assert max(words).bit_length() > width(STIMULUS) - 10


def test_main_prints_and_writes_the_same(capsys, tmp_path):
    assert bench.main(["--json", str(tmp_path / "out.json")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "median of 2 rounds (lowest to highest)"
    assert [line[:26].rstrip() for line in out[1:]] == NAMES
    content = json.loads((tmp_path / "out.json").read_text())
    assert list(content) == NAMES
    assert all(len(each["rates"]) == 2 for each in content.values())


def test_a_simulator_that_is_missing_is_said(capsys, monkeypatch):
    class Missing:
        @staticmethod
        def missing():
            return "not installed: pip install it"

    monkeypatch.setattr(work, "SIMULATORS", ("icarus",))
    monkeypatch.setattr(work, "adapter", lambda name: Missing)
    assert bench.main([]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "not run: icarus: not installed: pip install it"
    assert not any(line.startswith("cycles/s") for line in out)


def refuse(capsys, *arguments):
    assert bench.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_json_file_that_cannot_be_written_is_said_in_one_line(capsys, tmp_path):
    error = refuse(capsys, "--json", str(tmp_path / "nowhere" / "out.json"))
    assert error.startswith("error: ")
    assert error.endswith(": No such file or directory\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SimulatorError("the build failed"), "error: the build failed\n"),
        (KeyboardInterrupt(), "error: interrupted\n"),
    ],
)
def test_what_ends_it_is_said_in_one_line(capsys, monkeypatch, error, said):
    def broken(rounds):
        raise error

    monkeypatch.setattr(bench, "measure", broken)
    assert refuse(capsys) == said
