"""A short program for each bin of the core's coverage that random programs may miss.

Each sets registers at EL3, returns to an EL, and there meets one thing: an instruction, an
interrupt, a step. Vectors hold a branch to itself. Some longer ones access every system register.
Which bin each hits is not written down: together they hit all. Others are for what no bin tells
apart: corner operands, words that are reserved.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from model.a64.decode import Reserved
from model.a64.processor import QUIET
from model.a64.trace import Inputs
from model.arch import (
    EL,
    HCR_EL2,
    MDCR_EL2,
    MDSCR_EL1,
    RAM_BASE,
    RAM_SIZE,
    RESET_VECTOR,
    SCR_EL3,
    SYSREGS,
    Event,
    Field,
    SCTLR_ELx,
    SPSR_ELx,
)
from tb.core.program import (
    ERET,
    FORMS,
    ISB,
    NOP,
    WORD_BYTES,
    Code,
    Program,
    adr,
    mov,
    mrs,
    msr,
    word,
)

CODE = RESET_VECTOR + 0x1000
DATA = RESET_VECTOR + 0x2000
_VECTORS = {EL.EL1: RESET_VECTOR + 0x4000, EL.EL2: RESET_VECTOR + 0x4800}
_VECTORS[EL.EL3] = RESET_VECTOR + 0x5000
_NOWHERE = 0x1000  #: no RAM is there

_STOP = word("B")  #: branches to itself
_UNDEFINED = 0
_ROWS_AFTER = 4  #: rows of a program after it came to the EL

Registers = Mapping[str, int]


@dataclass(frozen=True)
class Witness:
    """A program, and the inputs of all its rows."""

    name: str
    program: Program
    inputs: tuple[Inputs, ...]


def witnesses() -> Iterator[Witness]:
    """All of them."""
    yield _one_of_each_form()
    yield from _corner_operands()
    yield _reserved_words()
    yield from _synchronous()
    yield from _aborts()
    yield from _interrupts()
    yield from _steps()
    yield from _step_syndromes()
    yield from _both_pending()
    yield from _late_writes()
    yield from _returns()
    yield from _described_aborts()
    yield from _system_registers()


# A program


def _mode(el: EL, sp: int = 1) -> int:
    """SPSR.M of an EL, with SP_ELx or SP_EL0."""
    return el << 2 | sp if el else 0


#: What all have: EL2 can be used, HVC is allowed, no lock.
_USUAL: Registers = {
    "SCR_EL3": SCR_EL3.NS.mask | SCR_EL3.HCE.mask,
    "OSLAR_EL1": 0,
    **{f"VBAR_{el.name}": address for el, address in _VECTORS.items()},
}
_DAIF = SPSR_ELx.D.mask | SPSR_ELx.A.mask | SPSR_ELx.I.mask | SPSR_ELx.F.mask


def _at(
    name: str,
    el: EL,
    words: Sequence[int],
    registers: Registers | None = None,
    given: Sequence[Inputs] = (),
    spsr: int = _DAIF,
    sp: int = 1,
    elr: int = CODE,
    secure: bool = False,
) -> Witness:
    """A program that comes to an EL and goes on with `words` there.

    `registers` are system registers, and x1; `spsr` and `sp` say with which PSTATE, `given` has the
    inputs of its rows at that EL. In Secure state there is no EL2.
    """
    given_registers = registers or {}
    usual_scr = SCR_EL3.HCE.mask if secure else _USUAL["SCR_EL3"]
    values = {**_USUAL, **given_registers}
    values["SCR_EL3"] = usual_scr | given_registers.get("SCR_EL3", 0)
    x1 = values.pop("x1", 0)
    values |= {"ELR_EL3": elr, "SPSR_EL3": spsr | _mode(el, sp)}
    boot = Code(RESET_VECTOR)
    for register, value in values.items():
        boot.put(*mov(0, value), msr(register, 0))
    boot.put(*mov(1, x1), ERET)
    code = boot.image() | _vectors()
    code |= {CODE + WORD_BYTES * n: value for n, value in enumerate([*words, _STOP])}
    rows = len(words) + _ROWS_AFTER
    inputs = [QUIET] * len(boot.words) + list(given) + [QUIET] * (rows - len(given))
    return Witness(name, Program(code), tuple(inputs))


def _vectors() -> dict[int, int]:
    return {base + offset: _STOP for base in _VECTORS.values() for offset in range(0, 0x800, 0x80)}


def _sctlr(*bits: str) -> Registers:
    """The three SCTLR_ELx with these bits alone."""
    value = sum(getattr(SCTLR_ELx, bit).mask for bit in bits)
    return {f"SCTLR_EL{n}": value for n in (1, 2, 3)}


# Instruction forms

#: Fields that are not 0. Branches go to the next word, x1 points to data, x3 two words on.
_FIELDS = {
    "sf": 1,
    "N": 1,
    "option": 0b011,
    "imm26": 1,
    "imm19": 1,
    "imm14": 1,
    "Rn": 1,
    "Rm": 31,
    "Rd": 4,
    "Rt": 5,
    "Rt2": 6,
    "Rs": 7,
}


def _one_of_each_form() -> Witness:
    """Every form that takes no exception."""
    words: list[int] = []
    for form, row in FORMS.items():
        fields = {name: value for name, value in _FIELDS.items() if name in row.fields}
        if form in ("BR", "BLR", "RET"):
            fields["Rn"] = 3
            words.append(adr(3, 2 * WORD_BYTES))
        if "CRn" not in row.fields and row.event in _COMPLETING:
            words.append(word(form, **fields))
    return _at("instruction forms", EL.EL1, words, {"x1": DATA})


_COMPLETING = (Event.EXECUTE, Event.LOAD_EXCLUSIVE, Event.ISB)

#: Operands that carries, signs, divisions and counts go wrong with.
_CORNERS = (0, 1, 3, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 7, (1 << 64) - 1)
#: Of forms that a register form stands for: they differ in nothing but the second operand.
_IMMEDIATES = {"imms", "imm12", "imm5"}


def _corner_operands() -> Iterator[Witness]:
    """Every computation of two registers, and of one, with each pair of corners, and branches."""
    for n in _CORNERS:
        words = [each for branch in _branches_by_value() for each in (branch, NOP)]
        for number, m in enumerate(_CORNERS):
            words += [*mov(2, m), *_computations(number)]
        yield _at(f"operands with {n:#x}", EL.EL1, words, {"x1": n})


def _branches_by_value() -> Iterator[int]:
    """By x1, over the next word."""
    for form, sf in product(("CBZ", "CBNZ"), (0, 1)):
        yield word(form, sf=sf, Rt=1, imm19=2)
    for form, b5, b40 in product(("TBZ", "TBNZ"), (0, 1), (0, 31)):
        yield word(form, b5=b5, b40=b40, Rt=1, imm14=2)


def _computations(number: int) -> Iterator[int]:
    """Of x1 and x2 to x3, in 32 and 64 bits; `number`, up to 7, varies the other fields."""
    values = {"Rn": 1, "Rm": 2, "Ra": 2, "Rd": 3, "imms": 3 * number, "imm6": 3 * number}
    values |= {"shift": number % 3, "option": number, "imm3": number % 5, "cond": 2 * number}
    for form, row in FORMS.items():
        names = row.fields.keys()
        computes = "Rn" in names and names & {"Rd", "nzcv"}
        if computes and ("Rm" in names or not names & _IMMEDIATES):
            for sf in (0, 1) if "sf" in names else (0,):
                both = {**values, "sf": sf, "N": sf}
                yield word(form, **{name: both.get(name, 0) for name in names})


def _reserved_words() -> Witness:
    """Words that have a form's fixed bits, but are reserved: each is UNDEFINED, and skipped."""
    words = [
        word(form, **fields)
        for form, row in FORMS.items()
        for fields in _few_fields(row.fields)
        if _is_reserved(form, fields)
    ]
    return _sweep("reserved words", EL.EL1, list(dict.fromkeys(words)))


