"""Random scenarios of guest debugging: a random guest, and what a random user space does with it.

User space switches single steps, ENABLE alone and nothing on and off, whether an access is open or
not; interrupts, of its own or of the host, come at any place in a step. The guest of a scenario has
a shadow, the same guest without debugging, and a run is held against it to its end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from model.arch import ESR_ELx, StepISS
from model.kvm.engine import Engine
from model.kvm.guest_trace import OWN_STEP, GuestEvent
from model.kvm.session import Guest, KickedEngine, Pins, ReplayedEngine, Session
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_SW_BP
from model.kvm.vcpu import Vcpu
from tb.kvm.hosts import HOSTS
from tb.kvm.random_guests import MAX_EVENTS, guest_of

_ENABLE, _BREAKPOINTS = KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_USE_SW_BP
_STEPPING = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP
_NO_STEPS = (0, 0, _ENABLE, KVM_GUESTDBG_SINGLESTEP)

_HOST_OF_SHADOWS = "upstream"  #: any will do: nothing is debugged

#: The guest's own registers, as its end is held against that of its shadow.
_OWN = (
    *("spsr", "elr", "mdscr_el1", "sp_el0", "sp_el1", "x", "os_lock", "sctlr_el1", "vbar_el1"),
    *("elr_el1", "spsr_el1", "esr_el1", "far_el1", "tpidr_el0", "tpidrro_el0", "tpidr_el1"),
)
_FREE = StepISS.ISV.mask | StepISS.EX.mask


@dataclass(frozen=True, slots=True)
class Run:
    """One KVM_RUN."""

    control: int  #: KVM_GUESTDBG_*, set before
    events: int = 0  #: without steps: how many the guest gets on, or less
    kick_after: int | None = None  #: events of the guest until an interrupt; None: there is none
    async_first: bool = False  #: it comes before a pending step exception
    serror: bool = False  #: it is an SError
    signal: bool = False  #: it is one for user space


@dataclass(frozen=True, slots=True)
class Scenario:
    """A guest, and what user space does with it until it is over."""

    seed: int
    guest: Guest
    advance_first: bool  #: the PC goes past an access before user space makes it
    stepping: tuple[int, ...] = (_STEPPING,)  #: guest_debug with single steps, and without
    no_steps: tuple[int, ...] = _NO_STEPS

    def script(self) -> Iterator[Run]:
        """For longer than any guest."""
        return _script(Random(f"script {self.seed}"), self.stepping, self.no_steps)


class Shadow(NamedTuple):
    """What the guest of a scenario does without debugging, to its end."""

    events: Sequence[GuestEvent]
    regs: Vcpu


def scenario_of(seed: int) -> Scenario:
    """The scenario of a seed. It depends on nothing else.

    Software breakpoints are asked for where the guest has none, and without steps where that is not
    stated to suppress anything.
    """
    rng = Random(f"scenario {seed}")
    advance_first, kind = rng.random() < 0.5, rng.random()
    if kind < 0.6:
        return Scenario(seed, guest_of(seed), advance_first)
    stepping = (_STEPPING, _STEPPING | _BREAKPOINTS)
    if kind < 0.8:
        return Scenario(seed, guest_of(seed, breakpoints=False), advance_first, stepping)
    guest = guest_of(seed, own_steps=False, breakpoints=False)
    return Scenario(seed, guest, advance_first, stepping, (*_NO_STEPS, _ENABLE | _BREAKPOINTS))


def _script(rng: Random, stepping: Sequence[int], no_steps: Sequence[int]) -> Iterator[Run]:
    interrupts = rng.choice((0.0, 0.1, 0.4))  # of all steps
    most = rng.choice((1, 5, 30, MAX_EVENTS))  # steps in a row
    if rng.random() < 0.5:
        yield Run(rng.choice(no_steps), rng.randrange(1, 20))
    left = 2 * MAX_EVENTS  # an access takes two
    while left > 0:
        control, steps = rng.choice(stepping), rng.randrange(1, most + 1)
        left -= steps
        for _ in range(steps):
            yield _step(rng, control, interrupts)
        for _ in range(rng.randrange(3)):
            yield Run(rng.choice(no_steps), rng.randrange(1, 12))


def _step(rng: Random, control: int, interrupts: float) -> Run:
    if rng.random() >= interrupts:
        return Run(control)
    serror = rng.random() < 0.2
    return Run(
        control,
        kick_after=rng.getrandbits(1),
        async_first=rng.random() < 0.6,
        serror=serror,
        signal=not serror and rng.random() < 0.3,
    )


async def shadow_of(scenario: Scenario, engine: KickedEngine | None = None) -> Shadow:
    """The shadow of a scenario, on the reference. ValueError if the guest does not end."""
    session = Session(engine or KickedEngine(), HOSTS[_HOST_OF_SHADOWS](), scenario.guest)
    await session.start()
    await session.free_run(MAX_EVENTS)
    if not session.over:
        raise ValueError(f"the guest of seed {scenario.seed} has not ended: {MAX_EVENTS} events")
    return Shadow(session.events, session.cpu.regs)


async def run_scenario(
    scenario: Scenario,
    shadow: Shadow,
    host: str = "upstream",
    engine: KickedEngine | ReplayedEngine | None = None,
) -> Session:
    """Run a scenario with a host of HOSTS, on a new reference if no engine is given.

    NoExit, HypPanic; Mismatch and Failure from the core.
    """
    made = HOSTS[host]()
    made.advance_first = scenario.advance_first
    session = Session(engine or KickedEngine(), made, scenario.guest, shadow.events)
    await session.start()
    control = 0
    for run in scenario.script():
        if run.control != control:
            session.debug(run.control)
            control = run.control
        if control & _STEPPING == _STEPPING:
            await session.kvm_run(run.kick_after, run.async_first, run.serror, run.signal)
        else:
            await session.run_on(len(session.events) + run.events)
        if session.over:
            break
    return session


async def run_again(
    scenario: Scenario, shadow: Shadow, host: str, engine: Engine, pins: Sequence[Pins]
) -> Session:
    """The same on another engine, which is given the `pins` of a `KickedEngine` that has run it."""
    return await run_scenario(scenario, shadow, host, ReplayedEngine(engine, pins))


def differences(session: Session, shadow: Shadow) -> list[str]:
    """What a guest's run and its end have that are not its shadow's; [] if nothing."""
    if not session.over:
        return [f"not over after {len(session.events)} events"]
    if len(session.events) != len(shadow.events):
        return [f"{len(session.events)} events, without debugging {len(shadow.events)}"]
    for n, (event, other) in enumerate(zip(session.events, shadow.events, strict=True)):
        if _what(event) != _what(other):
            return [f"event {n} at {event.pc:#x}: not what it is without debugging"]
    found, expected = _own(session.cpu.regs), _own(shadow.regs)
    wrong = [name for name in found if found[name] != expected[name]]
    return [f"{name} is {found[name]}, without debugging {expected[name]}" for name in wrong]


def _what(event: GuestEvent) -> tuple[int, int, bool, bool]:
    return event.pc, event.view.pc, event.exception, event.own_step


def _own(regs: Vcpu) -> dict[str, object]:
    own = {name: getattr(regs, name) for name in _OWN}
    if ESR_ELx.EC.get(regs.esr_el1) in OWN_STEP:
        # The host's interrupts may have come between the step and its exception.
        own["esr_el1"] &= ~_FREE
    return own
