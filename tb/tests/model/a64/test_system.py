import pytest

from model.a64.decode import UndefinedWord
from model.a64.interpreter import fetch, step
from model.a64.state import MASK64, State, SystemRegisterError
from model.arch import EL, OSLSR_EL1, SYSREGS, Event


def executed(word: int, **fields) -> State:
    """The state after one word at 0x1000, from a state with these fields."""
    state = State(pc=0x1000, **fields)
    state.memory.map(0x1000, word.to_bytes(4, "little"))
    step(state)
    return state


def mrs(name: str, register: int) -> int:
    return msr(name, register) | 1 << 21


def msr(name: str, register: int) -> int:
    r = SYSREGS[name]
    encoding = r.op0 << 19 | r.op1 << 16 | r.crn << 12 | r.crm << 8 | r.op2 << 5
    return 0xD500_0000 | encoding | register


READABLE = sorted(set(SYSREGS) - {"OSLAR_EL1"})
WRITABLE = sorted(set(SYSREGS) - {"OSLAR_EL1", "OSLSR_EL1"})


def test_the_words_of_mrs_and_msr_are_those_of_the_assembler():
    assert mrs("SPSR_EL2", 1) == 0xD53C_4001
    assert msr("MDSCR_EL1", 2) == 0xD510_0242


@pytest.mark.parametrize("name", READABLE)
def test_mrs_reads_all_64_bits(name):
    state = State(el=EL.EL3, pc=0x1000)
    state.sysregs[name] = 0xFEDC_BA98_7654_3210
    state.memory.map(0x1000, mrs(name, 7).to_bytes(4, "little"))
    step(state)
    assert state.x[7] == 0xFEDC_BA98_7654_3210
    assert state.pc == 0x1004


@pytest.mark.parametrize("name", WRITABLE)
def test_msr_writes_all_64_bits_of_that_register_alone(name):
    x = State().x
    x[7] = 0xFEDC_BA98_7654_3210
    state = executed(msr(name, 7), el=EL.EL3, x=x)
    assert state.sysregs == {**State().sysregs, name: 0xFEDC_BA98_7654_3210}


def test_msr_from_register_31_writes_0():
    assert executed(msr("MDSCR_EL1", 31)).sysregs["MDSCR_EL1"] == 0


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("el", EL)
def test_a_register_is_accessible_from_the_el_in_its_name_upwards(name, el):
    if el >= int(name[-1]):
        executed(mrs(name, 0), el=el)
        return
    with pytest.raises(SystemRegisterError) as error:
        executed(mrs(name, 0), el=el)
    assert str(error.value) == f"pc 0x1000: {el.name} cannot access {name}"


def test_a_write_from_too_low_an_el_is_refused():
    with pytest.raises(SystemRegisterError) as error:
        executed(msr("SPSR_EL2", 0), el=EL.EL1)
    assert str(error.value) == "pc 0x1000: EL1 cannot access SPSR_EL2"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            msr("OSLSR_EL1", 0),
            "0xd5101180 at 0x1000 is a reserved MSR (register): OSLSR_EL1 is read-only",
        ),
        (mrs("OSLAR_EL1", 0), "0xd5301080 at 0x1000 is a reserved MRS: OSLAR_EL1 is write-only"),
        (
            0xD538_1000,
            "0xd5381000 at 0x1000 is a reserved MRS: the system register S3_0_C1_C0_0 is not known"
            " here",
        ),
        (
            0x1280_0000 | 2 << 21,
            "0x12c00000 at 0x1000 is a reserved MOVN: hw=2 is above 32 bits",
        ),
        (
            0xF840_8421,
            "0xf8408421 at 0x1000 is a reserved LDR (post-index): writeback to x1, which it"
            " transfers, is CONSTRAINED UNPREDICTABLE",
        ),
        (
            0x0A00_8000,
            "0x0a008000 at 0x1000 is a reserved AND (shifted register): shift of 32 bits by 32",
        ),
    ],
)
def test_a_reserved_word_is_refused_with_its_reason(word, message):
    with pytest.raises(UndefinedWord) as error:
        executed(word)
    assert str(error.value) == message