def _few_fields(fields: Mapping[str, Field]) -> Iterator[Mapping[str, int]]:
    """All fields 0 but for sf and N, and two others: their highest bits, or all of their bits."""
    others = {name: field.width for name, field in fields.items() if name not in ("sf", "N")}
    corners = {name: {1 << n - 1, (1 << n) - 1} for name, n in others.items()}
    for pair, sf, n in product(combinations(corners, 2), (0, 1), (0, 1)):
        for values in product(*(corners[name] for name in pair)):
            some = {"sf": sf, "N": n, **dict(zip(pair, values, strict=True))}
            yield {name: some.get(name, 0) for name in fields}


def _is_reserved(form: str, fields: Mapping[str, int]) -> bool:
    try:
        FORMS[form].build(**fields)
    except Reserved:
        return True
    return False


# Exceptions


_TGE: Registers = {"HCR_EL2": HCR_EL2.TGE.mask}
_LOAD = word("LDR (unsigned offset)", sz=1, Rn=1, Rt=2)
_STORE = word("STR (unsigned offset)", sz=1, Rn=1, Rt=2)
_STACK_LOAD = word("LDR (unsigned offset)", sz=1, Rn=31, Rt=2)


def _by_default() -> Iterator[tuple[EL, Registers]]:
    """ELs and registers of exceptions that go to the current EL, or from EL0 up, by TGE to EL2."""
    for el in EL:
        yield el, {}
    yield EL.EL0, _TGE


