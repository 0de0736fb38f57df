"""What guest debugging costs: cycles of a guest entry and of a whole step, by sequence."""

from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace

from hw.core.timing import LATENCY, TimingClass
from model.arch import EL
from model.kvm.uapi import KVM_GUESTDBG_ENABLE
from model.programs import load
from tb.cases import case
from tb.core.testbench import CoreTestbench
from tb.harness import CORE
from tb.testbench import Failure

GUEST = "sort"
ROWS = 800  #: of each run: the boot code, and two steps or so

DEBUGGING = {
    "off": 0,
    "on, not stepping": KVM_GUESTDBG_ENABLE,
    "stepping": load.STEPPING,
}
HEADER = ("sequence", "guest debug", "entry", "of it the sequence", "whole step")


@case("KVM guest debug, P8", bulk=True, design=CORE)
async def cost(tb: CoreTestbench) -> None:
    """A guest entry is from the host's decision to run the vcpu to the guest's first instruction.

    A whole step is from one instruction of the guest to the next: exit, host, entry.
    """
    table = []
    for sequence in load.HYPERVISORS:
        for debugging, guest_debug in DEBUGGING.items():
            table.append((sequence, debugging, *await measured(tb, sequence, guest_debug)))
    tb.table("cycles of the core, guest entry and step", HEADER, table)
    of_sequence = {(name, debugging): int(cycles) for name, debugging, _, cycles, _ in table}
    # Switched off, the posted sequence and the reviewed one are the same: a load, a taken branch.
    least = LATENCY[TimingClass.LOAD].cycles + LATENCY[TimingClass.BRANCH_TAKEN].cycles
    for sequence in ("v1", "bic"):
        if of_sequence[sequence, "off"] != least:
            what = f"with guest debug off, {sequence} costs {of_sequence[sequence, 'off']} cycles"
            raise Failure(f"{what}; its load and branch cost {least}")


async def measured(tb: CoreTestbench, sequence: str, guest_debug: int) -> tuple[str, str, str]:
    """Cycles of the first entry, of the sequence in it, and of a whole step, if there is one."""
    image = load.hosted(GUEST, sequence, guest_debug)
    symbols = image.symbols
    rows = list(await tb.run(image.segments, max_rows=ROWS))
    entry = _cycle_of(rows, symbols["guest_eret"]) - _cycle_before(rows, symbols["guest_enter"])
    # Where the sequence is empty, what comes after it is at its address.
    after = _cycle_before(rows, symbols["sequence_end"])
    of_sequence = after - _cycle_before(rows, symbols["sequence"])
    guest = [row.cycle for row in rows if row.el == EL.EL1 and row.word]
    step = "-"
    if guest_debug == load.STEPPING:
        step = str(min(later - cycle for cycle, later in pairwise(guest)))
    return str(entry), str(of_sequence), step


def _cycle_of(rows: Sequence[SimpleNamespace], pc: int) -> int:
    """The cycle in which the first row at an address ends."""
    return next(int(row.cycle) for row in rows if row.pc == pc)


def _cycle_before(rows: Sequence[SimpleNamespace], pc: int) -> int:
    """The cycle in which the row before the first at an address ends."""
    return next(int(before.cycle) for before, row in pairwise(rows) if row.pc == pc)
