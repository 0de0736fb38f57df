"""Programs that can be read at a sitting: instructions, an exception, a step, an interrupt."""

from collections.abc import Iterable

from model.arch import (
    EL,
    MDCR_EL2,
    MDSCR_EL1,
    RESET_VECTOR,
    SCR_EL3,
    Access,
    ESR_ELx,
    ExceptionClass,
    Mode,
    Retire,
    SPSR_ELx,
    StepState,
)
from tb.cases import case
from tb.core.machine import Image
from tb.core.program import ERET, ISB, NOP, Code, Program, mov, msr, word
from tb.core.rows import inputs
from tb.core.testbench import CoreTestbench
from tb.harness import CORE

DATA = RESET_VECTOR + 0x8000
VECTORS = RESET_VECTOR + 0x4000  #: of the EL that takes the exceptions
HYPERVISOR = RESET_VECTOR + 0x1000  #: what runs at EL2
GUEST = RESET_VECTOR + 0x2000  #: what runs at EL1

SAME_EL, LOWER_EL, IRQ = 0x200, 0x400, 0x80  #: offsets of vectors, with SP_ELx

STOP = word("B")  #: branches to itself


def _image(*codes: Code) -> Image:
    words: dict[int, int] = {}
    for code in codes:
        words |= code.image()
    return Program(words).segments()


def _code(start: int, *words: int | Iterable[int]) -> Code:
    code = Code(start)
    for each in words:
        code.put(*([each] if isinstance(each, int) else each))
    return code


def _write(register: str, value: int) -> list[int]:
    return [*mov(0, value), msr(register, 0)]


def _return_to(el: EL, address: int, spsr: int) -> list[int]:
    """Return from an EL to an address."""
    return [*_write(f"SPSR_{el.name}", spsr), *_write(f"ELR_{el.name}", address), ERET]


@case("instructions", design=CORE)
async def arithmetic_and_memory(tb: CoreTestbench) -> None:
    """A number counts down, and each of its values is stored, loaded and added."""
    code = _code(RESET_VECTOR, mov(0, 5), mov(1, DATA), mov(2, 0))
    code.label("again")
    code.add("STR (post-index)", sz=1, imm9=8, Rn=1, Rt=0)
    code.add("LDUR", sz=1, imm9=-8 & 0x1FF, Rn=1, Rt=3)
    code.add("MADD", sf=1, Rn=3, Rm=0, Ra=2, Rd=2)
    code.add("SUBS (immediate)", sf=1, imm12=1, Rn=0, Rd=0)
    code.branch("B.cond", "again", cond=1)
    code.put(STOP)
    rows = await tb.run(_image(code))
    tb.expect(rows.row(-2), nzcv_after=0b0110)
    tb.expect(rows.row(-4), x0_value=5 * 5 + 4 * 4 + 3 * 3 + 2 * 2 + 1, word=rows.row(-9).word)
    assert [tb.memory.read(DATA + 8 * n, 8) for n in range(6)] == [5, 4, 3, 2, 1, 0]


@case("D1.10, exception entry and return", design=CORE)
async def an_exception_and_its_return(tb: CoreTestbench) -> None:
    """SVC at EL3, its handler, and back."""
    code = _code(RESET_VECTOR, _write("VBAR_EL3", VECTORS), word("SVC", imm16=0x1234), STOP)
    rows = await tb.run(_image(code, _code(VECTORS + SAME_EL, NOP, ERET)))
    svc, _, eret, stop = list(rows)[-4:]
    tb.expect(
        svc,
        kind=Retire.SYNCHRONOUS,
        target_el=EL.EL3,
        esr=ESR_ELx.EC.put(ExceptionClass.SVC64) | ESR_ELx.IL.mask | 0x1234,
        elr=stop.pc,
        pc_after=VECTORS + SAME_EL,
    )
    tb.expect(eret, kind=Retire.INSTRUCTION, pc_after=stop.pc, event_after=1)


