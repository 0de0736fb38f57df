"""Waveforms of tests: where they are, and what stands beside them."""

import pytest

from tb import waves
from tb.core.waves import CORE_SHOWN
from tb.waves import UNIT_SHOWN
from tb.work import Job, Unit, load_cases, run_unit


def test_path_makes_the_directory(tmp_path):
    directory = tmp_path / "a" / "b"
    assert waves.path(directory, "hyp.v1", "icarus", 3) == directory / "hyp.v1.icarus.3.vcd"
    assert directory.is_dir()
    waves.path(directory, "hyp.v1", "icarus", 3)


def test_a_test_leaves_its_waveform_and_files_for_the_viewers(tmp_path):
    load_cases(None)
    job = Job("directed.eret_keeps_the_ss_it_has_just_loaded", seed=1)
    (result,) = run_unit(Unit("pysim", (job,), waves=tmp_path))
    stem = f"{job.case}.pysim.1"
    assert result.waves == tmp_path / f"{stem}.gtkw"
    kinds = {"gtkw", "sucl", "vcd"} | (set() if result.notes else {"fst"})
    assert {path.name for path in tmp_path.iterdir()} == {f"{stem}.{kind}" for kind in kinds}


def test_without_vcd2fst_the_test_passes_and_has_a_note(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    load_cases(None)
    job = Job("directed.eret_keeps_the_ss_it_has_just_loaded", seed=1)
    (result,) = run_unit(Unit("pysim", (job,), waves=tmp_path))
    assert result.status == "passed"
    assert len(result.notes) == 1 and "vcd2fst is not installed" in result.notes[0]


@pytest.mark.parametrize("shown", [UNIT_SHOWN, CORE_SHOWN])
def test_colours_closed_groups_and_marks_are_of_what_there_is(shown):
    signals = {signal for signals in shown.groups.values() for signal in signals}
    assert shown.colours.keys() <= signals
    assert shown.closed <= shown.groups.keys()
    assert {lane for lane, _ in shown.lanes.marks.values()} <= shown.texts
    assert list(shown.groups)[1:5] == ["guest", "hypervisor", "step unit", "exceptions"]
