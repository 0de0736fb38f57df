"""Each property is broken by a host with one fault, and says so in its own words; by no other.

The fault is put into the host that keeps all of them. The guest is a few words, and the shadow is
what it does on the host without the fault.
"""

from collections.abc import Callable, Sequence
from errno import EINTR

import pytest

from model.arch import Last
from model.hyp.sequences import load
from model.kvm.guest_trace import GuestTrace
from model.kvm.host import WARN_ON_STEP, Host
from model.kvm.properties import JUDGED, Property, Violation, Watch
from model.kvm.session import Guest, KickedEngine, Session, shadow_of
from model.kvm.uapi import DebugExit, ExitReason
from model.kvm.upstream import Upstream
from model.programs import load as programs
from model.programs.image import Image
from tb.core.program import mov
from tb.tests.model.a64.pe import (
    ADD_X0_1,
    LDR_X0_X1,
    LDXR_X0_X1,
    NOP,
    STR_X0_X1,
    SVC,
    TDE,
    WFI,
    msr,
)
from tb.tests.model.kvm.guests import DATA, DEVICE, EL1H, MASKED, OFF, STEPPING, VECTORS, image, now

PC = 0x4010_0000
ENABLE = 1
SS = 1 << 21
CBNZ_X2_BACK = 0xB5FF_FFC2  # cbnz x2, .-8
STXR_X2 = 0xC802_7C20  # stxr w2, x0, [x1]

PLAIN = image(*[ADD_X0_1] * 6, *OFF)
WAITS = image(WFI, WFI, NOP, NOP, *OFF)
LOADS = image(*mov(1, DEVICE), LDR_X0_X1, NOP, STR_X0_X1, NOP, *OFF)
AT_LOAD = PC + 4 * len(mov(1, DEVICE))


SET_VBAR = (*mov(0, VECTORS), msr("VBAR_EL1", 0))


class Faulty(Upstream):
    """A right host, but for what a subclass changes, which does so when it is asked to."""

    def __init__(self) -> None:
        super().__init__(load("callout"))
        self.at = 0  #: the fault shows in this of its chances, 0 the first
        self._chances = 0

    def now(self) -> bool:
        """One more chance: whether this is the one."""
        self._chances += 1
        return self._chances == self.at + 1


def watched(
    host: Host,
    program: Image,
    runs: int = 3,
    controls: Sequence[int] = (STEPPING,),
    right: Host | None = None,
    **guest: frozenset[int],
) -> Session:
    """So many KVM_RUNs, or fewer at the guest's end; `controls`: of each, and then the last."""
    what = Guest(program, **guest)
    shadow = now(shadow_of(what, right or Upstream(load("callout")), 200))
    session = Session(KickedEngine(), host, what, shadow)

    async def run() -> None:
        await session.start()
        for n in range(runs):
            if n < len(controls):
                session.debug(controls[n])
            if not session.over:
                await session.kvm_run()

    now(run())
    return session


def broken(session: Session) -> list[tuple[str, int, int, str]]:
    """(property, KVM_RUN, instruction, text) of each violation."""
    return [(v.property.name, v.run, v.pc, v.text) for v in session.watch.broken]


# What a property is


def test_all_are_judged_but_the_cost():
    assert [each.name for each in Property] == [f"P{n}" for n in range(1, 9)]
    assert [each.name for each in JUDGED] == [f"P{n}" for n in range(1, 8)]


def test_a_violation_is_one_line_with_the_place():
    violation = Violation(Property.P3, 12, PC, 1_234_567, "MDSCR_EL1 is 0x1, without debugging 0x0")
    assert str(violation) == (
        "P3: KVM_RUN 12, instruction at 0x40100000, cycle 1,234,567:"
        " MDSCR_EL1 is 0x1, without debugging 0x0"
    )


# P1


class MissesAStep(Faulty):
    def debug_exit(self, cpu, run, exit_type):
        return 1 if self.now() else super().debug_exit(cpu, run, exit_type)

    def end(self, cpu, run):
        return 1  # the step exception alone is an exit


def test_two_instructions_in_one_run_break_p1():
    session = watched(MissesAStep(), PLAIN)
    assert broken(session) == [("P1", 0, PC, "2 instructions in one KVM_RUN, not 1")]


def test_an_instruction_and_an_exception_in_one_run_break_p1():
    host = MissesAStep()
    host.at = len(SET_VBAR)
    session = watched(host, image(*SET_VBAR, NOP, SVC, at_200=OFF), runs=len(SET_VBAR) + 1)
    at = PC + 4 * len(SET_VBAR)
    what = "1 instruction and 1 exception to EL1 in one KVM_RUN, not 1"
    assert broken(session) == [("P1", len(SET_VBAR), at, what)]


