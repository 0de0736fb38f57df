"""Random guests for guest debugging, each made from a seed.

A guest sets up its vectors, then runs sections at EL1 and EL0, piece after piece: instructions
that only compute, accesses to RAM and to devices, calls, what traps, what is UNDEFINED, and its own
software step. Its handlers go back, or past what went wrong. It always ends with PSCI SYSTEM_OFF:
loops are counted, other branches go forward, and of exceptions it takes BUDGET at most.
"""

from collections.abc import Callable
from random import Random

from model.arch import MDSCR_EL1, ESR_ELx, ExceptionClass, Mode, SPSR_ELx
from model.kvm.host import PSCI_SYSTEM_OFF, PSCI_VERSION
from model.kvm.session import Guest
from model.programs.image import Image
from model.programs.layout import GUEST_BASE
from tb.core.program import ERET, ISB, NOP, Code, Program, mov, mrs, msr, word

MAX_EVENTS = 400  #: of a guest, from its first instruction to its end, or less

VECTORS = GUEST_BASE + 0x1000
HANDLERS = GUEST_BASE + 0x2000
_DATA = GUEST_BASE + 0x4000

BUDGET = 12  #: exceptions to EL1 that are handled: one more, and the guest switches itself off
_STEPS = 5  #: of the guest's own, in a row

_GENERAL = range(1, 8)  #: x1 to x7: what is computed
_VALUE, _TARGET = 11, 8  #: for one piece
_RAM, _RAM_MOVED, _DEVICE = 9, 12, 10  #: bases
_SCRATCH, _SCRATCH2, _ENTRY = 16, 17, 24  #: of handlers
_LEFT, _STEPS_LEFT = 18, 21  #: of BUDGET, and of its own steps
_COUNTER = 19
_SAVED_ELR, _SAVED_SPSR = 22, 23  #: by the handler of interrupts
_LINK = 30
_ZERO = 31

_SVC_TO_EL1, _SVC_OFF = 1, 2  #: immediates of SVC with a meaning

_EQ, _LE = 0, 0b1101  #: conditions

_DEVICES = (0x0900_0000, 0x1000_0000, 0x1000_0000, 0x3FFF_0000, 0x4040_0000, 0x1_2345_6000)
_NOWHERE = (0x1000_0000, 0x1000_2000, 0x3FFF_FFFC, 0x4040_0000)

_SS, _KDE, _MDE = MDSCR_EL1.SS.mask, MDSCR_EL1.KDE.mask, MDSCR_EL1.MDE.mask
_CONTROLS = (0, 0, _SS, _SS, _KDE, _SS | _KDE, _SS | _KDE, _MDE, _SS | _MDE)
_NO_STEPS = (0, _KDE, _MDE)
_DAIF = SPSR_ELx.D.mask | SPSR_ELx.A.mask | SPSR_ELx.I.mask | SPSR_ELx.F.mask
_ILLEGAL = (Mode.EL2h, Mode.EL3h, 0b0001, 0b0110, Mode.EL1h | SPSR_ELx.nRW.mask)

#: Loads and stores of one register by base and offset, with their sizes' bits.
_ACCESSES: tuple[tuple[str, dict[str, int]], ...] = (
    ("STRB", {}),
    ("STRH", {}),
    ("STR", {"sz": 0}),
    ("STR", {"sz": 1}),
    ("LDRB", {}),
    ("LDRH", {}),
    ("LDR", {"sz": 0}),
    ("LDR", {"sz": 1}),
    ("LDRSB", {"narrow": 0}),
    ("LDRSB", {"narrow": 1}),
    ("LDRSH", {"narrow": 0}),
    ("LDRSH", {"narrow": 1}),
    ("LDRSW", {}),
)

#: What a guest may be more about.
_MORE = 4  #: times as much
_THEMES = ("plain", "devices", "traps", "own steps", "exceptions", "registers")


