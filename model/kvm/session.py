"""User space: it runs one vcpu of a VM, answers its accesses, steps it, and has it watched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from errno import EINTR

from model.a64.processor import QUIET
from model.a64.trace import Inputs, Row
from model.arch import EL, ESR_ELx, Event, Retire
from model.kvm.engine import Engine, NoExit, Ran, ReferenceEngine
from model.kvm.guest_trace import OWN_STEP, GuestEvent, GuestTrace
from model.kvm.host import Host
from model.kvm.properties import Watch
from model.kvm.uapi import ExitReason, KvmGuestDebug, KvmRun
from model.kvm.vm import Vm
from model.programs.image import Image

Pins = Sequence[Inputs]


@dataclass(frozen=True, eq=False)
class Guest:
    """A program, and what it meets."""

    image: Image  #: begins at its entry, at EL1h with everything masked
    virqs: frozenset[int] = frozenset()  #: before which events a virtual IRQ is there, for one
    aborts: frozenset[int] = frozenset()  #: which accesses to devices abort, 0 the first


def device(address: int, size: int) -> bytes:
    """What a load from a device gives: something else everywhere."""
    value = (address * 0x9E37_79B9_7F4A_7C15 >> 7) & (1 << 8 * size) - 1
    return value.to_bytes(size, "little")


class KickedEngine(ReferenceEngine):
    """The reference, with an interrupt after so many events of the guest, if asked for.

    `pins` says what each run was given, for another engine to be given the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kick_after: int | None = None  #: events of the guest from the next run on
        self.async_first = False  #: the interrupt comes before a pending step exception
        self.serror = False  #: it is an SError
        self.pins: list[Pins] = []

    async def run(self, inputs: Pins = (QUIET,)) -> Ran:
        """See `Engine`."""
        kick, self.kick_after = self.kick_after, None
        if kick is None:
            self.pins.append(tuple(inputs))
            return await super().run(inputs)
        high = self.high()
        given: list[Inputs] = []
        rows: list[Row] = []
        events = 0
        while not rows or rows[-1].pc_after != self._wait:
            if len(rows) == self._max_rows:
                raise NoExit(self._no_exit(rows))
            given.append(high if events >= kick else QUIET)
            rows.append(self._processor.step(given[-1]))
            events += is_event(rows[-1])
        if exits := [row for row in rows if row.el <= EL.EL1 and row.target_el == EL.EL2]:
            self.exited(exits[-1], kick - events)
        self.pins.append((*given, QUIET))
        return Ran(rows, [])

    def high(self) -> Inputs:
        """What a row meets when the interrupt is there."""
        pin = {"serror" if self.serror else "irq": 1}
        return Inputs(**pin, async_first=int(self.async_first))

    def exited(self, row: Row, left: int) -> None:
        """The interrupt has come; or it will, in a later run, and what the host does now counts."""
        if row.kind == Retire.SYNCHRONOUS:
            by_host = row.event != Event.HVC and ESR_ELx.EC.get(row.esr) not in OWN_STEP
            self.kick_after = max(0, left - by_host)


class ReplayedEngine:
    """Another engine that is given in each run what a `KickedEngine` was given."""

    def __init__(self, engine: Engine, pins: Iterable[Pins]) -> None:
        self._engine = engine
        self._pins = iter(pins)
        self.kick_after: int | None = None  #: known already
        self.async_first = self.serror = False

    async def start(self, image: Image) -> Ran:
        """See `Engine`."""
        next(self._pins)  # of the run from the reset on
        return await self._engine.start(image)

    async def run(self, inputs: Pins = (QUIET,)) -> Ran:
        """See `Engine`. ValueError if it comes to more runs than there were."""
        given = next(self._pins, None)
        if given is None:
            raise ValueError("the other engine had fewer runs")
        return await self._engine.run(given)

    def read(self, address: int, size: int) -> bytes:
        """See `Engine`."""
        return self._engine.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        """See `Engine`."""
        self._engine.write(address, data)


def is_event(row: Row) -> bool:
    """Whether the guest has done something: see `guest_trace`."""
    if row.el > EL.EL1:
        return False
    return row.kind == Retire.INSTRUCTION or row.target_el == EL.EL1 or row.event == Event.HVC


