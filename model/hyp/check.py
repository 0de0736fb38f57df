"""Holds a sequence against the statement of guest entry, over all that it may find there."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, product
from random import Random

from model.a64 import A64Error
from model.a64.decode import UndefinedWord
from model.a64.interpreter import run
from model.arch import MDSCR_EL1, SPSR_ELx
from model.hyp.entry import MAX_STEPS, EntryPoint, Scenario, statement_of
from model.hyp.findings import Finding, explain, explain_error
from model.hyp.words import Sequence
from model.kvm.host import VirtualCpu
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP
from model.kvm.upstream import Upstream
from model.kvm.vcpu import Vcpu, kvm_setup_guest_debug

Setup = Callable[[Vcpu], None] | None


def _upstream_setup(vcpu: Vcpu) -> None:
    """What `upstream` does in C: it is given what KVM_SET_GUEST_DEBUG has kept."""
    cpu = VirtualCpu(vcpu, address=0)
    host = Upstream(Sequence("upstream", (), ()))
    host.set_guest_debug(cpu, vcpu.guest_debug)
    host.setup(cpu)


#: What runs in C on the KVM_RUN path, before the world switch, with a sequence of ours.
SETUP: dict[str, Setup] = {"callout": kvm_setup_guest_debug, "upstream": _upstream_setup}

#: The check ends after so many failing runs: more would explain nothing new.
MAX_FAILURES = 5000

_CONTROLS = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP


def check(sequence: Sequence, values: int = 100_000, seed: int = 1) -> list[Finding]:
    """Run a sequence at guest entry, and return all that it does wrong: [] if nothing.

    The runs are every meaningful combination of bits, then `values` random ones from `seed`; they
    end early after MAX_FAILURES failing ones. Findings are one a field, ENABLE and SINGLESTEP, and
    instruction to blame. UndefinedWord if the interpreter has not the instruction.
    """
    rng = Random(seed)
    point = EntryPoint(sequence, rng)
    setup = SETUP.get(sequence.name)
    scenarios = chain(corner_scenarios(), random_scenarios(rng, values))
    findings: dict[tuple[str, int, int | None], Finding] = {}
    for scenario, error in islice(_failures(point, sequence.name, scenarios), MAX_FAILURES):
        if error is None:
            new = explain(sequence, point, scenario, _restored(setup, scenario))
        else:
            new = [explain_error(sequence, point, scenario, error)]
        for finding in new:
            cause = (finding.field, scenario.guest_debug & _CONTROLS, finding.instruction)
            findings.setdefault(cause, finding).count += 1
    return list(findings.values())


def check_known(sequence: Sequence) -> None:
    """UndefinedWord if a run comes to a word that the interpreter has not."""
    point = EntryPoint(sequence, Random(1))
    for _ in islice(_failures(point, sequence.name, corner_scenarios()), MAX_FAILURES):
        pass


def corner_scenarios() -> Iterator[Scenario]:
    """Every combination of the bits with a meaning, amid all 0 and all 1; then every bit alone."""
    # Bits of the doubleword that mean nothing: beside SINGLESTEP, all of guest_debug, those that
    # follow it, in each of which a wrong shift could look.
    others = (0, 1 << 2, 0xFFFF_FFFC, 0b11 << 32, 0xFFFF_FFFF << 32, (1 << 64) - 4)
    doublewords = [control | other for control in range(_CONTROLS + 1) for other in others]
    spsrs = list(_combinations(SPSR_ELx.SS.mask, SPSR_ELx.D.mask))
    mdscrs = list(_combinations(MDSCR_EL1.SS.mask, MDSCR_EL1.KDE.mask, MDSCR_EL1.MDE.mask))
    yield from (Scenario(*corner) for corner in product(doublewords, spsrs, mdscrs))
    for control, position in product(range(_CONTROLS + 1), range(64)):
        alone = 1 << position
        yield Scenario(control, alone, alone)
        yield Scenario(control, alone ^ (1 << 64) - 1, alone ^ (1 << 64) - 1)


def _combinations(*masks: int) -> Iterator[int]:
    """Every combination of 64-bit masks set and clear, amid all 0 and amid all 1."""
    others = ((1 << 64) - 1) & ~sum(masks)
    for chosen in product(*((0, mask) for mask in masks)):
        yield sum(chosen)
        yield sum(chosen) | others


def random_scenarios(rng: Random, count: int) -> Iterator[Scenario]:
    """`count` scenarios of random values."""
    bits = rng.getrandbits
    return (Scenario(bits(64), bits(64), bits(64)) for _ in range(count))


def _failures(
    point: EntryPoint, name: str, scenarios: Iterable[Scenario]
) -> Iterator[tuple[Scenario, A64Error | None]]:
    """The scenarios that go wrong, each with the error that ended it, if one did."""
    state, end, setup = point.state, point.end, SETUP.get(name)
    for scenario in scenarios:
        point.reset(_restored(setup, scenario))
        try:
            run(state, end, MAX_STEPS)
        except UndefinedWord:
            raise
        except A64Error as error:
            yield scenario, error
            continue
        if not point.is_right(*statement_of(name, scenario.guest_debug, *scenario[1:])):
            yield scenario, None


def _restored(setup: Setup, scenario: Scenario) -> Scenario:
    """The scenario with SPSR_EL2 and MDSCR_EL1 as the world switch restores them after `setup`."""
    if setup is None:
        return scenario
    vcpu = Vcpu(scenario.guest_debug, scenario.spsr, mdscr_el1=scenario.mdscr)
    setup(vcpu)
    return Scenario(scenario.doubleword, vcpu.spsr, vcpu.mdscr_el1)