def guest_of(seed: int, own_steps: bool = True, breakpoints: bool = True) -> Guest:
    """The guest of a seed; without steps of its own, or BRK, if so asked."""
    rng = Random(f"guest {seed}")
    code = _Body(rng, own_steps, breakpoints).made()
    handlers = _Handlers(rng)
    words = {**code.image(), **handlers.vectors(), **handlers.code.image()}
    data = {_DATA + 4 * n: rng.getrandbits(32) for n in range(-32, 64)}
    image = Image(tuple(Program(words, data).segments()), {}, GUEST_BASE)
    virqs = frozenset(rng.randrange(4, 160) for _ in range(rng.choice((0, 2, 5, 10))))
    aborts = frozenset(rng.randrange(12) for _ in range(rng.choice((0, 0, 1, 3))))
    return Guest(image, virqs, aborts)


class _Body:
    """The code from the guest's entry on."""

    def __init__(self, rng: Random, own_steps: bool, breakpoints: bool) -> None:
        self.rng = rng
        self.code = Code(GUEST_BASE)
        self.controls = _CONTROLS if own_steps else _NO_STEPS
        self.el = 1
        self.piece = 0  #: number of the present one: its label
        theme = rng.choice(_THEMES)
        self.anywhere = self._weighted(
            theme,
            (self._plain, 6, "plain"),
            (self._ram, 3, "plain"),
            (self._device, 3, "devices"),
            (self._wait, 1, "traps"),
            (self._svc, 1, "exceptions"),
            (self._brk, int(breakpoints), "exceptions"),
            (self._undefined, 1, "exceptions"),
            (self._nothing, 1, "plain"),
        )
        self.at_el1 = self.anywhere + self._weighted(
            theme,
            (self._hvc, 1, "traps"),
            (self._smc, 1, "traps"),
            (self._mdscr, 2, "registers"),
            (self._os_lock, 1, "registers"),
            (self._daif, 2, "registers"),
            (self._own_steps, 2 * own_steps, "own steps"),
            (self._read, 1, "registers"),
        )
        if theme == "exceptions":
            self.at_el1 += 2 * [self._illegal_return]
        # At EL0 these trap to EL1, or are UNDEFINED.
        self.at_el0 = 2 * self.anywhere + [self._hvc, self._smc, self._daif, self._read]

    def _weighted(
        self, theme: str, *pieces: tuple[Callable[[], None], int, str]
    ) -> list[Callable[[], None]]:
        return [
            piece
            for piece, weight, about in pieces
            for _ in range(weight * _MORE if about == theme else weight)
        ]

    def made(self) -> Code:
        rng, code = self.rng, self.code
        self._begin()
        length = rng.randrange(20, 70)
        while len(code.words) < length:
            self._section(rng.randrange(2, 9))
            if len(code.words) < length:
                self._change_el()
        self._off()
        return code

    def _begin(self) -> None:
        code, rng = self.code, self.rng
        code.adr(_SCRATCH, VECTORS)
        code.put(msr("VBAR_EL1", _SCRATCH), *mov(_LEFT, BUDGET))
        code.put(*mov(_RAM, _DATA), *mov(_DEVICE, rng.choice(_DEVICES)))
        if rng.random() < 0.7:
            code.put(word("MSR DAIFClr", CRm=rng.choice((0b0010, 0b1010, 0b1111))))

    def _off(self) -> None:
        if self.el == 0:
            self.code.add("SVC", imm16=_SVC_OFF)
        else:
            self.code.put(*mov(0, PSCI_SYSTEM_OFF), word("HVC"))

    def _label(self) -> None:
        self.code.label(f"{self.piece}")

    def _section(self, pieces: int) -> None:
        """Pieces at one EL. Branches do not leave it."""
        last = self.piece + pieces
        while self.piece < last:
            self._label()
            if self.rng.random() < 0.2:
                self.rng.choice((self._loop, self._nowhere, self._branch, self._branch))(last)
            else:
                self._one()
            self.piece += 1
        self._label()
        self.piece += 1

    def _one(self) -> None:
        self.rng.choice(self.at_el1 if self.el else self.at_el0)()

    # Any EL

    def _any(self) -> int:
        return self.rng.choice(_GENERAL)

    def _nothing(self) -> None:
        self.code.put(self.rng.choice((NOP, ISB, word("DSB", CRm=15), word("SEV"), word("CLREX"))))

    def _plain(self) -> None:
        rng, d, n, m = self.rng, self._any(), self._any(), self._any()
        sf = rng.getrandbits(1)
        shifted = {"sf": sf, "Rd": d, "Rn": n, "Rm": m}
        match rng.randrange(9):
            case 0:
                form = rng.choice(("ADD", "ADDS", "SUB", "SUBS"))
                imm12 = rng.getrandbits(12)
                self.code.add(f"{form} (immediate)", sf=sf, Rd=d, Rn=n, imm12=imm12)
            case 1:
                form = rng.choice(
                    ("ADD", "ADDS", "SUB", "SUBS", "AND", "ANDS", "ORR", "EOR", "BIC")
                )
                self.code.add(f"{form} (shifted register)", **shifted)
            case 2:
                self.code.add(rng.choice(("ADC", "ADCS", "SBC", "SBCS")), **shifted)
            case 3:
                self.code.add(rng.choice(("LSLV", "LSRV", "ASRV", "RORV", "UDIV")), **shifted)
            case 4:
                form = rng.choice(("CSEL", "CSINC", "CSINV", "CSNEG"))
                self.code.add(form, **shifted, cond=rng.randrange(16))
            case 5:
                self.code.add("MADD", **shifted, Ra=self._any())
            case 6:
                cond, nzcv = rng.randrange(16), rng.randrange(16)
                self.code.add("CCMP (register)", sf=sf, Rn=n, Rm=m, cond=cond, nzcv=nzcv)
            case 7:
                self.code.put(mrs(d, "NZCV") if rng.getrandbits(1) else msr("NZCV", n))
            case 8:
                self.code.put(*mov(d, rng.getrandbits(rng.choice((8, 32, 64)))))

    def _access(self, base: int, t: int, offset: int) -> None:
        form, size = self.rng.choice(_ACCESSES)
        kind = "unsigned offset"
        self.code.add(f"{form} ({kind})", **size, imm12=offset, Rn=base, Rt=t)

    def _ram(self) -> None:
        rng, code = self.rng, self.code
        match rng.randrange(4):
            case 0 | 1:
                self._access(_RAM, self._any(), rng.randrange(8))
            case 2:
                form = rng.choice(("LDP", "STP"))
                t = rng.choice((1, 3, 5))
                code.add(f"{form} (offset)", sf=1, imm7=rng.randrange(8), Rn=_RAM, Rt=t, Rt2=t + 1)
            case 3:  # the base is written back, which has no syndrome elsewhere
                form, size = rng.choice(_ACCESSES)
                code.add(
                    "ADD (immediate)", sf=1, Rn=_RAM, Rd=_RAM_MOVED, imm12=8 * rng.randrange(8)
                )
                kind = rng.choice(("pre-index", "post-index"))
                imm9 = rng.randrange(64)
                code.add(f"{form} ({kind})", **size, imm9=imm9, Rn=_RAM_MOVED, Rt=self._any())

    def _device(self) -> None:
        rng = self.rng
        t = rng.choice((*_GENERAL, _ZERO))
        match rng.randrange(8):
            case 0:
                form, size = rng.choice(_ACCESSES)
                form = form.replace("LDR", "LDUR").replace("STR", "STUR")
                self.code.add(form, **size, imm9=rng.randrange(256), Rn=_DEVICE, Rt=t)
            case 1:
                self.code.put(*mov(_DEVICE, rng.choice(_DEVICES) + 8 * rng.randrange(8)))
                self._access(_DEVICE, t, 0)
            case _:
                self._access(_DEVICE, t, rng.choice((0, 1, 2, rng.getrandbits(9))))

    def _wait(self) -> None:
        self.code.add(self.rng.choice(("WFI", "WFE")))

    def _svc(self) -> None:
        self.code.add("SVC", imm16=0x10 + self.rng.getrandbits(8))

    def _brk(self) -> None:
        self.code.add("BRK", imm16=self.rng.getrandbits(16))

    def _undefined(self) -> None:
        self.code.put(self.rng.choice((0, self.rng.getrandbits(16), 0xFFFF_FFFF)))

    # Pieces that are in no other one

    def _loop(self, last: int) -> None:
        code = self.code
        code.put(*mov(_COUNTER, self.rng.randrange(2, 4)))
        code.label(f"loop {self.piece}")
        for _ in range(self.rng.randrange(1, 3)):
            self.rng.choice((self._plain, self._ram, self._device, self._wait))()
        code.add("SUB (immediate)", sf=1, imm12=1, Rn=_COUNTER, Rd=_COUNTER)
        code.branch("CBNZ", f"loop {self.piece}", sf=1, Rt=_COUNTER)

    def _branch(self, last: int) -> None:
        """To one of the next pieces, `last` at most."""
        rng, code = self.rng, self.code
        label = f"{min(last, self.piece + rng.randrange(1, 5))}"
        match rng.randrange(6):
            case 0:
                code.branch(rng.choice(("B", "BL")), label)
            case 1 | 2:
                code.branch("B.cond", label, cond=rng.randrange(16))
            case 3:
                code.branch(rng.choice(("CBZ", "CBNZ")), label, sf=0, Rt=self._any())
            case 4:
                form = rng.choice(("TBZ", "TBNZ"))
                code.branch(form, label, b5=0, b40=rng.randrange(32), Rt=self._any())
            case 5:  # over one instruction
                code.adr(_TARGET, code.at + 12)
                code.add(rng.choice(("BR", "BLR", "RET")), Rn=_TARGET)
                code.put(NOP)

    def _nowhere(self, last: int) -> None:
        """A call of what is not there: the handler of the abort returns from it."""
        odd = self.rng.random() < 0.2
        self.code.put(*mov(_TARGET, self.rng.choice(_NOWHERE) + 2 * odd))
        self.code.add("BLR", Rn=_TARGET)

    # EL1

    def _hvc(self) -> None:
        function = self.rng.choice((PSCI_VERSION, PSCI_VERSION, 0x8400_00FF, 0xC400_0001))
        self.code.put(*mov(0, function), word("HVC", imm16=self.rng.choice((0, 0, 1))))

    def _smc(self) -> None:
        self.code.add("SMC", imm16=self.rng.getrandbits(4))

    def _mdscr(self) -> None:
        rng = self.rng
        if rng.random() < 0.5:
            self.code.put(mrs(self._any(), "MDSCR_EL1"))
            return
        self.code.put(*mov(_STEPS_LEFT, rng.randrange(1, _STEPS)))
        self.code.put(*mov(_VALUE, rng.choice(self.controls)), msr("MDSCR_EL1", _VALUE))

    def _os_lock(self) -> None:
        if self.rng.random() < 0.5:
            self.code.put(mrs(self._any(), "OSLSR_EL1"))
            return
        self.code.put(*mov(_VALUE, self.rng.choice((0, 0, 1))), msr("OSLAR_EL1", _VALUE))

    def _daif(self) -> None:
        rng = self.rng
        match rng.randrange(6):
            case 0:
                self.code.put(mrs(self._any(), "DAIF"))
            case 1:
                self.code.put(*mov(_VALUE, rng.getrandbits(4) << 6), msr("DAIF", _VALUE))
            case 2 | 3:
                self.code.add("MSR DAIFSet", CRm=rng.choice((0b0010, 0b1000, rng.getrandbits(4))))
            case _:
                self.code.add("MSR DAIFClr", CRm=rng.choice((0b0010, 0b1000, rng.getrandbits(4))))

    def _read(self) -> None:
        names = ("SPSR_EL1", "ELR_EL1", "CurrentEL", "TPIDR_EL1", "VBAR_EL1", "SP_EL0", "SPSel")
        if self.rng.random() < 0.2:
            self.code.add("MSR SPSel", CRm=self.rng.getrandbits(1))
        else:
            self.code.put(mrs(self._any(), self.rng.choice(names)))

    def _own_steps(self) -> None:
        """EL1 steps itself, for a few instructions."""
        rng, code = self.rng, self.code
        code.put(*mov(_STEPS_LEFT, rng.randrange(1, _STEPS)), *mov(_VALUE, _SS | _KDE))
        words = [word("MSR DAIFClr", CRm=0b1000), msr("MDSCR_EL1", _VALUE)]
        rng.shuffle(words)
        code.put(*words)
        if rng.random() < 0.3:
            code.put(ISB)
        for _ in range(rng.randrange(3)):
            self._one()

    def _illegal_return(self) -> None:
        self._return(self.rng.choice(_ILLEGAL))

    def _return(self, spsr: int) -> None:
        """ERET to what comes next. No exception may come before it, and change ELR_EL1."""
        code = self.code
        code.add("MSR DAIFSet", CRm=self.rng.choice((0b1111, 0b1011)))
        code.put(*mov(_VALUE, spsr), msr("SPSR_EL1", _VALUE))
        code.adr(_TARGET, code.at + 12)
        code.put(msr("ELR_EL1", _TARGET), ERET)

    def _spsr(self, mode: Mode) -> int:
        rng = self.rng
        masks = rng.getrandbits(4) << SPSR_ELx.F.lsb
        if rng.random() < 0.5:
            masks &= ~(SPSR_ELx.I.mask | SPSR_ELx.D.mask)
        return mode | masks | SPSR_ELx.SS.put(rng.getrandbits(1)) | rng.getrandbits(4) << 28

    def _change_el(self) -> None:
        rng, code = self.rng, self.code
        if self.el == 0:
            code.add("SVC", imm16=_SVC_TO_EL1)
            self.el = 1
            return
        if rng.random() < 0.7:
            code.put(*mov(_STEPS_LEFT, rng.randrange(1, _STEPS)))
            code.put(word("MSR DAIFSet", CRm=0b1000))
            code.put(*mov(_VALUE, rng.choice(self.controls)), msr("MDSCR_EL1", _VALUE))
        mode = rng.choice((Mode.EL0t, Mode.EL0t, Mode.EL0t, Mode.EL1h, Mode.EL1t))
        self._return(self._spsr(mode))
        self.el = int(mode != Mode.EL0t)


