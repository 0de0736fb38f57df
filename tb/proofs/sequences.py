"""Guest-entry sequences, and the C beside them, for every value that they can find.

The machine code is executed once for all values (`tb.proofs.symbolic`) and held against what
`model.hyp.entry` states. A counterexample is run on the interpreter before it is told: it must go
wrong there, too.
"""

from __future__ import annotations

import functools
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ParamSpec

from model.a64 import A64Error
from model.a64.interpreter import Retired, record
from model.a64.state import SP, State
from model.arch import EL, MDCR_EL2, MDSCR_EL1, RAM_BASE, SCTLR_ELx, SPSR_ELx
from model.hyp import sequences
from model.hyp.entry import (
    MAX_STEPS,
    TEXT,
    VCPU,
    VCPU_SIZE,
    Difference,
    EntryPoint,
    Scenario,
    statement_of,
)
from model.hyp.findings import Finding, explain, explain_error
from model.hyp.words import Sequence
from model.kvm.host import ALWAYS_TRAPPED
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_SW_BP
from model.kvm.vcpu import GUEST_DEBUG, OFFSETS
from model.kvm.vcpu import SIZE as VCPU_BYTES
from model.programs import load as programs
from tb import scoreboard
from tb.proofs.claims import Claim, Method, Outcome, Status, register

if TYPE_CHECKING:
    from tb.proofs import symbolic

P = ParamSpec("P")

#: The claim about the user's own sequence.
USER = "sequences.user"

NO_SOLVER = "z3 is not installed: pip install 'softstep[prove]'"

MAX_PATHS = 512

#: Findings that are told of a sequence.
MAX_FINDINGS = 6

#: What a sequence may use: see `EntryPoint`.
FREE = frozenset({"x1", "x2", "x3", "nzcv"})

#: What a C function may use (AAPCS64): x0 to x18, and the flags.
FREE_IN_C = frozenset({*(f"x{n}" for n in range(19)), "nzcv"})

_SOURCE = "guest entry, model.hyp.entry"

#: What C does on the KVM_RUN path.
_SETUP = "kvm_setup_guest_debug"

_DOUBLEWORD = f"vcpu+{GUEST_DEBUG:#x}"

Values = dict[str, int]  #: by the names of `observed`
Terms = dict[str, Any]  #: the same, of z3


# The code, and where it runs


@dataclass(frozen=True)
class Setting:
    """Code at EL2, with x0 the vcpu."""

    name: str
    words: tuple[int, ...]
    address: int
    size: int = VCPU_SIZE  #: bytes of the vcpu
    function: bool = False  #: it ends where x30 says

    @property
    def end(self) -> int:
        """The address after the last word."""
        return self.address + 4 * len(self.words)


def _setting(sequence: Sequence) -> Setting:
    return Setting(sequence.name, sequence.words, TEXT)


def _function(image_name: str, symbol: str, size: int) -> Setting:
    """A C function of a program: all words from its symbol to the end of its segment."""
    image = programs.load(image_name)
    start = image.symbols[symbol]
    for at, content in image.segments:
        if at <= start < at + len(content):
            code = content[start - at :]
            words = struct.unpack(f"<{len(code) // 4}I", code)
            return Setting(symbol, words, start, size, function=True)
    raise AssertionError(f"{image_name} has no code at {symbol}")


# What is observed, of machines of terms and of states of numbers, under the same names


def observed(machine: symbolic.Machine) -> Terms:
    """Terms of all that code can change."""
    import z3

    flags = [z3.If(flag, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1)) for flag in machine.flags]
    content = machine.memory["vcpu"]
    sps = zip(EL, machine.stack_pointers(), strict=True)
    return {
        **machine.sysregs,
        **{f"x{n}": machine.x[n] for n in range(31)},
        "sp": machine.x[SP],
        "nzcv": z3.Concat(*flags),
        "daif": machine.daif,
        "spsel": z3.BitVecVal(machine.spsel, 1),
        **{f"SP_{el.name}": sp for el, sp in sps if el != EL.EL2},
        **{
            f"vcpu+{at:#x}": z3.simplify(z3.Concat(*reversed(content[at : at + 8])))
            for at in range(0, len(content), 8)
        },
    }


