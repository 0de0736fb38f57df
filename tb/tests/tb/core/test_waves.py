"""The save file of the core's waveforms: every signal on every simulator, and the marker."""

import re
from dataclasses import dataclass, replace

import pytest

from tb import waves
from tb.core.machine import Limits
from tb.core.rows import inputs
from tb.core.waves import CORE_SHOWN, GROUPS
from tb.dump import declarations, timeline_of
from tb.harness import CORE
from tb.page import wave
from tb.shown import FAILURE
from tb.tests.tb.core.test_machine import image
from tb.tests.tb.core.toy import BRANCH, NOP, TOY
from tb.tests.tb.test_gtkw import gtkwave, value_at
from tb.work import PASSED, SIMULATORS, Job, Unit, adapter, load_cases, run_unit

SHOWN = replace(CORE_SHOWN, lanes=replace(CORE_SHOWN.lanes, design=TOY))


@dataclass
class Run:
    """The task: a run of a toy, which takes 3 cycles a word, after another."""

    async def __call__(self, simulator):
        made = simulator.machine(TOY)
        for words in ([NOP] * 5, [NOP] * 9 + [BRANCH]):
            await made.start(image(words), inputs())
            await made.run(Limits(len(words), 100))


@pytest.fixture(params=SIMULATORS)
def vcd(request, tmp_path):
    if why := adapter(request.param).missing():
        pytest.skip(f"not run: {why}")
    path = tmp_path / f"toy.{request.param}.vcd"
    adapter(request.param).run(Run(), path, TOY)
    return path


def marker(text):
    (line,) = [line for line in text.splitlines() if line.startswith("*")]
    return int(line.split()[1])


def test_every_signal_is_there_on_every_simulator(vcd):
    text = waves.write_views(vcd, "x", {FAILURE: 7}, SHOWN).read_text()
    labels = re.findall(r"(?m)^\+\{(.*?)\}", text)
    assert len(labels) == sum(map(len, GROUPS.values()))
    assert {"pc", "esr:ISS", "fetch request address", "irq", "async_first"} <= set(labels)
    groups = re.findall(r"(?m)^-(.*)", text)
    assert groups == [name for name in GROUPS for _ in range(2)]


def test_the_marker_is_at_the_cycle_of_the_last_run(vcd):
    texts = [waves.write_views(vcd, "x", {FAILURE: at}, SHOWN).read_text() for at in (0, 7, 29)]
    first, middle, last = map(marker, texts)
    period = (last - first) // 29
    assert (middle - first, last - first) == (7 * period, 29 * period)


#: members of the trace whose lanes say the same
AS_LANES = {"el", "event", "state", "el_after", "state_after"}


def test_every_member_of_the_trace_and_all_inputs_are_shown():
    listed = {signal.partition(".")[0] for signals in GROUPS.values() for signal in signals}
    assert listed - CORE_SHOWN.texts == {*CORE.row, *CORE.stimulus, "clk", "reset"} - AS_LANES - {
        *("irq", "fiq", "serror", "async_first", "isv_choice", "write_seen", "wfx_ends")
    }


@pytest.fixture(scope="module", params=SIMULATORS)
def stepped(request, tmp_path_factory):
    """The save file of a program on the core, in which a guest is stepped once."""
    if why := adapter(request.param).missing():
        pytest.skip(f"not run: {why}")
    load_cases(None)
    job = Job("core.one_step_of_a_guest", seed=1)
    directory = tmp_path_factory.mktemp("core")
    (result,) = run_unit(Unit(request.param, (job,), waves=directory, design=CORE.name))
    assert result.status == PASSED
    return result


def test_gtkwave_shows_the_step_of_a_guest(stepped):
    found = gtkwave(stepped.waves)
    assert found.groups == list(GROUPS)
    assert found.marker == found.named["C"]
    assert found.named["A"] < found.marker
    told = {
        "exception": "step exception to EL2",
        "EC": "softstep_lower",
        "state": "active-pending",
        "state_after": "inactive",
        "EL_after": "EL2",
        "guest": "",
        "hypervisor": "",
    }
    assert {name: found.shown[name] for name in told} == told


def test_a_rows_lanes_are_there_from_its_first_cycle_on(stepped):
    """As on the page: rows follow one another, without a gap."""
    found = wave.read(stepped.waves.with_suffix(".vcd"), CORE.name)
    shown = dict(found.lanes)
    assert shown["exception"][found.moment] == "step exception to EL2"
    assert found.what == "the first step exception"
    assert shown["guest"][found.moment - 1] == "mov x0, #7"
    assert shown["hypervisor"][found.moment - 2] == "eret"
    vcd = stepped.waves.with_suffix(".vcd")
    with vcd.open("rb") as file:
        timeline = timeline_of(file, declarations(file), CORE_SHOWN.lanes)
    first = found.cycles[found.moment - 1] + 1 - timeline.left_out  # of the exception's row
    last = found.cycles[found.moment] - timeline.left_out
    assert last > first
    for cycle in (first, last):
        assert value_at(vcd, "softstep.EC", timeline.cycles[cycle]) == "softstep_lower"
    assert value_at(vcd, "softstep.EC", timeline.cycles[first - 1]) == ""


def test_what_is_noted_after_the_last_row_is_said_to_be_after_it(stepped):
    found = wave.read(stepped.waves.with_suffix(".vcd"), CORE.name, ("the end", 10_000))
    assert found.moment == len(found.cycles) - 1
    assert found.what == "the last row before the end"
