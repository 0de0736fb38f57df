"""`python -m model.explain`: its words, its rules against model.rules, its changes, its output."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import pytest

from model.arch import (
    HCR_EL2,
    MDCR_EL2,
    MDCR_EL3,
    MDSCR_EL1,
    OSLSR_EL1,
    SCR_EL3,
    SDER32_EL3,
    Event,
    Field,
    Last,
    Mode,
    Mode32,
    SPSR_ELx,
    StepState,
)
from model.columns import BY_NAME, Kind, Lines, problems, to_lines
from model.conditions import (
    all_hold,
    enabled_rules,
    legal_rules,
    ss_rules,
    state_rules,
    target_rules,
)
from model.dump import DumpError, read_words, spsr_used
from model.explain import JSON_HELP, main, to_json, to_text
from model.machine import after, take
from model.rules import IllegalExceptionReturn, IsSecureAtEL
from model.vectors import OUTPUTS
from model.why import changes, explain, fires, is_return

EXAMPLE = ["MDSCR_EL1=0x1", "MDCR_EL2=0x100", "SPSR_EL2=0x2003c5", "EL=2", "EVENT=eret"]
OPTIONAL = ("target_el", "d_write", "mdscr_write")


# Random states


def random_columns(seed: int, size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(columns, where the optional ones are given) of random lines, some of them ill-formed."""
    rng = np.random.default_rng(seed)

    def flags(odds: float = 0.5) -> Any:
        return rng.random(size) < odds

    def bits(*fields: Any) -> Any:
        return sum(flags().astype(np.uint64) * np.uint64(field.mask) for field in fields)

    event = rng.integers(0, len(Event), size)
    event = np.where(flags(0.3), Event.ERET, np.where(flags(0.3), Event.EXECUTE, event))
    modes = np.array([*Mode, *Mode32, 0b0001, 0b10110], dtype=np.uint64)
    columns = {
        "el": rng.integers(0, 4, size),
        **{name: flags() for name in ("d", "ss", "isv_choice", "mdscr_seen", "async_first")},
        **{name: flags(0.15) for name in ("il", "double_lock", "el1_aarch32", "el2_aarch32")},
        **{name: flags(0.8) for name in ("have_el2", "have_el3", "have_sel2")},
        "mdscr_el1": bits(MDSCR_EL1.SS, MDSCR_EL1.KDE, MDSCR_EL1.MDE),
        "mdcr_el2": bits(MDCR_EL2.TDE, MDCR_EL2.TDA),
        "hcr_el2": bits(HCR_EL2.RW) + flags(0.2) * np.uint64(HCR_EL2.TGE.mask),
        "scr_el3": bits(SCR_EL3.NS, SCR_EL3.EEL2),
        "mdcr_el3": bits(MDCR_EL3.SDD),
        "sder32_el3": bits(SDER32_EL3.SUIDEN),
        "oslsr_el1": np.where(flags(0.2), 0b1010, 0b1000).astype(np.uint64),
        "halted": event == Event.DEBUG_EXIT,
        "last": rng.integers(0, len(Last), size),
        "event": event,
        "target_el": rng.integers(0, 4, size),
        "spsr": rng.choice(modes, size) + bits(SPSR_ELx.SS, SPSR_ELx.D, SPSR_ELx.IL),
        "d_write": flags(),
        "mdscr_write": bits(MDSCR_EL1.SS, MDSCR_EL1.KDE),
    }
    given = {"target_el": flags(0.9), "d_write": flags(0.1), "mdscr_write": flags(0.1)}
    return columns, given


def well_formed(lines: Lines) -> Any:
    return ~reduce(or_, (wrong for wrong, _, _ in problems(lines)))


def random_values(seed: int, size: int) -> list[dict[str, int]]:
    """About a third of that many lines, each well-formed, by column."""
    columns, given = random_columns(seed, size)
    found = np.flatnonzero(well_formed(to_lines(columns, given)))
    return [
        {name: int(v[i]) for name, v in columns.items() if name not in OPTIONAL or given[name][i]}
        for i in found.tolist()
    ]


def words(values: Mapping[str, int]) -> list[str]:
    """The values as a command line, or cells of the vector file."""
    named: dict[Kind, Any] = {Kind.EVENT: Event, Kind.LAST: Last}

    def cell(name: str, value: int) -> str:
        kind = BY_NAME[name].kind
        return named[kind](value).text if kind in named else str(value)

    return [f"{name}={cell(name, value)}" for name, value in values.items()]


