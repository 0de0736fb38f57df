"""Values of registers for random programs."""

from dataclasses import dataclass
from random import Random

from model.arch import (
    EL,
    HCR_EL2,
    MDCR_EL2,
    MDCR_EL3,
    MDSCR_EL1,
    OSDLR_EL1,
    SCR_EL3,
    SDER32_EL3,
    Field,
    Mode,
    Mode32,
    SCTLR_ELx,
    SPSR_ELx,
)
from tb.core.random_themes import Theme

#: Register to the fields that matter, and the name that chances have for it.
_FIELDS: dict[str, tuple[str, dict[str, Field]]] = {
    **{
        register.__name__: (register.__name__, register.fields())
        for register in (MDSCR_EL1, MDCR_EL2, SCR_EL3, MDCR_EL3, SDER32_EL3, OSDLR_EL1)
    },
    "HCR_EL2": (
        "HCR_EL2",
        {name: field for name, field in HCR_EL2.fields().items() if name not in ("RW", "E2H")},
    ),
    **{f"SCTLR_EL{n}": ("SCTLR_ELx", SCTLR_ELx.fields()) for n in (1, 2, 3)},
    "OSLAR_EL1": ("OSLAR_EL1", {"OSLK": Field(0)}),
}
_SPSR_BITS = ("D", "A", "I", "F", "IL", "SS")

#: Registers that `Values.control` has values for.
CONTROLS = tuple(_FIELDS)

_NOISE = 0.3  #: of a register: that the bits without a meaning are random, not 0
_WRONG_MODE = 0.03
_SPECIAL = (0, 1, (1 << 64) - 1, 1 << 63, (1 << 63) - 1, 1 << 31, (1 << 32) - 1, (1 << 31) - 1)


@dataclass(frozen=True, slots=True)
class Values:
    """Draws values as a theme has them."""

    rng: Random
    theme: Theme

    def control(self, name: str) -> int:
        """64 bits for a register that controls traps, routing or debug."""
        register, fields = _FIELDS[name]
        value = self.rng.getrandbits(64) if self.rng.random() < _NOISE else 0
        for bit, place in fields.items():
            value &= ~place.mask
            value |= place.put(self.rng.random() < self.theme.chance(f"{register}.{bit}"))
        return value

    def spsr(self, el: EL) -> tuple[int, EL]:
        """32 bits for SPSR_ELx before a return from an EL, and the EL that they name.

        Some are illegal: then the EL is mostly the one that returns, and stays there.
        """
        rng = self.rng
        to = self.el(most=el)
        mode = to << 2 | (to > EL.EL0 and rng.random() < 0.7)
        if rng.random() < _WRONG_MODE:
            mode, to = rng.choice([*Mode, *Mode32, *range(32)]), el
        value = mode | rng.getrandbits(4) << SPSR_ELx.V.lsb
        for bit in _SPSR_BITS:
            value |= getattr(SPSR_ELx, bit).put(rng.random() < self.theme.chance(f"SPSR_ELx.{bit}"))
        return value, to

    def el(self, most: EL = EL.EL3) -> EL:
        """An EL to go to."""
        els = [el for el in EL if el <= most]
        (to,) = self.rng.choices(els, [self.theme.els[el] for el in els])
        return to

    def number(self) -> int:
        """64 bits for a general-purpose register: as often as not with a meaning."""
        kind = self.rng.randrange(4)
        if kind == 0:
            return self.rng.choice(_SPECIAL)
        if kind == 1:
            return self.rng.getrandbits(self.rng.randrange(1, 20))
        return self.rng.getrandbits(64)