def state_of(setting: Setting, values: Values) -> tuple[State, bytearray]:
    """The state of the interpreter with these values, and the bytes of its vcpu."""
    state = State(el=EL.EL2, pc=setting.address)
    code = struct.pack(f"<{len(setting.words)}I", *setting.words)
    state.memory.map(setting.address, code, writable=False)
    content = [values[f"vcpu+{at:#x}"] for at in range(0, setting.size, 8)]
    vcpu = state.memory.map(values["x0"], struct.pack(f"<{len(content)}Q", *content))
    if setting.function and not state.memory.find(RAM_BASE, 4):
        state.memory.map(RAM_BASE, bytes(4))
    state.sysregs = {name: values[name] for name in state.sysregs}
    for n in range(31):
        state.x[n] = values[f"x{n}"]
    state.unused_sps = [values.get(f"SP_{el.name}", 0) for el in EL]
    state.sp = state.unused_sps[EL.EL2] = values["sp"]
    state.nzcv, state.daif, state.spsel = values["nzcv"], values["daif"], 1
    return state, vcpu


def observed_in(state: State, vcpu: bytearray) -> Values:
    sps = zip(EL, state.stack_pointers(), strict=True)
    doublewords = struct.unpack(f"<{len(vcpu) // 8}Q", vcpu)
    return {
        **state.sysregs,
        **{f"x{n}": state.x[n] for n in range(31)},
        "sp": state.sp,
        "nzcv": state.nzcv,
        "daif": state.daif,
        "spsel": state.spsel,
        **{f"SP_{el.name}": sp for el, sp in sps if el != EL.EL2},
        **{f"vcpu+{8 * n:#x}": value for n, value in enumerate(doublewords)},
    }


# The symbolic side


class Proof:
    """Code executed for all values, and the solver that is asked about it."""

    def __init__(self, setting: Setting, seconds: float) -> None:
        from tb.proofs import symbolic

        import z3  # isort: skip

        self.z3, self._end_of_time = z3, time.monotonic() + seconds
        self.setting = setting
        names = list(State().sysregs)
        code = {setting.address + 4 * n: word for n, word in enumerate(setting.words)}
        text = struct.pack(f"<{len(setting.words)}I", *setting.words)
        self.first = symbolic.symbols(setting.address, {"vcpu": setting.size}, names)
        self.before = observed(self.first)
        self.first.memory["text"] = [z3.BitVecVal(byte, 8) for byte in text]
        base = self.first.x[0]
        self.regions = {
            "vcpu": symbolic.Region(base, setting.size, True, alignment=8),
            "text": symbolic.Region(z3.BitVecVal(setting.address, 64), len(text), False, 4),
        }
        self.assumed = self._assumed(base, len(text))
        self.execution = symbolic.Execution(
            code,
            self.regions,
            self.assumed,
            returns_to=self.first.x[30] if setting.function else None,
            reads_unknown=setting.function,
            seconds=seconds,
        )

    def _assumed(self, base: Any, text: int) -> list[Any]:
        """What the code can rely on; all else is any."""
        z3, at, end = self.z3, self.setting.address, self.setting.end
        sctlr = self.before["SCTLR_EL2"]
        apart = z3.Or(z3.ULE(base, at - self.setting.size), z3.UGE(base, end))
        assumed = [
            base & 7 == 0,
            z3.ULE(base, (1 << 64) - self.setting.size),  # it does not wrap
            apart,
            self.before["sp"] & 0xF == 0,
            sctlr & SCTLR_ELx.A.mask == 0,
            sctlr & SCTLR_ELx.SA.mask != 0,
        ]
        if self.setting.function:
            returns = self.before["x30"]
            assumed += [returns & 3 == 0, z3.Or(z3.ULT(returns, at), z3.UGE(returns, end))]
        return assumed

    def run(self) -> list[symbolic.Path]:
        """All paths."""
        end = -1 if self.setting.function else self.setting.end
        return self.execution.run(self.first, end, MAX_STEPS, MAX_PATHS)

    def model(self, conditions: list[Any]) -> Any:
        """As `Execution.model`."""
        return self.execution.model(conditions)

    def values(self, conditions: list[Any]) -> Values | None:
        """Values of all that there is at first, plain ones; None if there are none."""
        model = self.model(conditions)
        if model is None:
            return None
        preferred = self._preferred()
        kept = list(conditions)
        for name, wishes in preferred.items():
            if time.monotonic() > self._end_of_time:
                break
            for wish in wishes:
                term = self.before[name]
                if model.eval(term, model_completion=True).as_long() == wish:
                    kept.append(term == wish)
                    break
                better = self.model([*kept, term == wish])
                if better is not None:
                    model = better
                    kept.append(term == wish)
                    break
        return {
            name: model.eval(term, model_completion=True).as_long()
            for name, term in self.before.items()
        }

    def _preferred(self) -> dict[str, list[int]]:
        """What values had better be, where they are free."""
        enable, step = KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP
        wishes = {
            _DOUBLEWORD: [enable, enable | step, 0, step, KVM_GUESTDBG_USE_SW_BP | enable],
            "SPSR_EL2": [0, SPSR_ELx.SS.mask],
            "MDSCR_EL1": [0, MDSCR_EL1.SS.mask],
            "x0": [VCPU],
            "x30": [RAM_BASE],
            f"vcpu+{OFFSETS['elr']:#x}": [RAM_BASE],  # where C looks for the guest's instruction
        }
        return wishes | {name: [0] for name in self.before if name not in wishes}


