"""What is there, and what is wrong, when a command ends with an error (`tb.tests.test_errors`).

A situation arranges with pytest's monkeypatch what a file or an argument cannot: a tool that is
missing or fails, a worker that dies, a scheduler without workers.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import signal
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.back.verilog import YosysError

from hw import emit
from model.hyp import assemble
from model.hyp.assemble import Assembler
from model.programs import build
from model.programs import load as programs
from tb import (
    bench,
    cluster,
    lines,
    mutate,
    qemu,
    reference,
    report,
    runner,
    scoreboard,
    viewer,
    work,
)
from tb.core import speed
from tb.mutation import bench as mutation_bench
from tb.mutation import core, unit
from tb.plan import Plan
from tb.report import Report
from tb.sims import SimulatorError, builds, cocotb_sim, compiled, cxx, icarus
from tb.tests.model.hyp.test_elf import RELA, STRTAB, SYMTAB, elf_object, section
from tb.tests.model.programs import elf_file
from tb.tests.model.programs.elf_file import CODE, Segment, elf
from tb.timed import Process, Timed
from tb.work import PASSED, Result

Patch = pytest.MonkeyPatch

NOP, RESERVED = (struct.pack("<I", word) for word in (0xD503_201F, 0x8BC1_0000))
VECTORS = "el,ss,mdscr_el1,mdcr_el2,event,target_el\n1,1,1,0x100,execute,\n1,0,1,0x100,svc,1\n"


# Files


def _relocated() -> bytes:
    """An object whose first word is to be relocated."""
    symbol = struct.pack("<IBBHQQ", 1, 0x10, 0, 0, 0, 0)
    entry = struct.pack("<QQq", 0, 1 << 32 | 283, 0)
    return elf_object(
        section(".text", NOP),
        (".symtab", SYMTAB, 0, bytes(24) + symbol, 3, 1, 24),
        (".strtab", STRTAB, 0, b"\0elsewhere\0", 0, 0, 0),
        (".rela.text", RELA, 0, entry, 2, 1, 24),
    )


def _with_dynamic(kind: int, data: bytes) -> bytes:
    return elf([Segment(CODE, elf_file.B_SELF), Segment(CODE + 64, data, kind=kind)])


def _csv(header: str, *rows: str) -> str:
    return "\n".join((header, *rows)) + "\n"


FILES: dict[str, bytes | str] = {
    "plain.md": "# A text\n",
    "empty": b"",
    "junk": bytes(range(252, 256)) * 5,
    # guest-entry sequences
    "my.S": "\tnop\n",
    "bad.S": "\tnop\n\tbogus x1\n",
    "latin.S": "// \xe4\n".encode("latin-1"),
    "preprocessed.S": '\tnop\n#include "other.h"\n',
    "good.words": "0xd503201f  // nop\n",
    "bad.words": "// mine\nmov x0, x1\n",
    "wide.words": "0x1d503201f\n",
    "odd": b"12345",
    "undefined": bytes(4),
    "reserved": RESERVED,
    "long": NOP * 4000,
    "magic": b"\x7fELF",
    "x86.o": elf_object(section(".text", NOP), machine=62),
    "notext.o": elf_object(section(".data", b"")),
    "data.o": elf_object(section(".text", NOP), section(".data", NOP)),
    "relocation.o": _relocated(),
    # programs
    "good.elf": elf(),
    "x86.elf": elf(machine=elf_file.X86_64),
    "object.elf": elf(kind=elf_file.REL),
    "interpreted.elf": _with_dynamic(elf_file.PT_INTERP, b"/lib/ld.so\0"),
    "relocated.elf": _with_dynamic(elf_file.PT_DYNAMIC, struct.pack("<QQ", 8, 24)),
    "huge.elf": elf([Segment(CODE, b"", memsz=1 << 40)]),
    "small.elf": elf([Segment(CODE, elf_file.B_SELF, memsz=2)]),
    "cut.elf": elf([Segment(CODE, elf_file.B_SELF, filesz=64)]),
    "none.elf": elf([]),
    "low.elf": elf([Segment(0x1000, elf_file.B_SELF)], entry=0x1000),
    "uneven.elf": elf(entry=CODE + 2),
    "lost.elf": elf(entry=CODE + 0x100),
    # vectors
    "in.csv": VECTORS,
    "header.csv": _csv("el,event"),
    "column.csv": _csv("el,event,color", "1,execute,red"),
    "twice.csv": _csv("el,event,el", "1,execute,1"),
    "noevent.csv": _csv("el,ss", "1,1"),
    "quote.csv": _csv("el,event", '1,"execute'),
    "few.csv": _csv("el,event", "1,execute", "1"),
    "many.csv": _csv("el,event", "1,execute,1"),
    "value.csv": _csv("el,event", "# a comment", "9,execute"),
    "target.csv": _csv("el,event", "1,svc"),
}


def make_files() -> None:
    """All of them, and the results of shards, in the working directory."""
    for name, content in FILES.items():
        data = content if isinstance(content, bytes) else content.encode()
        Path(name).write_bytes(data)
    names = ("toy.one", "toy.two", "toy.three")
    plan = Plan(("pysim",), names, tests=3, shard=1, shards=2)
    _shard("1.json", plan, "toy.one", "toy.three")
    _shard("short.json", Plan(("pysim",), names, tests=3, shard=2, shards=2))
    _shard("twice.json", Plan(("pysim",), names, tests=3, shard=2, shards=2), "toy.one")
    _shard("other.json", Plan(("pysim",), names, 7, tests=3, shard=2, shards=2), "toy.two")
    old = Plan(("pysim",), names, tests=3, shard=2, shards=2, version="old")
    _shard("old.json", old, "toy.two")
    Path("torn.json").write_text(Path("1.json").read_text()[:-9])


def _shard(path: str, plan: Plan, *names: str) -> None:
    found = Report(plan)
    for name in names:
        found.add(Result(name, "pysim", plan.seed, PASSED, 1, 0.5, found.counts))
    report.write_json(Path(path), found)


# Situations

SITUATIONS: dict[str, Callable[[Patch], Any]] = {}


def situation(name: str) -> Callable[[Callable[[Patch], Any]], Callable[[Patch], Any]]:
    """Decorator: the function arranges the situation of this name."""

    def add(arrange: Callable[[Patch], Any]) -> Callable[[Patch], Any]:
        SITUATIONS[name] = arrange
        return arrange

    return add


def refuse(error: BaseException) -> Callable[..., Any]:
    """A function that raises an error, whatever it is given."""

    def refuses(*_: Any, **__: Any) -> Any:
        raise error

    return refuses


def give(value: Any) -> Callable[..., Any]:
    """A function that returns a value, whatever it is given."""
    return lambda *_, **__: value


# What is not installed


def _without(patch: Patch, *packages: str) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name in packages else real(name, package)

    patch.setattr(importlib.util, "find_spec", find_spec)
    for name, module in list(sys.modules.items()):
        if name.startswith(("hw.", "tb.")) and getattr(module, "find_spec", None) is real:
            patch.setattr(module, "find_spec", find_spec)


SITUATIONS |= {
    "no pyosys": lambda patch: _without(patch, "pyosys"),
    "no cocotb": lambda patch: _without(patch, "cocotb"),
    "no distributed": lambda patch: _without(patch, "distributed"),
}


@situation("no tools")
def _no_tools(patch: Patch) -> None:
    patch.setenv("PATH", "")
    for name in ("CXX", "CROSS_COMPILE"):
        patch.delenv(name, raising=False)
    _without(patch, "ziglang")


# Yosys, and compilers


@situation("no Yosys")
def _no_yosys(patch: Patch) -> None:
    patch.setattr(emit, "find_yosys", refuse(YosysError("not there")))


@situation("Yosys fails")
def _yosys_fails(patch: Patch) -> None:
    broken = SimpleNamespace(run=refuse(YosysError("ERROR: no\nmore memory")))
    patch.setattr(emit, "find_yosys", give(broken))


@situation("pyosys fails")
def _pyosys_fails(patch: Patch) -> None:
    patch.setattr(emit, "RUN_SCRIPT", "raise SystemExit('ERROR: no\\nmore memory')")


def _tool(script: str) -> Assembler:
    """An assembler or compiler that does what a shell script says."""
    path = Path("gcc").absolute()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Assembler((str(path),), "-D{name}={value}")


@situation("the assembler fails")
def _assembler_fails(patch: Patch) -> None:
    tool = _tool("echo 'bad.S:2: Error: unknown mnemonic' >&2; exit 1")
    patch.setattr(assemble, "find_assemblers", lambda: [tool])


@situation("a source is gone")
def _source_is_gone(patch: Patch) -> None:
    patch.setattr(assemble, "find_assemblers", lambda: [_tool("exit 1")])
    patch.setattr(assemble, "DIRECTORY", Path())


@situation("a bare assembler")
def _bare_assembler(patch: Patch) -> None:
    bare = Assembler(("as",), "--defsym={name}={value}", has_preprocessor=False)
    patch.setattr(assemble, "find_assemblers", lambda: [bare])


@situation("the compiler says nothing")
def _compiler_says_nothing(patch: Patch) -> None:
    patch.setattr(build, "find_assemblers", lambda: [_tool("exit 1")])


@situation("another compiler")
def _another_compiler(patch: Patch) -> None:
    patch.setattr(build, "find_assemblers", lambda: [_tool("echo gcc of 1987")])


@situation("the directory is read-only")
def _read_only(patch: Patch) -> None:
    patch.setattr(assemble, "_words_text", give("other"))
    patch.setattr(build, "find_assemblers", lambda: [_tool("echo gcc of 1987")])
    patch.setattr(build, "build", give("other"))
    refused = PermissionError(13, "Permission denied", "model/hyp/tmp")
    patch.setattr(tempfile, "NamedTemporaryFile", refuse(refused))


@situation("the compiler fails")
def _compiler_fails(patch: Patch) -> None:
    patch.setenv("CXX", "false")
    patch.setattr(builds, "SIM_BUILD", Path("sim_build").absolute())
    patch.setattr(compiled, "_lanes_library", compiled._lanes_library.__wrapped__)
    patch.setattr(compiled, "_netlist", give(None))
    patch.setattr(compiled, "build_lanes", lambda _, place: cxx.build("", cxx.FAST, place))


# Simulators


class _Runner:
    """cocotb's, of a simulator that fails or ends without a word."""

    def __init__(self, builds: bool):
        self.build = give(None) if builds else refuse(RuntimeError("a command failed"))
        self.test = give(None)


