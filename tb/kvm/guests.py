"""Guests that are stepped: words at GUEST_BASE, with vectors that take what comes and go on."""

from collections.abc import Callable

from model.arch import Mode, SPSR_ELx
from model.kvm.host import PSCI_SYSTEM_OFF
from model.programs.image import Image
from model.programs.layout import GUEST_BASE
from tb.core.program import ERET, WORD_BYTES, Code, mov, mrs, msr, word

VECTORS = GUEST_BASE + 0x8000
DATA = GUEST_BASE + 0x1_0000  #: RAM that a guest may use
DEVICE = 0x1000_0000  #: no RAM: user space has it
USER = GUEST_BASE + 0x4000  #: code of EL0

_VECTOR_BYTES = 0x80
_SYNC_EL1, _IRQ_EL1, _SYNC_EL0, _IRQ_EL0 = 0x200, 0x280, 0x400, 0x480

_EC_SVC, _EC_STEP = 0x15, 0x32
_EC_SHIFT = 26

#: x28 to x30 are the handlers'.
_SCRATCH, _CLASS = 30, 29

Body = Callable[[Code], None]


def image(body: Body, user: Body | None = None) -> Image:
    """A guest that runs `body` at EL1 and then switches itself off; `user` is code of EL0 at USER.

    The labels of both are its symbols.
    """
    code = Code(GUEST_BASE)
    code.put(*mov(_SCRATCH, VECTORS), msr("VBAR_EL1", _SCRATCH))
    body(code)
    off(code)
    parts = [code, *_vectors()]
    if user is not None:
        parts.append(Code(USER))
        user(parts[-1])
    words = {address: value for part in parts for address, value in part.image().items()}
    segments = tuple((at, words[at].to_bytes(WORD_BYTES, "little")) for at in sorted(words))
    symbols = {name: at for part in parts for name, at in part.labels().items()}
    return Image(segments, symbols, GUEST_BASE)


def off(code: Code) -> None:
    """PSCI SYSTEM_OFF, at EL1."""
    code.label("off")
    code.put(*mov(0, PSCI_SYSTEM_OFF), word("HVC"))


def to_el0(code: Code, pc: int = USER, spsr: int = 0) -> None:
    """An exception return to EL0. Uses x28."""
    code.put(*mov(28, pc), msr("ELR_EL1", 28), *mov(28, spsr | Mode.EL0t), msr("SPSR_EL1", 28))
    code.put(ERET)


def call_off(code: Code) -> None:
    """The same from EL0: a call that the handler switches off for."""
    code.put(word("SVC", imm16=OFF))


OFF = 0xF  #: immediate of the SVC that means it
STEPPED = SPSR_ELx.SS.mask  #: of an SPSR: to EL0 for a single step


def _vectors() -> list[Code]:
    """Each handler by itself.

    A fault is skipped, a call returns, and a step exception is counted in x27 and stepped on.
    """
    sync = [_sync_handler(VECTORS + at, at == _SYNC_EL0) for at in (_SYNC_EL1, _SYNC_EL0)]
    irq = [Code(VECTORS + at) for at in (_IRQ_EL1, _IRQ_EL0)]
    for each in irq:
        each.add("ADD (immediate)", sf=1, Rd=26, Rn=26, imm12=1)
        each.put(ERET)
    return [*sync, *irq]


def _sync_handler(at: int, from_el0: bool) -> Code:
    """At a vector, and on from another place: a vector has room for 32 instructions."""
    code = Code(at)
    suffix = "el0" if from_el0 else "el1"
    code.put(mrs(_CLASS, "ESR_EL1"))
    code.add("UBFM", sf=1, N=1, immr=_EC_SHIFT, imms=31, Rn=_CLASS, Rd=_SCRATCH)
    code.add("SUBS (immediate)", sf=1, Rd=31, Rn=_SCRATCH, imm12=_EC_SVC)
    code.branch("B.cond", f"call_{suffix}", cond=0)
    code.add("SUBS (immediate)", sf=1, Rd=31, Rn=_SCRATCH, imm12=_EC_STEP + (not from_el0))
    code.branch("B.cond", f"step_{suffix}", cond=0)
    code.put(mrs(_SCRATCH, "ELR_EL1"))  # a fault: past it
    code.add("ADD (immediate)", sf=1, Rd=_SCRATCH, Rn=_SCRATCH, imm12=WORD_BYTES)
    code.put(msr("ELR_EL1", _SCRATCH), ERET)
    code.label(f"step_{suffix}")  # the guest's own: once more
    code.add("ADD (immediate)", sf=1, Rd=27, Rn=27, imm12=1)
    code.put(mrs(_SCRATCH, "SPSR_EL1"))
    code.add("ORR (immediate)", sf=1, N=1, immr=43, imms=0, Rn=_SCRATCH, Rd=_SCRATCH)  # SS
    code.put(msr("SPSR_EL1", _SCRATCH), ERET)
    code.label(f"call_{suffix}")
    code.add("UBFM", sf=1, N=1, immr=0, imms=15, Rn=_CLASS, Rd=_SCRATCH)
    code.add("SUBS (immediate)", sf=1, Rd=31, Rn=_SCRATCH, imm12=OFF)
    code.branch("B.cond", f"off_{suffix}", cond=0)
    code.put(ERET)
    code.label(f"off_{suffix}")
    code.put(*mov(0, PSCI_SYSTEM_OFF), word("HVC"))
    assert len(code.words) * WORD_BYTES <= _VECTOR_BYTES
    return code
