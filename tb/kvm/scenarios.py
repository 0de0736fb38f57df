"""What user space does with a guest, to see how it is debugged."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from model.arch import MDSCR_EL1, Mode
from model.kvm.session import Guest, Session
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_SW_BP
from tb.core.program import ERET, ISB, NOP, WORD_BYTES, Code, adr, mov, mrs, msr, word
from tb.kvm import guests
from tb.kvm.guests import DATA, DEVICE, STEPPED, image

STEPPING = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP
ENABLE = KVM_GUESTDBG_ENABLE

SS, KDE, MDE = MDSCR_EL1.SS.mask, MDSCR_EL1.KDE.mask, MDSCR_EL1.MDE.mask

#: Events after which a guest of ours has ended, or is one that makes no progress.
MOST_EVENTS = 150

Script = Callable[[Session], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """A guest, and what user space does with it from its first instruction on."""

    name: str
    text: str  #: one line
    guest: Guest
    script: Script

    def symbol(self, pc: int) -> str:
        """Where an address is: the last label before it, and how many instructions on."""
        at = {address: name for name, address in self.guest.image.symbols.items()}
        label = max((address for address in at if address <= pc), default=None)
        name, base = ("start", self.guest.image.entry) if label is None else (at[label], label)
        return name if pc == base else f"{name} + {(pc - base) // WORD_BYTES}"


# Scripts


async def step_all(session: Session) -> None:
    """Single steps from the first instruction to the last."""
    session.debug(STEPPING)
    while not session.over and len(session.events) < MOST_EVENTS:
        await session.step()


async def few_steps(session: Session) -> None:
    """Single steps of a guest that never ends when stepped."""
    session.debug(STEPPING)
    for _ in range(40):
        await session.step()


async def run_all(session: Session) -> None:
    """No debugging at all."""
    await session.free_run(MOST_EVENTS)


async def breakpoints(session: Session) -> None:
    """Software breakpoints and no steps; the guest has none of them."""
    session.debug(ENABLE | KVM_GUESTDBG_USE_SW_BP)
    await session.free_run(MOST_EVENTS)


async def serrors(session: Session) -> None:
    """Single steps, with an SError between an instruction and the exception that is due."""
    session.debug(STEPPING)
    while not session.over and len(session.events) < MOST_EVENTS:
        await session.step(kick_after=1, async_first=True, serror=True)


async def interrupted(session: Session) -> None:
    """Single steps; an interrupt before the instruction, after it, and with the exception due."""
    session.debug(STEPPING)
    pins = ((0, False), (1, True), (1, False), (None, False))
    for n in range(MOST_EVENTS):
        if session.over:
            return
        kick_after, async_first = pins[n % len(pins)]
        await session.step(kick_after, async_first)


async def on_and_off(session: Session) -> None:
    """Steps, then none, then ENABLE alone, and so on."""
    for control in (STEPPING, 0, STEPPING, ENABLE, 0, STEPPING):
        session.debug(control)
        if control == STEPPING:
            for _ in range(3):
                await session.step()
        else:
            await session.free_run(len(session.events) + 4)
    session.debug(0)
    await session.free_run(MOST_EVENTS)


async def enabled(session: Session) -> None:
    """ENABLE without SINGLESTEP throughout."""
    session.debug(ENABLE)
    await session.free_run(MOST_EVENTS)


async def again_at_once(session: Session) -> None:
    """Single steps, but KVM_RUN is told not to enter the guest just as an access completes."""
    session.debug(STEPPING)
    at_once = False
    while not session.over and len(session.events) < MOST_EVENTS:
        at_once = session.cpu.access is not None and not at_once
        session.run_page.immediate_exit = at_once
        await session.kvm_run()


# Guests


def _trapped(code: Code, turns: int = 3) -> None:
    """Registers that trap while the host debugs, in a loop, and some that do not."""
    code.put(*mov(1, turns), *mov(2, MDE))
    code.label("loop")
    code.put(msr("MDSCR_EL1", 2), mrs(3, "MDSCR_EL1"), mrs(4, "OSLSR_EL1"))
    code.label("write")
    code.put(msr("MDSCR_EL1", 31), msr("TPIDR_EL1", 3), mrs(5, "TPIDR_EL1"))
    code.add("SUBS (immediate)", sf=1, Rd=1, Rn=1, imm12=1)
    code.branch("B.cond", "loop", cond=1)


def _mmio(code: Code) -> None:
    """Loads and stores of all sizes to a device."""
    code.put(*mov(1, DEVICE), *mov(2, 0x1122_3344_5566_7788))
    code.label("load")
    code.add("LDR (unsigned offset)", sz=1, Rn=1, Rt=3)
    code.label("after_load")
    code.add("ADD (immediate)", sf=1, Rd=4, Rn=3, imm12=1)
    code.label("store")
    code.add("STR (unsigned offset)", sz=1, Rn=1, Rt=2, imm12=1)
    code.add("LDRSB (unsigned offset)", Rn=1, Rt=5, imm12=2)
    code.add("LDRSH (unsigned offset)", Rn=1, Rt=6, imm12=3)
    code.add("LDRSW (unsigned offset)", Rn=1, Rt=7, imm12=5)
    code.add("LDRB (unsigned offset)", Rn=1, Rt=8, imm12=7)
    code.add("STRH (unsigned offset)", Rn=1, Rt=2, imm12=9)
    code.put(NOP)


def _plain(code: Code) -> None:
    """Arithmetic with flags, memory, a loop."""
    code.put(*mov(1, 4), *mov(2, DATA))
    code.label("loop")
    code.add("ADD (immediate)", sf=1, Rd=3, Rn=3, imm12=3)
    code.add("STR (unsigned offset)", sz=1, Rn=2, Rt=3)
    code.add("LDR (unsigned offset)", sz=1, Rn=2, Rt=4)
    code.label("flags")
    code.add("SUBS (immediate)", sf=1, Rd=1, Rn=1, imm12=1)
    code.label("branch")
    code.branch("B.cond", "loop", cond=1)


def _calls(code: Code) -> None:
    """One of each instruction that is more than an instruction."""
    for label, form in (("svc", "SVC"), ("hvc", "HVC"), ("brk", "BRK"), ("smc", "SMC")):
        code.label(label)
        code.put(word(form, imm16=1))
    code.label("undefined")
    code.put(0)
    code.label("abort")
    code.put(*mov(1, DEVICE))
    code.add("LDR (unsigned offset)", sz=1, Rn=1, Rt=3)
    code.label("wfi")
    code.put(word("WFI"))
    code.label("after_wfi")
    code.put(NOP, ISB, NOP)


def _el0(code: Code) -> None:
    code.label("eret")
    guests.to_el0(code)


def _user(code: Code) -> None:
    """A little, a call and back, and off."""
    code.label("user")
    code.add("ADD (immediate)", sf=1, Rd=1, Rn=1, imm12=1)
    code.put(word("SVC", imm16=1), NOP)
    code.add("ADD (immediate)", sf=1, Rd=1, Rn=1, imm12=1)
    guests.call_off(code)


def _writes(code: Code) -> None:
    """MDSCR_EL1, DAIF and flags, as a guest's own kernel writes them."""
    code.put(*mov(1, MDE | KDE), msr("MDSCR_EL1", 1))
    code.label("daif")
    code.put(word("MSR DAIFClr", CRm=0b0010), *mov(2, 0x140), msr("DAIF", 2), mrs(3, "DAIF"))
    code.put(*mov(4, 0xA000_0000), msr("NZCV", 4))
    code.label("read")
    code.put(mrs(5, "MDSCR_EL1"), mrs(6, "NZCV"), word("MSR DAIFSet", CRm=0b1111), NOP, NOP)