def _icarus(patch: Patch, builds_it: bool) -> None:
    patch.setattr(icarus, "missing", give(None))
    patch.setattr(builds, "SIM_BUILD", Path("sim_build").absolute())
    for name, value in (
        ("missing", None),
        ("_depends_on", "nothing"),
        ("_runner", _Runner(builds_it)),
    ):
        patch.setattr(cocotb_sim.CocotbSimulator, name, give(value))
    for name in ("harness", "flattened"):
        patch.setattr(cocotb_sim, name, give(""))
    patch.setattr(cocotb_sim, "_package_directory", give(Path()))


@situation("Icarus fails")
def _icarus_fails(patch: Patch) -> None:
    _icarus(patch, builds_it=False)


@situation("Icarus breaks off")
def _icarus_breaks_off(patch: Patch) -> None:
    _icarus(patch, builds_it=True)


# The designs


@situation("no mutants are drawn")
def _no_mutants(patch: Patch) -> None:
    patch.setattr(mutate, "run", give(None))


@situation("the step unit fails")
def _step_unit_fails(patch: Patch) -> None:
    def check_copies(*_: Any) -> None:
        copies: Any = object.__new__(unit._Copies)
        copies._places, copies._right = {}, None
        copies.kill(SimpleNamespace(ports={}))

    patch.setattr(scoreboard, "wrong_lane", give(0))
    patch.setattr(unit._Copies, "_edge", give(None))
    patch.setattr(unit._Copies, "_wrong", give(True))
    patch.setattr(mutate, "run", check_copies)
    timed = Timed(1, 64, 1, 64)
    patch.setattr(bench, "measure", lambda *_: work.adapter("pysim").run(timed))


