"""The compiled simulator: the same rows as Amaranth's own, in one lane and in many; its waves and
its builds."""

import asyncio
import re
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vcd.reader import TokenKind, tokenize

from hw.emit import EmitError
from model.planes import Planes
from tb import stimulus, waves
from tb.dump import declarations, timeline_of
from tb.harness import ROW, STIMULUS, UNIT, pack, unpack, width
from tb.sims import SimulatorError, builds, compiled, cxx, pysim, view

CYCLES = 3000
LANES, STEPS = 192, 12


@pytest.fixture(autouse=True)
def installed():
    if why := compiled.missing():
        pytest.skip(f"not run: {why}")


@pytest.fixture
def words(rng):
    """Stimulus words in which anything may happen; as often as not, an event and a load."""
    return [rng.getrandbits(width(STIMULUS)) for _ in range(CYCLES)]


# Tasks


class Drive:
    """Drives words; gives their rows."""

    def __init__(self, words):
        self.words = words

    async def __call__(self, simulator):
        await simulator.reset()
        return [await simulator.cycle(word) for word in self.words]


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


async def wait_for_something_else(simulator):
    await asyncio.sleep(0)


async def never(simulator):
    raise AssertionError("the task has begun")


def played(steps, simulator):
    """The rows of each step, as arrays: all that a simulator shows."""

    async def task(simulator):
        shown = []
        async for step, rows in simulator.play(iter(steps)):
            shown.append({name: planes.values(step.lanes) for name, planes in rows.items()})
        return shown

    return simulator.run(task)


def differences(steps):
    """(step, field) in which the lanes are not as on Amaranth's simulator, the first step apart."""
    pairs = zip(played(steps, compiled), played(steps, pysim), strict=True)
    return [
        (at, name)
        for at, (mine, its) in enumerate(pairs)
        for name in ROW
        if at and not np.array_equal(mine[name], its[name])
    ]


@dataclass(frozen=True)
class Step:
    """A step of lanes in which anything may happen."""

    ports: dict[str, Any]
    lanes: int = LANES