def _synchronous() -> Iterator[Witness]:
    for el, route in _by_default():
        yield _at("UNDEFINED", el, [_UNDEFINED], route)
        yield _at("illegal state", el, [NOP], route, spsr=_DAIF | SPSR_ELx.IL.mask)
        yield _at("SVC", el, [word("SVC", imm16=7)], route)
        yield _at("PC alignment", el, [NOP], route, elr=CODE + 2)
        stack = {**_sctlr("SA", "SA0"), **route, "SP_EL0": DATA + 8}
        yield _at("SP alignment", el, [_STACK_LOAD], stack, sp=0)
    for el in EL:
        yield _at("HVC", el, [word("HVC")])
        yield _at("SMC", el, [word("SMC")])
        yield _at("BRK", el, [word("BRK")])
    yield _at("HVC without EL2", EL.EL1, [word("HVC")], secure=True)
    yield _at("SMC disabled", EL.EL1, [word("SMC")], {"SCR_EL3": SCR_EL3.SMD.mask})
    yield _at("SMC trapped", EL.EL1, [word("SMC")], {"HCR_EL2": HCR_EL2.TSC.mask})
    for el in (EL.EL1, EL.EL2, EL.EL3):
        far = f"FAR_{el.name}"
        yield _sweep("UNDEFINED without FAR", el, [_UNDEFINED, mrs(2, far)], {far: DATA})
    for el in (EL.EL0, EL.EL1):
        yield _at("BRK to EL2", el, [word("BRK")], {"MDCR_EL2": MDCR_EL2.TDE.mask})
    # The return to the EL has set the event register: the first WFE clears it, and does not wait.
    for waits, trap in (([word("WFI")], HCR_EL2.TWI), ([word("WFE")] * 2, HCR_EL2.TWE)):
        yield _at("WFx to EL1", EL.EL0, waits, _sctlr())
        for el in (EL.EL0, EL.EL1):
            yield _at("WFx to EL2", el, waits, {"HCR_EL2": trap.mask})
    yield _at("DAIF from EL0", EL.EL0, [mrs(0, "DAIF")], _sctlr())
    yield _at("DAIF from EL0 by TGE", EL.EL0, [mrs(0, "DAIF")], {**_sctlr(), **_TGE})


def _aborts() -> Iterator[Witness]:
    routes: list[tuple[EL, Registers]] = [(el, {}) for el in EL]
    routes += [(el, {"SCR_EL3": SCR_EL3.EA.mask}) for el in EL]
    routes += [(el, {"HCR_EL2": HCR_EL2.VM.mask}) for el in (EL.EL0, EL.EL1)]
    for el, route in routes:
        data = {**route, "x1": _NOWHERE}
        yield _at("fetch", el, [NOP], route, elr=_NOWHERE)
        yield _at("load", el, [_LOAD], data)
        yield _at("store", el, [_STORE], data)
    for el in EL:
        misaligned = {**_sctlr("A"), "x1": DATA + 1}
        yield _at("misaligned load", el, [_LOAD], misaligned)
        yield _at("misaligned store", el, [_STORE], misaligned)
    leaving = {"x1": RAM_BASE + RAM_SIZE - WORD_BYTES}
    for access in (_LOAD, _STORE):
        yield _sweep("leaving RAM half-way", EL.EL1, [access, mrs(2, "FAR_EL1")], leaving)
    pairs = {"HCR_EL2": HCR_EL2.VM.mask, "x1": _NOWHERE}
    yield _at("pair", EL.EL1, [word("STP (offset)", sf=1, Rn=1)], pairs)
    yield _at("load of a pair", EL.EL1, [word("LDP (offset)", sf=1, Rn=1, Rt2=3)], pairs)


