"""Guests that step themselves, with debugging by the host off: what their own handler sees."""

from model.arch import EL
from model.programs import load
from model.programs.image import Image
from tb.cases import case, register
from tb.core.testbench import CoreTestbench
from tb.harness import CORE
from tb.testbench import Failure

#: ISV = 1, EX = 0 or 1 (§7 of the specification: Software Step exception syndrome)
LOWER, LOWER_EX = 0xCB000022, 0xCB000062
SAME, SAME_EX = 0xCF000022, 0xCF000062

#: Offsets of the instructions that follow a stepped one, from `stepped` on: the branches are taken
#: over a BRK, and the store-exclusive fails, for the exception return has opened the monitor.
STEPPED = (4, 8, 12, 16, 20, 24, 32, 36, 40, 48, 52, 56)
LOAD_EXCLUSIVE = 36  #: the instruction before this offset is one

Log = list[tuple[int, int]]


def _log(tb: CoreTestbench, image: Image) -> Log:
    """(ELR_EL1, ESR_EL1) of each step exception, as the guest's handler has stored them."""
    at, count = image.symbols["log"], tb.memory.read(image.symbols["logged"], 8)
    return [
        (tb.memory.read(at + 16 * n, 8), tb.memory.read(at + 16 * n + 8, 8)) for n in range(count)
    ]


def _expected(image: Image, esr: int, esr_ex: int) -> Log:
    start = image.symbols["stepped"]
    return [(start + at, esr_ex if at == LOAD_EXCLUSIVE else esr) for at in STEPPED]


async def _seen(tb: CoreTestbench, image: Image, esr: int, esr_ex: int) -> None:
    rows = await tb.run(image.segments)
    found, expected = _log(tb, image), _expected(image, esr, esr_ex)
    for n, (mine, right) in enumerate(zip(found, expected, strict=False)):
        if mine != right:
            seen = f"ELR_EL1 = {mine[0]:#x}, ESR_EL1 = {mine[1]:#x}"
            raise Failure(f"step {n}: {seen}, not {right[0]:#x} and {right[1]:#x}")
    if len(found) != len(expected):
        raise Failure(f"{len(found)} step exceptions, not {len(expected)}")
    tb.expect(rows.row(-1), pc=image.symbols["end"], el=EL.EL1)


@case("D2.12, ELd is EL1", design=CORE)
async def el1_steps_el0(tb: CoreTestbench) -> None:
    """A guest's EL1 steps its EL0, without a hypervisor."""
    await _seen(tb, load.guest("self_el0"), LOWER, LOWER_EX)


@case("D2.12, ELd is EL1, KDE = 1", design=CORE)
async def el1_steps_itself(tb: CoreTestbench) -> None:
    """A guest's EL1 steps EL1, without a hypervisor."""
    await _seen(tb, load.guest("self_el1"), SAME, SAME_EX)


def _register() -> None:
    """Under the hypervisor, which debugs nobody, they see the same."""
    guests = {"self_el0": (LOWER, LOWER_EX), "self_el1": (SAME, SAME_EX)}
    for sequence in load.HYPERVISORS:
        for name, syndromes in guests.items():

            async def body(
                tb: CoreTestbench,
                name: str = name,
                sequence: str = sequence,
                syndromes: tuple[int, int] = syndromes,
            ) -> None:
                await _seen(tb, load.hosted(name, sequence, guest_debug=0), *syndromes)

            case_name = f"core.self_step.{name}.{sequence}"
            register(case_name, body, "D2.12, guest entry without ENABLE", bulk=True, design=CORE)


_register()