class _Asked:
    """A term in a function of Python: each answer that an `if` wants of it is chosen."""

    def __init__(self, term: Any, choose: Callable[[Any], bool]) -> None:
        self._term, self._choose = term, choose

    def __and__(self, mask: int) -> _Asked:
        return _Asked(self._term & mask, self._choose)

    def __bool__(self) -> bool:
        return self._choose(self._term != 0)


def stated(name: str, guest_debug: Any, spsr: Any, mdscr: Any) -> Iterator[tuple[list[Any], Any]]:
    """What `statement_of` says of terms: (conditions, (spsr, mdscr)) for each way through it.

    It is that function itself which runs, once for each way.
    """
    import z3

    ahead: list[list[bool]] = [[]]
    while ahead:
        choices = ahead.pop()
        conditions: list[Any] = []

        def choose(term: Any, choices: list[bool] = choices, met: list[Any] = conditions) -> bool:
            if len(met) == len(choices):
                ahead.append([*choices, False])
                choices.append(True)
            chosen = choices[len(met)]
            met.append(term if chosen else z3.Not(term))
            return chosen

        asked: Any = _Asked(guest_debug, choose)
        found = statement_of(name, asked, spsr, mdscr)
        yield conditions, found


# The interpreter's side


class Replay(EntryPoint):
    """The values of a counterexample at guest entry, for the interpreter."""

    def __init__(self, sequence: Sequence, values: Values) -> None:
        super().__init__(sequence, Random(0))
        self._setting, self._values = _setting(sequence), values
        self._right: Values = {}
        self.reset(self.scenario)

    @property
    def scenario(self) -> Scenario:
        """What the sequence finds."""
        found = self._values
        return Scenario(found[_DOUBLEWORD], found["SPSR_EL2"], found["MDSCR_EL1"])

    def reset(self, scenario: Scenario) -> None:
        """To the first instruction, with the values of the counterexample."""
        self.state, self._content = state_of(self._setting, self._values)

    def is_right(self, spsr: int, mdscr: int) -> bool:
        """As `EntryPoint.is_right`."""
        self._right = {**self._values, "SPSR_EL2": spsr, "MDSCR_EL1": mdscr}
        return not self.differences()

    def differences(self) -> list[Difference]:
        """As `EntryPoint.differences`."""
        return _differences(self._right, observed_in(self.state, self._content), FREE)


def _differences(right: Values, found: Values, free: frozenset[str]) -> list[Difference]:
    return [
        Difference(name, value, found[name])
        for name, value in right.items()
        if name not in free and found[name] != value
    ]