class StepsNothing(Faulty):
    def begin(self, cpu, run):
        return self.debug_exit(cpu, run, DebugExit.SINGLE_STEP) if self.now() else 1


def test_a_run_that_says_it_stepped_and_did_not_breaks_p1():
    session = watched(StepsNothing(), PLAIN)
    assert broken(session) == [("P1", 0, PC, "0 instructions in one KVM_RUN, not 1")]


class SaysSomethingElse(Faulty):
    def debug_exit(self, cpu, run, exit_type):
        result = super().debug_exit(cpu, run, exit_type)
        if self.now():
            run.exit_reason = ExitReason.INTR
        return result


def test_a_step_that_is_not_reported_as_one_breaks_p1():
    session = watched(SaysSomethingElse(), PLAIN)
    assert broken(session) == [("P1", 0, PC, "the exit is INTR, not DEBUG")]


class SaysSomewhereElse(Faulty):
    def debug_exit(self, cpu, run, exit_type):
        result = super().debug_exit(cpu, run, exit_type)
        run.debug.address += 8 if self.now() else 0
        return result


def test_a_wrong_address_breaks_p1_and_is_not_what_user_space_reads():
    session = watched(SaysSomewhereElse(), PLAIN)
    at, next_one = f"{PC + 12:#x}", f"{PC + 4:#x}"
    assert broken(session) == [
        ("P1", 0, PC, f"the exit says {at}, the next instruction is at {next_one}"),
        ("P6", 0, PC, f"user space reads PC {next_one}, the exit says {at}"),
    ]


class Fails(Faulty):
    def handle_exit(self, cpu, run):
        result = super().handle_exit(cpu, run)
        return -EINTR if self.now() else result


def test_a_run_that_fails_after_an_instruction_breaks_p1():
    session = watched(Fails(), PLAIN)
    assert broken(session) == [("P1", 0, PC, "KVM_RUN failed after 1 instruction")]


class FailsBefore(Faulty):
    def begin(self, cpu, run):
        return -EINTR if self.now() else 1


def test_a_run_that_fails_before_anything_breaks_nothing():
    assert broken(watched(FailsBefore(), PLAIN)) == []


def test_an_instruction_before_an_access_of_user_space_breaks_p1():
    host = MissesAStep()
    host.at = 1
    program = image(NOP, *mov(1, DEVICE), LDR_X0_X1, NOP, *OFF)
    session = watched(host, program, runs=2)
    what = "1 instruction before the one whose access user space is to make"
    assert broken(session) == [("P1", 1, PC + 4, what)]


def test_an_access_is_a_run_of_its_own_and_breaks_nothing():
    assert broken(watched(Upstream(load("callout")), LOADS, runs=20)) == []


def test_a_guest_that_goes_on_after_its_end_breaks_p1():
    what = Guest(PLAIN)
    shadow = now(shadow_of(what, Upstream(load("callout")), 200))[:1]
    session = Session(KickedEngine(), Upstream(load("callout")), what, shadow)

    async def run():
        await session.start()
        session.debug(STEPPING)
        for _ in range(3):
            await session.step()

    now(run())
    what = "the guest goes on, which has ended without debugging"
    assert broken(session) == [("P1", 1, PC + 4, what)]


#: A store-exclusive fails when each step clears the monitor, and the guest tries again for ever.
EXCLUSIVE = image(*mov(1, DATA), LDXR_X0_X1, STXR_X2, CBNZ_X2_BACK, *OFF)


def test_an_exclusive_sequence_that_does_not_end_is_a_known_limit():
    start = PC + 4 * len(mov(1, DATA))
    session = watched(Upstream(load("callout")), EXCLUSIVE, runs=12)
    (first, *others) = broken(session)
    assert others == []
    assert first == (
        "P1",
        len(mov(1, DATA)) + 2,
        start + 8,
        "the step has cleared the exclusive monitor, a known limit:"
        f" then at {start:#x}, without debugging at {start + 12:#x}",
    )


# P2 and P5


class ReportsAStep(Faulty):
    def end(self, cpu, run):
        return self.debug_exit(cpu, run, DebugExit.SINGLE_STEP)


