"""Coverage of the core's trace: what rows hit, and which bins are legal."""

import numpy as np
import pytest

from model.a64.trace import Row
from model.arch import (
    EL,
    SYSREGS,
    AbortISS,
    ESR_ELx,
    Event,
    ExceptionClass,
    FaultStatus,
    Last,
    Retire,
    SPSR_ELx,
    StepISS,
    StepState,
)
from tb import bins
from tb.core import coverage
from tb.core.coverage import BINS, GROUPS
from tb.core.impossible import IMPOSSIBLE
from tb.core.lockstep import columns
from tb.core.program import ISB, NOP, mrs, msr, word

#: Group to how many of its bins are legal: what the reasons in `IMPOSSIBLE` leave.
LEGAL = {
    "instruction": 173,
    "exception": 98,
    "step state": 10,
    "stepped": 27,
    "step syndrome": 14,
    "both pending": 4,
    "late write": 20,
    "synchronised": 12,
    "return": 34,
    "abort": 10,
    "abort syndrome": 21,
    "system register": 361,
}


def row(**members):
    return Row(*[0] * len(Row._fields))._replace(**members)


def taken(ec, iss=0, **members):
    esr = ESR_ELx.EC.put(ec) | ESR_ELx.IL.put(1) | iss
    return row(kind=Retire.SYNCHRONOUS, event=Event.EXCEPTION, esr=esr, sets_esr=1, **members)


def hit(*rows, group):
    """The names of the bins of a group that some rows hit."""
    counts = coverage.count(columns(rows))
    names = [bins.name(GROUPS, int(at)) for at in np.flatnonzero(counts)]
    prefix = f"{group}: "
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def test_names_are_unique_and_there_are_no_more():
    assert len({bins.name(GROUPS, at) for at in range(BINS)}) == BINS
    with pytest.raises(IndexError):
        bins.name(GROUPS, BINS)


def test_a_form_is_hit_when_it_completes_or_takes_its_own_exception():
    svc, smc, brk = word("SVC"), word("SMC"), word("BRK")
    assert hit(row(word=NOP), group="instruction") == ["form=NOP"]
    call = taken(ExceptionClass.SVC64, word=svc)._replace(event=Event.SVC)
    assert hit(call, group="instruction") == ["form=SVC"]
    assert hit(taken(ExceptionClass.BRK64, word=brk), group="instruction") == ["form=BRK"]
    trapped = taken(ExceptionClass.SMC64, word=smc)  # to EL2: the event is EXCEPTION
    assert hit(trapped, group="instruction") == []
    assert hit(taken(ExceptionClass.ILLEGAL_STATE, word=NOP), group="instruction") == []


def test_an_exception_is_hit_by_its_class_or_kind():
    abort = taken(ExceptionClass.DABT_LOWER, el=EL.EL0, target_el=EL.EL2)
    assert hit(abort, group="exception") == ["class=dabt_lower el=EL0 target=EL2"]
    virq = row(kind=Retire.VIRQ, el=EL.EL1, target_el=EL.EL1)
    assert hit(virq, group="exception") == ["class=virq el=EL1 target=EL1"]
    serror = taken(ExceptionClass.SERROR, el=EL.EL2, target_el=EL.EL3)._replace(kind=Retire.SERROR)
    assert hit(serror, group="exception") == ["class=serror el=EL2 target=EL3"]


def test_what_is_stepped_is_its_event_or_the_illegal_state():
    stepped = {"state": StepState.ACTIVE_NOT_PENDING, "el": EL.EL1}
    assert hit(row(event=Event.ISB, word=ISB, **stepped), group="stepped") == ["event=isb el=EL1"]
    illegal = taken(ExceptionClass.ILLEGAL_STATE, **stepped)._replace(event=Event.EXECUTE)
    assert hit(illegal, group="stepped") == ["event=illegal_state el=EL1"]
    assert hit(row(event=Event.ISB), group="stepped") == []
    assert hit(row(**stepped), group="step state") == ["state=active-not-pending el=EL1"]


def test_the_syndrome_of_a_step_exception():
    iss = StepISS.ISV.put(1) | StepISS.EX.put(1)
    step = taken(ExceptionClass.SOFTSTEP_LOWER, iss, last=Last.LOAD_EXCLUSIVE)
    assert hit(step, group="step syndrome") == ["last=load_exclusive isv=1 ex=1 from=lower"]
    step = taken(ExceptionClass.SOFTSTEP_SAME, last=Last.NOTHING)
    assert hit(step, group="step syndrome") == ["last=nothing isv=0 ex=0 from=same"]


def test_both_pending_is_an_interrupt_that_could_have_been_taken():
    pending = {"state": StepState.ACTIVE_PENDING, "el": EL.EL0}
    step = taken(ExceptionClass.SOFTSTEP_LOWER, irq=1, **pending)
    assert hit(step, group="both pending") == ["first=step el=EL0"]
    masked = step._replace(spsr=SPSR_ELx.I.put(1))
    assert hit(masked, group="both pending") == []
    irq = row(kind=Retire.IRQ, irq=1, async_first=1, **pending)
    assert hit(irq, group="both pending") == ["first=async el=EL0"]
    assert hit(irq._replace(el=EL.EL2), group="both pending") == []


def write(name, **members):
    number = SYSREGS[name].number
    return row(word=msr(name, 0), sys_en=1, sys_reg=number, el=EL.EL2, **members)


