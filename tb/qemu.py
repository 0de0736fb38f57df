"""QEMU, stepping a guest through the same loop at EL2 as the core: how fast an emulator does it.

The time is from the guest's first entry to the report at its end, so that QEMU's own start is not
in it.
"""

import shutil
import struct
import subprocess
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Event, Timer
from typing import NamedTuple

from model.arch import RAM_BASE
from model.programs.image import Image
from model.programs.load import STEPPING, on_virt
from tb.sims import SimulatorError

PROGRAM = "qemu-system-aarch64"
TIMEOUT = 60  #: seconds that a run may take

#: A guest of many instructions for few entries: the recursive Fibonacci, of a larger number.
GUEST, NUMBER, RESULT = "fibonacci", 20, 6765

STEPPED_ROUNDS, UNSTEPPED_ROUNDS = 2, 1000  #: about a second of each

_OPTIONS = (
    *("-machine", "virt,virtualization=on", "-cpu", "cortex-a53", "-m", "64", "-nodefaults"),
    *("-display", "none", "-monitor", "none", "-serial", "stdio"),
)

_HEADER, _SEGMENT = "<4sBBBB8xHHIQQQIHHHHHH", "<IIQQQQQQ"  # of ELF
_AARCH64 = 183

_DONE, _FAILED = b"BD", b"BF"  # as virt.S sends them: the first at once, the second in the end
_VALUES = "<QQ"


class Ended(NamedTuple):
    """A run that is over."""

    seconds: float  #: from the guest's first entry on
    steps: int
    x0: int  #: the guest's, in the end


class _Told(NamedTuple):
    """What came from QEMU."""

    seconds: float  #: from the first byte to the second
    data: bytes
    error: str
    late: bool  #: it was ended for that


def missing() -> str | None:
    """What is not installed, with the mend; None if QEMU can run."""
    if not shutil.which(PROGRAM):
        return f"{PROGRAM} is not installed (apt-get install qemu-system-arm)"
    return None


def single_steps_per_second(sequence: str = "bic") -> float:
    """Step the guest with a sequence, once. SimulatorError if that fails."""
    ended = _timed(sequence, STEPPING, STEPPED_ROUNDS)
    return ended.steps / ended.seconds


def instructions_per_second(sequence: str = "bic") -> float:
    """Run the guest unstepped under the same loop, once. SimulatorError if that fails."""
    ended = _timed(sequence, 0, UNSTEPPED_ROUNDS)
    if ended.steps:
        raise SimulatorError(f"{PROGRAM} took {ended.steps} steps of a guest that is not debugged")
    return instructions() * UNSTEPPED_ROUNDS / ended.seconds


@cache
def instructions() -> int:
    """The guest's instructions in one round, as stepping counts them."""
    return _timed("bic", STEPPING, rounds=1).steps


def _timed(sequence: str, guest_debug: int, rounds: int) -> Ended:
    """Run the guest, and see that it computed what it should."""
    image = on_virt(GUEST, sequence, guest_debug, rounds)
    number = (image.symbols["number"], struct.pack("<I", NUMBER))
    ended = run(replace(image, segments=(*image.segments, number)))
    if ended.x0 != RESULT:
        raise SimulatorError(f"{PROGRAM}: {GUEST} of {NUMBER} gave {ended.x0}, not {RESULT}")
    return ended


def run(image: Image) -> Ended:
    """Run an image of `on_virt` until it powers QEMU off.

    SimulatorError, in one line, if QEMU does not start or does not end, or the guest fails.
    """
    if why := missing():
        raise SimulatorError(why)
    with tempfile.TemporaryDirectory() as directory:
        kernel = Path(directory, "image.elf")
        kernel.write_bytes(_elf(image))
        return _ended(_listen([PROGRAM, *_OPTIONS, "-kernel", str(kernel)]))


def _elf(image: Image) -> bytes:
    """An executable of one segment, for a loader that lets none overlap."""
    memory = bytearray(max(address + len(data) for address, data in image.segments) - RAM_BASE)
    for address, data in image.segments:
        memory[address - RAM_BASE : address - RAM_BASE + len(data)] = data
    sizes = struct.calcsize(_HEADER), struct.calcsize(_SEGMENT)
    identity = (b"\x7fELF", 2, 1, 1, 0, 2, _AARCH64, 1)
    header = struct.pack(_HEADER, *identity, image.entry, sizes[0], 0, 0, *sizes, 1, 64, 0, 0)
    at = (sum(sizes), RAM_BASE, RAM_BASE, len(memory), len(memory), 4)
    return header + struct.pack(_SEGMENT, 1, 7, *at) + memory


def _listen(command: list[str]) -> _Told:
    """Run QEMU until it ends by itself, or is ended for taking too long."""
    with tempfile.TemporaryFile() as log:
        # Without a buffer: the time is that of the byte.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, bufsize=0
        )
        assert process.stdout
        late = Event()

        def end() -> None:
            late.set()
            process.kill()

        watchdog = Timer(TIMEOUT, end)
        watchdog.start()
        try:
            data = process.stdout.read(1)
            start = time.perf_counter()
            data += process.stdout.read(1)
            seconds = time.perf_counter() - start
            data += process.stdout.read()
            process.wait()
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
        log.seek(0)
        return _Told(seconds, data, log.read().decode(errors="replace"), late.is_set())


def _ended(told: _Told) -> Ended:
    """What a run has told. SimulatorError if that is not that it is done."""
    if told.late:
        raise SimulatorError(f"{PROGRAM} was ended: the guest was not done in {TIMEOUT} s")
    status, values = told.data[:2], told.data[2:]
    if status not in (_DONE, _FAILED) or len(values) != struct.calcsize(_VALUES):
        error = (told.error.strip().splitlines() or ["it said nothing"])[0]
        raise SimulatorError(f"{PROGRAM} did not run the guest: {error}")
    steps, x0 = struct.unpack(_VALUES, values)
    if status == _FAILED:
        raise SimulatorError(f"{PROGRAM}: the guest failed with ESR_EL2 = {x0:#x}")
    return Ended(told.seconds, steps, x0)
