"""The benchmark: what it measures, and how it says it."""

import json

import pytest

from tb import bench, plot, qemu, work
from tb.bench import Line, lines, measure
from tb.core import speed
from tb.growth import Point, Series
from tb.sims import SimulatorError

SMALL = {
    "ROUNDS": 2,
    "LANES": 128,
    "STEPS": 1,
    "SOME": 64,
    "FEW": 1,
    "STATES": 64,
    "REPEATED": 1,
    "SINGLES": 2,
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A benchmark of a moment: pysim alone, and next to nothing of the core."""
    for name, value in SMALL.items():
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(work, "SIMULATORS", ("pysim",))
    monkeypatch.setattr(qemu, "missing", lambda: None)
    measures = {SLOW: lambda: 1.0, "rows/s, reference": lambda: 2.0}
    monkeypatch.setattr(speed, "measures", measures.copy)


@pytest.fixture
def missing(monkeypatch):
    """The compiled simulator is selected, and missing."""
    adapter = work.adapter
    monkeypatch.setattr(work, "SIMULATORS", ("pysim", "compiled"))
    monkeypatch.setattr(
        work, "adapter", lambda name: Missing if name == "compiled" else adapter(name)
    )


class Missing:
    @staticmethod
    def missing():
        return "not installed: pip install it"


RULES = [
    "states/s, one at a time",
    "states/s, arrays",
    "states/s, planes",
    "events/s, one at a time",
    "events/s, arrays",
    "events/s, planes",
]
SLOW = "instructions/s, pysim"
EVERY_ROUND = [*RULES, "cycles/s, pysim", "rows/s, reference"]
NAMES = [*EVERY_ROUND[:-1], SLOW, EVERY_ROUND[-1]]


def test_everything_is_measured_in_every_round_but_the_core_on_slow_simulators():
    steps = []
    found = measure(3, steps.append)
    assert [line.name for line in found] == NAMES
    assert steps == NAMES + 2 * EVERY_ROUND
    for line in found:
        assert len(line.rates) == (1 if line.name == SLOW else 3)
        assert all(rate > 0 for rate in line.rates)


def test_ratios_are_taken_round_by_round():
    rates = {"cycles/s, pysim": [1.0, 2.0], "cycles/s, verilator": [8.0, 6.0]}
    pysim, verilator = lines(rates)
    assert pysim.ratios == {}
    assert verilator.ratios == {"cycles/s, pysim": [8.0, 3.0]}  # Icarus was not measured


def test_what_is_measured_in_the_first_round_alone_is_compared_there():
    rates = {SLOW: [2.0], "instructions/s, compiled": [8.0, 3.0]}
    assert lines(rates)[1].ratios == {SLOW: [4.0]}


def test_a_line_gives_the_median_and_what_it_is_compared_with():
    ratios = {"cycles/s, pysim": [3.0, 1.25, 2.0], "cycles/s, icarus": [1e3, 2e3, 3e6]}
    text = Line("cycles/s, compiled", [30.0, 10.0, 2e7], ratios).text()
    assert text.splitlines() == [
        "cycles/s, compiled          30 (10 to 20 M)                  x 2 (1.25 to 3) pysim",
        " " * 61 + "x 2,000 (1,000 to 3 M) icarus",
    ]
    assert Line("cycles/s, pysim", [5.0], {}).text() == "cycles/s, pysim             5"


def test_main_prints_and_writes_the_same(capsys, tmp_path):
    assert bench.main(["--json", str(tmp_path / "out.json")]) == 0
    head, *out = capsys.readouterr().out.splitlines()
    assert head.startswith("median of 2 rounds (lowest to highest), on ")
    assert [line[:27].rstrip() for line in out[: len(NAMES)]] == NAMES
    content = json.loads((tmp_path / "out.json").read_text())
    assert list(content["rounds"]) == NAMES
    assert [len(content["rounds"][name]["rates"]) for name in (SLOW, *EVERY_ROUND)] == [
        1,
        *(2 for _ in EVERY_ROUND),
    ]


def test_a_simulator_that_is_missing_is_said(capsys, missing):
    assert bench.main([]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "not run: compiled: not installed: pip install it"
    assert not any(line.startswith("cycles/s, compiled") for line in out)


def test_qemu_that_is_missing_is_said(capsys, monkeypatch):
    monkeypatch.setattr(qemu, "missing", lambda: "not installed: apt-get it")
    assert bench.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "not run: qemu: not installed: apt-get it"


def test_the_compiled_simulator_is_measured_alone_and_on_all_cores_and_grows(
    capsys, monkeypatch, tmp_path
):
    if why := work.adapter("compiled").missing():
        pytest.skip(why)
    monkeypatch.setattr(work, "SIMULATORS", ("compiled",))
    series = [Series("seeds", "seed", {1: bench._whole()})]
    monkeypatch.setattr(bench.growth, "series", lambda times, lanes: series)
    monkeypatch.setattr(bench, "PICTURES", tmp_path)
    assert bench.main(["--json", str(tmp_path / "out.json")]) == 0
    out = capsys.readouterr().out.splitlines()
    names = [line[:27].rstrip() for line in out]
    assert [name for name in names if name.startswith("cycles/s")] == [
        "cycles/s, compiled",
        "cycles/s a core, compiled",
    ]
    assert "seeds" in names
    assert out[-1].startswith(("plotted: ", "not plotted: "))
    grown = json.loads((tmp_path / "out.json").read_text())["growth"]
    assert [point["size"] for point in grown["seeds"]] == [1]


def test_a_picture_that_cannot_be_drawn_is_said(monkeypatch):
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    said = bench._plotted([Series("seeds", "seed", {}, [Point(1, 1.0, 1.0)])])
    assert said == "not plotted: matplotlib is not installed (pip install 'softstep[bench]')"


def refuse(capsys, *arguments):
    assert bench.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_json_file_that_cannot_be_written_is_said_before_anything_is_measured(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr(bench, "measure", None)
    path = tmp_path / "nowhere" / "out.json"
    mend = "give a file in an existing directory"
    assert refuse(capsys, "--json", str(path)) == f"error: {path}: cannot be written; {mend}\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SimulatorError("the build failed"), "error: the build failed\n"),
        (KeyboardInterrupt(), "error: interrupted\n"),
        (OSError(28, "No space left", "a.png"), "error: a.png: No space left\n"),
        (OSError(28, "No space left"), "error: standard output: No space left\n"),
    ],
)
def test_what_ends_it_is_said_in_one_line_and_leaves_nothing(
    capsys, monkeypatch, tmp_path, error, said
):
    def broken(rounds, step):
        raise error

    monkeypatch.setattr(bench, "measure", broken)
    assert refuse(capsys, "--json", str(tmp_path / "out.json")) == said
    assert list(tmp_path.iterdir()) == []
