"""Many lanes in the bits of words: each lane does what Amaranth's simulator does, and is alone."""

import ctypes
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from hw.emit import EmitError
from hw.lanes import LANES, lanes
from tb.harness import ROW, STIMULUS, UNIT, Harness, width
from tb.sims import compiled, cxx

CYCLES = 60

#: ports and their widths
INPUTS = {"reset": 1, "a": 4, "b": 4, "select": 2, "unused": 3}
OUTPUTS = {"sum": 5, "less": 1, "chosen": 4, "constant": 4, "same": 4}
OUTPUTS |= {"count": 3, "kept": 4, "again": 4, "mixed": 4}
FIRST = dict.fromkeys(INPUTS, 0) | {"reset": 1}


class Toy(wiring.Component):
    """Something of everything that the step unit could have."""

    def __init__(self):
        inputs = {name: In(size) for name, size in INPUTS.items()}
        super().__init__(inputs | {name: Out(size) for name, size in OUTPUTS.items()})

    def elaborate(self, platform):
        m = Module()
        m.submodules.inside = inside = ResetInserter(self.reset)(Inside(self))
        m.d.comb += [
            self.sum.eq(self.a + self.b),
            self.less.eq(self.a.as_signed() < self.b.as_signed()),
            self.constant.eq(0b1010),
            self.same.eq(self.a),
            self.count.eq(inside.count),
            self.kept.eq(inside.kept),
            self.again.eq(inside.kept),
            self.mixed.eq((inside.kept & 0b0110) | 0b0001),
        ]
        with m.Switch(self.select):
            with m.Case(0):
                m.d.comb += self.chosen.eq(self.a)
            with m.Case(1):
                m.d.comb += self.chosen.eq(~self.b)
            with m.Case(2):
                m.d.comb += self.chosen.eq(inside.kept)
        return m


class Inside(wiring.Component):
    """Registers, one of which does not start at 0."""

    def __init__(self, toy):
        super().__init__({"count": Out(3, init=5), "kept": Out(4)})
        self.toy = toy

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.count.eq(self.count + 1)
        with m.If(self.toy.select[0]):
            m.d.sync += self.kept.eq(self.toy.a ^ self.toy.b)
        return m


GLUE = """
extern "C" void cycle(const uint32_t *in, uint32_t *registers, uint32_t *out) {
  cxxrtl_design::p_lanes top;
  %s
  top.p_clk.set(true);
  top.prev_p_clk.set(false);
  top.eval();
  %s
}
"""


@cache
def toy():
    return lanes(Toy())


@pytest.fixture(scope="module")
def cycle(tmp_path_factory):
    """The C++ as a function: rows of inputs and registers to rows of outputs. Registers change."""
    if why := cxx.missing():
        pytest.skip(f"not run: {why}")
    place = tmp_path_factory.mktemp("lanes")
    design = toy()
    before = [f"top.p_i{n}.data[0] = in[{n}];" for n in range(len(design.inputs))]
    before += [f"top.p_q{n}.curr.data[0] = registers[{n}];" for n in range(design.registers)]
    after = [f"registers[{n}] = top.p_q{n}.next.data[0];" for n in range(design.registers)]
    after += [f"out[{n}] = top.p_o{n}.data[0];" for n in range(design.driven)]
    glue = GLUE % ("\n  ".join(before), "\n  ".join(after))
    (place / "toy.cc").write_text(design.source + glue)
    command = [*cxx.compiler(), *cxx.FLAGS, "-I", str(cxx.runtime())]
    subprocess.run([*command, "toy.cc", "-o", "toy.so"], cwd=place, check=True)
    function = ctypes.CDLL(str(place / "toy.so")).cycle

    def call(inputs, registers):
        out = np.zeros(max(design.driven, 1), np.uint32)
        function(*(ctypes.c_void_p(array.ctypes.data) for array in (inputs, registers, out)))
        return out

    return call


def in_lanes(cycle, stimulus, registers):
    """What the lanes show. For each cycle and lane, stimulus and result have a dict of values."""
    design, shown = toy(), []
    for values in stimulus:
        bits = [[values[lane][name] >> n & 1 for lane in range(LANES)] for name, n in design.inputs]
        inputs = np.array([sum(bit << lane for lane, bit in enumerate(row)) for row in bits])
        inputs = inputs.astype(np.uint32)
        out = cycle(inputs, registers)
        source = {"0": 0, "1": -1 & 0xFFFFFFFF}
        source |= {f"i{n}": int(row) for n, row in enumerate(inputs)}
        source |= {f"o{n}": int(row) for n, row in enumerate(out)}
        rows = {pin: source[name] for pin, name in design.outputs.items()}
        found = [dict.fromkeys(OUTPUTS, 0) for _ in range(LANES)]
        for (name, n), row in rows.items():
            for lane in range(LANES):
                found[lane][name] |= (row >> lane & 1) << n
        shown.append(found)
    return shown