# The rules are those of model.rules


def test_the_rules_say_what_the_model_says(seed: int) -> None:
    columns, given = random_columns(seed, 20_000)
    lines = to_lines(columns, given)
    pe, spsr = lines.pe, lines.given.spsr
    effect, c = take(pe, lines.given), pe.controls()
    secure = IsSecureAtEL(c, pe.el)
    target = target_rules(c, secure)
    enabled = enabled_rules(c, pe.el, secure, pe.d, "PSTATE.D")
    state = state_rules(c, effect.eld, effect.enabled, pe.ss)
    legal = legal_rules(c, pe.el, spsr, "SPSR")
    np.testing.assert_array_equal(all_hold(target), effect.eld == 2)
    np.testing.assert_array_equal(all_hold(enabled), effect.enabled)
    np.testing.assert_array_equal(all_hold(state[:3]), effect.state != StepState.INACTIVE)
    np.testing.assert_array_equal(all_hold(state), effect.state == StepState.ACTIVE_NOT_PENDING)
    np.testing.assert_array_equal(all_hold(legal), ~IllegalExceptionReturn(c, pe.el, spsr)[0])

    running, dest, mask = c.not_halted(), effect.el_after, SPSR_ELx.D.is_set(spsr)
    dest_secure = IsSecureAtEL(c, dest)
    there = enabled_rules(running, dest, dest_secure, mask, "SPSR.D")
    ss = ss_rules(c, effect.enabled, dest, mask, SPSR_ELx.SS.is_set(spsr), "SPSR")
    returned = is_return(lines.given.event) & ~effect.step_exception & ~effect.illegal_state
    np.testing.assert_array_equal(all_hold(ss)[returned], effect.ss_after[returned])
    np.testing.assert_array_equal(all_hold(there), ss[-1].ok)

    for rule in (*target, *enabled, *state, *legal, *ss):
        assert rule.holds.any(), rule.name
        assert not rule.holds.all(), rule.name


def test_firing_is_one_instruction_and_then_the_step_exception(seed: int) -> None:
    columns, given = random_columns(seed, 20_000)
    lines = to_lines(columns, given)
    ordinary = to_lines({"event": np.full(20_000, Event.EXECUTE)}).given
    effect = take(lines.pe, lines.given)
    one = after(lines.pe, effect)
    first = take(one, ordinary)
    second = take(after(one, first), ordinary)
    event = effect.state == StepState.ACTIVE_NOT_PENDING
    executes = ~first.step_exception & ~first.illegal_state
    after_return = executes & second.step_exception
    after_event = event & ~effect.illegal_state & first.step_exception
    expected = np.where(is_return(lines.given.event), after_return, after_event)
    good = well_formed(lines)
    np.testing.assert_array_equal(fires(lines.given, effect)[good], expected[good])


# The changes


def fire(trials: list[dict[str, int]]) -> Any:
    """Whether each line is well-formed and fires."""
    columns = {
        name: [values.get(name, column.default or 0) for values in trials]
        for name, column in BY_NAME.items()
    }
    given = {name: np.array([name in values for values in trials]) for name in OPTIONAL}
    lines = to_lines(columns, given)
    return well_formed(lines) & fires(lines.given, take(lines.pe, lines.given))


def test_every_change_offered_makes_the_step_fire_and_is_needed(seed: int) -> None:
    states = random_values(seed, 5_000)
    enough, too_few = [], []
    for values, already in zip(states, fire(states), strict=True):
        alternatives, never = changes(values, spsr_used(values["event"], values["el"]))
        assert bool(alternatives) != bool(never)
        assert alternatives == [[]] or not already
        for alternative in alternatives:
            changed = values | {change.bit.column: change.value for change in alternative}
            enough.append(changed)
            for bit in (change.bit for change in alternative):
                too_few.append(changed | {bit.column: changed[bit.column] ^ bit.field.mask})
    assert len(enough) > 1_000
    for values, fires_now in zip(enough, fire(enough), strict=True):
        assert fires_now, words(values)
    for values, fires_now in zip(too_few, fire(too_few), strict=True):
        assert not fires_now, words(values)


