"""C++ that CXXRTL wrote, compiled to a library that Python loads."""

import os
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tb.sims import SimulatorError

FLAGS = ("-std=c++17", "-w", "-shared", "-fPIC")
FAST, QUICKLY_BUILT = "-O2", "-O0"  #: code that runs long, and code that runs seldom
LIBRARY, LOG = "design.so", "log"  #: files of a build


def compiler() -> list[str] | None:
    """The C++ compiler as a command: the system's, else the one of the ziglang wheel."""
    for command in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        words = shlex.split(command)  # CXX may have options, or `ccache` before the compiler
        if words and shutil.which(words[0]):
            return words
    return [sys.executable, "-m", "ziglang", "c++"] if find_spec("ziglang") else None


def missing() -> str | None:
    """What is not installed, with the mend; None if C++ can be made and compiled."""
    if not find_spec("pyosys"):
        return "pyosys is not installed (pip install pyosys)"
    if not compiler():
        return "no C++ compiler is installed (apt-get install g++, or pip install 'softstep[asm]')"
    return None


def depends_on(source: str) -> object:
    """All that a build depends on, where `source` is what it is made of."""
    command = compiler() or []
    said = subprocess.run([*command, "--version"], capture_output=True, check=False).stdout
    return (source, command, said, FLAGS, FAST, QUICKLY_BUILT, version("pyosys"))


def build(source: str, speed: str, place: Path) -> None:
    """Make LIBRARY in a directory. SimulatorError if the compiler fails."""
    (place / "design.cc").write_text(source)
    options = [*FLAGS, speed, "-I", str(runtime())]
    command = [*(compiler() or []), *options, "design.cc", "-o", LIBRARY]
    log = place / LOG
    with log.open("w") as file:
        done = subprocess.run(command, cwd=place, stdout=file, stderr=file, check=False)
    if done.returncode:
        raise SimulatorError(f"the design was not compiled: see {log}")


def runtime() -> Path:
    """CXXRTL's headers."""
    spec = find_spec("pyosys")
    assert spec and spec.origin
    return Path(spec.origin).parent / "share/include/backends/cxxrtl/runtime"