@pytest.mark.parametrize("control", [0, ENABLE])
def test_a_step_that_nobody_asked_for_breaks_p2(control):
    session = watched(ReportsAStep(), WAITS, runs=1, controls=(control,))
    what = f"KVM_EXIT_DEBUG at {PC + 4:#x}: no single step was asked for"
    assert broken(session) == [("P2", 0, PC, what)]


class Warns(Faulty):
    def end(self, cpu, run):
        if self.now():
            cpu.log.append(WARN_ON_STEP)
        return super().end(cpu, run)


def test_a_warning_of_kvm_handle_ss_breaks_p5():
    session = watched(Warns(), WAITS, runs=2, controls=(ENABLE,))
    assert broken(session) == [("P5", 0, PC, "kvm_handle_ss ran, no single step was asked for")]


class StepsAnyway(Faulty):
    """The guest is stepped with ENABLE alone: as if one shift had been taken for the other."""

    def setup(self, cpu):
        super().setup(cpu)
        cpu.regs.mdcr_el2 |= TDE
        cpu.regs.mdscr_el1 |= 1
        cpu.regs.spsr |= SS


def test_steps_without_single_step_break_p2_and_p5():
    session = watched(StepsAnyway(), PLAIN, runs=2, controls=(ENABLE,))
    kinds = [(each[0], each[1]) for each in broken(session)]
    assert kinds == [("P2", 0), ("P5", 0), ("P2", 1), ("P5", 1)]


# P3


class Leaves(Faulty):
    """Something of the host is in the guest's registers after a step."""

    def __init__(self, change: Callable[..., None], at: int = 0) -> None:
        super().__init__()
        self.change, self.at = change, at

    def debug_exit(self, cpu, run, exit_type):
        if self.now():
            self.change(cpu.regs)
        return super().debug_exit(cpu, run, exit_type)


def set_mdscr(regs):
    regs.mdscr_el1 |= 1


def set_ss(regs):
    regs.spsr |= SS


def lose_flags(regs):
    regs.spsr &= ~(0xF << 28)


def unmask(regs):
    regs.spsr &= ~(1 << 7)


def set_spsr_el1_ss(regs):
    regs.spsr_el1 |= SS


FLAGS = image(0xF100_001F, NOP, NOP, NOP, *OFF)  # cmp x0, #0
PSTATE = EL1H | MASKED


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (set_mdscr, "MDSCR_EL1 is 0x1, without debugging 0x0"),
        (set_ss, "PSTATE.SS is 1, without debugging 0"),
        (lose_flags, f"PSTATE is {PSTATE:#x}, without debugging {PSTATE | 6 << 28:#x}"),
        (
            unmask,
            f"PSTATE is {PSTATE & ~0x80 | 6 << 28:#x}, without debugging {PSTATE | 6 << 28:#x}",
        ),
        (set_spsr_el1_ss, "SPSR_EL1.SS is 1, without debugging 0"),
    ],
)
def test_what_the_host_leaves_in_the_guests_registers_breaks_p3(change, text):
    session = watched(Leaves(change), FLAGS, runs=1)
    assert broken(session) == [("P3", 0, PC, text)]


def test_what_is_wrong_goes_on_breaking_p3_until_it_is_right_again():
    session = watched(Leaves(set_spsr_el1_ss, at=1), FLAGS, runs=4)
    text = "SPSR_EL1.SS is 1, without debugging 0"
    assert broken(session) == [("P3", n, PC + 4 * n, text) for n in (1, 2, 3)]


def test_the_guests_own_registers_break_nothing():
    x0 = (*mov(0, 0x8000), msr("MDSCR_EL1", 0), *mov(0, SS | 5), msr("SPSR_EL1", 0))
    assert broken(watched(Upstream(load("callout")), image(*x0, *OFF), runs=20)) == []


# P4


class Suppresses(Faulty):
    """The guest's own step exception does not come while the host debugs."""

    def begin(self, cpu, run):
        return 1


class SuppressesAsStated(Suppresses):
    def suppresses(self, control):
        return bool(control)


class StatesToSuppress(Faulty):
    def suppresses(self, control):
        return bool(control)


class StepsTheGuestForItself(Faulty):
    """A step exception of its own that the guest has not asked for."""

    def begin(self, cpu, run):
        if not self.now():
            return super().begin(cpu, run)
        cpu.own.take(cpu.regs)
        cpu.regs.esr_el1 = 0xCE00_0022
        return self.debug_exit(cpu, run, DebugExit.SINGLE_STEP)


SELF = programs.load("self_el0")
FIRST = SELF.symbols["stepped"]
ENTRY = (FIRST - SELF.entry) // 4  #: instructions before what the guest steps


