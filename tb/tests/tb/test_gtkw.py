"""The GTKWave save file: held against the VCD with pyvcd's reader, and opened with GTKWave."""

import io
import os
import re
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from vcd.reader import TokenKind, tokenize

from model.arch import EL, MDCR_EL2, MDSCR_EL1, Event, Mode, SPSR_ELx, StepState
from tb import waves
from tb.sims import pysim
from tb.testbench import Testbench
from tb.work import SIMULATORS, Job, Unit, adapter, load_cases, run_unit

#: what `Testbench.cycles` holds of the directed test
LOAD, ERET, EXECUTE, STEP_EXCEPTION, IDLE = range(5)


async def start(simulator):
    """A test at EL2, about to return to a guest that it steps."""
    tb = Testbench(simulator, "step", 0)
    await simulator.reset()
    await tb.start(el=EL.EL2, d=1, mdscr_el1=MDSCR_EL1.SS.mask, mdcr_el2=MDCR_EL2.TDE.mask)
    return tb


async def step(simulator):
    """The guest executes one instruction, then the step exception comes."""
    tb = await start(simulator)
    await tb.do(Event.ERET, spsr=Mode.EL1h | SPSR_ELx.SS.mask)
    await tb.do(Event.EXECUTE)
    await tb.do(Event.EXECUTE)
    await tb.finish()
    return tb.cycles


async def no_step(simulator):
    """EL2 executes."""
    tb = await start(simulator)
    await tb.do(Event.EXECUTE)
    await tb.finish()
    return tb.cycles


async def nothing(simulator):
    """The test breaks off after the reset."""
    await simulator.reset()
    return []


async def long(simulator):
    """EL2 executes, more than fits the window."""
    tb = await start(simulator)
    for _ in range(40):
        await tb.do(Event.EXECUTE)
    await tb.finish()
    return tb.cycles


@pytest.fixture
def run(tmp_path):
    def run(task):
        """The VCD and the cycles of a task."""
        vcd = waves.path(tmp_path / "waves", task.__name__, "pysim", 7)
        return SimpleNamespace(vcd=vcd, cycles=pysim.run(task, vcd))

    return run


@pytest.fixture(params=SIMULATORS)
def stepped(request, tmp_path):
    """The save file of a test like `step`, on each simulator."""
    if missing := adapter(request.param).missing():
        pytest.skip(f"not run: {missing}")
    load_cases(None)
    job = Job("directed.eret_keeps_the_ss_it_has_just_loaded", seed=1)
    (result,) = run_unit(Unit(request.param, (job,), waves=tmp_path))
    return result.waves


def tokens(vcd):
    """pyvcd's tokens. Its reader refuses names that start with `$`: variables of Amaranth's without
    a name, which go, and Verilator's outermost scope, which loses the `$`.
    """
    content = re.sub(rb"(?m)^ *\$var \S+ \S+ \S+ \$.*\n", b"", vcd.read_bytes())
    return tokenize(io.BytesIO(content.replace(b"$rootio", b"rootio")))


def declared(vcd):
    """GTKWave's name of each variable to its code."""
    scopes, names = [], {}
    for token in tokens(vcd):
        if token.kind is TokenKind.SCOPE:
            scopes.append(token.scope.ident)
        elif token.kind is TokenKind.UPSCOPE:
            scopes.pop()
        elif token.kind is TokenKind.VAR:
            var = token.var
            bits = "[0]" if var.bit_index == (0, 0) else ""
            bits = f"[{var.size - 1}:0]" if var.size > 1 else bits
            names[".".join([*scopes, var.reference]) + bits] = var.id_code
    return names


def value_at(vcd, name, time):
    """A variable's value."""
    code, value = declared(vcd)[name], None
    for token in tokens(vcd):
        if token.kind is TokenKind.CHANGE_TIME and token.time_change > time:
            break
        if token.kind.name.startswith("CHANGE") and getattr(token.data, "id_code", None) == code:
            value = token.data.value
    return value


def signals(text):
    """Label to the names of the variables shown, from a save file."""
    return {
        label: set(re.sub(r"#\{.*?\}|\(\d+\)", "", names).split())
        for label, names in re.findall(r"(?m)^\+\{(.*?)\} (.*)$", text.replace("$rootio", "rootio"))
    }


def marker(text):
    """(zoom, marker) from a save file."""
    zoom, at = re.search(r"(?m)^\*(\S+) (\S+)", text).groups()
    return float(zoom), int(at)


def test_path_makes_the_directory(tmp_path):
    directory = tmp_path / "a" / "b"
    assert waves.path(directory, "hyp.v1", "icarus", 3) == directory / "hyp.v1.icarus.3.vcd"
    assert directory.is_dir()
    waves.path(directory, "hyp.v1", "icarus", 3)