@case("D1.12, synchronous external aborts", design=CORE)
async def an_access_where_no_memory_is(tb: CoreTestbench) -> None:
    """A load from nowhere is an abort, and writes nothing."""
    load = word("LDP (post-index)", sf=1, imm7=2, Rn=1, Rt=3, Rt2=4)
    code = _code(RESET_VECTOR, _write("VBAR_EL3", VECTORS), mov(1, 0xFFF8), load)
    rows = await tb.run(_image(code, _code(VECTORS + SAME_EL, STOP)))
    tb.expect(
        rows.row(-2),
        kind=Retire.SYNCHRONOUS,
        esr=ESR_ELx.EC.put(ExceptionClass.DABT_SAME) | ESR_ELx.IL.mask | 0b010000,
        far=0xFFF8,
        mem=Access.NONE,
        x0_en=0,
        x2_en=0,
    )


def _hypervisor() -> list[Code]:
    """From the reset to EL2, and a return to the guest that steps it."""
    scr = SCR_EL3.NS.mask | SCR_EL3.HCE.mask
    masked = SPSR_ELx.D.mask | SPSR_ELx.A.mask | SPSR_ELx.I.mask | SPSR_ELx.F.mask
    boot = _code(RESET_VECTOR, _write("SCR_EL3", scr), _write("OSLAR_EL1", 0))
    boot.put(*_return_to(EL.EL3, HYPERVISOR, Mode.EL2h | masked))
    code = _code(HYPERVISOR, _write("VBAR_EL2", VECTORS), _write("MDCR_EL2", MDCR_EL2.TDE.mask))
    code.put(*_write("MDSCR_EL1", MDSCR_EL1.SS.mask), ISB)
    code.put(*_return_to(EL.EL2, GUEST, Mode.EL1h | SPSR_ELx.SS.mask))
    return [boot, code]


@case("D2.12, software step", design=CORE)
async def one_step_of_a_guest(tb: CoreTestbench) -> None:
    """The guest executes one instruction, then the step exception comes to EL2."""
    guest = _code(GUEST, mov(0, 7), mov(0, 8), STOP)
    rows = await tb.run(_image(*_hypervisor(), guest, _code(VECTORS + LOWER_EL, STOP)))
    entry, stepped, exception, _ = list(rows)[-4:]
    tb.expect(entry, el=EL.EL2, el_after=EL.EL1, state_after=StepState.ACTIVE_NOT_PENDING)
    tb.expect(stepped, pc=GUEST, x0_value=7, state_after=StepState.ACTIVE_PENDING)
    tb.expect(
        exception,
        kind=Retire.SYNCHRONOUS,
        pc=GUEST + 4,
        elr=GUEST + 4,
        esr=0xCB000022,  # from a lower EL, ISV = 1, EX = 0
        target_el=EL.EL2,
        word=0,
    )


@case("D1.13, asynchronous exceptions", design=CORE)
async def an_interrupt(tb: CoreTestbench) -> None:
    """An IRQ is taken once it is not masked, and masked from then on."""
    unmask = word("MSR DAIFClr", CRm=0b0010)
    scr = SCR_EL3.NS.mask | SCR_EL3.IRQ.mask
    before = [*_write("VBAR_EL3", VECTORS), *_write("SCR_EL3", scr), NOP]
    code = _code(RESET_VECTOR, before, unmask, STOP)
    handler = _code(VECTORS + SAME_EL + IRQ, NOP, STOP)
    rows = await tb.run(_image(code, handler), inputs(irq=1))
    taken = rows.row(-3)
    tb.expect(
        taken,
        kind=Retire.IRQ,
        pc=RESET_VECTOR + 4 * (len(before) + 1),
        elr=taken.pc,
        sets_esr=0,
        daif_after=0b1111,
        pc_after=VECTORS + SAME_EL + IRQ,
    )