@situation("the core fails")
def _core_fails(patch: Patch) -> None:
    patch.setattr(core, "_Core", lambda _: SimpleNamespace(select=give(None), log=None))
    patch.setattr(mutation_bench, "fails", give(True))
    patch.setattr(mutate, "run", lambda *_: core.later(Path(), [], "directed.reset_state"))
    other = SimpleNamespace(rows=0, steps=0)
    patch.setattr(work, "adapter", give(SimpleNamespace(run=give(other), missing=give(None))))
    patch.setattr(bench, "measure", lambda *_: speed._timed("pysim", speed.Timed((), 9), steps=0))


# The benchmark's processes


@situation("a measuring process is killed")
def _measuring_killed(patch: Patch) -> None:
    def measure(*_: Any) -> None:
        with Process() as process:
            process._process.kill()
            process._process.wait()
            process.start(Timed(1, 64, 1, 64))

    patch.setattr(bench, "measure", measure)


def _qemu(patch: Patch, data: bytes, error: str = "", late: bool = False) -> None:
    qemu.instructions.cache_clear()
    patch.setattr(qemu, "missing", give(None))
    patch.setattr(qemu, "_listen", give(qemu._Told(1.0, data, error, late)))
    patch.setattr(bench, "measure", lambda *_: qemu.instructions_per_second())


