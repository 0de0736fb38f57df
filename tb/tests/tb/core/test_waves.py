"""The save file of the core's waveforms: every signal on every simulator, and the marker."""

import re
from dataclasses import dataclass, replace

import pytest

from tb import waves
from tb.core.machine import Limits
from tb.core.rows import inputs
from tb.core.waves import CORE_SHOWN, GROUPS
from tb.harness import CORE
from tb.tests.tb.core.test_machine import image
from tb.tests.tb.core.toy import BRANCH, NOP, TOY
from tb.work import SIMULATORS, adapter

SHOWN = replace(CORE_SHOWN, design=TOY)


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
    text = waves.write_save_file(vcd, "x", 7, SHOWN).read_text()
    labels = re.findall(r"(?m)^\+\{(.*?)\}", text)
    assert len(labels) == sum(map(len, GROUPS.values()))
    assert {"pc", "esr:EC", "fetch request address", "irq", "async_first"} <= set(labels)
    groups = re.findall(r"(?m)^-(.*)", text)
    assert groups == [name for name in GROUPS for _ in range(2)]


def test_the_marker_is_at_the_cycle_of_the_last_run(vcd):
    texts = [waves.write_save_file(vcd, "x", at, SHOWN).read_text() for at in (0, 7, 29)]
    first, middle, last = map(marker, texts)
    period = (last - first) // 29
    assert (middle - first, last - first) == (7 * period, 29 * period)


def test_every_member_of_the_trace_and_all_inputs_are_shown():
    listed = {signal.partition(".")[0] for signals in GROUPS.values() for signal in signals}
    assert listed == {*CORE.row, *CORE.stimulus, "clk", "reset"} - {
        *("irq", "fiq", "serror", "async_first", "isv_choice", "write_seen", "wfx_ends")
    }
