"""Ports in words: every port has its place, and what is put there arrives."""

import numpy as np
import pytest
from amaranth.hdl import Fragment, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.step import StepUnit
from model.arch import Event, Last
from model.planes import Planes
from tb.harness import (
    ROW,
    STIMULUS,
    UNIT,
    Design,
    Harness,
    pack,
    row_planes,
    unpack,
    width,
    words_of,
)
from tb.harness import rows_of as in_planes
from tb.sims import pysim
from tb.testbench import CONTROLS, LOAD


def ports_of_the_unit():
    """(name, flow) of each port that is not tied, of each field of one that is a struct."""
    for path, member in wiring.Signature(StepUnit.__annotations__).members.flatten():
        name, fields = "__".join(path), [""]
        if member.is_signature or path[0] in UNIT.tied:
            continue
        if isinstance(member.shape, type) and issubclass(member.shape, data.Struct):
            fields = [f"__{field}" for field, _ in data.Layout.cast(member.shape)]
        yield from ((name + field, member.flow) for field in fields)


def rows_of(words):
    """The row of each stimulus word, after a reset."""

    async def task(simulator):
        await simulator.reset()
        return [unpack(ROW, await simulator.cycle(word)) for word in words]

    return pysim.run(task)


@pytest.mark.parametrize("packing", [STIMULUS, ROW], ids=["stimulus", "row"])
def test_unpack_is_the_inverse_of_pack(packing, rng):
    for _ in range(300):
        values = {name: rng.getrandbits(slot.width) for name, slot in packing.items()}
        word = pack(packing, values)
        assert word >> width(packing) == 0
        assert unpack(packing, word) == values


def test_a_port_that_is_not_given_is_0():
    assert unpack(STIMULUS, pack(STIMULUS, {})) == dict.fromkeys(STIMULUS, 0)


def test_pack_refuses_a_port_that_is_not_there():
    with pytest.raises(KeyError, match="bogus"):
        pack(STIMULUS, {"bogus": 1})


@pytest.mark.parametrize("packing", [STIMULUS, ROW], ids=["stimulus", "row"])
def test_ports_fill_the_word_without_gap_or_overlap(packing):
    place = 0
    for slot in packing.values():
        assert slot.lsb == place
        place += slot.width
    assert place == width(packing)


def test_every_input_is_in_the_stimulus_and_every_output_in_the_row():
    ports = dict(ports_of_the_unit())
    assert set(STIMULUS) == {name for name, flow in ports.items() if flow == In}
    outputs = {name for name, flow in ports.items() if flow == Out}
    trace = {name for name in outputs if name.startswith("trace__")}
    assert len(trace) > 20
    assert set(ROW) == {name.removeprefix("trace__") for name in trace} | {
        f"out_{name}" for name in outputs - trace
    }


def test_the_harness_ports_hold_the_words():
    harness = Harness(UNIT)
    Fragment.get(harness, None)  # Amaranth warns of one that is made for nothing
    members = harness.signature.members
    assert members["stimulus"] == In(width(STIMULUS))
    assert members["row"] == Out(width(ROW))


class Other(wiring.Component):
    """Another design: its trace has a name of its own, and two of its inputs are tied."""

    __annotations__ = {
        "a": In(4),
        "b": In(data.StructLayout({"x": 1, "y": 2})),
        "same": In(wiring.Signature({"a": Out(4)})),
        "driver": In(wiring.Signature({"a": Out(4)})),
        "seen": Out(wiring.Signature({"a": Out(4), "valid": Out(1)})),
        "sum": Out(5),
    }

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.seen.a.eq(self.same.a)
        m.d.sync += self.sum.eq(self.a + self.b.y)
        return m


OTHER = Design("other", Other, trace="seen", tied={"same": "driver"})


def test_another_design_has_words_of_its_own():
    assert list(OTHER.stimulus) == ["a", "b", "driver__a"]
    assert list(OTHER.row) == ["a", "valid", "out_sum"]

    async def task(simulator):
        await simulator.reset()
        await simulator.cycle(pack(OTHER.stimulus, {"a": 5, "b": 0b111}))
        return await simulator.cycle(pack(OTHER.stimulus, {"driver__a": 9}))

    word = pysim.run(task, None, OTHER)
    assert unpack(OTHER.row, word) == {"a": 9, "valid": 0, "out_sum": 8}


def test_what_is_loaded_is_in_the_next_row(rng):
    states = [
        {name: rng.getrandbits(STIMULUS[port].width) for name, port in LOAD.items()}
        | {"last": rng.randrange(len(Last))}
        for _ in range(50)
    ]
    words = [
        pack(STIMULUS, {"load__enable": 1} | {port: state[name] for name, port in LOAD.items()})
        for state in states
    ]
    rows = rows_of([*words, 0])[1:]
    assert [{name: row[name] for name in LOAD} for row in rows] == states


def test_the_event_is_in_its_own_row(rng):
    pc = rng.getrandbits(64)
    event = {"event__valid": 1, "event__kind": Event.ISB, "event__pc": pc}
    rows = rows_of([pack(STIMULUS, event), 0])
    assert [(row["valid"], row["event"], row["pc"]) for row in rows] == [
        (1, Event.ISB, pc),
        (0,) * 3,
    ]


def test_each_control_of_the_testbench_is_a_port_of_its_own():
    assert len(set(CONTROLS.values())) == len(CONTROLS)
    controls = {port for port in STIMULUS if port.startswith("controls__")}
    assert set(CONTROLS.values()) == controls | {"halted"}


@pytest.mark.parametrize("lanes", [64, 192])
def test_each_lane_has_its_own_word(lanes, rng):
    values = [
        {name: rng.getrandbits(slot.width) for name, slot in STIMULUS.items()} for _ in range(lanes)
    ]
    ports = {n: Planes.of(np.array([v[n] for v in values], np.uint64), 64) for n in STIMULUS}
    assert words_of(ports, lanes) == [pack(STIMULUS, each) for each in values]


def test_a_port_is_cut_to_its_width_or_filled_with_0():
    ports = {"event__valid": Planes.constant(7), "event__pc": Planes.constant(5)}
    word = pack(STIMULUS, {"event__valid": 1, "event__pc": 5})
    assert words_of(ports, 64) == [word] * 64
    assert words_of({}, 64) == [0] * 64


@pytest.mark.parametrize("lanes", [64, 192])
def test_the_rows_of_a_step_are_those_of_its_lanes(lanes, rng):
    words = [rng.getrandbits(width(ROW)) for _ in range(lanes)]
    rows = in_planes(words)
    assert rows.keys() == ROW.keys()
    for lane, word in enumerate(words):
        assert {name: planes.at(lane) for name, planes in rows.items()} == unpack(ROW, word)


def test_a_row_of_bits_goes_to_the_fields_in_their_places():
    rows = row_planes([np.uint64(n) for n in range(width(ROW))])
    for name, slot in ROW.items():
        assert [int(row) for row in rows[name].rows] == list(range(slot.lsb, slot.lsb + slot.width))