@pytest.mark.parametrize(("value", "locked"), [(0, 0), (1, 1), (2, 0), (MASK64, 1)])
def test_oslar_bit_0_is_the_os_lock(value, locked):
    x = State().x
    x[3] = value
    sysregs = {**State().sysregs, "OSLSR_EL1": 0b1010}
    state = executed(msr("OSLAR_EL1", 3), x=x, sysregs=sysregs)
    assert OSLSR_EL1.OSLK.get(state.sysregs["OSLSR_EL1"]) == locked
    assert state.sysregs["OSLSR_EL1"] | OSLSR_EL1.OSLK.mask == 0b1010


@pytest.mark.parametrize("el", [EL.EL1, EL.EL2, EL.EL3])
def test_eret_goes_to_the_elr_of_its_el_and_leaves_pstate_to_the_caller(el):
    state = State(el=el, pc=0x1000, nzcv=0b1010)
    state.sysregs[f"ELR_{el.name}"] = 0x8000
    state.memory.map(0x1000, (0xD69F_03E0).to_bytes(4, "little"))
    assert step(state) is Event.ERET
    assert (state.pc, state.el, state.nzcv) == (0x8000, el, 0b1010)


def test_eret_at_el0_is_an_error():
    with pytest.raises(SystemRegisterError) as error:
        executed(0xD69F_03E0, el=EL.EL0)
    assert str(error.value) == "pc 0x1000: ERET is undefined at EL0"


def test_eret_clears_the_exclusive_monitor():
    assert executed(0xD69F_03E0, exclusive=(0x2000, 8)).exclusive is None


def test_clrex_clears_the_exclusive_monitor():
    assert executed(0xD503_305F, exclusive=(0x2000, 8)).exclusive is None


@pytest.mark.parametrize("before", range(16))
@pytest.mark.parametrize("bits", range(16))
def test_daifset_and_daifclr_change_the_named_bits_alone(before, bits):
    daifset, daifclr = 0xD503_40DF | bits << 8, 0xD503_40FF | bits << 8
    assert executed(daifset, daif=before).daif == before | bits
    assert executed(daifclr, daif=before).daif == before & ~bits


def test_spsel_selects_the_stack_pointer():
    state = State(el=EL.EL2, pc=0x1000, unused_sps=[0xA0, 0xA1, 0xA2, 0xA3])
    state.sp = 0x1230
    state.memory.map(0x1000, bytes.fromhex("bf4000d5 bf4100d5"))  # msr spsel, #0; msr spsel, #1
    step(state)
    assert (state.sp, state.spsel, state.unused_sps[2]) == (0xA0, 0, 0x1230)
    state.sp = 0xB0
    step(state)
    assert (state.sp, state.spsel, state.unused_sps[0]) == (0x1230, 1, 0xB0)


@pytest.mark.parametrize(
    ("word", "name"),
    [(0xD503_40DF, "DAIF"), (0xD503_40FF, "DAIF"), (0xD500_40BF, "SPSel")],
)
def test_el0_cannot_write_pstate(word, name):
    with pytest.raises(SystemRegisterError) as error:
        executed(word, el=EL.EL0)
    assert str(error.value) == f"pc 0x1000: EL0 cannot access {name}"


@pytest.mark.parametrize(
    ("word", "event", "pc"),
    [
        (0xD402_4681, Event.SVC, 0x1004),
        (0xD402_4682, Event.HVC, 0x1004),
        (0xD402_4683, Event.SMC, 0x1004),
        (0xD422_4680, Event.EXCEPTION, 0x1000),
    ],
)
def test_an_exception_leaves_its_return_address_and_the_immediate(word, event, pc):
    state = State(el=EL.EL1, pc=0x1000)
    state.memory.map(0x1000, word.to_bytes(4, "little"))
    assert fetch(state).fields["imm16"] == 0x1234
    assert step(state) is event
    assert (state.pc, state.el) == (pc, EL.EL1)


@pytest.mark.parametrize(("word", "name"), [(0xD400_0002, "HVC"), (0xD400_0003, "SMC")])
def test_hvc_and_smc_are_undefined_at_el0(word, name):
    with pytest.raises(SystemRegisterError) as error:
        executed(word, el=EL.EL0)
    assert str(error.value) == f"pc 0x1000: {name} is undefined at EL0"
    assert executed(0xD400_0001, el=EL.EL0).pc == 0x1004  # SVC is not