def test_what_no_change_helps_fires_with_no_setting_of_the_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    free = {
        "mdscr_el1": (MDSCR_EL1.SS, MDSCR_EL1.KDE),
        "mdcr_el2": (MDCR_EL2.TDE,),
        "hcr_el2": (HCR_EL2.TGE,),
        "oslsr_el1": (OSLSR_EL1.OSLK,),
        "mdcr_el3": (MDCR_EL3.SDD,),
        "sder32_el3": (SDER32_EL3.SUIDEN,),
        "spsr": (SPSR_ELx.SS, SPSR_ELx.D, SPSR_ELx.IL),
        **{name: (Field(0),) for name in ("d", "ss", "il", "double_lock")},
    }
    hopeless = [values for values in random_values(seed, 800) if explain(values).never]
    assert hopeless
    for values in hopeless:
        settings: dict[str, Any] = dict(values)
        for name, fields in free.items():
            for field in fields:
                flips = rng.integers(0, 2, 256, dtype=np.uint64) * np.uint64(field.mask)
                settings[name] = settings[name] ^ flips
        lines = to_lines(settings)
        found = fires(lines.given, take(lines.pe, lines.given)) & well_formed(lines)
        assert not found.any(), words(values)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("el=3", "from EL3"),
        ("el=3 event=eret spsr=0xd", "from EL3"),
        ("el1_aarch32=1 have_el2=0", "AArch32"),
        ("d_write=1 have_el2=0", "writes"),
        ("event=svc target_el=1 have_el2=0", "disabled at the EL"),
        ("el=1 event=eret spsr=0x9", "illegal"),
    ],
)
def test_why_no_change_helps(given: str, reason: str) -> None:
    assert reason in explain(read_words(given.split()).values).never


def test_the_smallest_sets_come_first_and_tde_before_kde() -> None:
    alternatives, never = changes(read_words(["ss=1", "d=1"]).values, "")
    names = [[change.bit.name for change in one] for one in alternatives]
    assert names == [
        ["MDSCR_EL1.SS", "MDCR_EL2.TDE"],
        ["MDSCR_EL1.SS", "MDSCR_EL1.KDE", "PSTATE.D"],
    ]
    assert not never


# The text


def text_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def flat(text: str) -> str:
    """With every run of spaces and line ends as one space."""
    return " ".join(text.split())