def test_save_file_is_beside_the_vcd(run):
    vcd = run(step).vcd
    save_file = waves.write_save_file(vcd, "pysim", None)
    assert save_file == vcd.with_suffix(".gtkw")
    assert sorted(vcd.parent.iterdir()) == sorted([vcd, save_file])


def test_save_file_has_no_directory_in_it(run):
    text = waves.write_save_file(run(step).vcd, "pysim", None).read_text()
    assert "/" not in text
    assert '[dumpfile] "step.pysim.7.vcd"' in text
    assert '[savefile] "step.pysim.7.gtkw"' in text


def test_every_group_and_signal_is_listed(run):
    text = waves.write_save_file(run(step).vcd, "pysim", None).read_text()
    groups = re.findall(r"(?m)^@(\w+)\n-(.*)$", text)
    assert [name for _, name in groups] == [name for name in waves.GROUPS for _ in range(2)]
    closed = {name for flags, name in groups if int(flags, 16) & 0x400000}
    assert closed == waves.UNIT_SHOWN.closed
    assert len(signals(text)) == sum(len(shown) for shown in waves.GROUPS.values())


def test_every_listed_signal_is_in_the_vcd(run):
    vcd = run(step).vcd
    text = waves.write_save_file(vcd, "pysim", None).read_text()
    assert set().union(*signals(text).values()) <= declared(vcd).keys()


@pytest.mark.parametrize("cycle", [ERET, EXECUTE, STEP_EXCEPTION, IDLE])
def test_marker_is_in_the_cycle_of_the_mismatch(run, cycle):
    test = run(step)
    _, at = marker(waves.write_save_file(test.vcd, "pysim", cycle).read_text())
    row = test.cycles[cycle].row
    assert value_at(test.vcd, "bench.top.trace__valid", at) == str(row.valid)
    assert value_at(test.vcd, "bench.top.trace__pc[63:0]", at) == row.pc
    assert value_at(test.vcd, "bench.top.trace__state", at) == StepState(row.state).name
    assert value_at(test.vcd, "bench.top.trace__step_exception", at) == str(row.step_exception)


def test_marker_without_a_mismatch_is_at_the_first_step_exception(run):
    vcd = run(step).vcd
    text = waves.write_save_file(vcd, "pysim", None).read_text()
    assert text == waves.write_save_file(vcd, "pysim", STEP_EXCEPTION).read_text()


def test_marker_without_a_step_exception_is_in_the_first_cycle(run):
    vcd = run(no_step).vcd
    text = waves.write_save_file(vcd, "pysim", None).read_text()
    assert text == waves.write_save_file(vcd, "pysim", LOAD).read_text()


def test_mismatch_after_the_end_is_marked_at_the_end(run):
    vcd = run(step).vcd
    _, at = marker(waves.write_save_file(vcd, "pysim", 1000).read_text())
    assert at <= max(t.time_change for t in tokens(vcd) if t.kind is TokenKind.CHANGE_TIME)


def test_test_that_broke_off_has_no_marker(run):
    text = waves.write_save_file(run(nothing).vcd, "pysim", None).read_text()
    assert not re.search(r"(?m)^\*", text)
    assert "-event" in text


def test_port_that_the_vcd_does_not_have_is_not_listed(run):
    vcd = run(step).vcd
    content = vcd.read_text()
    vcd.write_text(re.sub(r"(?m)^\$var .* trace__(eld|esr) \$end\n", "", content))
    shown = signals(waves.write_save_file(vcd, "pysim", None).read_text())
    assert {"el", "state", "spsr_saved"} <= shown.keys()
    assert not {"eld", "esr", "esr:EC"} & shown.keys()


def test_text_beside_a_number_is_preferred(tmp_path):
    vcd = tmp_path / "verilog.vcd"
    vcd.write_text(
        "$timescale 1ps $end\n"
        "$scope module top $end\n"
        "$var wire 1 ! clk $end\n"
        "$var wire 1 ' row_valid $end\n"
        "$var wire 1 ( row_ss [0:0] $end\n"
        "$var wire 2 # row_state [1:0] $end\n"
        "$var reg 144 $ row_state_text [143:0] $end\n"
        "$var wire 64 % stimulus_event__pc [63:0] $end\n"
        "$scope module unit $end\n"
        "$var wire 64 & stimulus_event__pc [63:0] $end\n"
        "$upscope $end\n"
        "$upscope $end\n"
        "$enddefinitions $end\n"
    )
    text = waves.write_save_file(vcd, "icarus", None).read_text()
    assert signals(text) == {
        "clk": {"top.clk"},
        "ss": {"top.row_ss[0]"},
        "pc": {"top.stimulus_event__pc[63:0]"},
        "state": {"top.row_state_text[143:0]"},
    }
    assert re.search(r"@820\n(\[color\] \d+\n)?\+\{state\}", text)


