"""GTKWave's save file: held against the VCD with pyvcd's reader, and opened with GTKWave."""

import io
import os
import re
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from vcd.reader import TokenKind, tokenize

from model.arch import EL, MDCR_EL2, MDSCR_EL1, Event, Mode, SPSR_ELx, StepState
from tb import dump, waves
from tb.shown import FAILURE, TEST
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


def test_save_file_is_beside_the_vcd(run):
    vcd = run(step).vcd
    save_file = waves.write_views(vcd, "pysim", {})
    assert save_file == vcd.with_suffix(".gtkw")
    assert sorted(vcd.parent.iterdir()) == sorted([vcd, save_file, vcd.with_suffix(".sucl")])


def test_save_file_has_no_directory_in_it(run):
    text = waves.write_views(run(step).vcd, "pysim", {}).read_text()
    assert "/" not in text
    assert '[dumpfile] "step.pysim.7.vcd"' in text
    assert '[savefile] "step.pysim.7.gtkw"' in text


def test_every_group_and_signal_is_listed(run):
    text = waves.write_views(run(step).vcd, "pysim", {}).read_text()
    groups = re.findall(r"(?m)^@(\w+)\n-(.*)$", text)
    assert [name for _, name in groups] == [name for name in waves.GROUPS for _ in range(2)]
    closed = {name for flags, name in groups if int(flags, 16) & 0x400000}
    assert closed == waves.UNIT_SHOWN.closed
    assert len(signals(text)) == sum(len(shown) for shown in waves.GROUPS.values())
    assert {"guest", "hypervisor", "step unit", "exceptions"} <= waves.GROUPS.keys() - closed


def test_every_listed_signal_is_in_the_vcd(run):
    vcd = run(step).vcd
    text = waves.write_views(vcd, "pysim", {}).read_text()
    assert set().union(*signals(text).values()) <= declared(vcd).keys()


@pytest.mark.parametrize("cycle", [ERET, EXECUTE, STEP_EXCEPTION, IDLE])
def test_marker_is_in_the_cycle_of_the_mismatch(run, cycle):
    test = run(step)
    _, at = marker(waves.write_views(test.vcd, "pysim", {FAILURE: cycle}).read_text())
    row = test.cycles[cycle].row
    assert value_at(test.vcd, "bench.top.trace__valid", at) == str(row.valid)
    assert value_at(test.vcd, "bench.top.trace__pc[63:0]", at) == row.pc
    assert value_at(test.vcd, "bench.top.trace__state", at) == StepState(row.state).name
    assert value_at(test.vcd, "bench.top.trace__step_exception", at) == str(row.step_exception)


def test_marker_without_a_mismatch_is_at_the_first_step_exception(run):
    vcd = run(step).vcd
    found = marker(waves.write_views(vcd, "pysim", {}).read_text())
    assert found == marker(waves.write_views(vcd, "pysim", {FAILURE: STEP_EXCEPTION}).read_text())


def test_marker_without_a_step_exception_is_at_the_first_event(run):
    vcd = run(no_step).vcd
    found = marker(waves.write_views(vcd, "pysim", {}).read_text())
    assert found == marker(waves.write_views(vcd, "pysim", {FAILURE: LOAD + 1}).read_text())


def test_marker_of_a_mismatch_comes_before_that_of_the_test(run):
    vcd = run(step).vcd

    def at(noted):
        return marker(waves.write_views(vcd, "pysim", noted).read_text())

    assert at({TEST: IDLE, FAILURE: ERET}) == at({FAILURE: ERET})
    assert at({TEST: IDLE, FAILURE: None}) == at({FAILURE: IDLE})


def named(text):
    """Name of a marker to (letter, time), from a save file."""
    times = re.search(r"(?m)^\*\S+ \S+ (.*)", text)[1].split()
    names = re.findall(r"(?m)^\[markername\] (.)(.*)", text)
    return {name: (letter, int(times[ord(letter) - ord("A")])) for letter, name in names}


def test_each_mark_has_its_letter(run):
    vcd = run(step).vcd
    found = named(waves.write_views(vcd, "pysim", {FAILURE: EXECUTE}).read_text())
    assert {name: letter for name, (letter, _) in found.items()} == {
        "first event": "A",
        "step to EL2": "C",
        "failure": "E",
    }
    first, exception, mismatch = (time for _, time in found.values())
    assert mismatch - first == exception - mismatch > 0  # return, instruction, exception


def test_of_marks_in_one_cycle_the_most_interesting_is_named(run):
    vcd = run(step).vcd
    found = named(waves.write_views(vcd, "pysim", {FAILURE: STEP_EXCEPTION}).read_text())
    assert found.keys() == {"first event", "failure"}


