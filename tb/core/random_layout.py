"""Where a random program has what, and what it uses each register for."""

from dataclasses import dataclass
from random import Random

from model.arch import EL, RAM_BASE, RAM_SIZE, RESET_VECTOR

BOOT = RESET_VECTOR
BOOT_DATA = BOOT + 0x1000
#: 16 vectors of 32 words for each EL, one EL after the other.
VECTORS = {EL.EL1: BOOT + 0x2000, EL.EL2: BOOT + 0x2800, EL.EL3: BOOT + 0x3000}
BODY = BOOT + 0x4000  #: code for each EL, one after the other
BODY_WORDS = 0x200  #: at most, of each
POOL = BOOT + 0xE000  #: doublewords that literal loads find
DATA = BOOT + 0x1_0000  #: what stores may change
DATA_SIZE = 0x2_0000
TABLES = DATA + DATA_SIZE  #: what the handlers read, for each EL
TABLES_END = BOOT + 0xF_0000  #: what ADR reaches from the boot code, and to spare

RAM_END = RAM_BASE + RAM_SIZE
LAST_WORDS = RAM_END - 32  #: code that runs off the end of the RAM

#: The middle of the data: pointers start here, and have room on both sides.
DATA_MIDDLE = DATA + DATA_SIZE // 4


@dataclass(frozen=True, slots=True)
class Roles:
    """Numbers of general-purpose registers. The body writes none of them but as said."""

    aligned: tuple[int, ...]  #: pointers into the data, multiples of 16
    moving: tuple[int, ...]  #: pointers into the data that loads and stores write back
    window: int  #: an address where something is wrong: never one of code
    chance: int  #: a random number: the body multiplies it by the next, and adds that
    factor: int
    cursors: dict[EL, int]  #: an EL's place in its table, moved by its handlers
    scratch: dict[EL, tuple[int, int, int]]  #: an EL's handlers write them: general, too
    general: tuple[int, ...]  #: all others; x30 is one

    @classmethod
    def drawn(cls, rng: Random) -> "Roles":
        """Each role gets registers at random."""
        numbers = list(range(30))  # BL and BLR write x30
        rng.shuffle(numbers)
        general = sorted([*numbers[12:], 30])
        return cls(
            aligned=(numbers[0], numbers[1]),
            moving=tuple(numbers[2:6]),
            window=numbers[6],
            chance=numbers[7],
            factor=numbers[8],
            cursors=dict(zip((EL.EL1, EL.EL2, EL.EL3), numbers[9:12], strict=True)),
            scratch={
                EL.EL1: (numbers[12], numbers[13], numbers[14]),
                EL.EL2: (numbers[15], numbers[16], numbers[17]),
                EL.EL3: (numbers[18], numbers[19], numbers[20]),
            },
            general=tuple(general),
        )

    def kept(self) -> list[int]:
        """General registers that no handler writes."""
        written = {n for scratch in self.scratch.values() for n in scratch}
        return [n for n in self.general if n not in written]