def test_a_guest_that_is_not_let_step_itself_breaks_p4():
    session = watched(Suppresses(), SELF, runs=ENTRY + 4)
    (first, *_) = [each for each in broken(session) if each[0] == "P4"]
    assert first[2:] == (FIRST + 4, "the guest does not take its own step exception")


def test_a_guest_that_is_not_let_step_itself_by_a_host_that_says_so_breaks_nothing():
    assert broken(watched(SuppressesAsStated(), SELF, runs=ENTRY + 4)) == []


def test_a_guest_that_steps_itself_though_that_is_stated_to_be_suppressed_breaks_p4():
    session = watched(StatesToSuppress(), SELF, runs=ENTRY + 4)
    (first, *others) = broken(session)
    assert others == []
    what = "the guest steps itself, which is stated to be suppressed"
    assert (first[0], first[2], first[3]) == ("P4", FIRST + 4, what)


def test_a_step_exception_of_the_guest_that_is_not_its_own_breaks_p4():
    host = StepsTheGuestForItself()
    host.at = 2
    session = watched(host, PLAIN, runs=3)
    what = "the guest takes its own step exception"
    assert ("P4", 2, PC + 8, what) in broken(session)


class ForgetsExclusives(Faulty):
    """The guest's own step exception says that an instruction was stepped, whichever it was."""

    def begin(self, cpu, run):
        if cpu.own.last == Last.LOAD_EXCLUSIVE:
            cpu.own.last = Last.INSTRUCTION
        return super().begin(cpu, run)


def test_a_step_exception_of_the_guest_with_another_syndrome_breaks_p4():
    session = watched(ForgetsExclusives(), SELF, runs=200)
    (first, *_) = broken(session)
    what = "ESR_EL1 is 0xcb000022, without debugging 0xcb000062"
    assert first[0] == "P4"
    assert first[3] == f"the guest's own step exception: {what}"
    assert first[2] == FIRST + 36  # what comes after the load-exclusive


def test_a_guest_that_steps_itself_while_it_is_stepped_breaks_nothing():
    session = watched(Upstream(load("callout")), SELF, runs=200)
    assert broken(session) == []
    assert sum(event.own_step for event in session.events) > 5


# P6


class SkipsTwice(Faulty):
    def skip_instruction(self, cpu):
        super().skip_instruction(cpu)
        if self.now():
            super().skip_instruction(cpu)


def test_an_emulated_instruction_that_is_skipped_twice_breaks_p6():
    session = watched(SkipsTwice(), WAITS, runs=1)
    wrong, right = f"{PC + 8:#x}", f"{PC + 4:#x}"
    assert broken(session) == [
        ("P6", 0, PC, f"then at {wrong}, without debugging at {right}"),
        ("P6", 0, PC, f"emulated, it goes on at {wrong}, not at {right}"),
    ]


class SkipWithoutAdvance(Faulty):
    """The skip does not clear PSTATE.SS."""

    def skip_instruction(self, cpu):
        Host.skip_instruction(self, cpu)


def test_an_emulated_instruction_that_is_not_a_step_breaks_p6_and_p1():
    session = watched(SkipWithoutAdvance(), image(WFI, NOP, NOP, *OFF), runs=1)
    assert broken(session) == [
        ("P1", 0, PC, "2 instructions in one KVM_RUN, not 1"),
        ("P6", 0, PC, f"emulated, it is not all of its step: then comes {PC + 4:#x}"),
    ]


class MovesAfterwards(Faulty):
    """The PC that user space reads is not that of the exit."""

    def debug_exit(self, cpu, run, exit_type):
        result = super().debug_exit(cpu, run, exit_type)
        if self.now():
            run.debug.address, cpu.regs.elr = cpu.regs.elr, cpu.regs.elr + 4
        return result


def test_a_pc_that_moves_after_the_exit_breaks_p6():
    session = watched(MovesAfterwards(), PLAIN, runs=1)
    what = f"user space reads PC {PC + 8:#x}, the exit says {PC + 4:#x}"
    assert ("P6", 0, PC, what) in broken(session)


# P7


class LeavesAtEntry(Faulty):
    """Something of the host is in the PE with debugging off."""

    def __init__(self, change: Callable[..., None]) -> None:
        super().__init__()
        self.change = change

    def setup(self, cpu):
        super().setup(cpu)
        if not cpu.regs.guest_debug and self.now():
            self.change(cpu.regs)


def set_tde(regs):
    regs.mdcr_el2 |= TDE