def one_by_one(stimulus):
    """The same on Amaranth's simulator, a lane after the other."""
    lane_by_lane = []
    for of_lane in zip(*stimulus, strict=True):
        design, found = Toy(), []

        async def bench(context, design=design, found=found, of_lane=of_lane):
            for values in of_lane:
                for name in INPUTS:
                    context.set(getattr(design, name), values[name])
                found.append({name: context.get(getattr(design, name)) for name in OUTPUTS})
                await context.tick()

        simulator = Simulator(design)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()
        lane_by_lane.append(found)
    return [list(of_cycle) for of_cycle in zip(*lane_by_lane, strict=True)]


def random_stimulus(rng):
    """A reset, then anything; now and then another reset."""

    def values():
        return {n: rng.getrandbits(w) for n, w in INPUTS.items()} | {"reset": rng.random() < 0.05}

    return [[FIRST] * LANES] + [[values() for _ in range(LANES)] for _ in range(CYCLES)]


def garbage(np_rng):
    return np_rng.integers(0, 1 << 32, toy().registers, dtype=np.uint32)


def test_every_lane_does_what_amaranths_simulator_does(cycle, rng, np_rng):
    stimulus = random_stimulus(rng)
    found = in_lanes(cycle, stimulus, garbage(np_rng))
    assert found[1:] == one_by_one(stimulus)[1:]  # registers start as anything


def test_a_lane_depends_on_no_other(cycle, rng, np_rng):
    stimulus = random_stimulus(rng)
    before = in_lanes(cycle, stimulus, garbage(np_rng))
    others = random_stimulus(rng)
    for lane in (0, 13, LANES - 1):
        changed = [
            [*its[:lane], mine[lane], *its[lane + 1 :]]
            for mine, its in zip(stimulus, others, strict=True)
        ]
        after = in_lanes(cycle, changed, garbage(np_rng))
        assert [row[lane] for row in after[1:]] == [row[lane] for row in before[1:]]
        assert [row[lane - 1] for row in after] != [row[lane - 1] for row in before]


def test_only_what_something_depends_on_is_an_input():
    pins = set(toy().inputs)
    assert pins == {
        (name, n) for name, size in INPUTS.items() for n in range(size) if name != "unused"
    }


def test_every_output_pin_has_a_source():
    outputs = toy().outputs
    assert set(outputs) == {(name, n) for name, size in OUTPUTS.items() for n in range(size)}
    assert [outputs["constant", n] for n in range(4)] == ["0", "1", "0", "1"]
    at = {pin: f"i{n}" for n, pin in enumerate(toy().inputs)}
    assert [outputs["same", n] for n in range(4)] == [at["a", n] for n in range(4)]
    assert [outputs["again", n] for n in range(4)] == [outputs["kept", n] for n in range(4)]
    assert [outputs["mixed", n] for n in (0, 3)] == ["1", "0"]
    assert {name for name in outputs.values() if name[0] == "o"} == {
        f"o{n}" for n in range(toy().driven)
    }


def test_each_bit_of_state_is_a_register():
    assert toy().registers == 3 + 4


def test_the_harness_keeps_every_bit_that_is_shown():
    design = compiled._netlist()
    assert {pin for pin in design.outputs if pin[0] == "row"} == {
        ("row", n) for n in range(width(ROW))
    }
    used = {n for port, n in design.inputs if port == "stimulus"}
    for name in ("event__pc", "load__mdscr_el1", "event__kind", "controls__have_el2"):
        slot = STIMULUS[name]
        assert used >= set(range(slot.lsb, slot.lsb + slot.width)), name
    assert design.registers == 6 + 3 + 2 * 64


def test_the_same_source_every_time():
    assert lanes(Toy()) == toy()


def test_without_pyosys_the_mend_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyosys", None)
    with pytest.raises(EmitError, match=r"^pyosys is not installed \(pip install pyosys\)$"):
        lanes(Harness(UNIT))


class WithMemory(wiring.Component):
    """A design that is not made of gates and flip-flops."""

    def __init__(self):
        super().__init__({"address": In(2), "word": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=4, depth=4, init=[1, 2, 3, 4])
        read = memory.read_port(domain="comb")
        write = memory.write_port()
        m.d.comb += [read.addr.eq(self.address), self.word.eq(read.data)]
        m.d.comb += [write.addr.eq(self.address), write.data.eq(self.address), write.en.eq(1)]
        return m


class AsyncReset(wiring.Component):
    """A register that is reset without its clock."""

    def __init__(self):
        super().__init__({"reset": In(1), "bit": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.domains.other = other = ClockDomain(async_reset=True)
        state = Signal()
        m.d.comb += [other.clk.eq(ClockSignal()), other.rst.eq(self.reset), self.bit.eq(state)]
        m.d.other += state.eq(1)
        return m


@pytest.mark.parametrize(
    ("design", "text"),
    [
        (WithMemory, r"^Yosys left a cell \$mem\w+ among the gates$"),
        (AsyncReset, r"^Yosys: .* async set or reset are not supported$"),
    ],
)
def test_what_is_no_gate_is_refused(design, text):
    with pytest.raises(EmitError, match=text):
        lanes(design())
