"""A user's own program on the core, in lockstep with the reference."""

from pathlib import Path
from types import SimpleNamespace

from model.arch import ESR_ELx, ExceptionClass, Retire
from model.programs import load
from model.programs.image import Image
from tb.cases import register
from tb.core.testbench import CoreTestbench
from tb.harness import CORE
from tb.testbench import Failure

#: the case of --elf FILE
USER = "core.elf"

#: Where an exception parks that the program does not take itself.
PARKS = {"el1_park": "EL1", "el2_park": "EL2", "el3_park": "EL3"}


async def run_program(tb: CoreTestbench, image: Image) -> None:
    """Run it to its end: an instruction that branches to itself, or a hypercall."""
    instructions = exceptions = 0
    taken, last = None, None
    async for rows in tb.batches(image.segments):
        completed = rows["kind"] == Retire.INSTRUCTION
        instructions += int(completed.sum())
        exceptions += len(rows) - int(completed.sum())
        for at in (~completed).nonzero()[0][-1:]:
            taken = rows.row(int(at))
        last = rows.row(-1)
    assert last, "a run that ends has rows"
    _check_end(image, last, taken)
    tb.table(
        "the program",
        ("instructions", "exceptions", "cycles", "ended at"),
        [(f"{instructions:,}", f"{exceptions:,}", f"{last.cycle:,}", f"{last.pc:#x}")],
    )


def _check_end(image: Image, last: SimpleNamespace, taken: SimpleNamespace | None) -> None:
    """Failure if it has ended in an exception that nobody takes."""
    park = next((name for name in PARKS if image.symbols[name] == last.pc), None)
    if park is None or taken is None:
        return
    exception_class = ESR_ELx.EC.get(taken.esr)
    if park == "el2_park" and exception_class == ExceptionClass.HVC64:
        return
    what = f"the program does not take the exception at {taken.pc:#x}"
    raise Failure(f"{what}: it came to {PARKS[park]} with ESR = {taken.esr:#x}")


def register_user(path: str) -> None:
    """Add the case USER. ProgramError if the file is no program that can run."""
    image = load.load_elf(Path(path))

    async def body(tb: CoreTestbench) -> None:
        await run_program(tb, image)

    register(USER, body, "a program of the user's", design=CORE)