def _told(status: bytes, steps: int, x0: int) -> bytes:
    return status + struct.pack(qemu._VALUES, steps, x0)


SITUATIONS |= {
    "QEMU steps a guest": lambda patch: _qemu(patch, _told(qemu._DONE, 7, qemu.RESULT)),
    "QEMU computes wrongly": lambda patch: _qemu(patch, _told(qemu._DONE, 0, 1)),
    "QEMU fails": lambda patch: _qemu(patch, _told(qemu._FAILED, 0, 0x9600_0000)),
    "QEMU hangs": lambda patch: _qemu(patch, b"", late=True),
    "QEMU does not start": lambda patch: _qemu(patch, b"", error="no machine\nnor memory\n"),
}


# Runs, and their workers


@situation("workers are killed")
def _workers_are_killed(patch: Patch) -> None:
    patch.setattr(lines, "drive", lambda *_: os.kill(os.getpid(), signal.SIGKILL))


@situation("no process starts")
def _no_process(patch: Patch) -> None:
    patch.setattr(runner._Worker, "__init__", refuse(BlockingIOError(11, "no more processes")))


@situation("sim_build is a file")
def _sim_build_is_a_file(patch: Patch) -> None:
    Path("sim_build").touch()


@situation("another run was stopped")
def _another_run(patch: Patch) -> None:
    Path("sim_build/journal").mkdir(parents=True)
    header = {**Plan(("pysim",), ("toy.one",), seed=7).record(), "waves": "fail"}
    Path("sim_build/journal/other.jsonl").write_text(json.dumps(header) + "\n")


@situation("the same run is under way")
def _same_run(patch: Patch) -> None:
    patch.setattr(fcntl, "lockf", refuse(BlockingIOError(11, "held")))


@situation("files cannot be read")
def _unreadable(patch: Patch) -> None:
    patch.setattr(Path, "open", refuse(PermissionError(13, "Permission denied")))