def test_mismatch_after_the_end_is_marked_at_the_end(run):
    vcd = run(step).vcd
    _, at = marker(waves.write_views(vcd, "pysim", {FAILURE: 1000}).read_text())
    assert at <= max(t.time_change for t in tokens(vcd) if t.kind is TokenKind.CHANGE_TIME)


def test_test_that_broke_off_has_no_marker(run):
    text = waves.write_views(run(nothing).vcd, "pysim", {}).read_text()
    assert not re.search(r"(?m)^\*", text)
    assert "[markername]" not in text
    assert "-guest" in text


def test_port_that_the_vcd_does_not_have_is_not_listed(run):
    vcd = run(step).vcd
    content = vcd.read_text()
    vcd.write_text(re.sub(r"(?m)^\$var .* trace__(eld|esr) \$end\n", "", content))
    shown = signals(waves.write_views(vcd, "pysim", {}).read_text())
    assert {"EL", "state", "spsr_saved"} <= shown.keys()
    assert not {"eld", "esr"} & shown.keys()


def test_text_beside_a_number_is_preferred(tmp_path):
    vcd = tmp_path / "verilog.vcd"
    vcd.write_text(
        "$timescale 1ps $end\n"
        "$scope module top $end\n"
        "$var wire 1 ! clk $end\n"
        "$var wire 1 ' row_valid $end\n"
        "$var wire 1 ( row_ss [0:0] $end\n"
        "$var wire 3 # row_last [2:0] $end\n"
        "$var reg 144 $ row_last_text [143:0] $end\n"
        "$var wire 64 % row_esr [63:0] $end\n"
        "$scope module unit $end\n"
        "$var wire 64 & row_esr [63:0] $end\n"
        "$upscope $end\n"
        "$upscope $end\n"
        "$enddefinitions $end\n"
    )
    text = waves.write_views(vcd, "icarus", {}).read_text()
    found = signals(text)
    assert found["guest"] == {"softstep.guest"}
    assert found["esr:ISV"] == {"softstep.esr_ISV"}
    assert {label: names for label, names in found.items() if "softstep." not in str(names)} == {
        "clk": {"top.clk"},
        "ss": {"top.row_ss[0]"},
        "esr": {"top.row_esr[63:0]"},
        "last": {"top.row_last_text[143:0]"},
    }
    assert re.search(r"@820\n(\[color\] \d+\n)?\+\{last\}", text)


def test_every_simulator_has_every_signal_and_the_same_marker(stepped):
    vcd, text = stepped.with_suffix(".vcd"), stepped.read_text()
    shown = signals(text)
    assert len(shown) == sum(len(names) for names in waves.GROUPS.values())
    assert set().union(*shown.values()) <= declared(vcd).keys()
    _, at = marker(text)
    assert value_at(vcd, *shown["step_exception"], at) == "1"
    assert value_at(vcd, *shown["PC"], at) == "0x8"
    unit = next(token.timescale for token in tokens(vcd) if token.kind is TokenKind.TIMESCALE)
    assert at * unit.magnitude.value == 40 * {"ns": 1, "ps": 10**3, "fs": 10**6}[unit.unit.value]


def test_missing_vcd_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        waves.write_views(tmp_path / "none.vcd", "pysim", {})
    assert not list(tmp_path.iterdir())


# GTKWave

PACKAGES = {"gtkwave": "gtkwave", "xvfb-run": "xvfb"}

GROUP_BEGINS, GROUP_ENDS = 0x800000, 0x1000000  #: flags of a trace

#: Tells what GTKWave has made of the save file: what it shows, with the value at the marker. It
#: writes the save file again, as it has understood it.
ASK = """
set file [open $::env(ANSWER) w]
puts $file [gtkwave::getMarker]
puts $file [gtkwave::getWindowStartTime]
puts $file [gtkwave::getWindowEndTime]
foreach letter {A B C D E} {
    puts $file [gtkwave::getNamedMarker $letter]
}
for {set i 0} {$i < [gtkwave::getTotalNumTraces]} {incr i} {
    set flags [gtkwave::getTraceFlagsFromIndex $i]
    set value [gtkwave::getTraceValueAtMarkerFromIndex $i]
    puts $file "[gtkwave::getTraceNameFromIndex $i]=$flags=$value"
}
close $file
gtkwave::/File/Write_Save_File
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


def gtkwave(*files, picture=""):
    """Opens a save file, or a dump and one, from elsewhere, without the user's own settings."""
    for program, package in PACKAGES.items():
        if not shutil.which(program):
            pytest.skip(f"not run: {package} is not installed (apt-get install {package})")
    home = files[0].parent
    script, answer = home / "ask.tcl", home / "answer"
    script.write_text(ASK)
    subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 1400x1000x24", "gtkwave", "-S", script, *files],
        env=os.environ | {"HOME": str(home), "ANSWER": str(answer), "PICTURE": str(picture)},
        cwd="/",
        check=True,
        capture_output=True,
        timeout=600,
    )
    at, start, end, *lines = answer.read_text().splitlines()
    traces = [line.split("=", 2) for line in lines[5:]]
    kinds = GROUP_BEGINS | GROUP_ENDS
    return SimpleNamespace(
        marker=int(at),
        start=int(start),
        end=int(end),
        named=dict(zip("ABCDE", map(int, lines[:5]), strict=True)),
        groups=[name for name, flags, _ in traces if int(flags) & GROUP_BEGINS],
        shown={name: value.rstrip() for name, flags, value in traces if not int(flags) & kinds},
    )