def _findings(sequence: Sequence, replay: Replay) -> tuple[list[Finding], list[Difference]]:
    """What the interpreter makes of a counterexample."""
    scenario = replay.scenario
    try:
        findings = explain(sequence, replay, scenario, scenario)
    except A64Error as error:
        return [explain_error(sequence, replay, scenario, error)], []
    return findings, replay.differences()


def executed(setting: Setting, values: Values) -> tuple[Values, list[str]]:
    """What the interpreter leaves, and a line for each instruction that it has executed."""
    state, vcpu = state_of(setting, values)
    end = values["x30"] if setting.function else setting.end
    try:
        retired = record(state, end, MAX_STEPS)
    except A64Error as error:
        return {}, [str(error)]
    return observed_in(state, vcpu), [_retired_text(setting, one) for one in retired]


def _retired_text(setting: Setting, retired: Retired) -> str:
    changes = {**retired.registers, **retired.sysregs}
    made = ", ".join(f"{name} = {after:#x}" for name, (_, after) in changes.items())
    place = f"+{retired.pc - setting.address:#x}: {retired.word:#010x}"
    return f"{place}  {retired.instruction.name}" + (f": {made}" if made else "")


# Proofs


def _unproved(reason: str) -> Outcome:
    return Outcome(Status.NOT_PROVED, reason)


def _with_solver(prove: Callable[P, Outcome]) -> Callable[P, Outcome]:
    """Decorator: a proof that needs z3, and may find that it gives up."""

    @functools.wraps(prove)
    def guarded(*given: P.args, **named: P.kwargs) -> Outcome:
        try:
            import z3
        except ImportError:
            return _unproved(NO_SOLVER)
        from tb.proofs import symbolic

        try:
            return prove(*given, **named)
        except (symbolic.GaveUp, z3.Z3Exception) as error:
            return _unproved(str(error) or type(error).__name__)

    return guarded


def _followed(proof: Proof) -> tuple[list[symbolic.Path], Outcome | None]:
    """Paths that come to their end; and the outcome if some cannot be followed."""
    from tb.proofs.symbolic import End

    paths = proof.run()
    if proof.model([]) is None:
        return paths, _unproved("what it relies on is never so")
    unknown = [path for path in paths if path.end is End.UNKNOWN]
    if unknown:
        at = unknown[0].machine.pc - proof.setting.address
        return paths, _unproved(f"{proof.setting.name}, at +{at:#x}: {unknown[0].why}")
    return paths, None


def _witnesses(
    proof: Proof, paths: list[symbolic.Path], assumed: list[Any] | None = None
) -> tuple[int, list[str]]:
    """The longest path, and a line for each: values with which it is taken."""
    from tb.proofs.symbolic import GaveUp

    lines = []
    for number, path in enumerate(paths, start=1):
        values = proof.values([*path.machine.conditions, *(assumed or [])])
        assert values is not None, "a path is followed only where it can be taken"
        found, retired = executed(proof.setting, values)
        foreseen = evaluated(observed(path.machine), proof.before, values)
        same = all(found.get(name) == value for name, value in foreseen.items())
        if not same or len(retired) != len(path.machine.executed):
            raise GaveUp(f"the interpreter does otherwise with {_scenario(values)}")
        shown = f"guest_debug = {values[_DOUBLEWORD] & 0xFFFF_FFFF:#x}"
        lines.append(f"path {number}, of {len(retired)} instructions, is taken with {shown}")
    return max(len(path.machine.executed) for path in paths), lines


def _changes(
    proof: Proof, path: symbolic.Path, expected: Mapping[str, Any], free: frozenset[str]
) -> Iterator[Any]:
    """For each thing that may be other than expected, the condition that it is."""
    z3 = proof.z3
    for name, found in observed(path.machine).items():
        wrong = z3.simplify(found != expected.get(name, proof.before[name]))
        if name not in free and not z3.is_false(wrong):
            yield wrong


