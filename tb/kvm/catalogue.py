"""Known defects of guest debugging, each a small variant of the code, and what catches it.

K1 to K11 are what went wrong upstream over the years, M1 to M7 what may go wrong in this code. A
variant is one of `Upstream`, or of the posted sequence in its loop; its twin is the same without
the defect, and must come through the same scenario unaccused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from model.arch import MDCR_EL2, MDSCR_EL1, ESR_ELx, ExceptionClass, SPSR_ELx
from model.hyp import sequences
from model.hyp.words import Sequence
from model.kvm.host import Access, Exit, Host, VirtualCpu
from model.kvm.properties import Property
from model.kvm.uapi import DebugExit, KvmRun
from model.kvm.upstream import Upstream
from tb.core.program import NOP
from tb.kvm import scenarios
from tb.kvm.hosts import Factory, upstream, v1
from tb.kvm.scenarios import Scenario

_SS = SPSR_ELx.SS.mask


def _empty() -> Sequence:
    return sequences.load("callout")


class LeftToSequence(Upstream):
    """The repaired loop, but what sets both SS bits is the sequence at guest entry."""

    def setup(self, cpu: VirtualCpu) -> None:
        """The bits are taken back that C has set."""
        super().setup(cpu)
        if cpu.stepping:
            cpu.regs.mdscr_el1 &= ~MDSCR_EL1.SS.mask
            cpu.regs.spsr &= ~_SS


def _in_repaired_loop(words: Mapping[int, int] | None = None) -> Factory:
    """The posted sequence in it, with other words at some places."""

    def make() -> Host:
        posted = sequences.load("v1")
        changed = [(words or {}).get(n, word) for n, word in enumerate(posted.words)]
        return LeftToSequence(replace(posted, words=tuple(changed)), advance_first=False)

    return make


# Variants of the loop


class EmulatedRunsOn(Upstream):
    """K1."""

    def emulated(self, cpu: VirtualCpu) -> int:
        """The step is not seen to be over."""
        result = super().emulated(cpu)
        cpu.stepped = False
        return result


class AccessRunsOn(Upstream):
    """K2."""

    def handle_mmio_return(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """The guest is entered whatever the access was."""
        super().handle_mmio_return(cpu, run)
        return 1


class SErrorFirst(Upstream):
    """K3, with an SError."""

    def end(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """After an SError there is nothing more to do."""
        return 1 if cpu.regs.exit == Exit.SERROR else super().end(cpu, run)


class FastPath(Upstream):
    """K3, with an access that is emulated before the loop hears of it."""

    def handle_exit(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """Straight back into the guest."""
        result = super().handle_exit(cpu, run)
        if ESR_ELx.EC.get(cpu.regs.esr_el2) == ExceptionClass.SYS64 and cpu.regs.exit == Exit.SYNC:
            cpu.stepped = False
        return result


class AdvancedForGood(Upstream):
    """K4."""

    def abort_access(self, cpu: VirtualCpu, access: Access) -> int:
        """The PC is past the access already."""
        return Host.abort_access(self, cpu, access)


class SkipAlone(Upstream):
    """K5."""

    def skip_instruction(self, cpu: VirtualCpu) -> None:
        """The PC, and no more."""
        Host.skip_instruction(self, cpu)


class CompletedTwice(Upstream):
    """K6."""

    def handle_mmio_return(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """That it has been completed is forgotten if the guest is not entered."""
        access = cpu.access
        result = super().handle_mmio_return(cpu, run)
        if run.immediate_exit:
            cpu.access = access
        return result


class DeferredPC(Upstream):
    """K7."""

    def __init__(self, sequence: Sequence) -> None:
        super().__init__(sequence, advance_first=False)
        self._increment = 0

    def skip_instruction(self, cpu: VirtualCpu) -> None:
        """The PC will be advanced at the next entry."""
        super().skip_instruction(cpu)
        cpu.regs.elr -= 4
        self._increment = 4

    def debug_exit(self, cpu: VirtualCpu, run: KvmRun, exit_type: DebugExit) -> int:
        """The exit knows of it, the register does not."""
        result = super().debug_exit(cpu, run, exit_type)
        run.debug.address += self._increment
        return result

    def setup(self, cpu: VirtualCpu) -> None:
        """Now it is."""
        cpu.regs.elr += self._increment
        self._increment = 0
        super().setup(cpu)


class HostSS(Upstream):
    """K8."""

    def finish(self, cpu: VirtualCpu) -> None:
        """PSTATE.SS stays as the PE has left it."""
        ss = cpu.regs.spsr & _SS
        super().finish(cpu)
        if cpu.stepping:
            cpu.regs.spsr = cpu.regs.spsr & ~_SS | ss


class StepsAfterInterrupt(Upstream):
    """K9."""

    def end(self, cpu: VirtualCpu, run: KvmRun) -> int:
        """After an interrupt the guest goes on: the next entry sets SS again."""
        return 1 if cpu.regs.exit == Exit.IRQ else super().end(cpu, run)


class HijackedMDSCR(Upstream):
    """K10."""

    def finish(self, cpu: VirtualCpu) -> None:
        """What is in the PE is taken for the guest's."""
        mdscr = cpu.regs.mdscr_el1
        super().finish(cpu)
        cpu.regs.mdscr_el1 = mdscr