def set_everything(regs):
    set_tde(regs)
    set_mdscr(regs)
    set_ss(regs)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (set_tde, "MDCR_EL2.TDE 1"),
        (set_mdscr, "MDSCR_EL1 0x1, the guest's being 0x0"),
        (set_ss, "SPSR_EL2.SS 1"),
        (
            set_everything,
            "MDSCR_EL1 0x1, the guest's being 0x0 and SPSR_EL2.SS 1 and MDCR_EL2.TDE 1",
        ),
    ],
)
def test_what_the_host_leaves_when_debugging_is_off_breaks_p7(change, text):
    session = watched(LeavesAtEntry(change), PLAIN, runs=2, controls=(STEPPING, 0))
    what = f"debugging is off, and the guest is entered with {text}"
    assert ("P7", 1, PC + 4, what) in broken(session)
    assert {each[0] for each in broken(session)} <= {"P2", "P3", "P5", "P7"}


def test_the_first_entry_of_all_is_judged_too():
    host = LeavesAtEntry(set_everything)
    shadow = now(shadow_of(Guest(PLAIN), Upstream(load("callout")), 200))
    session = Session(KickedEngine(), host, Guest(PLAIN), shadow)

    async def run() -> None:
        await session.start()
        session.debug(STEPPING)
        session.run_page.immediate_exit = True
        assert await session.kvm_run() == -EINTR
        session.debug(0)
        session.run_page.immediate_exit = False
        await session.kvm_run()

    now(run())
    left = "MDSCR_EL1 0x1, the guest's being 0x0 and SPSR_EL2.SS 1 and MDCR_EL2.TDE 1"
    what = f"debugging is off, and the guest is entered with {left}"
    assert ("P7", 1, PC, what) in broken(session)


def test_the_bits_of_the_host_with_debugging_off_from_the_start_are_none_of_p7():
    session = watched(LeavesAtEntry(set_tde), WAITS, runs=2, controls=(0,))
    assert broken(session) == []


def test_debugging_that_is_switched_off_in_time_breaks_nothing():
    controls = (STEPPING, 0, STEPPING, ENABLE, 0)
    for program in (PLAIN, WAITS, LOADS, FLAGS):
        assert broken(watched(Upstream(load("callout")), program, 8, controls)) == []


# Right runs, and the shadow


@pytest.mark.parametrize("advance_first", [True, False])
@pytest.mark.parametrize("program", [PLAIN, WAITS, LOADS, FLAGS])
def test_a_right_host_breaks_nothing(program, advance_first):
    host = Upstream(load("callout"), advance_first)
    session = watched(host, program, runs=40)
    assert broken(session) == []
    assert session.over


@pytest.mark.parametrize("name", ["v1", "bic", "callout"])
def test_the_seed_steps_plain_instructions_with_its_bit_in_mdscr_el1(name):
    session = watched(Host(load(name), callout=name == "callout"), PLAIN, runs=3)
    text = "MDSCR_EL1 is 0x1, without debugging 0x0"
    assert broken(session) == [("P3", n, PC + 4 * n, text) for n in range(3)]


def test_without_debugging_the_seed_breaks_nothing():
    host = Host(load("v1"))
    for program in (PLAIN, WAITS, LOADS, FLAGS):
        assert broken(watched(host, program, runs=10, controls=(0,), right=Host(load("v1")))) == []


def test_a_shadow_judges_nothing():
    session = Session(KickedEngine(), ReportsAStep(), Guest(WAITS))

    async def run():
        await session.start()
        await session.kvm_run()

    now(run())
    assert (session.events != [], session.watch.broken) == (True, [])


def test_a_violation_has_the_guests_last_row_of_the_run():
    session = watched(MissesAStep(), PLAIN, runs=1)
    (violation,) = session.watch.broken
    (event, *_) = session.events
    assert event.cycle < violation.cycle < session.watch.trace.rows
    assert violation.cycle == session.watch.trace.guest_cycle


def test_after_the_guest_has_gone_elsewhere_its_state_is_not_held_against_the_shadow():
    session = watched(SkipsTwice(), image(*mov(1, SS), WFI, msr("SPSR_EL1", 1), NOP, *OFF), runs=4)
    assert [each[:2] for each in broken(session)] == [("P6", 1), ("P6", 1)]


def test_a_watch_begins_where_its_trace_does():
    watch = Watch(GuestTrace(PC), None, lambda control: False)
    assert (watch.broken, watch.trace.pc) == ([], PC)