def _wrong_ways(
    proof: Proof, path: symbolic.Path, ways: list[tuple[list[Any], tuple[Any, Any]]]
) -> Iterator[list[Any]]:
    """Conditions with which a path is wrong: under none, if it does not come to its end."""
    from tb.proofs.symbolic import End

    if path.end is End.ERROR:
        yield []
        return
    for conditions, (spsr, mdscr) in ways:
        must = {"SPSR_EL2": spsr, "MDSCR_EL1": mdscr}
        for wrong in _changes(proof, path, must, FREE):
            yield [*conditions, wrong]


@_with_solver
def prove_statement(sequence: Sequence, seconds: float) -> Outcome:
    """That a sequence does what guest entry must, and nothing else."""
    from tb.proofs.symbolic import End

    proof = Proof(_setting(sequence), seconds)
    paths, not_followed = _followed(proof)
    before = proof.before
    guest_debug = proof.z3.Extract(31, 0, before[_DOUBLEWORD])
    ways = list(stated(sequence.name, guest_debug, before["SPSR_EL2"], before["MDSCR_EL1"]))
    told: dict[tuple[str, int, int | None], Finding] = {}
    shown: list[Difference] = []
    for path in paths:
        if path.end is End.UNKNOWN or len(told) >= MAX_FINDINGS:
            continue
        for wrong in _wrong_ways(proof, path, ways):
            values = proof.values([*path.machine.conditions, *wrong])
            if values is not None:
                findings, differences = _findings(sequence, Replay(sequence, values))
                if not findings:
                    return _unproved(f"the interpreter does otherwise with {_scenario(values)}")
                shown = shown or differences
                for finding in findings:
                    controls = values[_DOUBLEWORD] & 3
                    cause = (finding.field, controls, finding.instruction)
                    told.setdefault(cause, replace(finding, count=1))
    if told:
        return _refuted(sequence.name, list(told.values())[:MAX_FINDINGS], shown)
    if not_followed:
        return not_followed
    depth, lines = _witnesses(proof, paths)
    return Outcome(Status.PROVED, depth=depth, history=lines)


def _scenario(values: Values) -> str:
    shown = (_DOUBLEWORD, "SPSR_EL2", "MDSCR_EL1")
    return ", ".join(f"{name} = {values[name]:#x}" for name in shown)


def _refuted(name: str, findings: list[Finding], shown: list[Difference]) -> Outcome:
    return Outcome(
        Status.REFUTED,
        f"{name}: {findings[0].problem}",
        differences=_shown(shown),
        history=[line for finding in findings for line in str(finding).splitlines()],
    )


def _shown(differences: list[Difference]) -> list[scoreboard.Difference]:
    return [scoreboard.Difference(d.name, d.found, d.expected) for d in differences]


@_with_solver
def prove_equal(one: Sequence, other: Sequence, seconds: float) -> Outcome:
    """That two sequences leave the same, in every register and in memory."""
    from tb.proofs.symbolic import End

    proof, another = (Proof(_setting(sequence), seconds) for sequence in (one, other))
    paths, not_followed = _followed(proof)
    others, not_followed_either = _followed(another)
    if outcome := not_followed or not_followed_either:
        return outcome
    for path in paths:
        for with_it in others:
            both = [*path.machine.conditions, *with_it.machine.conditions]
            if proof.model(both) is None:
                continue
            if path.end is not End.REACHED or with_it.end is not End.REACHED:
                return _unproved(f"one of them does not end: {path.why or with_it.why}")
            for wrong in _changes(proof, path, observed(with_it.machine), frozenset()):
                values = proof.values([*both, wrong])
                if values is None:
                    continue
                found, lines = executed(proof.setting, values)
                right, _ = executed(another.setting, values)
                return _other_values(
                    one.name, f"what {other.name} does", values, found, right, lines, frozenset()
                )
    depth, lines = _witnesses(proof, paths)
    return Outcome(Status.PROVED, depth=depth, history=lines)


#: What code must leave: conditions, and what is then not as before, by the names of `observed`.
Duty = Callable[[Terms], Iterator[tuple[list[Any], Terms]]]