def _own_el0(code: Code) -> None:
    """EL1 steps EL0: the handler counts the steps in x27."""
    code.put(*mov(1, SS), msr("MDSCR_EL1", 1))
    guests.to_el0(code, spsr=STEPPED)


def _own_mmio(code: Code) -> None:
    """The same, with an access to a device in EL0."""
    code.put(*mov(9, DEVICE))
    _own_el0(code)


def _user_mmio(code: Code) -> None:
    code.label("user")
    code.put(NOP)
    code.label("user_load")
    code.add("LDR (unsigned offset)", sz=1, Rn=9, Rt=3)
    code.label("after_user_load")
    code.put(NOP, NOP)
    guests.call_off(code)


def _own_el1(code: Code) -> None:
    """EL1 steps itself, with KDE: it returns to code with PSTATE.D = 0 and PSTATE.SS = 1."""
    code.put(*mov(1, SS | KDE), msr("MDSCR_EL1", 1), ISB, NOP, NOP)
    code.put(*mov(28, STEPPED | Mode.EL1h), msr("SPSR_EL1", 28))
    code.put(adr(28, 3 * WORD_BYTES), msr("ELR_EL1", 28))
    code.label("eret")
    code.put(ERET)
    code.label("stepped")
    code.add("ADD (immediate)", sf=1, Rd=1, Rn=1, imm12=1)
    code.put(NOP, word("MSR DAIFSet", CRm=0b1000), NOP)