class NotRouted(Upstream):
    """M2."""

    def setup(self, cpu: VirtualCpu) -> None:
        """MDCR_EL2.TDE is 0."""
        super().setup(cpu)
        cpu.regs.mdcr_el2 &= ~MDCR_EL2.TDE.mask

    def finish(self, cpu: VirtualCpu) -> None:
        """The rest is as it should be."""
        if cpu.stepping:
            cpu.regs.mdcr_el2 |= MDCR_EL2.TDE.mask
        super().finish(cpu)


class NeverTakenBack(Host):
    """M3: callout."""

    def set_guest_debug(self, cpu: VirtualCpu, control: int) -> None:
        """Without a look at the saved state."""
        self.callout = False
        super().set_guest_debug(cpu, control)
        self.callout = True


class WholeSPSR(Upstream):
    """M6."""

    def finish(self, cpu: VirtualCpu) -> None:
        """SPSR is put back as it was before the step."""
        before = cpu.before
        super().finish(cpu)
        if cpu.stepping and before is not None:
            cpu.regs.spsr = before.spsr


# Words of the posted sequence, by index

_ORR_SPSR, _ORR_MDSCR, _TBZ_ENABLE, _TBNZ_STEP, _EOR_SPSR, _EOR_MDSCR = 4, 5, 1, 6, 7, 8

_IS_TBNZ = 1 << 24  #: not TBZ
_TEST_BIT_1 = 1 << 19  #: of the bit that is tested


def _changed(masks: Mapping[int, int]) -> dict[int, int]:
    """Words of v1 with bits inverted, by index."""
    words = sequences.load("v1").words
    return {index: words[index] ^ mask for index, mask in masks.items()}


def _shifted() -> dict[int, int]:
    """Both masks a bit further up: DBG_SPSR_SS << 1, DBG_MDSCR_SS << 1."""
    words = sequences.load("v1").words
    found = {}
    for index in (_ORR_SPSR, _ORR_MDSCR, _EOR_SPSR, _EOR_MDSCR):
        immr = words[index] >> 16 & 0x3F
        found[index] = words[index] & ~(0x3F << 16) | (immr - 1 & 0x3F) << 16
    return found


# The catalogue


@dataclass(frozen=True)
class Defect:
    """One entry."""

    name: str  #: K1 to K11, M1 to M7, or the sequence as posted
    title: str
    text: str  #: one paragraph: the mechanism
    scenario: Scenario
    faulty: Factory
    twin: Factory
    twin_scenario: Scenario  #: the same one, but where no code can do better
    property: Property  #: that it breaks
    at: str  #: the guest's instruction, as `Scenario.symbol` says it
    breaks: frozenset[Property]  #: all that it breaks in this scenario


def _variant(make: type[Host], **options: bool) -> Factory:
    return lambda: make(_empty(), **options)


P1, P2, P3, P4, P5, P6, P7, P8 = Property