class _Handlers:
    """The vectors, and what they branch to."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.code = Code(HANDLERS)
        self._synchronous()
        self._interrupt()

    def vectors(self) -> dict[int, int]:
        """Address to word: a branch in each."""
        words: dict[int, int] = {}
        for offset in range(0, 0x800, 0x80):
            vector = Code(VECTORS + offset)
            name = "interrupt" if offset & 0x180 else "synchronous"
            to = self.code.address_of(name) - vector.start
            vector.add("B", imm26=to // 4)
            words |= vector.image()
        return words

    def _synchronous(self) -> None:
        code = self.code
        code.label("synchronous")
        code.add("SUBS (immediate)", sf=1, imm12=1, Rn=_LEFT, Rd=_LEFT)
        code.branch("B.cond", "off", cond=_LE)
        code.put(mrs(_SCRATCH, "ESR_EL1"))
        code.add("UBFM", sf=1, N=1, immr=26, imms=31, Rn=_SCRATCH, Rd=_SCRATCH2)
        code.adr(_ENTRY, code.at + 12)
        code.add("ADD (shifted register)", sf=1, imm6=2, Rn=_ENTRY, Rm=_SCRATCH2, Rd=_ENTRY)
        code.add("BR", Rn=_ENTRY)
        ec = ExceptionClass
        handlers: dict[int, str] = {
            ec.SVC64: "call",
            ec.SOFTSTEP_LOWER: "own step",
            ec.SOFTSTEP_SAME: "own step",
            ec.IABT_LOWER: "return",
            ec.IABT_SAME: "return",
            ec.PC_ALIGN: "return",
            ec.ILLEGAL_STATE: "illegal",
        }
        if self.rng.random() < 0.3:  # an access that has aborted is made again
            handlers |= {ec.DABT_LOWER: "again", ec.DABT_SAME: "again"}
        for number in range(1 << ESR_ELx.EC.width):
            code.branch("B", handlers.get(number, "skip"))
        self._skip()
        self._call()
        self._own_step()
        code.label("return")
        code.put(msr("ELR_EL1", _LINK), ERET)
        code.label("illegal")
        code.put(mrs(_SCRATCH, "SPSR_EL1"))
        self._one_bit("AND (immediate)", SPSR_ELx.IL.lsb, clear=True)
        code.put(msr("SPSR_EL1", _SCRATCH))
        code.label("again")
        code.put(ERET)
        code.label("off")
        code.put(*mov(0, PSCI_SYSTEM_OFF), word("HVC"))

    def _skip(self) -> None:
        code = self.code
        code.label("skip")
        code.put(mrs(_SCRATCH, "ELR_EL1"))
        code.add("ADD (immediate)", sf=1, imm12=4, Rn=_SCRATCH, Rd=_SCRATCH)
        code.put(msr("ELR_EL1", _SCRATCH), ERET)

    def _one_bit(self, form: str, bit: int, clear: bool = False) -> None:
        """Set a bit of the scratch register, or clear it."""
        immr, imms = (63 - bit, 62) if clear else (64 - bit & 63, 0)
        self.code.add(form, sf=1, N=1, immr=immr, imms=imms, Rn=_SCRATCH, Rd=_SCRATCH)

    def _call(self) -> None:
        code, rng = self.code, self.rng
        code.label("call")
        code.add("UBFM", sf=1, N=1, immr=0, imms=15, Rn=_SCRATCH, Rd=_SCRATCH)
        code.add("SUBS (immediate)", sf=1, imm12=_SVC_OFF, Rn=_SCRATCH, Rd=_ZERO)
        code.branch("B.cond", "off", cond=_EQ)
        code.add("SUBS (immediate)", sf=1, imm12=_SVC_TO_EL1, Rn=_SCRATCH, Rd=_ZERO)
        code.branch("B.cond", "to EL1", cond=_EQ)
        code.put(ERET)
        code.label("to EL1")
        spsr = (
            Mode.EL1h | rng.getrandbits(4) << SPSR_ELx.F.lsb | SPSR_ELx.SS.put(rng.getrandbits(1))
        )
        code.put(*mov(_SCRATCH, spsr), msr("SPSR_EL1", _SCRATCH), ERET)

    def _own_step(self) -> None:
        code = self.code
        code.label("own step")
        code.add("SUBS (immediate)", sf=1, imm12=1, Rn=_STEPS_LEFT, Rd=_STEPS_LEFT)
        code.branch("B.cond", "no more", cond=_LE)
        code.put(mrs(_SCRATCH, "SPSR_EL1"))
        self._one_bit("ORR (immediate)", SPSR_ELx.SS.lsb)
        code.put(msr("SPSR_EL1", _SCRATCH), ERET)
        code.label("no more")
        code.put(mrs(_SCRATCH, "MDSCR_EL1"))
        self._one_bit("AND (immediate)", MDSCR_EL1.SS.lsb, clear=True)
        code.put(msr("MDSCR_EL1", _SCRATCH), ERET)

    def _interrupt(self) -> None:
        """A virtual interrupt: it goes back at once, or has a device say why it came."""
        code, rng = self.code, self.rng
        code.label("interrupt")
        if rng.random() < 0.5:
            code.put(mrs(_SAVED_ELR, "ELR_EL1"), mrs(_SAVED_SPSR, "SPSR_EL1"))
            code.add("LDR (unsigned offset)", sz=0, Rn=_DEVICE, Rt=_SCRATCH)
            code.put(rng.choice((NOP, word("WFI"), mrs(_SCRATCH, "MDSCR_EL1"))))
            code.put(msr("ELR_EL1", _SAVED_ELR), msr("SPSR_EL1", _SAVED_SPSR))
        code.put(ERET)