def test_gtkwave_finds_every_signal_group_and_marker(stepped):
    before = stepped.read_text()
    found = gtkwave(stepped)
    assert found.shown.keys() == signals(before).keys()
    assert found.groups == list(waves.GROUPS)
    assert found.marker == marker(before)[1]
    marks = {letter: time for letter, time in found.named.items() if time >= 0}
    assert marks == dict(named(before).values())
    assert marks["C"] == found.marker
    assert named(stepped.read_text()) == named(before)
    told = {
        "event": "execute",
        "PC": "0x8",
        "EL": "EL1",
        "state": "active-pending",
        "last": "INSTRUCTION",
        "mdscr_el1:SS": "1",
        "mdscr_el1:KDE": "0",
        "exception": "step exception to EL2",
        "EC": "softstep_lower",
        "step_exception": "1",
        "esr": "00000000CB000022",
        "esr:ISV": "1",
        "esr:EX": "0",
        "EL_after": "EL2",
        "state_after": "inactive",
    }
    assert {name: found.shown[name] for name in told} == told


def test_gtkwave_reads_the_fields_of_a_register(run):
    found = gtkwave(waves.write_views(run(step).vcd, "pysim", {FAILURE: ERET}))
    assert found.shown["spsr"] == f"{Mode.EL1h | SPSR_ELx.SS.mask:016X}"
    assert [found.shown[f"spsr:{field}"] for field in ("SS", "D", "IL")] == ["1", "0", "0"]


@pytest.mark.parametrize("cycle", [0, 20, 40, 41])
def test_gtkwave_shows_the_marker(run, cycle):
    found = gtkwave(waves.write_views(run(long).vcd, "pysim", {FAILURE: cycle}))
    assert found.start <= found.marker <= found.end


@pytest.fixture(scope="module", params=SIMULATORS)
def sequence(request, tmp_path_factory):
    """The save file of a sequence, and the cycle of the first step that was asked for."""
    if missing := adapter(request.param).missing():
        pytest.skip(f"not run: {missing}")
    load_cases(None)
    directory = tmp_path_factory.mktemp("sequence")
    (result,) = run_unit(Unit(request.param, (Job("hyp.v1", seed=1),), waves=directory))
    with result.waves.with_suffix(".vcd").open("rb") as file:
        lanes = waves.UNIT_SHOWN.lanes
        timeline = dump.timeline_of(file, dump.declarations(file), lanes)
    return result, timeline.marks["step to EL2"]


@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_gtkwave_names_the_instructions_and_the_exception(sequence, before):
    """Of a sequence and its guest: the exception, the one instruction, and what led there."""
    result, cycle = sequence
    vcd = result.waves.with_suffix(".vcd")
    found = gtkwave(waves.write_views(vcd, result.simulator, {FAILURE: cycle - before}))
    lanes = tuple(found.shown[lane] for lane in ("hypervisor", "guest", "exception"))
    assert (
        lanes
        == [
            ("", "", "step exception to EL2"),
            ("", "add x0, x0, #1", ""),
            ("eret", "", ""),
            ("msr mdscr_el1, x2", "", ""),
        ][before]
    )


def test_gtkwave_shows_the_same_of_fst(sequence):
    result, _ = sequence
    if result.notes:
        pytest.skip(f"not run: {result.notes[0]}")
    of_vcd = gtkwave(result.waves)
    assert gtkwave(result.waves.with_suffix(".fst"), result.waves) == of_vcd


#: of the picture, in the middle of the waves: width, height, and where it is
WAVES = "[900x700+440+150]"


def test_gtkwave_draws_something(run, tmp_path):
    if not shutil.which("import"):
        pytest.skip("not run: imagemagick is not installed (apt-get install imagemagick)")
    picture = tmp_path / "picture.png"
    gtkwave(waves.write_views(run(step).vcd, "pysim", {}), picture=picture)
    command = ["convert", f"{picture}{WAVES}", "-format", "%c", "histogram:info:-"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for colour in ("#00FF00", "#FF0000", "#FFFF00", "#FFFFFF"):  # two lanes, and what they say
        assert colour in shown
