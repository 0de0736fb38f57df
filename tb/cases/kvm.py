"""Guest debugging by KVM, with its host's code, on the reference and on the core."""

from model.hyp import SequenceError, sequences
from model.hyp.words import Sequence
from model.kvm.engine import NoExit
from model.kvm.guest_trace import GuestEvent
from model.kvm.host import Host, HypPanic
from model.kvm.properties import JUDGED, Violation
from model.kvm.session import Guest, KickedEngine, ReplayedEngine, Session
from model.programs import load
from tb.cases import case, register
from tb.cases.core.cost import DEBUGGING, measured
from tb.core.testbench import CoreTestbench
from tb.harness import CORE
from tb.kvm import play, random_scenarios, verdicts
from tb.kvm.catalogue import LeftToSequence
from tb.kvm.hosts import HOSTS, Factory, upstream
from tb.kvm.quick import QuickEngine
from tb.kvm.scenarios import BY_NAME, SCENARIOS, STEPPING, WRITES, Scenario, long_trapped
from tb.testbench import Failure

#: the case of --hyp FILE
USER = "kvm.user"

TITLE = "guest debugging: what each host breaks, by scenario"
HEADER = ("scenario", "", *HOSTS)

RANDOM_ON_REFERENCE, RANDOM_ON_CORE = 200, 4
LONG, LONG_ON_CORE = 10_000, 50  #: steps

_FIRST_STEPS = 2


# Each scenario, with each host


async def hosts(tb: CoreTestbench, scenario: Scenario) -> None:
    """On both engines. upstream breaks nothing; what the others break is in the table."""
    row = [scenario.name, scenario.text]
    for name, make in HOSTS.items():
        session = await play.on_both(tb, scenario, make)
        row.append(play.names(play.broken(session)))
        if more := play.broken(session) - verdicts.BREAKS[name]:
            tb.say(play.lines(scenario, session.watch.broken))
            raise Failure(f"{name} breaks {play.names(more)} in {scenario.name}")
    tb.table(TITLE, HEADER, [row])


def _register() -> None:
    for scenario in SCENARIOS:

        async def body(tb: CoreTestbench, scenario: Scenario = scenario) -> None:
            await hosts(tb, scenario)

        source = f"KVM guest debug, P1 to P7: {scenario.text}"
        register(f"kvm.{scenario.name}", body, source, bulk=True, design=CORE)


@case("KVM guest debug, P1 to P8", bulk=True, design=CORE)
async def properties(tb: CoreTestbench) -> None:
    """All of it in one table: what is broken in no scenario is kept."""
    broken = {name: verdicts.of_host(make) for name, make in HOSTS.items()}
    for name, found in broken.items():
        if set(found) != verdicts.BREAKS[name]:
            where = [f"{each.name} in {', '.join(names)}" for each, names in found.items()]
            tb.say(where)
            expected = play.names(set(verdicts.BREAKS[name]))
            raise Failure(f"{name} breaks {play.names(set(found))}, and not {expected}")
    cost = {name: await cost_of(tb, name) for name in HOSTS}
    tb.table("guest debugging: who keeps what", verdicts.HEADER, verdicts.rows(broken, cost))


async def cost_of(tb: CoreTestbench, sequence: str) -> str:
    """P8: cycles of a guest entry with debugging off, and when stepping."""
    off, _, _ = await measured(tb, sequence, DEBUGGING["off"])
    stepping, _, _ = await measured(tb, sequence, DEBUGGING["stepping"])
    return f"{off} cycles, {stepping} stepping"


@case("KVM guest debug, P1", design=CORE)
async def first_steps(tb: CoreTestbench) -> None:
    """Two steps of the plain guest, on any simulator."""

    async def few(session: Session) -> None:
        session.debug(STEPPING)
        for _ in range(_FIRST_STEPS):
            await session.step()

    plain = BY_NAME["plain"]
    session = await play.on_both(
        tb, Scenario("first_steps", plain.text, plain.guest, few), upstream
    )
    if session.watch.broken or len(session.events) != _FIRST_STEPS:
        tb.say(play.lines(plain, session.watch.broken))
        raise Failure(f"{len(session.events)} steps of {_FIRST_STEPS}")


# Beside the scenarios


@case("KVM guest debug, P1 and P6", bulk=True, design=CORE)
async def ten_thousand_steps(tb: CoreTestbench) -> None:
    """Over code with accesses that trap, each exit is one instruction on.

    On the reference; the core does the first steps of them.
    """
    guest = long_trapped(LONG)
    events = await _undebugged(guest, LONG)
    session = Session(QuickEngine(), upstream(), guest, events)
    await session.start()
    await _step_along(session, events, LONG)

    async def begin(session: Session) -> None:
        await _step_along(session, events, LONG_ON_CORE)

    await play.on_both(tb, Scenario("begin", "the first steps", guest, begin), upstream)