def test_late_writes_and_what_makes_them_seen():
    late, isb = write("HCR_EL2"), row(word=ISB, event=Event.ISB)
    eret = row(word=word("ERET"), event=Event.ERET)
    found = hit(late, row(word=NOP), isb, group="late write")
    assert found == ["register=HCR_EL2 seen=later el=EL2"]
    assert hit(late, row(word=NOP), isb, group="synchronised") == ["register=HCR_EL2 by=isb"]
    assert hit(late, eret, isb, group="synchronised") == ["register=HCR_EL2 by=eret"]
    svc = taken(ExceptionClass.SVC64)
    both = hit(late, write("OSLAR_EL1"), svc, group="synchronised")
    assert both == ["register=HCR_EL2 by=exception", "register=OSLAR_EL1 by=exception"]
    at_once = write("HCR_EL2", write_seen=1)
    assert hit(at_once, isb, group="synchronised") == []
    assert hit(write("TPIDR_EL2"), isb, group="late write") == []


def test_a_return_is_hit_with_what_it_sets():
    members = {"el": EL.EL2, "el_after": EL.EL0, "ss_after": 1}
    eret = row(word=word("ERET"), event=Event.ERET, **members)
    assert hit(eret, group="return") == ["el=EL2 to=EL0 il=0 ss=1"]


def test_aborts_and_their_syndrome():
    iss = AbortISS.FSC.put(FaultStatus.TRANSLATION_LEVEL_3) | AbortISS.ISV.put(1)
    iss |= AbortISS.SAS.put(1) | AbortISS.SSE.put(1) | AbortISS.SF.put(1)
    load = taken(ExceptionClass.DABT_LOWER, iss)
    assert hit(load, group="abort") == ["access=load fault=translation isv=1"]
    assert hit(load, group="abort syndrome") == ["sas=2 sse=1 sf=1 ar=0 wnr=0"]
    fetch = taken(ExceptionClass.IABT_SAME, AbortISS.FSC.put(FaultStatus.EXTERNAL))
    assert hit(fetch, group="abort") == ["access=fetch fault=external isv=0"]
    assert hit(fetch, group="abort syndrome") == []
    store = AbortISS.FSC.put(FaultStatus.ALIGNMENT) | AbortISS.WnR.put(1)
    store = taken(ExceptionClass.DABT_SAME, store)
    assert hit(store, group="abort") == ["access=store fault=alignment isv=0"]


def test_accesses_to_system_registers_and_what_became_of_them():
    def outcome(made):
        (name,) = hit(made, group="system register")
        return name

    read = {"word": mrs(3, "MDSCR_EL1"), "el": EL.EL1}
    assert outcome(row(**read)) == "register=MDSCR_EL1 access=mrs el=EL1 outcome=done"
    trapped = taken(ExceptionClass.SYS64, **read)
    assert outcome(trapped) == "register=MDSCR_EL1 access=mrs el=EL1 outcome=trapped"
    undefined = taken(ExceptionClass.UNKNOWN, word=msr("SCR_EL3", 0), el=EL.EL2)
    assert outcome(undefined) == "register=SCR_EL3 access=msr el=EL2 outcome=undefined"
    illegal = taken(ExceptionClass.ILLEGAL_STATE, **read)
    assert hit(illegal, group="system register") == []


def test_how_many_bins_are_legal():
    assert coverage.legal().shape == (BINS,)
    assert coverage.legal().sum() == sum(LEGAL.values())
    assert list(coverage.by_group(coverage.none())) == [(name, 0, of) for name, of in LEGAL.items()]


def test_by_group_counts_legal_bins_that_were_hit():
    counts = np.full(BINS, 2)
    assert list(coverage.by_group(counts)) == [(name, of, of) for name, of in LEGAL.items()]
    counts[: len(LEGAL) + 1] = 0
    assert next(coverage.by_group(counts)) == ("instruction", 160, 173)


@pytest.mark.parametrize("family", IMPOSSIBLE, ids=lambda family: family.reason)
def test_every_reason_rules_something_out(family):
    (group,) = [group for group in GROUPS if group.name == family.group]
    ruled_out = family.bins(coverage.values(group)).astype(bool)
    assert 0 < ruled_out.sum() < group.size


def test_random_programs_hit_nothing_impossible_and_most_of_the_rest(random_columns):
    counts = sum((coverage.count(each) for each in random_columns.values()), coverage.none())
    impossible = np.flatnonzero(~coverage.legal() & (counts > 0))
    assert [bins.name(GROUPS, int(at)) for at in impossible] == []
    hits = {name: hit for name, hit, _ in coverage.by_group(counts)}
    for name in ("instruction", "step state", "both pending", "late write", "abort"):
        assert hits[name] == LEGAL[name], name
    for name in ("exception", "stepped", "step syndrome", "return", "synchronised"):
        assert hits[name] >= 0.8 * LEGAL[name], name


def test_every_form_completes_often_in_random_programs(random_columns):
    counts = sum((coverage.count(each) for each in random_columns.values()), coverage.none())
    (forms,) = GROUPS[0].dimensions.values()
    rare = {form: int(hits) for form, hits in zip(forms, counts, strict=False) if hits < 4}
    assert not rare, "in 45,000 rows"


def test_parts_of_a_run_add_up_but_for_what_links_rows(random_columns):
    whole = random_columns[1]
    parts = [{name: column[half] for name, column in whole.items()} for half in halves(whole)]
    linked = [group.name == "synchronised" for group in GROUPS for _ in range(group.size)]
    merged = sum((coverage.count(part) for part in parts), coverage.none())
    assert np.array_equal(
        merged[np.logical_not(linked)], coverage.count(whole)[np.logical_not(linked)]
    )


def halves(columns_of_run):
    middle = len(columns_of_run["pc"]) // 2
    return slice(middle), slice(middle, None)