@_with_solver
def prove_duty(
    setting: Setting,
    duty: Duty,
    seconds: float,
    free: frozenset[str] = frozenset(),
    assumed: Callable[[Terms], list[Any]] = lambda before: [],
) -> Outcome:
    """That code does what it must, where what is assumed besides is so, and nothing else."""
    from tb.proofs.symbolic import End

    proof = Proof(setting, seconds)
    paths, not_followed = _followed(proof)
    if not_followed:
        return not_followed
    given = assumed(proof.before)
    taken = [path for path in paths if proof.model([*path.machine.conditions, *given]) is not None]
    if not taken:
        return _unproved("what is assumed is never so")
    for path in taken:
        for conditions, must in duty(proof.before):
            here = [*path.machine.conditions, *conditions, *given]
            wrong = [proof.z3.BoolVal(True)]
            if path.end is End.REACHED:
                wrong = list(_changes(proof, path, must, free))
            for condition in wrong:
                values = proof.values([*here, condition])
                if values is not None:
                    right = values | evaluated(must, proof.before, values)
                    found, lines = executed(setting, values)
                    return _other_values(
                        setting.name, "what it must", values, found, right, lines, free
                    )
    depth, lines = _witnesses(proof, taken, given)
    return Outcome(Status.PROVED, depth=depth, history=lines)


def _other_values(
    name: str,
    other: str,
    values: Values,
    found: Values,
    right: Values,
    lines: list[str],
    free: frozenset[str],
) -> Outcome:
    """A counterexample, if it is one on the interpreter."""
    history = [f"given {_scenario(values)}", *lines]
    if not found:
        reason = f"{name} does not run to its end: {lines[-1]}"
        return Outcome(Status.REFUTED, reason, history=history)
    differences = _differences(right, found, free)
    if not differences:
        return _unproved(f"the interpreter does otherwise with {_scenario(values)}")
    wrong = ", ".join(difference.name for difference in differences)
    reason = f"{name} does not leave {other} in {wrong}"
    return Outcome(Status.REFUTED, reason, differences=_shown(differences), history=history)


def evaluated(terms: Mapping[str, Any], before: Terms, values: Values) -> Values:
    """The terms' values, of those that depend on nothing else."""
    import z3

    given = [
        (before[name], z3.BitVecVal(value, before[name].size()))
        for name, value in values.items()
        if z3.is_const(before[name])
    ]
    given += [
        (z3.Bool(flag), z3.BoolVal(bool(values["nzcv"] >> n & 1))) for n, flag in enumerate("vczn")
    ]
    found = {name: z3.simplify(z3.substitute(term, *given)) for name, term in terms.items()}
    return {name: term.as_long() for name, term in found.items() if z3.is_bv_value(term)}


# What the C code must do: it finds SPSR_EL2 and MDSCR_EL1 in the vcpu


def _saved(field: str) -> str:
    return f"vcpu+{OFFSETS[field]:#x}"


def _nothing(before: Terms) -> Iterator[tuple[list[Any], Terms]]:
    """Nothing is changed."""
    yield [], {}


def _callout_duty(before: Terms) -> Iterator[tuple[list[Any], Terms]]:
    """The statement, of the registers that will be restored."""
    yield from _stated_of_saved("callout", before)


def _stated_of_saved(name: str, before: Terms) -> Iterator[tuple[list[Any], Terms]]:
    spsr, mdscr = _saved("spsr"), _saved("mdscr_el1")
    guest_debug = before[_DOUBLEWORD]
    for conditions, (spsr_after, mdscr_after) in stated(
        name, _low_word(guest_debug), before[spsr], before[mdscr]
    ):
        yield conditions, {spsr: spsr_after, mdscr: mdscr_after}


def _low_word(doubleword: Any) -> Any:
    import z3

    return z3.Extract(31, 0, doubleword)


#: `struct own` in vcpu.h, behind the vcpu: what of the guest's is kept; then word and has_word.
_OWN = ("mdscr_el1", "os_lock", "spsr", "elr", "spsr_el1")
_OWN_SIZE = 8 * (len(_OWN) + 2)


