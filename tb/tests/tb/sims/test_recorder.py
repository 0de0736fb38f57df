"""The waveform of ports: what was driven and sampled, of the last cycles of the last run."""

from dataclasses import replace
from pathlib import Path

import pytest

from model.arch import StepState
from tb import waves
from tb.core.waves import CORE_SHOWN
from tb.dump import declarations, timeline_of
from tb.harness import unpack, width
from tb.shown import FAILURE
from tb.sims import compiled, recorder
from tb.sims.recorder import PERIOD
from tb.tests.tb.core.toy import TOY
from tb.tests.tb.sims.test_compiled import values_at

SHOWN = replace(CORE_SHOWN, lanes=replace(CORE_SHOWN.lanes, design=TOY))


@pytest.fixture(autouse=True)
def installed():
    if why := compiled.missing():
        pytest.skip(f"not run: {why}")


@pytest.fixture
def words(rng):
    return [rng.getrandbits(width(TOY.stimulus)) for _ in range(60)]


def recorded(vcd, *runs):
    """The rows of each run, which begins with a reset."""

    async def task(simulator):
        rows = []
        for words in runs:
            await simulator.reset()
            rows.append([await simulator.cycle(word) for word in words])
        return rows

    return compiled.run(task, vcd, TOY)


def timeline(vcd):
    with vcd.open("rb") as file:
        return timeline_of(file, declarations(file), SHOWN.lanes)


def shown(vcd, cycles):
    """The ports in each cycle: (stimulus, row), enumerations as text."""
    for values in values_at(vcd, cycles):
        yield tuple(
            {name: values[f"{word}_{name}"] for name in packing}
            for word, packing in (("stimulus", TOY.stimulus), ("row", TOY.row))
        )


def as_text(packing, word):
    values = unpack(packing, word)
    return {
        name: value if isinstance(slot.shape, int) else _name(slot.shape, value)
        for (name, slot), value in zip(packing.items(), values.values(), strict=True)
    }


def _name(shape, value):
    names = {int(member): member.name for member in shape}
    return names.get(value, "?")


def equal(found, right):
    """Whether ports are as they should be: pyvcd reads back numbers of one bit as text."""
    return {name: str(value) for name, value in found.items()} == {
        name: str(value) for name, value in right.items()
    }


def check(vcd, words, rows, first=0):
    """The VCD has cycles from `first` on, each at its time and with its values."""
    found = timeline(vcd)
    assert found.cycles == [PERIOD * (at + 1) for at in range(first, len(words))]
    assert found.reset == PERIOD // 2
    ports = shown(vcd, found.cycles)
    for (stimulus, row), *given in zip(ports, words[first:], rows[first:], strict=True):
        assert equal(stimulus, as_text(TOY.stimulus, given[0]))
        assert equal(row, as_text(TOY.row, given[1]))


def test_each_cycle_has_what_was_driven_and_sampled(words, tmp_path):
    vcd = tmp_path / "toy.vcd"
    (rows,) = recorded(vcd, words)
    assert recorded(None, words) == [rows]
    check(vcd, words, rows)
    assert f" {StepState.ACTIVE_PENDING.name} " not in vcd.read_text()


def test_the_last_run_is_kept(words, tmp_path):
    vcd = tmp_path / "toy.vcd"
    _, rows = recorded(vcd, words[:40], words[40:])
    check(vcd, words[40:], rows)


def test_the_last_cycles_are_kept_and_the_marker_is_among_them(words, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "KEPT", 25)
    vcd = tmp_path / "toy.vcd"
    (rows,) = recorded(vcd, words)
    check(vcd, words, rows, first=35)
    for mismatch, cycle in ((50, 50), (59, 59), (2, 35), (1000, 59)):
        text = waves.write_views(vcd, "compiled", {FAILURE: mismatch}, SHOWN).read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("*")]
        assert int(line.split()[1]) == PERIOD * (cycle + 1)


def test_nothing_but_a_reset_is_a_waveform_too(tmp_path):
    vcd = tmp_path / "toy.vcd"
    recorded(vcd, [])
    assert timeline(vcd).cycles == []
    assert waves.write_views(vcd, "compiled", {}, SHOWN).is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="not run: there is no /dev/full")
def test_a_waveform_that_does_not_fit_on_the_disk_is_an_error(words):
    with pytest.raises(OSError) as error:
        recorded(Path("/dev/full"), words)
    assert error.value.filename == "/dev/full"
