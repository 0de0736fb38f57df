"""Builds the programs with the installed cross compiler.

`python -m model.programs.build` compiles the sources beside this file and rewrites the .words files
there; with `--check` it only compares. Exit status: 0 done, or the same; 1 not the same; 2 it could
not run: there is no cross compiler, or another one than the .words files are from.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from model.arch import RAM_BASE, RAM_SIZE
from model.arguments import rewriter, stop, stop_at
from model.hyp.assemble import DIRECTORY as SEQUENCES
from model.hyp.assemble import Assembler, find_assemblers, first_error, write_atomically
from model.kvm.uapi import KVM_GUESTDBG_USE_SW_BP
from model.kvm.vcpu import ASSEMBLER_CONSTANTS, OFFSETS
from model.kvm.vcpu import SIZE as VCPU_SIZE
from model.programs import ProgramError
from model.programs.elf import load_executable
from model.programs.image import Image, to_text
from model.programs.layout import BOOT_BASE, GUEST_BASE, HYPERVISOR_BASE
from model.programs.load import BOOT, DIRECTORY, GUESTS, HYPERVISORS, KVM, SELF_STEPPING, VIRT

#: -mstrict-align: without translation, memory is Device memory to a core that has the MMU.
_OPTIONS = (
    *(
        "-O2",
        "-mgeneral-regs-only",
        "-ffreestanding",
        "-nostdlib",
        "-fno-pic",
        "-no-pie",
        "-static",
    ),
    *("-mno-outline-atomics", "-mstrict-align", "-fno-tree-loop-distribute-patterns"),
    *("-fno-asynchronous-unwind-tables", "-fno-stack-protector", "-mbranch-protection=none"),
    *(
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wl,--build-id=none",
        "-Wl,--no-warn-rwx-segments",
    ),
)

NO_COMPILER = "no A64 cross compiler is installed: apt-get install gcc-aarch64-linux-gnu"


_VERSION_HEADING = "compiler: "

#: Addresses and offsets that sources know by name.
_LAYOUT = {"HYPERVISOR_BASE": HYPERVISOR_BASE, "GUEST_BASE": GUEST_BASE, "VCPU_SIZE": VCPU_SIZE}
_LAYOUT |= {"RAM_BASE": RAM_BASE, "RAM_SIZE": RAM_SIZE}
_LAYOUT |= {"KVM_GUESTDBG_USE_SW_BP": KVM_GUESTDBG_USE_SW_BP}
_LAYOUT |= {f"VCPU_{name.upper()}": offset for name, offset in OFFSETS.items()}


#: Where the loop at EL2 calls C, by the sequence: before the world switch, and after it.
_CALLS = {"callout": ("CALLOUT",), "upstream": ("CALLOUT", "FINISH")}


@dataclass(frozen=True)
class Program:
    """What an image is made of."""

    name: str
    sources: tuple[str, ...]
    origin: int
    defines: tuple[str, ...] = ()


def _hypervisor(sequence: str) -> Program:
    """The loop at EL2 with a sequence, and the C code that is beside some."""
    calls = _CALLS.get(sequence, ())
    defines = (f'SEQUENCE="{sequence}.S"', *calls)
    sources = ("hypervisor.S", *((f"{sequence}.c",) if calls else ()))
    return Program(HYPERVISORS[sequence], sources, HYPERVISOR_BASE, defines)


#: All images, in the order in which they are built.
PROGRAMS = (
    *(Program(name, (f"{name}.S",), BOOT_BASE) for name in (BOOT, VIRT)),
    *(_hypervisor(sequence) for sequence in HYPERVISORS),
    Program(KVM, (f"{KVM}.S",), HYPERVISOR_BASE),
    *(Program(name, ("start.S", f"{name}.c"), GUEST_BASE) for name in GUESTS),
    *(Program(name, (f"{name}.S",), GUEST_BASE) for name in SELF_STEPPING),
)


def find_compiler() -> Assembler:
    """The first installed assembler that is a GCC and so compiles and links. ProgramError if none
    is."""
    for candidate in find_assemblers():
        if candidate.command[0].endswith("gcc"):
            return candidate
    raise ProgramError(NO_COMPILER)


def version(compiler: Assembler) -> str:
    """The first line that the compiler says about itself."""
    return _run([compiler.command[0], "--version"], compiler.command[0]).splitlines()[0]


def _run(command: list[str], name: str) -> str:
    """What a command prints. ProgramError with its first error if it fails."""
    result = subprocess.run(
        command, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=False
    )
    if result.returncode:
        said = [line for line in result.stderr.splitlines() if not line.startswith("collect2")]
        raise ProgramError(first_error("\n".join(said), Path(name)))
    return result.stdout


def build(program: Program, compiler: Assembler) -> str:
    """The text of a program's image. ProgramError, in one line, if it does not compile or link."""
    defines = {**ASSEMBLER_CONSTANTS, **_LAYOUT}
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "image.elf")
        command = [
            compiler.command[0],
            *_OPTIONS,
            *(compiler.constant.format(name=name, value=value) for name, value in defines.items()),
            *(f"-D{define}" for define in program.defines),
            f"-I{SEQUENCES}",
            f"-Wl,--defsym=IMAGE_BASE={program.origin:#x}",
            f"-Wl,-T{DIRECTORY / 'image.ld'}",
            *("-o", str(output)),
            *(str(DIRECTORY / source) for source in program.sources),
        ]
        _run(command, program.name)
        image = load_executable(output, program.origin)
    # Every image begins at its own; nobody needs to find it by name, in one of many.
    symbols = {name: address for name, address in image.symbols.items() if name != "_start"}
    heading = (
        f"{program.name} as built by python -m model.programs.build",
        _VERSION_HEADING + version(compiler),
    )
    return to_text(Image(image.segments, symbols, image.entry), heading)


def recorded_version(text: str) -> str | None:
    """The compiler that the text of an image is from; None if it does not say."""
    for line in text.splitlines():
        if line.startswith(f"# {_VERSION_HEADING}"):
            return line.removeprefix(f"# {_VERSION_HEADING}")
    return None


def _check_version(kept: dict[Path, str], compiler: Assembler) -> None:
    """ProgramError if an image is from another compiler: its words may well be others."""
    here = version(compiler)
    for path, text in kept.items():
        recorded = recorded_version(text)
        if recorded is not None and recorded != here:
            raise ProgramError(
                f"{path.name} is from {recorded}, here is {here}: nothing to compare"
            )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return rewriter(
        "python -m model.programs.build",
        "Compile model/programs and rewrite the .words files there.",
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    check = parser().parse_args(arguments).check
    try:
        compiler = find_compiler()
        paths = {program: DIRECTORY / f"{program.name}.words" for program in PROGRAMS}
        kept = {path: path.read_text(encoding="utf-8") for path in paths.values() if path.exists()}
        if check:
            _check_version(kept, compiler)
        texts = {path: build(program, compiler) for program, path in paths.items()}
        stale = [path for path, text in texts.items() if kept.get(path) != text]
        if not check:
            for path in stale:
                write_atomically(path, texts[path])
        for path in stale:
            print(f"{path.name}: differs from its sources" if check else f"{path.name}: rewritten")
        print(end="", flush=True)
    except (ProgramError, UnicodeDecodeError) as error:
        return stop(str(error))
    except OSError as error:
        return stop_at(error)
    except KeyboardInterrupt:
        return stop("interrupted")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