def test_the_example_fires(capsys: pytest.CaptureFixture[str]) -> None:
    out = flat(text_of(capsys, *EXAMPLE))
    assert "The step fires." in out
    assert "ELd = EL2 (AArch64), because all of these hold" in out
    assert "ok TDE or TGE is 1 MDCR_EL2.TDE (bit 8) = 1, HCR_EL2.TGE (bit 27) = 0" in out
    assert "PSTATE.SS becomes 1" in out
    assert "The eret returns to EL1 (Non-secure, AArch64)." in out
    assert "SS = 1, IL = 0; step state active-not-pending." in out
    syndrome = "ESR_EL2 = 0xCB000022 (EC 0x32 SOFTSTEP_LOWER, ISV 1, EX 0)"
    assert f"executes, then a Software Step exception is taken to EL2 with {syndrome}" in out
    assert "change nothing: it fires" in out


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("oslsr_el1=0xa", "the OS Lock is unlocked OSLSR_EL1.OSLK (bit 1) = 1"),
        ("osdlr_el1=1", "the OS Double Lock is not in force OSDLR_EL1.DLK (bit 0) = 1"),
        ("halted=1 event=debug_exit", "the PE is not in Debug state halted = 1"),
        (
            "scr_el3=0 mdcr_el3=0x10000",
            "SDD is 0, or SUIDEN 1 at AArch32 EL0 "
            "MDCR_EL3.SDD (bit 16) = 1, SDER32_EL3.SUIDEN (bit 0) = 0",
        ),
        ("el=2", "the EL is not above ELd EL = 2, ELd = 1"),
        ("mdscr_el1=1", "KDE is 1 MDSCR_EL1.KDE (bit 13) = 0"),
        ("d=1", "D is 0 PSTATE.D = 1"),
        ("mdscr_el1=0x2000", "software step is turned on MDSCR_EL1.SS (bit 0) = 0"),
        ("el1_aarch32=1", "ELd uses AArch64 ELd = 1, AArch32 = 1"),
        ("ss=0", "the instruction is yet to be stepped PSTATE.SS = 0"),
        ("il=1 mdcr_el2=0x100 mdscr_el1=1 ss=1", "PSTATE.IL is 0 PSTATE.IL = 1"),
        ("event=eret spsr_el1=1", "M names a mode SPSR_EL1.M<4:0> = 0b00001"),
        ("event=eret spsr_el1=9", "the EL is not above the current one to EL = 2, EL = 1"),
        ("el=3 event=eret spsr=9 have_el2=0", "the EL is implemented to EL = 2, have_el2 = 0"),
        (
            "el=2 event=eret spsr=0x10005 hcr_el2=0x8000000",
            "TGE does not close EL1 HCR_EL2.TGE (bit 27) = 1, EL2 enabled = 1",
        ),
        (
            "el=3 event=eret spsr=9 scr_el3=0",
            "EL2 is usable in that security state Secure = 1, SCR_EL3.EEL2 (bit 18) = 0",
        ),
        ("el=2 event=eret spsr=0x13", "the EL uses the width that nRW says SPSR_EL2.nRW (bit 4)"),
        ("el=2 event=eret spsr=5", "the SPSR asks for a step SPSR_EL2.SS (bit 21) = 0"),
        ("el=2 event=eret spsr=0x300005", "the SPSR leaves PSTATE.IL 0 SPSR_EL2.IL (bit 20) = 1"),
        (
            "mdscr_el1=0x2001 event=eret spsr=0x200000 ss=1",
            "debug exceptions are disabled before enabled at the source = 1",
        ),
        ("mdscr_el1=0x2001 event=eret spsr=0x200000", "no step is pending PSTATE.SS = 0"),
        ("mdscr_el1=0x2001 ss=1 d_write=1", "D is 0 PSTATE.D after = 1"),
        ("mdscr_el1=0x2001 ss=1 event=svc target_el=1", "D is 0 PSTATE.D after = 1"),
        (
            "mdscr_el1=0x2001 ss=1 mdscr_write=0x2000",
            "software step is turned on MDSCR_EL1.SS after = 0",
        ),
    ],
)
def test_each_rule_that_fails_is_shown(
    given: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"NO {line}" in flat(text_of(capsys, *given.split()))


def test_every_rule_that_fails_is_shown_not_only_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = text_of(capsys, "d=1", "oslsr_el1=2", "double_lock=1", "scr_el3=0", "mdcr_el3=0x10000")
    assert out.split("\n\n")[0].count("NO") == 7


def test_a_change_is_printed_with_the_register_as_it_then_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = text_of(capsys, "mdcr_el2=0x100", "ss=1", "oslsr_el1=0xa")
    assert "1. set MDSCR_EL1.SS (bit 0): MDSCR_EL1 = 0x1\n" in out
    assert "clear OSLSR_EL1.OSLK (bit 1): OSLSR_EL1 = 0x8 (write OSLAR_EL1)\n" in out


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            "mdscr_el1=1 mdcr_el2=0x100 last=load_exclusive",
            "Instead of the execute, a Software Step exception is taken to EL2 with ESR_EL2 = "
            "0xCB000062 (EC 0x32 SOFTSTEP_LOWER, ISV 1, EX 1); SPSR_EL2.SS = 0 is saved.",
        ),
        (
            "il=1 ss=1",
            "PSTATE.IL is 1: instead of the execute, an Illegal Execution state exception is "
            "taken to EL1; SPSR_EL1.SS = 1 is saved.",
        ),
        (
            "event=exception target_el=1 ss=1 mdscr_el1=1 mdcr_el2=0x100",
            "Before the next instruction, a Software Step exception is taken to EL2 with ESR_EL2 = "
            "0xCB000022 (EC 0x32 SOFTSTEP_LOWER, ISV 1, EX 0); SPSR_EL2.SS = 0 is saved; its ISV "
            "is the implementation's choice.",
        ),
        ("event=hvc target_el=2", "The hvc is taken to EL2; SPSR_EL2.SS = 0 is saved."),
        ("d_write=0", "The instruction completes; it writes PSTATE.D = 0."),
        (
            "mdscr_write=0x1 mdscr_seen=0",
            "The instruction completes; its MDSCR_EL1 = 0x1 is not seen yet.",
        ),
        (
            "event=eret spsr_el1=0xd",
            "The return is illegal: the PE stays at EL1 and PSTATE.IL becomes 1.",
        ),
        ("event=eret spsr_el1=0xd", "takes an Illegal Execution state exception to EL1"),
        (
            "el1_aarch32=1 el=2 event=eret spsr=0x13",
            "The eret returns to EL1 (Non-secure, AArch32).",
        ),
    ],
)
def test_what_happens_is_said(
    given: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in flat(text_of(capsys, *given.split()))


def test_an_esr_is_decoded(capsys: pytest.CaptureFixture[str]) -> None:
    out = text_of(capsys, "ESR_EL2=0xcf000062", "ESR_EL1=0x56000000")
    assert "ESR_EL2 = 0xCF000062 (EC 0x33 SOFTSTEP_SAME, ISV 1, EX 1)" in out
    assert "ESR_EL1 = 0x56000000 (EC 0x15 SVC64)" in out
    assert "(EC 0x19)" in text_of(capsys, "ESR_EL1=0x64000000")


def test_no_line_is_wider_than_100_columns(seed: int) -> None:
    for values in random_values(seed, 400):
        dump = read_words(words(values))
        for line in "\n".join(to_text(dump, explain(dump.values))).splitlines():
            assert len(line) <= 100, words(values)


# Words


@pytest.mark.parametrize(
    ("given", "columns"),
    [
        ("EL=2 Event=ERET spsr_el2=5", {"el": 2, "event": Event.ERET, "spsr": 5}),
        ("el=0x2 D=0x01 mdscr_el1=0X2001", {"el": 2, "d": 1, "mdscr_el1": 0x2001}),
        ("osdlr_el1=1", {"double_lock": 1}),
        ("osdlr_el1=2 double_lock=0", {"double_lock": 0}),
        ("pstate=0x3003c9 el=2 d=1", {"el": 2, "d": 1, "ss": 1, "il": 1}),
        ("pstate=0x210", {"el": 0, "el1_aarch32": 1}),
        ("pstate=0x1a el1_aarch32=1", {"el": 2, "el2_aarch32": 1}),
        ("pstate=0x9 el1_aarch32=1", {"el": 2, "el1_aarch32": 1, "el2_aarch32": 0}),
        ("el=2 event=eret spsr_el1=4 spsr_el2=5", {"spsr": 5}),
        ("el=2 event=eret spsr=5 spsr_el2=5", {"spsr": 5}),
        ("halted=1 event=debug_exit dspsr_el0=4 spsr_el1=5", {"spsr": 4}),
    ],
)
def test_words_become_columns(given: str, columns: dict[str, int]) -> None:
    values = read_words(given.split()).values
    assert {name: values[name] for name in columns} == columns


def test_pstate_of_aarch32_gives_no_d_because_the_bit_is_e_there() -> None:
    assert "d" not in read_words(["pstate=0x210"]).values


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("MDSCR_EL2=1", "'MDSCR_EL2' is not a name known here; did you mean MDCR_EL2 or MDSCR_EL1"),
        ("qqq=1", "'qqq' is not a name known here; -h lists the names"),
        ("el", "'el' is not NAME=VALUE, such as MDSCR_EL1=0x1"),
        ("el=", "'el=' is not NAME=VALUE"),
        ("=1", "'=1' is not NAME=VALUE"),
        ("el=4", "el: '4' is not one of 0, 1, 2, 3"),
        ("event=erte", "event: 'erte' is not one of execute, "),
        ("HCR_EL2=0x10000000000000000", "HCR_EL2: '0x10000000000000000' is not a number of at"),
        ("el=1 EL=2", "el=1 and EL=2 disagree (el = 0x1 and 0x2); keep one of them"),
        ("pstate=0x3c5 el=2", "pstate=0x3c5 and el=2 disagree (el = 0x1 and 0x2)"),
        ("d=0 pstate=0x3c5", "d=0 and pstate=0x3c5 disagree (d = 0x0 and 0x1)"),
        ("pstate=0x5 el1_aarch32=1", "disagree (el1_aarch32 = 0x0 and 0x1)"),
        ("pstate=0x3", "PSTATE=0x3: M<4:0> = 0b00011 names no EL"),
        ("osdlr_el1=1 double_lock=0", "disagree (double_lock = 0x1 and 0x0)"),
        ("el=2 event=eret spsr_el1=5", "SPSR_EL1: eret at EL2 returns with SPSR_EL2; give"),
        ("el=2 event=eret spsr_el2=5 spsr=4", "SPSR and SPSR_EL2 disagree: eret returns with"),
        ("halted=1 event=debug_exit spsr_el1=4", "debug_exit returns with DSPSR_EL0; give"),
        ("event=svc", "target_el: this event needs the EL it is taken to"),
        ("el=2 have_el2=0", "el=2: that EL is not implemented (have_el2, have_el3)"),
        ("el=0 event=eret spsr_el1=4", "SPSR_EL1"),
        ("el=0 event=eret", "event=eret: there is no eret at EL0"),
    ],
)
def test_words_that_cannot_be_used_are_one_line_and_status_2(
    given: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DumpError):
        read_words(given.split())
    assert main(given.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and text in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ("spsr_el2=5", "SPSR_EL2 is not used: execute is no return"),
        ("el=2 event=eret", "SPSR_EL2 is not given: taken as 0"),
        ("have_el2=0 mdcr_el2=0x100", "MDCR_EL2 has no effect: have_el2 = 0"),
        ("have_el3=0 scr_el3=0", "SCR_EL3 has no effect: have_el3 = 0"),
    ],
)
def test_what_is_ignored_or_assumed_is_said(given: str, note: str) -> None:
    assert read_words(given.split()).notes == [note]