class Session:
    """One vcpu from its first instruction on, watched."""

    def __init__(
        self,
        engine: KickedEngine | ReplayedEngine,
        host: Host,
        guest: Guest,
        shadow: Sequence[GuestEvent] | None = None,
    ) -> None:
        self.vm = Vm(engine, host)
        self.watch = Watch(GuestTrace(guest.image.entry), shadow, host.suppresses)
        self.run_page = KvmRun()
        self.over = False  #: the guest has switched itself off, or cannot go on
        self._engine = engine
        self._guest = guest
        self._accesses = 0

    async def start(self) -> None:
        """Bring the VM up."""
        await self.vm.start(self._guest.image)
        self._create()

    def join(self, other: "Session") -> None:
        """Be another vcpu of a VM that is up; the guest is to be the same, or in memory there."""
        self.vm = other.vm
        self._create()

    def _create(self) -> None:
        self.cpu = self.vm.create_vcpu()
        self.vm.vcpu_init(self.cpu, self._guest.image.entry)

    @property
    def events(self) -> list[GuestEvent]:
        """What the guest has done."""
        return self.watch.trace.events

    def debug(self, control: int) -> None:
        """KVM_SET_GUEST_DEBUG. ValueError if it is refused."""
        if self.vm.set_guest_debug(self.cpu, KvmGuestDebug(control)):
            raise ValueError(f"KVM_SET_GUEST_DEBUG refuses {control:#x}")

    async def kvm_run(
        self,
        kick_after: int | None = None,
        async_first: bool = False,
        serror: bool = False,
        signal: bool = False,
    ) -> int:
        """KVM_RUN once; an access of before has been answered.

        An interrupt, or an SError, comes after `kick_after` events of the guest; with `signal`, it
        is one for user space.
        """
        self.vm.set_virtual_irq(self.cpu, self._entered_at in self._guest.virqs)
        engine = self._engine
        engine.kick_after, engine.async_first, engine.serror = kick_after, async_first, serror
        self.watch.before(self.cpu)
        result = await self.vm.run(self.cpu, self.run_page, signal=signal)
        self.watch.after(self.cpu, self.run_page, result, self.vm.switches)
        self._answer(result)
        return result

    def _answer(self, result: int) -> None:
        run = self.run_page
        failed = result < 0 and result != -EINTR
        ended = run.exit_reason in (ExitReason.SYSTEM_EVENT, ExitReason.UNKNOWN)
        if failed or (not result and ended):
            self.over = True
        elif not result and run.exit_reason == ExitReason.MMIO:
            if self._accesses in self._guest.aborts:
                self.vm.inject_external_abort(self.cpu)
            elif not run.mmio.is_write:
                run.mmio.data = device(run.mmio.phys_addr, run.mmio.len)
            self._accesses += 1

    async def step(
        self, kick_after: int | None = None, async_first: bool = False, serror: bool = False
    ) -> None:
        """KVM_RUN until the guest has been stepped: an access takes two of them."""
        begun = len(self.events)
        await self.kvm_run(kick_after, async_first, serror)
        while not self.over and len(self.events) == begun and self.cpu.access is not None:
            await self.kvm_run()

    async def free_run(self, events: int) -> None:
        """KVM_RUN until the guest has done so much (in all), or has switched itself off."""
        while not self.over and len(self.events) < events:
            await self.run_on(events)

    async def run_on(self, events: int) -> None:
        """KVM_RUN once, which ends before the guest has done more than so much (in all)."""
        begin, virqs = self._entered_at, self._guest.virqs
        # A virtual interrupt is there for one event.
        ends = [begin + 1] if begin in virqs else [n for n in virqs if n > begin]
        await self.kvm_run(max(0, min([events, *ends]) - begin), signal=True)

    @property
    def _entered_at(self) -> int:
        """Events before the next entry: KVM_RUN completes an open access first."""
        return len(self.events) + (self.cpu.access is not None)


async def shadow_of(guest: Guest, host: Host, events: int) -> list[GuestEvent]:
    """What a guest does without debugging, up to so many events."""
    session = Session(KickedEngine(), host, guest)
    await session.start()
    await session.free_run(events)
    return session.events