#: Pin to the bits that send it to EL3 and to EL2.
_PINS = {
    "serror": (SCR_EL3.EA, HCR_EL2.AMO),
    "fiq": (SCR_EL3.FIQ, HCR_EL2.FMO),
    "irq": (SCR_EL3.IRQ, HCR_EL2.IMO),
}


def _interrupts() -> Iterator[Witness]:
    for (pin, (to_el3, to_el2)), el in product(_PINS.items(), EL):
        given = [QUIET._replace(**{pin: 1})]
        for route in ({}, {"SCR_EL3": to_el3.mask}, {"HCR_EL2": to_el2.mask}):
            yield _at(pin, el, [NOP], route, given, spsr=0)
    for enable, el in product((HCR_EL2.VF, HCR_EL2.VI), (EL.EL0, EL.EL1, EL.EL2)):
        routed = {"HCR_EL2": HCR_EL2.FMO.mask | HCR_EL2.IMO.mask | enable.mask}
        yield _at("virtual", el, [NOP], routed, spsr=0)


# Software step

_SS = SPSR_ELx.SS.mask
#: EL2 steps, itself too where PSTATE.D is 0; or EL1 does.
_BY_EL2: Registers = {
    "MDSCR_EL1": MDSCR_EL1.SS.mask | MDSCR_EL1.KDE.mask,
    "MDCR_EL2": MDCR_EL2.TDE.mask,
}
_BY_EL1: Registers = {"MDSCR_EL1": MDSCR_EL1.SS.mask | MDSCR_EL1.KDE.mask}
_LOAD_EXCLUSIVE = word("LDXR", size=2, Rn=1, Rt=2)
_EVENTS = {
    "execute": NOP,
    "load_exclusive": _LOAD_EXCLUSIVE,
    "isb": ISB,
    "svc": word("SVC"),
    "hvc": word("HVC"),
    "smc": word("SMC"),
    "exception": _UNDEFINED,
    "eret": ERET,
}


def _steps() -> Iterator[Witness]:
    for el, registers in product((EL.EL0, EL.EL1, EL.EL2), (_BY_EL1, _BY_EL2)):
        back = {f"{name}_EL{n}": value for n in (1, 2) for name, value in _BACK.items()}
        registers = {**registers, **back, "x1": DATA}
        for name, stepped in _EVENTS.items():
            yield _at(f"step of {name}", el, [stepped, NOP], registers, spsr=_SS)
        illegal = _SS | SPSR_ELx.IL.mask
        yield _at("step of illegal state", el, [NOP], registers, spsr=illegal)
        irq, to_el3 = [QUIET._replace(irq=1)], {"SCR_EL3": SCR_EL3.IRQ.mask}
        yield _at("step of interrupt", el, [NOP], {**registers, **to_el3}, irq, spsr=_SS)
        yield _at("nothing stepped", el, [NOP], registers, spsr=0)


_BACK = {"ELR": CODE + 4, "SPSR": 0}


def _step_syndromes() -> Iterator[Witness]:
    """Where ISV is a free choice: after an exception return or ISB, or another exception."""
    for isv in (0, 1):
        chosen = [QUIET._replace(isv_choice=isv)] * 4
        for el in (EL.EL1, EL.EL2):
            yield _at("step of ISB", el, [ISB, NOP], _BY_EL2, chosen, spsr=_SS)
        yield _at("step of SVC", EL.EL1, [word("SVC"), NOP], _BY_EL2, chosen, spsr=_SS)
        first = [chosen[0], chosen[0]._replace(irq=1, async_first=1), chosen[0]]
        registers = {**_BY_EL2, "x1": DATA}
        yield _at("IRQ after LDXR", EL.EL1, [_LOAD_EXCLUSIVE, NOP], registers, first, spsr=_SS)


def _both_pending() -> Iterator[Witness]:
    for el, first in product((EL.EL0, EL.EL1), (0, 1)):
        given = [QUIET._replace(irq=1, async_first=first)]
        yield _at("both pending", el, [NOP], _BY_EL2, given, spsr=0)


# Context synchronisation, returns

_LATE = ("MDSCR_EL1", "MDCR_EL2", "HCR_EL2", "OSLAR_EL1")


