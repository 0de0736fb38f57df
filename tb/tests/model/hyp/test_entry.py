import pytest

from model.a64.interpreter import StepLimit, UntakenException, run
from model.arch import EL
from model.hyp.entry import MAX_STEPS, VCPU, EntryPoint, Scenario, run_entry, statement
from model.hyp.sequences import load
from model.hyp.words import Sequence
from model.kvm.uapi import KVM_GUESTDBG_ENABLE as ENABLE
from model.kvm.uapi import KVM_GUESTDBG_SINGLESTEP as SINGLESTEP
from model.kvm.vcpu import GUEST_DEBUG, Vcpu

ONES = (1 << 64) - 1
SPSR_SS = 1 << 21
MDSCR_SS = 1 << 0

ADD_X5 = 0x9100_04A5  # add x5, x5, #1
SUB_SP = 0xD100_43FF  # sub sp, sp, #16
STR_X0 = 0xF900_2000  # str x0, [x0, #GUEST_DEBUG]
TST_X0 = 0xF240_001F  # tst x0, #1
MSR_ELR = 0xD51C_4020  # msr elr_el2, x0
DAIFSET = 0xD503_48DF  # msr daifset, #8
SPSEL = 0xD500_40BF  # msr spsel, #0
HVC = 0xD400_0002
ERET = 0xD69F_03E0


def sequence(*words: int) -> Sequence:
    return Sequence("test", words, ("",) * len(words))


@pytest.mark.parametrize("value", [0, ONES, SPSR_SS, MDSCR_SS])
@pytest.mark.parametrize("other_bits", [0, 0xFFFF_FFFC])
def test_the_statement_changes_the_ss_bits_alone_and_only_with_enable(value, other_bits):
    def of(control):
        return statement(control | other_bits, value, value)

    assert of(0) == (value, value)
    assert of(SINGLESTEP) == (value, value)
    assert of(ENABLE) == (value & ~SPSR_SS, value & ~MDSCR_SS)
    assert of(ENABLE | SINGLESTEP) == (value | SPSR_SS, value | MDSCR_SS)


@pytest.mark.parametrize(
    ("name", "control", "length"),
    [
        ("v1", 0, 2),
        ("v1", SINGLESTEP, 2),
        ("v1", ENABLE, 11),
        ("v1", ENABLE | SINGLESTEP, 9),
        ("bic", 0, 2),
        ("bic", SINGLESTEP, 2),
        ("bic", ENABLE, 9),
        ("bic", ENABLE | SINGLESTEP, 11),
    ],
)
def test_a_sequence_runs_on_what_the_vcpu_has_saved(name, control, length):
    vcpu = Vcpu(control, spsr=0x6000_0305, mdscr_el1=0xA000)
    entry = run_entry(load(name), vcpu)
    assert (entry.spsr, entry.mdscr) == statement(control, 0x6000_0305, 0xA000)
    assert len(entry.retired) == length
    assert vcpu == Vcpu(control, spsr=0x6000_0305, mdscr_el1=0xA000)


def test_an_empty_sequence_leaves_what_is_restored():
    entry = run_entry(load("callout"), Vcpu(ENABLE, spsr=SPSR_SS, mdscr_el1=0x55))
    assert (entry.spsr, entry.mdscr, entry.retired) == (SPSR_SS, 0x55, [])


def test_a_sequence_may_end_in_an_eret():
    entry = run_entry(sequence(ERET, 0), Vcpu())
    assert [r.instruction.name for r in entry.retired] == ["ERET"]


def test_a_sequence_that_does_not_end_is_stopped():
    with pytest.raises(StepLimit, match=f"not reached after {MAX_STEPS} instructions"):
        run_entry(sequence(0x1400_0000), Vcpu())


def test_what_follows_guest_debug_in_the_vcpu_is_junk(rng):
    loaded = {
        run_entry(sequence(0xF940_2003), Vcpu(ENABLE), seed=rng.getrandbits(32))
        .retired[0]
        .registers["x3"][1]
        for _ in range(4)
    }
    assert {value & 0xFFFF_FFFF for value in loaded} == {ENABLE}
    assert len({value >> 32 for value in loaded}) > 1


def run_once(rng, *words: int) -> EntryPoint:
    point = EntryPoint(sequence(*words), rng)
    point.reset(Scenario(doubleword=0, spsr=1, mdscr=2))
    run(point.state, point.end, MAX_STEPS)
    return point


def test_entry_is_at_el2_with_the_vcpu_in_x0(rng):
    point = run_once(rng)
    assert point.state.el is EL.EL2
    assert point.state.x[0] == VCPU
    assert point.is_right(1, 2)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        (ADD_X5, "x5"),
        (0xD280_0000, "x0"),  # movz x0, #0
        (SUB_SP, "sp"),
        (MSR_ELR, "ELR_EL2"),
        (0xD518_4100, "SP_EL0"),  # msr sp_el0, x0
        (0xD51C_4100, "SP_EL1"),  # msr sp_el1, x0
        (0xD51B_D040, "TPIDR_EL0"),  # msr tpidr_el0, x0
        (0xD51B_9D00, "PMCCNTR_EL0"),  # msr pmccntr_el0, x0
        (DAIFSET, "daif"),
        (STR_X0, f"vcpu+{GUEST_DEBUG + 3:#x}"),  # x0 is 0x48000000
    ],
)
def test_what_must_survive_is_watched(rng, word, name):
    point = run_once(rng, word)
    assert not point.is_right(1, 2)
    assert [difference.name for difference in point.differences()] == [name]


def test_the_stack_pointer_in_use_is_watched(rng):
    point = run_once(rng, SPSEL)
    assert not point.is_right(1, 2)
    assert [difference.name for difference in point.differences()] == ["sp", "spsel"]


def test_a_sequence_that_takes_an_exception_is_stopped():
    with pytest.raises(UntakenException):
        run_entry(sequence(HVC), Vcpu())


@pytest.mark.parametrize("word", [TST_X0, 0x9100_0421, 0x9100_0442, 0x9100_0463])
def test_x1_to_x3_and_the_flags_are_free(rng, word):
    assert run_once(rng, word).is_right(1, 2)


def test_a_reset_undoes_everything(rng):
    point = run_once(rng, ADD_X5, SUB_SP, MSR_ELR, DAIFSET, SPSEL, STR_X0)
    assert not point.is_right(1, 2)
    point.reset(Scenario(doubleword=0, spsr=3, mdscr=4))
    assert point.is_right(3, 4)
    assert point.differences() == []


def test_expected_and_found_are_told_apart(rng):
    point = run_once(rng)
    assert not point.is_right(1, 7)
    (difference,) = point.differences()
    assert (difference.name, difference.expected, difference.found) == ("MDSCR_EL1", 7, 2)