async def _step_along(session: Session, events: list[GuestEvent], steps: int) -> None:
    session.debug(STEPPING)
    for n in range(steps):
        await session.step()
        found, expected = session.run_page.debug.address, events[n].view.pc
        if found != expected:
            raise Failure(f"step {n} exits at {found:#x}, the next instruction is at {expected:#x}")
    if session.watch.broken:
        raise Failure(str(session.watch.broken[0]))


async def _undebugged(guest: Guest, most: int) -> list[GuestEvent]:
    session = Session(QuickEngine(), upstream(), guest)
    await session.start()
    await session.free_run(most)
    return session.events


@case("KVM guest debug, two vcpus", bulk=True, design=CORE)
async def two_vcpus(tb: CoreTestbench) -> None:
    """In turn on one core, one stepped and one not: neither sees anything of the other."""
    engine = KickedEngine()
    first = await _in_turn(engine)
    second = await _in_turn(ReplayedEngine(tb.engine(), engine.pins))
    for mine, its in zip(first, second, strict=True):
        if play.pcs(mine) != play.pcs(its):
            raise Failure("the vcpus do not go the same way on both engines")
        if its.watch.broken:
            raise Failure(str(its.watch.broken[0]))
        if not its.over:
            raise Failure("a vcpu has not come to its end")


async def _in_turn(engine: KickedEngine | ReplayedEngine) -> tuple[Session, Session]:
    shadow = await _undebugged(WRITES, LONG)
    stepped = Session(engine, upstream(), WRITES, shadow)
    await stepped.start()
    free = Session(engine, upstream(), WRITES, shadow)
    free.join(stepped)
    stepped.debug(STEPPING)
    while not (stepped.over and free.over):
        if not stepped.over:
            await stepped.step()
        if not free.over:
            await free.run_on(len(free.events) + 2)
    return stepped, free


@case("KVM guest debug, P1 to P7", random=True, bulk=True, design=CORE)
async def random(tb: CoreTestbench) -> None:
    """Random guests and user spaces, on the reference, and some of them on the core."""
    for n in range(RANDOM_ON_REFERENCE):
        scenario = random_scenarios.scenario_of(tb.rng.getrandbits(32))
        shadow = await random_scenarios.shadow_of(scenario, QuickEngine())
        quick = n >= RANDOM_ON_CORE
        engine = QuickEngine() if quick else KickedEngine()
        session = await random_scenarios.run_scenario(scenario, shadow, engine=engine)
        _judge(tb, scenario.seed, session, shadow)
        if not quick:
            core, pins = tb.engine(), engine.pins
            again = await random_scenarios.run_again(scenario, shadow, "upstream", core, pins)
            _judge(tb, scenario.seed, again, shadow)
            if play.pcs(again) != play.pcs(session):
                raise Failure(f"scenario {scenario.seed}: the two engines differ")


def _judge(tb: CoreTestbench, seed: int, session: Session, shadow: random_scenarios.Shadow) -> None:
    found = [str(each) for each in session.watch.broken]
    found += random_scenarios.differences(session, shadow)
    if found:
        tb.say(found)
        raise Failure(f"scenario {seed}: {found[0]}")


# The user's own sequence

USER_TITLE = "guest debugging with your sequence: in the seed's host, and in a repaired one"
USER_HEADER = ("property", "", "the seed's host", "repaired host")


async def user(tb: CoreTestbench, sequence: Sequence) -> None:
    """Through all scenarios. Failure if it breaks something in a host that breaks nothing."""
    makes: dict[str, Factory] = {
        "seed": lambda: Host(sequence),
        "repaired": lambda: LeftToSequence(sequence, advance_first=False),
    }
    found: dict[str, dict[str, str]] = {name: {} for name in makes}
    for name, make in makes.items():
        for scenario in SCENARIOS:
            for each in await _of_user(tb, scenario, make, name == "repaired"):
                found[name].setdefault(each.property.name, f"breaks, in {scenario.name}")
    table = [
        [which.name, which.value, *(found[name].get(which.name, "keeps") for name in makes)]
        for which in JUDGED
    ]
    tb.table(USER_TITLE, USER_HEADER, table)
    if found["repaired"]:
        which = ", ".join(sorted(found["repaired"]))
        raise Failure(f"{sequence.name} breaks {which} in a host that breaks nothing by itself")


async def _of_user(
    tb: CoreTestbench, scenario: Scenario, make: Factory, tells: bool
) -> list[Violation]:
    try:
        session = await play.on_both(tb, scenario, make)
    except (HypPanic, NoExit) as error:
        raise Failure(f"{scenario.name}: {error}") from None
    if tells and session.watch.broken:
        tb.say([f"{scenario.name}: {line}" for line in play.lines(scenario, session.watch.broken)])
    return session.watch.broken


def register_user(path: str) -> None:
    """Add the case USER. SequenceError if the file cannot be used."""
    sequence = sequences.load(path)
    try:
        load.with_world_switch(SCENARIOS[0].guest.image, sequence)
    except ValueError as error:
        raise SequenceError(str(error)) from None

    async def body(tb: CoreTestbench) -> None:
        await user(tb, sequence)

    register(USER, body, "KVM guest debug, P1 to P7", bulk=True, design=CORE)


_register()