# JSON


def test_json_has_the_keys_that_the_help_names(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(text_of(capsys, "--json", *EXAMPLE))
    own = set(facts) - set(OUTPUTS)
    assert own == {
        "inputs",
        "secure",
        "target_rules",
        "enabled_rules",
        "state_rules",
        "return",
        "happens",
        "next",
        "next_step",
        "fires",
        "why",
        "changes",
        "no_change",
        "esrs",
        "notes",
    }
    assert set(facts) > set(OUTPUTS)
    for key in own:
        assert re.search(rf"^  (\w+, )?{key}\b", JSON_HELP, re.MULTILINE), key
    assert facts["inputs"]["spsr"] == "0x2003c5" and facts["inputs"]["event"] == "eret"
    assert facts["fires"] == 1 and facts["why"] == [] and facts["changes"] == []
    assert facts["no_change"] is None
    assert facts["return"]["legal"] == 1 and facts["return"]["eld"] == 2
    step = {"el": 2, "esr": "0xCB000022", "isv": 1, "ex": 0, "spsr_ss": 0}
    assert facts["next_step"] == step
    kde = next(rule for rule in facts["enabled_rules"] if rule["rule"] == "kde")
    assert kde["ok"] is False and kde["reads"] == {"MDSCR_EL1.KDE": 0}


def test_json_changes_are_columns_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(text_of(capsys, "--json", "ss=1", "mdcr_el2=0x100"))
    change = {"bit": "MDSCR_EL1.SS", "to": 1, "column": "mdscr_el1", "value": "0x1"}
    assert facts["changes"] == [[change]]


def test_json_says_what_the_vector_file_says(
    seed: int, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = random_values(seed, 400)
    source, answered = tmp_path / "in.csv", tmp_path / "out.csv"
    with source.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(BY_NAME), restval="")
        writer.writeheader()
        for values in lines:
            writer.writerow(dict(word.split("=") for word in words(values)))
    assert main(["--vectors", str(source), "-o", str(answered)]) == 0
    assert capsys.readouterr().out == f"lines written to {answered}: {len(lines)}\n"
    with answered.open(newline="") as file:
        for values, row in zip(lines, csv.DictReader(file), strict=True):
            dump = read_words(words(values))
            facts = to_json(dump, explain(dump.values))
            for name in set(row) - set(BY_NAME):
                said = "" if facts[name] is None else str(facts[name])
                assert said == row[name], (name, words(values))


# The command line


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--vectors", "in.csv"], "add -o OUT.csv"),
        (["--vectors", "in.csv", "-o", "out.csv", "el=1"], "leave out 'el=1'"),
        (["--vectors", "in.csv", "-o", "out.csv", "--json"], "leave out --json"),
        (["--vectors", "absent.csv", "-o", "out.csv"], "absent.csv: not a file"),
        (["-o", "out.csv", "el=1"], "-o goes with --vectors"),
        (["--json"], "no NAME=VALUE to explain"),
    ],
)
def test_a_command_line_that_cannot_be_used_is_one_line_and_status_2(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and text in err and err.count("\n") == 1


def test_a_vector_file_with_an_error_is_named_with_line_and_column(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("event,el\nexecute,1\nexecute,7\n")
    assert main(["--vectors", str(source), "-o", str(tmp_path / "out.csv")]) == 2
    assert "in.csv:3: column 'el': '7' is not one of" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_no_arguments_are_told_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    example = f"python -m model.explain {' '.join(EXAMPLE)}"
    told = f"error: there is no NAME=VALUE to explain; for example: {example}\n"
    assert capsys.readouterr() == ("", told)


def test_help_lists_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    out = text_of(capsys, "-h")
    for name in (*BY_NAME, "spsr_el1", "dspsr_el0", "osdlr_el1", "pstate", "esr_el2"):
        assert f"\n  {name} " in out


def test_ctrl_c_is_one_line_and_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("model.explain.explain", interrupted)
    assert main(["el=1"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "model.explain", "el=1"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (2, "")