def _locked(code: Code) -> None:
    """The guest locks its OS Lock."""
    code.put(*mov(1, 1))
    code.label("lock")
    code.put(msr("OSLAR_EL1", 1), NOP, NOP, mrs(2, "OSLSR_EL1"), msr("OSLAR_EL1", 31), NOP)


def _exclusive(code: Code) -> None:
    """A counter behind a load-exclusive and a store-exclusive."""
    code.put(*mov(1, DATA))
    code.label("retry")
    code.add("LDXR", size=3, Rn=1, Rt=2)
    code.add("ADD (immediate)", sf=1, Rd=2, Rn=2, imm12=1)
    code.label("stxr")
    code.add("STXR", size=3, Rn=1, Rt=2, Rs=3)
    code.label("status")
    code.branch("CBNZ", "retry", Rt=3)
    code.put(NOP)


def _unmasked(code: Code) -> None:
    """Interrupts are not masked."""
    code.put(word("MSR DAIFClr", CRm=0b0010))
    _plain(code)


def long_trapped(events: int) -> Guest:
    """The guest with accesses that trap, with so many instructions or more."""
    return Guest(image(lambda code: _trapped(code, events // 8 + 1)))


TRAPPED = Guest(image(_trapped))
MMIO = Guest(image(_mmio))
PLAIN = Guest(image(_plain))
CALLS = Guest(image(_calls))
EL0 = Guest(image(_el0, _user))
WRITES = Guest(image(_writes))
OWN_EL0 = Guest(image(_own_el0, _user))
OWN_EL1 = Guest(image(_own_el1))
OWN_MMIO = Guest(image(_own_mmio, _user_mmio))
LOCKED = Guest(image(_locked))
EXCLUSIVE = Guest(image(_exclusive))
VIRTUAL = Guest(image(_unmasked), virqs=frozenset((7, 12, 13, 20)))
ABORTED = Guest(image(_mmio), aborts=frozenset((0, 1, 3)))

SCENARIOS = (
    Scenario("plain", "arithmetic, memory and branches, stepped", PLAIN, step_all),
    Scenario("trapped", "accesses that trap, stepped", TRAPPED, step_all),
    Scenario("mmio", "loads and stores that user space makes, stepped", MMIO, step_all),
    Scenario("aborted", "some of them abort", ABORTED, step_all),
    Scenario("again", "KVM_RUN again at once while they complete", MMIO, again_at_once),
    Scenario("calls", "SVC, HVC, BRK, SMC, UNDEFINED, an abort and WFI, stepped", CALLS, step_all),
    Scenario("el0", "an exception return to EL0, a call, and back, stepped", EL0, step_all),
    Scenario("interrupts", "interrupts before, after and with a step", PLAIN, interrupted),
    Scenario("trapped_interrupts", "the same where accesses trap", TRAPPED, interrupted),
    Scenario("serrors", "an SError between an instruction and its step exception", PLAIN, serrors),
    Scenario("breakpoints", "software breakpoints without steps", PLAIN, breakpoints),
    Scenario("virtual", "virtual interrupts, stepped", VIRTUAL, step_all),
    Scenario("writes", "the guest writes MDSCR_EL1, DAIF and NZCV, stepped", WRITES, step_all),
    Scenario("on_and_off", "debugging switched on and off between runs", PLAIN, on_and_off),
    Scenario("own_off", "a guest that steps its EL0, not debugged", OWN_EL0, run_all),
    Scenario("own_mmio", "the same, with an access to a device", OWN_MMIO, run_all),
    Scenario("own_el1", "a guest that steps its EL1, not debugged", OWN_EL1, run_all),
    Scenario("own_el1_stepped", "a guest that steps its EL1, itself stepped", OWN_EL1, step_all),
    Scenario("own_mmio_stepped", "the one with the device, itself stepped", OWN_MMIO, step_all),
    Scenario("own_stepped", "a guest that steps its EL0, itself stepped", OWN_EL0, step_all),
    Scenario("own_enabled", "a guest that steps its EL0, debugged without steps", OWN_EL0, enabled),
    Scenario("own_on_and_off", "the same, with steps switched on and off", OWN_EL0, on_and_off),
    Scenario(
        "own_breakpoints",
        "the same, debugged with software breakpoints and no steps",
        OWN_EL0,
        breakpoints,
    ),
    Scenario("locked", "a guest that locks its OS Lock, stepped", LOCKED, step_all),
)


#: What no code can have go well: see the catalogue's K11.
LIMIT = Scenario(
    "exclusive", "a load-exclusive and a store-exclusive, stepped", EXCLUSIVE, few_steps
)

BY_NAME = {scenario.name: scenario for scenario in (*SCENARIOS, LIMIT)}