def _late_writes() -> Iterator[Witness]:
    synchronising = ((EL.EL1, ISB), (EL.EL2, word("SVC")), (EL.EL2, ERET), (EL.EL3, ISB))
    back = {"SPSR_EL2": _mode(EL.EL2), "ELR_EL2": CODE + 8}
    for register, seen, (el, event) in product(_LATE, (0, 1), synchronising):
        given = [QUIET._replace(write_seen=seen)]
        words = [msr(register, 1), event, NOP]
        yield _at(f"write of {register}", el, words, back, given)


def _returns() -> Iterator[Witness]:
    for el, il, ss in product((EL.EL1, EL.EL2, EL.EL3), (0, 1), (0, 1)):
        bits = SPSR_ELx.IL.put(il) | SPSR_ELx.SS.put(ss)
        for to in (to for to in EL if to <= el):
            debug = _BY_EL1 if el == EL.EL1 else _BY_EL2
            if el == EL.EL3:
                yield _at("return", to, [NOP], debug, spsr=bits)
                continue
            back = {f"SPSR_{el.name}": bits | _mode(to), f"ELR_{el.name}": CODE + 4}
            # PSTATE.D is 1: debug exceptions are disabled at the source.
            yield _at("return", el, [ERET, NOP], {**debug, **back})
    for el in (EL.EL1, EL.EL2):
        back = {f"SPSR_{el.name}": SPSR_ELx.nRW.mask, f"ELR_{el.name}": CODE + 4}
        yield _at("return to AArch32", el, [ERET, NOP], back)


def _described_aborts() -> Iterator[Witness]:
    """Every form of a load or store that the syndrome at stage 2 tells from the others or not."""
    forms = [
        *(("LDRSB (unsigned offset)", {"narrow": narrow}) for narrow in (0, 1)),
        *(("LDRSH (unsigned offset)", {"narrow": narrow}) for narrow in (0, 1)),
        ("LDRSW (unsigned offset)", {}),
        *((f"{name} (unsigned offset)", {}) for name in ("LDRB", "STRB", "LDRH", "STRH")),
        *((f"{name} (unsigned offset)", {"sz": sz}) for name in ("LDR", "STR") for sz in (0, 1)),
        *((name, {"size": size}) for name in ("LDAR", "STLR") for size in range(4)),
        *((f"{name} (pre-index)", {"imm9": 8}) for name in ("LDR", "STR")),
        ("LDXR", {"size": 3}),
    ]
    registers = {"HCR_EL2": HCR_EL2.VM.mask, "x1": _NOWHERE}
    for form, fields in forms:
        yield _at(form, EL.EL1, [word(form, Rn=1, Rt=2, **fields)], registers)


# System registers

_ROWS_OF_AN_EXCEPTION = 5  #: and of its handler


def _system_registers() -> Iterator[Witness]:
    """Read every register and write the same value back, at each EL, with and without traps."""
    accesses = [access for name in SYSREGS for access in (mrs(2, name), msr(name, 2))]
    trapping = {"MDCR_EL2": MDCR_EL2.TDE.mask, "HCR_EL2": HCR_EL2.TVM.mask}
    passes = [(el, sp, _sctlr("UMA")) for el in (EL.EL1, EL.EL2, EL.EL3) for sp in (0, 1)]
    passes += [(EL.EL1, 1, trapping), (EL.EL0, 0, _sctlr("UMA")), (EL.EL0, 0, _sctlr())]
    for el, sp, registers in passes:
        yield _sweep(f"system registers at {el.name}", el, accesses, registers, sp)


def _sweep(
    name: str, el: EL, words: Sequence[int], registers: Registers | None = None, sp: int = 1
) -> Witness:
    """A program that goes on to the next of its words after an exception."""
    witness = _at(name, el, words, registers, sp=sp)
    code = {**witness.program.code, **_skipping()}
    inputs = witness.inputs + (QUIET,) * (_ROWS_OF_AN_EXCEPTION * len(words))
    return replace(witness, program=Program(code), inputs=inputs)


def _skipping() -> dict[int, int]:
    """Vectors for synchronous exceptions that return to the next instruction."""
    words: dict[int, int] = {}
    for el, base in _VECTORS.items():
        for offset in (0x000, 0x200, 0x400):
            code = Code(base + offset)
            code.put(mrs(0, f"ELR_{el.name}"))
            code.add("ADD (immediate)", sf=1, imm12=WORD_BYTES, Rn=0, Rd=0)
            code.put(msr(f"ELR_{el.name}", 0), ERET)
            words |= code.image()
    return words
