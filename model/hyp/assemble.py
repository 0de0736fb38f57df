"""Assembles A64 sources with whichever assembler is installed.

`python -m model.hyp.assemble` re-assembles this project's sequences and rewrites their .words
files; with `--check` it only compares. Exit status: 0 done, or the same; 1 not the same; 2 it could
not run.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from model.arguments import rewriter, stop, stop_at
from model.hyp import SequenceError
from model.hyp.elf import text_words
from model.hyp.words import Sequence, to_text
from model.kvm.vcpu import ASSEMBLER_CONSTANTS

DIRECTORY = Path(__file__).parent

#: The sequences that this project holds, each as NAME.S and NAME.words beside this file.
NAMES = ("v1", "bic", "callout", "upstream")

NO_ASSEMBLER = (
    "no A64 assembler is installed: pip install 'softstep[asm]',"
    " or apt-get install gcc-aarch64-linux-gnu"
)

_COMPILER_OPTIONS = ("-c", "-x", "assembler-with-cpp")


@dataclass(frozen=True)
class Assembler:
    """A way to assemble a file."""

    command: tuple[str, ...]  #: all but the constants, `-o OUTPUT` and the input
    constant: str  #: the option that defines one constant
    has_preprocessor: bool = True

    def arguments(self, source: Path, output: Path) -> list[str]:
        """The command line that assembles `source`."""
        constants = [
            self.constant.format(name=name, value=value)
            for name, value in ASSEMBLER_CONSTANTS.items()
        ]
        return [*self.command, *constants, "-o", str(output), str(source)]


def find_assemblers() -> list[Assembler]:
    """The assemblers installed here, the preferred one first.

    `$CROSS_COMPILE` is the prefix of a tool's name, as in the kernel's build.
    """
    prefixes = [os.environ.get("CROSS_COMPILE") or "aarch64-linux-gnu-", "aarch64-linux-gnu-"]
    clang = ("clang", "--target=aarch64-linux-gnu", *_COMPILER_OPTIONS)
    candidates = [
        *(
            Assembler((f"{prefix}gcc", *_COMPILER_OPTIONS), "-D{name}={value}")
            for prefix in prefixes
        ),
        Assembler(clang, "-D{name}={value}"),
        *(Assembler((f"{prefix}as",), "--defsym={name}={value}", False) for prefix in prefixes),
    ]
    found = [candidate for candidate in candidates if shutil.which(candidate.command[0])]
    if importlib.util.find_spec("ziglang"):
        zig = (sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu")
        found.append(Assembler((*zig, *_COMPILER_OPTIONS), "-D{name}={value}"))
    return list(dict.fromkeys(found))


def assemble(path: Path, assembler: Assembler | None = None) -> Sequence:
    """The sequence of an A64 source file, by the given or the preferred assembler.

    The constants of `model.kvm.vcpu` are defined in it. SequenceError, in one line, if it does not
    assemble, gives more than code that stands alone, or there is no assembler.
    """
    if assembler is None:
        assembler = next(iter(find_assemblers()), None)
    if assembler is None:
        raise SequenceError(f"{path}: {NO_ASSEMBLER}")
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SequenceError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SequenceError(f"{path}: not text in UTF-8; a .S file is source") from None
    if not assembler.has_preprocessor:
        _check_no_directives(path, source)
    words = text_words(_object(path, assembler), str(path))
    return Sequence(str(path), words, _listing(source, len(words)))


def _check_no_directives(path: Path, source: str) -> None:
    """A bare assembler takes `#include` and its kind for comments: refuse them."""
    for number, line in enumerate(source.splitlines(), start=1):
        if directive := re.match(r"\s*#\s*[a-z]+", line):
            raise SequenceError(
                f"{path}:{number}: {directive[0].strip()} needs a C preprocessor, and the assembler"
                " found has none: apt-get install gcc-aarch64-linux-gnu"
            )


def _object(path: Path, assembler: Assembler) -> bytes:
    """The ELF object that the assembler writes."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "sequence.o")
        result = subprocess.run(
            assembler.arguments(path, output),
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise SequenceError(first_error(result.stderr, path))
        return output.read_bytes()


def first_error(stderr: str, path: Path) -> str:
    """The first error of an assembler's or compiler's output, as `file:line: message`."""
    for line in stderr.splitlines():
        if found := re.match(r"(.+?:\d+)(?::\d+)?: (?:fatal )?error: (.*)", line, re.IGNORECASE):
            return f"{found[1]}: {found[2]}"
    last_line = (stderr.strip().splitlines() or ["the assembler failed and said nothing"])[-1]
    return f"{path}: {last_line}"


def _listing(source: str, count: int) -> tuple[str, ...]:
    """The source line of each of `count` words; blank where macros or data hide which is which."""
    lines = []
    for line in re.sub(r"/\*.*?\*/", " ", source, flags=re.DOTALL).splitlines():
        code = re.sub(r"^\s*(?:[\w.$]+:\s*)*", "", line.partition("//")[0])
        if code and code[0] not in ".#":
            lines.append(" ".join(code.split()))
    return tuple(lines) if len(lines) == count else ("",) * count


def write_atomically(path: Path, text: str) -> None:
    """Replace a file: whoever reads it meanwhile sees the old text or the new, never a part."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, delete=False, encoding="utf-8", newline="\n"
    ) as file:
        file.write(text)
    try:
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError:
        Path(file.name).unlink()
        raise


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return rewriter(
        "python -m model.hyp.assemble",
        "Re-assemble model/hyp/*.S and rewrite the .words files beside them.",
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    check = parser().parse_args(arguments).check
    try:
        texts = {DIRECTORY / f"{name}.words": _words_text(name) for name in NAMES}
        stale = [path for path, text in texts.items() if _read(path) != text]
        if not check:
            for path in stale:
                write_atomically(path, texts[path])
        for path in stale:
            print(
                f"{path.name}: differs from {path.stem}.S" if check else f"{path.name}: rewritten"
            )
        print(end="", flush=True)
    except SequenceError as error:
        return stop(str(error))
    except OSError as error:
        return stop_at(error)
    except KeyboardInterrupt:
        return stop("interrupted")
    return 1 if check and stale else 0


def _words_text(name: str) -> str:
    sequence = assemble(DIRECTORY / f"{name}.S")
    return to_text(sequence, f"{name}.S as assembled by python -m model.hyp.assemble")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
