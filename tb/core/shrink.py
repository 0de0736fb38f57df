"""A failing program, reduced to the few instructions that matter.

Whatever runs it and says where it goes wrong: a simulator in lockstep, or another reference. First
the program is begun anew, shortly before the difference, with the registers and the memory that
the reference has there. Branches skip what need not be executed. Then instructions become NOPs,
inputs quiet, and data 0: many at once, then fewer, then one by one, as long as it still fails.
Nothing is moved, so that branches stay as they are.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from model.a64.processor import QUIET, Processor
from model.a64.state import State
from model.a64.trace import Inputs, Row
from model.arch import (
    EL,
    OSLSR_EL1,
    RESET_VECTOR,
    SYSREGS,
    Access,
    SPSR_ELx,
)
from tb.core.program import ERET, NOP, WORD_BYTES, Code, Program, distance, listing, mov, msr, word
from tb.core.random_program import RandomProgram

T = TypeVar("T")

#: Runs a program and gives the number of the first row that is wrong, or None if none is.
FirstDifference = Callable[[RandomProgram], Awaitable[int | None]]

MAX_RUNS = 600

_WORTH_A_WORD = 4  #: rows: a branch over fewer only takes the place of an instruction

#: Rows before the difference to begin anew at, from the nearest on.
_DISTANCES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512)

#: What the code that begins anew does not write by this name, or cannot.
_NOT_WRITTEN = {
    *("OSLAR_EL1", "OSLSR_EL1", "MIDR_EL1", "MPIDR_EL1", "CurrentEL", "PMCCNTR_EL0"),
    *("SPSel", "NZCV", "DAIF", "SP_EL0", "SP_EL1", "SP_EL2", "ELR_EL3", "SPSR_EL3"),
}


@dataclass(frozen=True)
class Shrunk:
    """What is left of a failing program."""

    program: RandomProgram
    row: int  #: the first that is wrong
    runs: int  #: that it took

    @property
    def instructions(self) -> dict[int, int]:
        """The words that are left, by address: those that are no NOP."""
        return {at: word for at, word in self.program.program.code.items() if word != NOP}

    def lines(self, command: str) -> list[str]:
        """A listing of what is left; `command` runs the whole program again."""
        program, data = self.program, self.program.program.data
        inputs = [_input_line(n, given) for n, given in enumerate(program.inputs) if given != QUIET]
        return [
            f"{len(self.instructions)} instructions of the program of seed {program.seed}; "
            f"row {self.row} is wrong:",
            *listing(self.instructions),
            *(f"{at:#010x}  {word:08x}  data" for at, word in sorted(data.items()) if word),
            *filter(None, inputs),
            f"the whole program: {command}",
        ]


def _input_line(row: int, given: Inputs) -> str:
    changed = [f"{name}={value}" for name, value in _changes(given)]
    return f"before row {row}: {' '.join(changed)}" if changed else ""


def _changes(given: Inputs) -> Iterator[tuple[str, int]]:
    """Inputs that are not as usual."""
    for name, value, usual in zip(Inputs._fields, given, QUIET, strict=True):
        if value != usual and name != "cycle_count":
            yield name, value


async def shrink(
    program: RandomProgram, first_difference: FirstDifference, max_runs: int = MAX_RUNS
) -> Shrunk:
    """Reduce a program that fails. ValueError if it does not.

    It is run `max_runs` times at most: then what is left may not be the least.
    """
    search = _Search(program, first_difference, max_runs)
    if not await search.fails(program):
        raise ValueError("the program does not fail: there is nothing to shrink")
    with contextlib.suppress(_Enough):
        await search.reduce()
    return Shrunk(search.best, search.row, search.runs)


class _Enough(Exception):
    """No more runs are allowed."""


class _Search:
    """The best so far, and what may be tried."""

    def __init__(
        self, program: RandomProgram, first_difference: FirstDifference, max_runs: int
    ) -> None:
        self.runs, self._max_runs = 0, max_runs
        self._first_difference = first_difference
        self.best, self.row = program, 0
        self._booted = 0  #: words that begin it anew; 0: it begins as it did

    async def fails(self, candidate: RandomProgram) -> bool:
        """Whether it does; then it is the best so far, cut off after the difference."""
        if self.runs >= self._max_runs:
            raise _Enough
        self.runs += 1
        row = await self._first_difference(candidate)
        if row is None:
            return False
        self.best = replace(candidate, inputs=candidate.inputs[: row + 1])
        self.row = row
        return True

    async def reduce(self) -> None:
        """All that can be done, until nothing changes."""
        await self.begin_anew()
        before = None
        while before != self.best:
            before = self.best
            await self.keep_used()
            await self.jump()
            await self.keep_used()
            await self.drop_instructions()
            await self.drop_inputs()
            await self.drop_data()
            await self.close_up()

    # The steps

    async def begin_anew(self) -> None:
        """Begin as shortly before the difference as possible."""
        program, row = self.best, self.row
        for before in _DISTANCES:
            if before > row:
                return
            candidate, words = _begun_at(program, row - before)
            if await self.fails(candidate):
                self._booted = words
                return

    async def keep_used(self) -> None:
        """Drop the code that is not executed, and the data that is not loaded."""
        rows = _ran(self.best)[1]
        loaded = set(_accessed(rows, Access.LOAD))
        used = {row.pc for row in rows} | loaded
        old = self.best.program
        code = {at: word for at, word in old.code.items() if at in used}
        data = {at: word for at, word in old.data.items() if at in loaded}
        if len(code) + len(data) < len(old.code) + len(old.data):
            await self.fails(self._with(code=code, data=data))

    async def jump(self) -> None:
        """Branch over rows: many at once, then fewer."""
        rows = _ran(self.best)[1]
        size = (len(rows) - self._booted) // 2
        while size > 1:
            at = self._booted
            while at + size < len(rows):
                start, target = rows[at].pc, rows[at + size].pc
                worth = size >= _WORTH_A_WORD or self.best.program.code.get(start) != NOP
                if worth and start != target and await self._branches(start, target):
                    rows = _ran(self.best)[1]
                at += max(size // 2, 1)
            size //= 2

    async def _branches(self, start: int, target: int) -> bool:
        """Whether it still fails with a branch from an address to another."""
        code = self.best.program.code
        if start not in code or target not in code:
            return False
        branch = word("B", **distance("B", (target - start) // WORD_BYTES))
        return await self.fails(self._with(code={**code, start: branch}))

    async def drop_instructions(self) -> None:
        async def fails(kept: Sequence[int]) -> bool:
            wanted = set(kept)
            code = self.best.program.code.items()
            return await self.fails(
                self._with(code={at: word if at in wanted else NOP for at, word in code})
            )

        code = self.best.program.code
        await _fewest([at for at, word in code.items() if word != NOP], fails)

    async def drop_inputs(self) -> None:
        async def fails(kept: Sequence[tuple[int, str, int]]) -> bool:
            return await self.fails(replace(self.best, inputs=_inputs(kept, self.best.inputs)))

        changes = [
            (row, name, value)
            for row, given in enumerate(self.best.inputs)
            for name, value in _changes(given)
        ]
        await _fewest(changes, fails)

    async def drop_data(self) -> None:
        async def fails(kept: Sequence[int]) -> bool:
            data = self.best.program.data
            return await self.fails(self._with(data={at: data[at] for at in kept}))

        await _fewest([at for at, word in self.best.program.data.items() if word], fails)

    async def close_up(self) -> None:
        """Take the NOPs out of the code that begins it anew, and their rows with them."""
        code = dict(self.best.program.code)
        addresses = [RESET_VECTOR + WORD_BYTES * n for n in range(self._booted)]
        words = [code.pop(at, NOP) for at in addresses]
        left = [word for word in words if word != NOP]
        code |= dict(zip(addresses, left, strict=False))
        inputs = self.best.inputs[len(words) - len(left) :]
        if len(left) < len(words) and await self.fails(
            replace(self._with(code=code), inputs=inputs)
        ):
            self._booted = len(left)

    def _with(self, **parts: dict[int, int]) -> RandomProgram:
        return replace(self.best, program=replace(self.best.program, **parts))


async def _fewest(items: Sequence[T], fails: Callable[[Sequence[T]], Awaitable[bool]]) -> None:
    """Look for a part of some items that `fails` still accepts: less and less is left out."""
    size = len(items)
    while size:
        at = 0
        while at < len(items):
            kept = [*items[:at], *items[at + size :]]
            if await fails(kept):
                items = kept
            else:
                at += size
        size //= 2


def _inputs(kept: Iterable[tuple[int, str, int]], before: Sequence[Inputs]) -> tuple[Inputs, ...]:
    """Quiet inputs but for what is kept: (row, name, value)."""
    found = [QUIET._replace(cycle_count=given.cycle_count) for given in before]
    for row, name, value in kept:
        if row < len(found):
            found[row] = found[row]._replace(**{name: value})
    # Without a pin that is high, a WFI that does not end by itself would never end.
    return tuple(
        given if given.irq or given.fiq or given.serror else given._replace(wfx_ends=1)
        for given in found
    )


# To begin anew


def _ran(program: RandomProgram, rows: int | None = None) -> tuple[Processor, list[Row]]:
    """The reference after some rows of a program, or all, and the rows."""
    processor = Processor()
    for address, content in program.program.segments():
        processor.write_memory(address, content)
    return processor, [processor.step(given) for given in program.inputs[:rows]]


def _begun_at(program: RandomProgram, row: int) -> tuple[RandomProgram, int]:
    """A program that begins where another is before a row, and in how many words."""
    processor, rows = _ran(program, row)
    boot = _boot(processor.state)
    code = dict(program.program.code)
    data = {**program.program.data, **dict.fromkeys(_accessed(rows, Access.STORE), 0)}
    for words in (code, data):
        for at in words:
            words[at] = int.from_bytes(processor.read_memory(at, WORD_BYTES), "little")
    code |= boot
    data = {at: word for at, word in data.items() if at not in code}
    inputs = (QUIET,) * len(boot) + program.inputs[row:]
    return RandomProgram(program.seed, Program(code, data), inputs), len(boot)


def _accessed(rows: Iterable[Row], access: Access) -> Iterator[int]:
    """The addresses of words that rows have loaded from or stored to."""
    for row in rows:
        if row.mem == access:
            end = row.mem_address + (1 << row.mem_size)
            yield from range(row.mem_address & -WORD_BYTES, end, WORD_BYTES)


def _boot(state: State) -> dict[int, int]:
    """Code from the reset on that brings the PE to a state; X1 and X0 are the last it needs."""
    code = Code(RESET_VECTOR)
    locked = OSLSR_EL1.OSLK.get(state.sysregs["OSLSR_EL1"])
    values = {name: state.sysregs[name] for name in SYSREGS if name not in _NOT_WRITTEN}
    values |= {f"SP_{el.name}": sp for el, sp in zip(EL, state.stack_pointers(), strict=True)}
    values |= {"OSLAR_EL1": locked, "ELR_EL3": state.pc, "SPSR_EL3": _spsr(state)}
    for name, value in values.items():
        code.put(*mov(0, value))
        if name == "SP_EL3":
            code.add("ADD (immediate)", sf=1, Rn=0, Rd=31)
        else:
            code.put(msr(name, 0))
    for n in range(30, -1, -1):
        code.put(*mov(n, state.x[n]))
    code.put(ERET)
    return code.image()


def _spsr(state: State) -> int:
    """The SPSR_EL3 from which PSTATE is as it is in a state."""
    return (
        (state.el << 2 | state.spsel if state.el else 0)
        | state.daif << SPSR_ELx.F.lsb
        | SPSR_ELx.IL.put(state.il)
        | SPSR_ELx.SS.put(state.ss)
        | state.nzcv << SPSR_ELx.V.lsb
    )