def _entry(
    name: str,
    title: str,
    text: str,
    scenario: str,
    faulty: Factory,
    at: str,
    breaks: tuple[Property, ...],
    twin: Factory = upstream,
    twin_scenario: str | None = None,
) -> Defect:
    """An entry; the first of `breaks` is the one that is expected to catch it."""
    played = scenarios.BY_NAME[scenario]
    other = scenarios.BY_NAME[twin_scenario or scenario]
    all_ = frozenset(breaks)
    return Defect(name, title, text, played, faulty, twin, other, breaks[0], at, all_)


CATALOGUE = (
    _entry(
        "v1",
        "v1 as posted",
        "Both SS bits are put into SPSR_EL2 and MDSCR_EL1 after the guest's registers have been "
        "restored, and on the exit MDSCR_EL1 is saved as the guest's. So the guest's saved copy "
        "has the host's SS bit from the first step on, which a trapped read of the guest then "
        "finds; and what the kernel emulates goes back to the guest without an exit.",
        "trapped",
        v1,
        "start",
        (P3, P1, P6),
    ),
    _entry(
        "K1",
        "emulated, and on it runs",
        "An instruction that the kernel emulates completes without a Software Step exception: "
        "the exception it came with was the trap. A loop that only knows the exception goes back "
        "into the guest, and the step that user space hears of is that of the next instruction.",
        "trapped",
        _variant(EmulatedRunsOn, advance_first=False),
        "loop",
        (P1, P6),
    ),
    _entry(
        "K2",
        "the access completes, and on it runs",
        "User space makes an access and calls KVM_RUN again, which completes it. That is the "
        "step; but the loop enters the guest and steps the instruction after it as well.",
        "mmio",
        _variant(AccessRunsOn, advance_first=False),
        "load",
        (P1, P6),
    ),
    _entry(
        "K3",
        "an SError hides the step",
        "An SError is taken between the instruction and its step exception. The exit is handled "
        "as the SError's, the guest is entered with SS set once more, and a second instruction "
        "runs.",
        "serrors",
        _variant(SErrorFirst, advance_first=False),
        "start",
        (P1,),
    ),
    _entry(
        "K3b",
        "EL2 emulates the access",
        "The access is emulated on a fast path that goes straight back into the guest, before "
        "anything asks whether a step is over.",
        "trapped",
        _variant(FastPath, advance_first=False),
        "loop",
        (P1, P6),
    ),
    _entry(
        "K4",
        "the PC is past an access that aborts",
        "The PC is advanced before user space makes the access. When user space says that it "
        "aborts, the exception is injected with the PC as it is: ELR_EL1 is the instruction after "
        "the one that has failed.",
        "aborted",
        _variant(AdvancedForGood, advance_first=True),
        "load",
        (P6, P1),
    ),
    _entry(
        "K5",
        "the skip without the advance of SS",
        "PSTATE.SS is what says that an instruction has been stepped. To skip the instruction "
        "and leave SS at 1 is to say that nothing has happened: the next one is stepped, too.",
        "trapped",
        _variant(SkipAlone, advance_first=False),
        "loop",
        (P1, P6),
    ),
    _entry(
        "K5b",
        "the same, for a guest that steps itself",
        "With debugging off it is the guest's own SS that the skip must clear: the guest's EL1 "
        "steps a load from a device, and its own step exception comes an instruction late.",
        "own_mmio",
        v1,
        "after_user_load",
        (P4,),
    ),
    _entry(
        "K6",
        "skipped twice",
        "KVM_RUN completes an access and returns at once, as it has been told to. The next "
        "KVM_RUN completes it again: another load, and another skip.",
        "again",
        _variant(CompletedTwice, advance_first=False),
        "load",
        (P6, P1),
    ),
    _entry(
        "K7",
        "a PC increment that is pending",
        "The skip only notes that the PC is to be advanced at the next entry. The debug exit "
        "tells of the next instruction, and user space that reads the PC finds the old one.",
        "trapped",
        lambda: DeferredPC(_empty()),
        "loop",
        (P6, P1, P3),
    ),
    _entry(
        "K8",
        "the guest's own PSTATE.SS is lost",
        "The guest's EL1 returns to EL0 with SPSR_EL1.SS = 1, to step it. The host's step of that "
        "exception return leaves PSTATE.SS = 0 in the PE, and 0 is saved as the guest's.",
        "own_stepped",
        _variant(HostSS, advance_first=False),
        "start + 10",
        (P3, P4),
    ),
    _entry(
        "K9",
        "an interrupt between a step and its exception",
        "The instruction has been stepped, SS is 0, and an interrupt is taken to EL2 before the "
        "step exception. The host handles it and enters the guest again, with SS set again.",
        "interrupts",
        _variant(StepsAfterInterrupt, advance_first=False),
        "start + 1",
        (P1,),
    ),
    _entry(
        "K10",
        "the guest's MDSCR_EL1 is hijacked",
        "What is in MDSCR_EL1 at an exit is the host's. Saved as the guest's, it is what the guest "
        "reads, and what it runs with when nobody debugs it any more.",
        "writes",
        _variant(HijackedMDSCR, advance_first=False),
        "start",
        (P3, P4),
    ),
    _entry(
        "K11",
        "a stepped store-exclusive never stores",
        "Not a defect of code but a limit of the architecture: every exception return clears the "
        "exclusive monitor, so a store-exclusive that is stepped fails, and its loop never ends. "
        "Here the twin is the guest that does without.",
        "exclusive",
        upstream,
        "status",
        (P1,),
        twin_scenario="plain",
    ),
    _entry(
        "M1",
        "eor with no orr before it",
        "eor clears a bit that is 1. Without the orr before, it sets both bits in a guest that is "
        "debugged and not stepped: the guest is stepped, and nobody has asked for it.",
        "breakpoints",
        _in_repaired_loop({_ORR_SPSR: NOP, _ORR_MDSCR: NOP}),
        "start",
        (P2, P5),
        twin=_in_repaired_loop(),
    ),
    _entry(
        "M2",
        "MDCR_EL2.TDE is not set",
        "Without TDE debug exceptions go to EL1. From EL1 itself they are then not enabled: the "
        "step never comes, and the guest runs to its end.",
        "plain",
        _variant(NotRouted, advance_first=False),
        "start",
        (P1,),
    ),
    _entry(
        "M2b",
        "the same, at EL0",
        "From EL0 the step exception is taken to the guest's EL1, which has not asked for one.",
        "el0",
        _variant(NotRouted, advance_first=False),
        "start",
        (P1, P4),
    ),
    _entry(
        "M3",
        "MDSCR_EL1.SS is left behind",
        "When debugging is switched off, nobody takes back the bit that was set in the saved "
        "MDSCR_EL1: the guest is entered with it, for ever. v1 and bic do the same.",
        "on_and_off",
        lambda: NeverTakenBack(_empty(), callout=True),
        "start + 3",
        (P7, P3),
    ),
    _entry(
        "M4",
        "ENABLE's bit is tested for SINGLESTEP's",
        "Every guest that is debugged is stepped. (The reverse, SINGLESTEP's bit for ENABLE's, "
        "steps as it should: SINGLESTEP is never kept without ENABLE. It only does not suppress.)",
        "breakpoints",
        _in_repaired_loop(_changed({_TBNZ_STEP: _TEST_BIT_1})),
        "start",
        (P2, P5),
        twin=_in_repaired_loop(),
    ),
    _entry(
        "M5",
        "tbz and tbnz change places",
        "A guest that is to be stepped is entered as it is, and runs to its end.",
        "plain",
        _in_repaired_loop(_changed({_TBZ_ENABLE: _IS_TBNZ, _TBNZ_STEP: _IS_TBNZ})),
        "start",
        (P1,),
        twin=_in_repaired_loop(),
    ),
    _entry(
        "M6",
        "the whole SPSR is put back",
        "After a step SPSR is restored as it was before: with PSTATE.SS go the flags that the "
        "instruction has set.",
        "plain",
        _variant(WholeSPSR, advance_first=False),
        "flags",
        (P3, P1),
    ),
    _entry(
        "M7",
        "the masks are one bit off",
        "Bit 22 of SPSR and bit 1 of MDSCR_EL1 are set for the SS bits: nothing is stepped.",
        "plain",
        _in_repaired_loop(_shifted()),
        "start",
        (P1,),
        twin=_in_repaired_loop(),
    ),
)