def _upstream_duty(before: Terms) -> Iterator[tuple[list[Any], Terms]]:
    """The statement; where the host's bits are set, the guest's own are kept beside."""
    import z3

    asked = _low_word(before[_DOUBLEWORD])
    needs_el2 = asked & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP) != 0
    kept = {f"vcpu+{VCPU_BYTES + 8 * n:#x}": before[_saved(name)] for n, name in enumerate(_OWN)}
    trapped = z3.BitVecVal(ALWAYS_TRAPPED, 64)
    for conditions, must in _stated_of_saved("upstream", before):
        yield [*conditions, z3.Not(needs_el2)], {**must, _saved("mdcr_el2"): trapped}
        debugging = {
            _saved("mdcr_el2"): trapped | MDCR_EL2.TDE.mask,
            _saved("os_lock"): z3.BitVecVal(0, 64),
        }
        yield [*conditions, needs_el2], {**must, **kept, **debugging}


def _as_kept(before: Terms) -> list[Any]:
    """KVM_SET_GUEST_DEBUG keeps 0 without ENABLE."""
    import z3

    asked = _low_word(before[_DOUBLEWORD])
    return [z3.Or(asked & KVM_GUESTDBG_ENABLE != 0, asked == 0)]


#: Of struct own: the word that is stepped, and what the guest's last step was.
_FREE_IN_OWN = frozenset(f"vcpu+{VCPU_BYTES + 8 * n:#x}" for n in range(len(_OWN), len(_OWN) + 2))


# The claims


def _claim(name: str, sentence: str, prove: Callable[[float], Outcome]) -> None:
    def in_time(_: Path, seconds: float) -> Outcome:
        return prove(seconds)

    register(Claim(f"sequences.{name}", sentence, _SOURCE, Method.SYMBOLIC, in_time))


def _states(name: str) -> Callable[[float], Outcome]:
    return lambda seconds: prove_statement(sequences.load(name), seconds)


def _is_nothing(name: str) -> Callable[[float], Outcome]:
    return lambda seconds: prove_duty(_setting(sequences.load(name)), _nothing, seconds)


def _register() -> None:
    for name in ("v1", "bic"):
        _claim(
            name,
            f"The sequence {name} makes of SPSR_EL2 and MDSCR_EL1 what guest entry must, and"
            " changes nothing else, whatever 64 bits it finds in them, in guest_debug and in all"
            " registers.",
            _states(name),
        )
    _claim(
        "v1_is_bic",
        "The sequences v1 and bic leave the same, in every register and in the vcpu.",
        lambda seconds: prove_equal(sequences.load("v1"), sequences.load("bic"), seconds),
    )
    for name in ("callout", "upstream"):
        _claim(
            name,
            f"The sequence of {name} changes nothing: no register, and not the vcpu.",
            _is_nothing(name),
        )
    _claim(
        "callout_setup",
        "The kvm_setup_guest_debug of callout, as compiled, does in the vcpu what guest entry"
        " must, and changes nothing else that C may not.",
        lambda seconds: prove_duty(
            _function("hypervisor_callout", _SETUP, VCPU_BYTES),
            _callout_duty,
            seconds,
            FREE_IN_C,
        ),
    )
    _claim(
        "upstream_setup",
        "The kvm_setup_guest_debug of upstream, as compiled, does in the vcpu what guest entry"
        " must, keeps the guest's own registers beside it, and changes nothing else that C may"
        " not.",
        lambda seconds: prove_duty(
            _function("hypervisor_upstream", _SETUP, VCPU_BYTES + _OWN_SIZE),
            _upstream_duty,
            seconds,
            FREE_IN_C | _FREE_IN_OWN,
            _as_kept,
        ),
    )


def register_user(path: str) -> None:
    """Add the claim USER, about the user's own sequence. SequenceError if the file has none."""
    sequence = sequences.load(path)
    _claim(
        USER.partition(".")[2],
        f"{path} does what guest entry must, and changes nothing else.",
        lambda seconds: prove_statement(sequence, seconds),
    )


_register()