@situation("no viewer")
def _no_viewer(patch: Patch) -> None:
    patch.setattr(viewer, "_installed", give(None))


@situation("no display")
def _no_display(patch: Patch) -> None:
    patch.setattr(viewer, "_installed", give("gtkwave"))
    patch.setattr(viewer, "_has_display", give(False))


class _Dask:
    """A scheduler with a worker at most, which has what is said here."""

    found: Any = None
    result: Any = None
    workers: tuple[str, ...] = ("tcp://worker:1",)

    def __init__(self, *_: Any, **__: Any):
        pass

    def nthreads(self) -> list[str]:
        return list(self.workers)

    def run(self, stamp: Callable[[], Any], workers: list[str], **_: Any) -> dict[str, Any]:
        found = self.found if self.found is not None else stamp()
        return dict.fromkeys(workers, found(stamp()) if callable(found) else found)

    def submit(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(
            add_done_callback=lambda call: call(None),
            done=lambda: True,
            result=refuse(self.result),
            cancel=give(None),
        )

    def cancel(self, *_: Any) -> None:
        pass

    def close(self, **_: Any) -> None:
        pass


def _dask(patch: Patch, **changes: Any) -> None:
    patch.setattr("distributed.Client", type("Client", (_Dask,), changes))
    patch.setattr(cluster, "PATIENCE", -1.0)


SITUATIONS |= {
    "no Dask scheduler": lambda patch: _dask(patch, __init__=refuse(OSError("timed out"))),
    "no Dask worker": lambda patch: _dask(patch, workers=()),
    "the Dask scheduler goes": lambda patch: _dask(patch, nthreads=refuse(OSError("closed"))),
    "a Dask worker has other code": lambda patch: _dask(patch, found=lambda _, s: ("old", s[1])),
    "a Dask worker has no code": lambda patch: _dask(patch, found=ModuleNotFoundError("tb")),
    "a Dask worker has another file": lambda patch: _dask(
        patch, found=lambda _, s: (s[0], "another")
    ),
    "a Dask worker has no file": lambda patch: _dask(patch, found=FileNotFoundError("no mine")),
    "a Dask worker breaks": lambda patch: _dask(patch, found=ZeroDivisionError("very\nbad")),
    "the work breaks on a Dask worker": lambda patch: _dask(
        patch, result=ZeroDivisionError("very\nbad")
    ),
    "the simulator breaks on a Dask worker": lambda patch: _dask(
        patch, result=SimulatorError("pysim broke off")
    ),
}


# The images of this project


def _image(patch: Patch, text: str | None) -> None:
    programs.load.cache_clear()
    patch.setattr(programs, "DIRECTORY", Path())
    if text is not None:
        Path("boot.words").write_text(text)


def _interrupted(patch: Patch) -> None:
    """Ctrl-C while a command that makes files is at work."""
    patch.setattr(reference, "text", refuse(KeyboardInterrupt()))
    patch.setattr(assemble, "assemble", refuse(KeyboardInterrupt()))
    patch.setattr(build, "find_compiler", refuse(KeyboardInterrupt()))


SITUATIONS |= {
    "Ctrl-C": _interrupted,
    "standard output is closed": lambda patch: patch.setattr(sys, "stdout", None),
}

SITUATIONS |= {
    "an image is gone": lambda patch: _image(patch, None),
    "an image is damaged": lambda patch: _image(patch, "# entry 0x40000000\n0x1 0x2\n"),
    "an image has no entry": lambda patch: _image(patch, "@0x40000000\n0xd503201f\n"),
    "an image has no number": lambda patch: _image(patch, "# entry start\n"),
}


@contextlib.contextmanager
def arranged(name: str) -> Any:
    """Within it, things are as a situation has them."""
    with pytest.MonkeyPatch.context() as patch:
        SITUATIONS[name](patch)
        yield