def test_every_simulator_has_every_signal_and_the_same_marker(stepped):
    vcd, text = stepped.with_suffix(".vcd"), stepped.read_text()
    shown = signals(text)
    assert len(shown) == sum(len(names) for names in waves.GROUPS.values())
    assert set().union(*shown.values()) <= declared(vcd).keys()
    _, at = marker(text)
    assert value_at(vcd, *shown["step_exception"], at) == "1"
    assert value_at(vcd, *shown["pc"], at) == 8
    unit = next(token.timescale for token in tokens(vcd) if token.kind is TokenKind.TIMESCALE)
    assert at * unit.magnitude.value == 40 * {"ns": 1, "ps": 10**3, "fs": 10**6}[unit.unit.value]


def test_missing_vcd_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        waves.write_save_file(tmp_path / "none.vcd", "pysim", None)
    assert not list(tmp_path.iterdir())


# GTKWave

PACKAGES = {"gtkwave": "gtkwave", "xvfb-run": "xvfb"}

#: Tells what GTKWave has made of the save file: what it shows, with the value at the marker.
ASK = """
set file [open $::env(ANSWER) w]
puts $file [gtkwave::getMarker]
puts $file [gtkwave::getWindowStartTime]
puts $file [gtkwave::getWindowEndTime]
for {set i 0} {$i < [gtkwave::getTotalNumTraces]} {incr i} {
    puts $file "[gtkwave::getTraceNameFromIndex $i]=[gtkwave::getTraceValueAtMarkerFromIndex $i]"
}
close $file
if {$::env(PICTURE) ne ""} {
    # GTKWave draws while it has nothing else to do.
    for {set i 0} {$i < 20} {incr i} {
        after 50
        gtkwave::nop
    }
    exec import -window root $::env(PICTURE)
}
gtkwave::/File/Quit
"""


def gtkwave(save_file, picture=""):
    """Opens a save file, from another directory, without the user's own settings."""
    for program, package in PACKAGES.items():
        if not shutil.which(program):
            pytest.skip(f"not run: {package} is not installed (apt-get install {package})")
    home = save_file.parent
    script, answer = home / "ask.tcl", home / "answer"
    script.write_text(ASK)
    subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 1400x1000x24", "gtkwave", "-S", script, save_file],
        env=os.environ | {"HOME": str(home), "ANSWER": str(answer), "PICTURE": str(picture)},
        cwd="/",
        check=True,
        capture_output=True,
        timeout=600,
    )
    at, start, end, *lines = answer.read_text().splitlines()
    shown = dict(line.split("=", 1) for line in lines)
    return SimpleNamespace(marker=int(at), start=int(start), end=int(end), shown=shown)


def test_gtkwave_finds_every_signal(stepped):
    text = stepped.read_text()
    found = gtkwave(stepped)
    assert found.shown.keys() == signals(text).keys() | waves.GROUPS.keys()
    assert found.marker == marker(text)[1]
    told = {
        "kind": "EXECUTE",
        "pc": "0000000000000008",
        "el": "EL1",
        "state": "ACTIVE_PENDING",
        "last": "INSTRUCTION",
        "mdscr_el1:SS": "1",
        "mdscr_el1:KDE": "0",
        "step_exception": "1",
        "esr": "00000000CB000022",
        "esr:EC": "32",
        "esr:ISV": "1",
        "esr:EX": "0",
        "el_after": "EL2",
        "state_after": "INACTIVE",
    }
    assert {name: found.shown[name].rstrip() for name in told} == told


def test_gtkwave_reads_the_fields_of_a_register(run):
    found = gtkwave(waves.write_save_file(run(step).vcd, "pysim", ERET))
    assert found.shown["spsr"] == f"{Mode.EL1h | SPSR_ELx.SS.mask:016X}"
    assert [found.shown[f"spsr:{field}"] for field in ("SS", "D", "IL")] == ["1", "0", "0"]


@pytest.mark.parametrize("cycle", [0, 20, 40, 41])
def test_gtkwave_shows_the_marker(run, cycle):
    found = gtkwave(waves.write_save_file(run(long).vcd, "pysim", cycle))
    assert found.start <= found.marker <= found.end


def test_gtkwave_draws_something(run, tmp_path):
    if not shutil.which("import"):
        pytest.skip("not run: imagemagick is not installed (apt-get install imagemagick)")
    picture = tmp_path / "picture.png"
    gtkwave(waves.write_save_file(run(step).vcd, "pysim", None), picture)
    colours = subprocess.run(
        ["identify", "-format", "%k", picture], check=True, capture_output=True, text=True
    )
    assert int(colours.stdout) > 20