def noise(np_rng, lanes):
    """Any value in each lane."""
    return Planes(list(np_rng.integers(0, 1 << 64, (64, lanes // 64), dtype=np.uint64)))


# One lane


@pytest.mark.parametrize("with_waves", [False, True], ids=["plain", "waves"])
def test_gives_the_rows_of_amaranths_simulator(words, with_waves, tmp_path):
    vcd = tmp_path / "test.vcd" if with_waves else None
    assert compiled.run(Drive(words), vcd) == pysim.run(Drive(words))


@pytest.mark.parametrize("with_waves", [False, True], ids=["plain", "waves"])
def test_reset_brings_the_reset_state_back(with_waves, tmp_path):
    vcd = tmp_path / "test.vcd" if with_waves else None
    before, changed, after = compiled.run(reset_in_the_middle, vcd)
    assert unpack(ROW, before)["el"] == 3
    assert unpack(ROW, changed)["el"] == 1
    assert after == before
    assert (before, changed, after) == pysim.run(reset_in_the_middle)


@pytest.mark.parametrize("with_waves", [False, True], ids=["plain", "waves"])
def test_a_run_begins_anew(with_waves, words, tmp_path):
    vcd = tmp_path / "test.vcd" if with_waves else None
    first, again = (compiled.run(Drive(words[:50]), vcd) for _ in range(2))
    assert first == again


def test_an_exception_of_the_task_comes_out(tmp_path):
    for vcd in (None, tmp_path / "test.vcd"):
        with pytest.raises(ValueError) as error:
            compiled.run(raise_value_error, vcd)
        assert error.value.args == ("of the task", 7)
    assert "$enddefinitions" in vcd.read_text()  # it shows how far the test came


def test_a_task_that_waits_for_something_else_is_told():
    with pytest.raises(RuntimeError, match=r"^the task waits for something that is not the simul"):
        compiled.run(wait_for_something_else)


def test_a_run_prints_nothing(capfd, tmp_path):
    compiled.run(Drive([0, 0]))
    compiled.run(Drive([0, 0]), tmp_path / "test.vcd")
    assert capfd.readouterr() == ("", "")


# Many lanes


def test_lanes_in_which_anything_happens_are_as_on_amaranths_simulator(np_rng):
    first = {name: noise(np_rng, LANES) for name in STIMULUS} | {"load__enable": Planes.constant(1)}
    more = [{name: noise(np_rng, LANES) for name in STIMULUS} for _ in range(STEPS)]
    assert differences([Step(ports) for ports in [first, *more]]) == []


def test_a_port_that_is_not_named_holds_its_value(rng, np_rng):
    """In each lane; and some are narrower or wider than the port, or the same in all lanes."""
    first = {name: noise(np_rng, LANES) for name in STIMULUS} | {"load__enable": Planes.constant(1)}
    steps = [Step(first)]
    for _ in range(STEPS):
        names = rng.sample(list(STIMULUS), rng.randrange(8))
        ports = {name: noise(np_rng, LANES) >> rng.randrange(64) for name in names}
        ports |= {name: Planes.constant(rng.getrandbits(64)) for name in names[:2]}
        steps.append(Step(ports | {"event__valid": noise(np_rng, LANES)}))
    assert differences(steps) == []


@pytest.mark.parametrize("lanes", [64, 128, 640])
def test_any_number_of_lanes_plays_a_random_sequence(lanes, seed):
    steps = list(stimulus.sequence(seed, lanes, 640 // lanes + 2, idle=0.2, changes=0.3))
    assert differences(steps) == []


def test_what_is_not_named_at_first_is_0(np_rng):
    load = {"load__enable": Planes.constant(1), "load__pstate__el": noise(np_rng, 64)}
    steps = [Step(load, 64), Step({"event__valid": Planes.constant(1)}, 64)]
    assert differences(steps) == []


def test_steps_are_taken_one_at_a_time(seed):
    """There may be more of them than there is memory for."""
    taken = []

    def steps():
        for move in stimulus.sequence(seed, 64, 5):
            taken.append(move)
            yield move

    async def task(simulator):
        async for move, _ in simulator.play(steps()):
            assert taken[-1] is move

    compiled.run(task)
    assert len(taken) == 6


def test_a_test_has_more_lanes_and_steps_than_on_the_slow_ones():
    assert compiled.Adapter.lanes * compiled.Adapter.steps >= 10_000_000
    assert compiled.Adapter.lanes % 64 == 0


# Waves


def timeline(vcd):
    """When the cycles are in the VCD, and what it declares."""
    with vcd.open("rb") as file:
        variables = declarations(file)
        return timeline_of(file, variables, waves.UNIT_SHOWN.lanes), variables


def values_at(vcd, times):
    """Reference of each variable to its value, at each of some times."""
    with vcd.open("rb") as dump:
        names, values, samples, times = {}, {}, [], list(times)
        for token in tokenize(dump):
            if token.kind is TokenKind.VAR:
                names.setdefault(token.var.reference, token.var.id_code)
            elif token.kind is TokenKind.CHANGE_TIME:
                while times and times[0] < token.time_change:
                    samples.append(dict(values))
                    del times[0]
            elif token.kind.name.startswith("CHANGE"):
                values[token.data.id_code] = token.data.value
        samples += [values] * len(times)
    return [{name: values.get(code) for name, code in names.items()} for values in samples]


def test_waves_have_in_each_cycle_what_was_driven_and_sampled(words, tmp_path):
    vcd = tmp_path / "with blank" / "test.vcd"
    vcd.parent.mkdir()
    words = words[:60]

    rows = compiled.run(Drive(words), vcd)
    found, _ = timeline(vcd)
    assert len(found.cycles) == len(words)
    assert len(set(np.diff(found.cycles).tolist())) == 1
    for shown, word, row in zip(values_at(vcd, found.cycles), words, rows, strict=True):
        ports = {f"stimulus_{name}": value for name, value in unpack(STIMULUS, word).items()}
        ports |= {f"row_{name}": value for name, value in unpack(ROW, row).items()}
        assert {name: int(shown[name]) for name in ports} == ports
        for name, packing in (("event__kind", STIMULUS), ("state_after", ROW)):
            prefix, word_of = ("stimulus", word) if packing is STIMULUS else ("row", row)
            value = unpack(packing, word_of)[name]
            members = {member.value: member.name for member in packing[name].shape}
            text = shown[f"{prefix}_{name}_text"]
            text = text.to_bytes(32, "big").strip(b"\0").decode().rstrip()
            assert text == members.get(value, "?")


def test_waves_begin_anew_after_a_reset(tmp_path):
    """What is played again, lane by lane, is what the cycles of the test are."""
    vcd = tmp_path / "test.vcd"
    compiled.run(reset_in_the_middle, vcd)
    assert len(timeline(vcd)[0].cycles) == 1


def test_the_save_file_lists_the_same_signals_as_for_the_others(words, tmp_path):
    def listed(name, simulator):
        vcd = tmp_path / f"{name}.vcd"
        simulator.run(Drive(words[:20]), vcd)
        return re.findall(r"(?m)^\+\{(.*?)\}", waves.write_views(vcd, name, {}).read_text())

    found = listed("compiled", compiled)
    assert found == listed("pysim", pysim)
    assert len(found) == sum(len(shown) for shown in waves.GROUPS.values())


def test_the_others_lanes_have_no_waves(seed, tmp_path):
    vcd = tmp_path / "test.vcd"

    async def task(simulator):
        await simulator.reset()
        rows = [
            {n: p.values(64) for n, p in rows.items()} async for _, rows in simulator.play(moves)
        ]
        await simulator.cycle(0)
        return rows

    moves = list(stimulus.sequence(seed, 64, 6))
    shown = compiled.run(task, vcd)
    assert len(timeline(vcd)[0].cycles) == 1
    for mine, its in zip(shown[1:], played(moves, pysim)[1:], strict=True):
        assert all(np.array_equal(mine[name], its[name]) for name in ROW)


def test_waves_that_cannot_be_written_are_an_error_before_the_run(tmp_path):
    with pytest.raises(FileNotFoundError):
        compiled.run(never, tmp_path / "nowhere" / "test.vcd")
    with pytest.raises(IsADirectoryError):
        compiled.run(never, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="not run: there is no /dev/full")
def test_waves_that_do_not_fit_on_the_disk_are_an_error(words):
    with pytest.raises(OSError) as error:
        compiled.run(Drive(words[:100]), Path("/dev/full"))
    assert error.value.filename == "/dev/full"
    assert error.value.strerror == "the waveform could not be written whole"


# What is missing


def test_without_pyosys_the_mend_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyosys", None)
    assert compiled.missing() == "pyosys is not installed (pip install pyosys)"
    with pytest.raises(SimulatorError, match=r"^pyosys is not installed \(pip install pyosys\)$"):
        compiled.run(never)


def without(monkeypatch, *, programs, packages=()):
    """As if only some programs, and not some packages, were installed."""
    found = cxx.find_spec
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in programs else None)
    monkeypatch.setattr(cxx, "find_spec", lambda n: None if n in packages else found(n))


def test_without_a_compiler_the_mend_is_named(monkeypatch):
    without(monkeypatch, programs=(), packages=("ziglang",))
    text = "no C++ compiler is installed (apt-get install g++, or pip install 'softstep[asm]')"
    assert cxx.compiler() is None
    assert compiled.missing() == text
    with pytest.raises(SimulatorError) as error:
        compiled.run(never)
    assert str(error.value) == text


def test_zigs_compiler_is_taken_where_there_is_no_other(monkeypatch):
    monkeypatch.setitem(sys.modules, "ziglang", sys)
    monkeypatch.setattr(sys, "__spec__", object(), raising=False)
    without(monkeypatch, programs=())
    assert cxx.compiler() == [sys.executable, "-m", "ziglang", "c++"]
    assert compiled.missing() is None


@pytest.mark.parametrize(
    ("programs", "command"),
    [(("clang++",), "clang++"), (("g++", "clang++"), "g++"), (("c++", "g++"), "c++")],
)
def test_the_systems_compiler_is_taken(monkeypatch, programs, command):
    without(monkeypatch, programs=programs)
    assert cxx.compiler() == [command]


def test_the_compiler_of_the_environment_comes_first(monkeypatch):
    without(monkeypatch, programs=("c++", "mine", "ccache"))
    for said, command in {
        "mine": ["mine"],
        "ccache g++ -m64": ["ccache", "g++", "-m64"],
        "not-there": ["c++"],
        "": ["c++"],
    }.items():
        monkeypatch.setenv("CXX", said)
        assert cxx.compiler() == command


# Builds


@pytest.fixture
def toolchain(monkeypatch, tmp_path):
    """Builds go to tmp_path, by a compiler that has done it before; it counts in a file."""
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "Library", lambda path, _: path)
        ready = compiled._lanes_library.__wrapped__()
    monkeypatch.setattr(builds, "SIM_BUILD", tmp_path / "sim_build")
    times = tmp_path / "times"
    compiler = tmp_path / "c++"
    compiler.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *--version) echo toy; exit;; esac\necho "$@" >> "{times}"\n'
        f'cp "{ready}" .\n'
    )
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(compiler))
    compiled._lanes_library.cache_clear()
    yield times
    compiled._lanes_library.cache_clear()


def build_again():
    compiled._lanes_library.cache_clear()
    return compiled.run(reset_in_the_middle)


def the_build(tmp_path):
    (build,) = (path for path in (tmp_path / "sim_build/compiled").iterdir() if path.is_dir())
    return build


def test_a_build_is_kept_and_used_again(toolchain, tmp_path):
    right = pysim.run(reset_in_the_middle)
    assert [build_again() for _ in range(3)] == [right] * 3
    (command,) = toolchain.read_text().splitlines()
    assert "-O2" in command.split() and "design.so" in command.split()
    assert (the_build(tmp_path) / "design.cc").exists()


def test_another_compiler_makes_a_build_of_its_own(toolchain, tmp_path, monkeypatch):
    build_again()
    monkeypatch.setenv("CXX", f"{tmp_path / 'c++'} -g")
    build_again()
    assert len(toolchain.read_text().splitlines()) == 2


def test_another_version_of_yosys_makes_a_build_of_its_own(toolchain, monkeypatch):
    build_again()
    monkeypatch.setattr(cxx, "version", lambda _: "another")
    build_again()
    assert len(toolchain.read_text().splitlines()) == 2


def test_a_build_that_was_killed_half_way_is_not_used(toolchain, tmp_path):
    build_again()
    build = the_build(tmp_path)
    killed = build.with_name(f"{build.name}-killed")
    build.rename(killed)
    (killed / "design.so").unlink()  # it is loaded
    (killed / "design.so").write_text("half of i")
    assert build_again() == pysim.run(reset_in_the_middle)
    assert the_build(tmp_path) == build


def test_a_compiler_that_fails_is_an_error_that_names_the_log(toolchain, tmp_path):
    with (tmp_path / "c++").open("a") as script:
        script.write("echo out of order >&2\nexit 1\n")
    for _ in range(2):
        with pytest.raises(SimulatorError, match=r"^the design was not compiled: see /") as error:
            build_again()
        log = Path(str(error.value).rpartition(": see ")[2])
        assert log.read_text() == "out of order\n"
    (tmp_path / "c++").write_text((tmp_path / "c++").read_text().replace("exit 1", ""))
    assert build_again() == pysim.run(reset_in_the_middle)


def test_a_design_that_yosys_refuses_is_an_error_that_says_why(monkeypatch, tmp_path):
    def refuses(*_):
        raise EmitError("Yosys: no such thing")

    monkeypatch.setattr(builds, "SIM_BUILD", tmp_path)
    monkeypatch.setattr("hw.lanes.run_pyosys", refuses)
    with pytest.raises(SimulatorError, match=r"^Yosys: no such thing$"):
        compiled._netlist()
    monkeypatch.setattr("hw.emit._run_yosys", refuses)
    with pytest.raises(SimulatorError, match=r"^Yosys: no such thing$"):
        view.build_view(UNIT)
