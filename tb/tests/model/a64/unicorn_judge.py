"""Unicorn as the judge of single words: it shares nothing with the model."""

from random import Random

from unicorn import UC_ARCH_ARM64, UC_HOOK_INTR, UC_MODE_ARM, Uc
from unicorn import arm64_const as uc

from model.a64.interpreter import step
from model.a64.state import MASK64, State
from model.arch import Event

TEXT = 0x1000_0000
REACH = 0x800_1000  # a branch reaches 128 MB, and unicorn wants memory where it lands
NEAR = 0x10_2000  # a literal is in 1 MB
DATA = 0x4000_0000
DATA_SIZE = 0x200

_REGISTERS = [
    *(getattr(uc, f"UC_ARM64_REG_X{n}") for n in range(31)),
    uc.UC_ARM64_REG_SP,
]
_READ = [*_REGISTERS, uc.UC_ARM64_REG_NZCV, uc.UC_ARM64_REG_PC]

#: Values that sit on the edges of signs, carries and widths.
EDGES = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 63) - 1, MASK64]


def random_value(rng: Random) -> int:
    return rng.choice(EDGES) if rng.random() < 0.3 else rng.getrandbits(64)


def new_unicorn() -> Uc:
    """A Cortex-A53: an Armv8.0."""
    machine = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
    machine.ctl_set_cpu_model(uc.UC_CPU_ARM64_A53)
    machine.mem_map(TEXT - REACH, 2 * REACH)
    machine.mem_map(DATA, 0x1000)
    machine.mem_map(0, 0x1000)  # where BR XZR lands
    return machine


class Judge:
    """A model and a unicorn in the same state. Each word is executed once, at a new address."""

    def __init__(self, machine: Uc, rng: Random) -> None:
        self.machine = machine
        self.state = State(pc=TEXT)
        self.state.sysregs["SCTLR_EL1"] = 0  # unicorn does not check the alignment of SP
        near, data = rng.randbytes(2 * NEAR), rng.randbytes(DATA_SIZE)
        self._text = self.state.memory.map(TEXT - NEAR, near)
        self._data = self.state.memory.map(DATA, data)
        machine.mem_write(TEXT - NEAR, near)
        machine.mem_write(DATA, data)
        machine.ctl_remove_cache(TEXT - NEAR, TEXT + NEAR)
        self._free = TEXT
        for register in range(32):
            self.set(register, random_value(rng))

    def set(self, register: int, value: int) -> None:
        """x0 to x30, or SP as 31."""
        self.state.x[register] = value
        self.machine.reg_write(_REGISTERS[register], value)

    def set_nzcv(self, value: int) -> None:
        self.state.nzcv = value
        self.machine.reg_write(uc.UC_ARM64_REG_NZCV, value << 28)

    def place(self, *words: int) -> int:
        """Put words where nothing was executed before, and go there."""
        start = self._free
        code = b"".join(word.to_bytes(4, "little") for word in words)
        self.machine.mem_write(start, code)
        offset = start - (TEXT - NEAR)
        self._text[offset : offset + len(code)] = code
        self._free += len(code)
        self.state.pc = start
        return start

    def execute(self, *words: int, branches: bool = False) -> Event:
        """Execute words on both. The event of the last one."""
        self.execute_in_unicorn(*words, branches=branches)
        return [step(self.state) for _ in words][-1]

    def execute_in_unicorn(self, *words: int, branches: bool = False) -> None:
        """Execute words on unicorn. `branches` takes fifty times longer."""
        start = self.place(*words)
        end = start + 4 * len(words)
        if not branches:
            self.machine.emu_start(start, end)
            return
        # A branch before may have had unicorn translate what was here then.
        self.machine.ctl_remove_cache(start, end)
        self.machine.emu_start(start, MASK64, count=len(words))

    def found(self) -> tuple[list[int], bytes]:
        """Of the model: x0 to x30, SP, NZCV, pc; and the data."""
        state = self.state
        return [*state.x[:32], state.nzcv << 28, state.pc], bytes(self._data)

    def expected(self) -> tuple[list[int], bytes]:
        """The same of unicorn."""
        # What Uc() makes is of a subclass, which has the method.
        registers = list(self.machine.reg_read_batch(_READ))  # type: ignore[attr-defined]  # Uc has it at run time
        return registers, bytes(self.machine.mem_read(DATA, DATA_SIZE))


def hook_exceptions(machine: Uc) -> list[int]:
    """From now on, the numbers of the exceptions that unicorn takes; each ends the emulation."""
    numbers: list[int] = []

    def taken(machine: Uc, number: int, _: object) -> None:
        numbers.append(number)
        machine.emu_stop()

    machine.hook_add(UC_HOOK_INTR, taken)
    return numbers
