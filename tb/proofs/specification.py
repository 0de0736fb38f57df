"""The step unit as the manual's tables: a second design, made of the rows themselves.

Each table of `model/manual` becomes a chain of choices, row by row. The words of `tb.proofs.manual`
say what is in no table: the ELs, what MDSCR_EL1 is seen to be, and what the tables leave out: a
column "n", SUIDEN, and a return from Debug state.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from model.arch import EL, Event, Last, StepState
from model.tables import rows
from tb.harness import ROW
from tb.proofs.entries import IFSC, LOWER, SAME
from tb.proofs.manual import Controls, either, one_of, shared
from tb.proofs.property import Unit, rule
from tb.proofs.returns import Return
from tb.scoreboard import DERIVED, EFFECT, STATE

PSTATE = ("el", "nrw", "d", "ss", "il")
RESET = {"el": EL.EL3, "d": 1}  #: what is not 0


Says = Callable[[dict[str, str]], Value]


def look_up(u: Unit, table: str, columns: Mapping[str, Value], says: Says, no: Value) -> Value:
    """What the row says that the columns' values are in; `no` if they are in none."""
    values = {name: shared(u.m, value) for name, value in columns.items()}
    result = no
    for _, row in reversed(rows(table)):
        fits = [value == int(row[name]) for name, value in values.items() if row[name] != "x"]
        result = Mux(Cat(fits).all(), says(row), result)
    return shared(u.m, result)


def _at(values: Sequence[Value | int], index: Value) -> Value:
    return reduce(lambda no, n: Mux(index == n, values[n], no), range(len(values)), Const(0))


def _width(aarch32: Value) -> Value:
    return Mux(aarch32, 32, 64)


def enabled(u: Unit, c: Controls, el: Value, kde: Value, d: Value, halted: Value) -> Value:
    """`routing-enable.csv`: debug exceptions from an EL, with MDSCR_EL1.KDE and PSTATE.D."""
    words = c.enabled(el, kde, d, halted)
    columns = {
        "halted": halted,
        "lock": c.locked(),
        "ns": c.ns,
        "sdd": c.sdd,
        "eel2": c.secure_el2,
        "tge": c.tge,
        "tde": c.tde,
        "kde": kde,
        "d": d,
    }
    cells = {"n": words, "-": Const(0, 1), "1": Const(1, 1), "2": Const(1, 1)}

    def column(name: str) -> Value:
        return look_up(u, "routing-enable", columns, lambda row: cells[row[name]], words)

    by_table = _at([column(f"el{at}") for at in EL], el)
    suiden = (el == EL.EL0) & c.el1_aarch32 & c.suiden & c.secure(el)
    return Mux(suiden, words, by_table)


def state(u: Unit, c: Controls, el: Value, is_enabled: Value, mdscr_ss: Value, ss: Value) -> Value:
    """`step-state.csv`."""
    columns = {
        "eld_aarch": _width(c.eld_aarch32(el)),
        "enabled": is_enabled,
        "mdscr_ss": mdscr_ss,
        "pstate_ss": ss,
    }
    names = {each.text: Const(each, 2) for each in StepState}
    return look_up(u, "step-state", columns, lambda row: names[row["state"]], Const(3, 2))


def return_ss(u: Unit, r: Return) -> Value:
    """PSTATE.SS after a return: `exception-return-select.csv` says by which of the other two."""
    c, spsr = u.controls_after, u.spsr
    zero = Const(0, 1)
    way = {
        "from_el": u.row.el,
        "target_el": r.destination,
        "kde": u.written.kde,
        "pstate_d": u.row.d,
        "spsr_d": spsr.d,
    }
    cells = {"spsr": spsr.ss, "0": zero}
    uses = {"0": zero}
    for use in ("eld1", "eld2"):
        table = f"exception-return-{use}"
        uses[use] = look_up(u, table, way, lambda row: cells[row["pstate_ss"]], zero)
    select = {
        "mdscr_ss": u.written.ss,
        "lock": c.locked(),
        "ns": c.ns,
        "sdd": c.sdd,
        "eel2": c.secure_el2,
        "tge": c.tge,
        "tde": c.tde,
        "el1": _width(c.el1_aarch32),
        "el2": _width(c.have_el2 & c.el2_aarch32),
    }
    by_table = look_up(u, "exception-return-select", select, lambda row: uses[row["use"]], zero)
    all_hold = u.written.ss & r.eld_aarch64 & ~r.enabled_at_source & r.enabled_at_destination
    suiden = (r.destination == EL.EL0) & c.el1_aarch32 & c.suiden & c.secure(r.destination)
    in_words = either(u.halted, u.kind == Event.DEBUG_EXIT, suiden)
    return Mux(in_words, all_hold & spsr.ss, by_table)


def saved_ss(u: Unit) -> Value:
    """`exception-entry-spsr-ss.csv`: "1" there, from active-not-pending, is the old PSTATE.SS."""
    says = {
        row["exception"]: int(row["spsr_ss"]) for _, row in rows("exception-entry-spsr-ss")[:-1]
    }
    calls = _at([0, 0, 0, *(says[name] for name in ("svc", "hvc", "smc"))], u.kind)
    first = says["asynchronous-before-execution"]
    other = Mux(u.kind == Event.INTERRUPT, first, says["other-synchronous"])
    return Mux(u.calls, calls, other) & u.row.ss


def syndrome(u: Unit) -> Value:
    """`syndrome.csv`: ISV and EX by what was stepped."""
    says = {row["stepped"]: (row["isv"], row["ex"]) for _, row in rows("syndrome")}
    choice = u.given.choice__isv_choice

    def bits(name: str, correct: int = 0) -> list[Value]:
        cells = {"0": Const(0, 1), "1": Const(1, 1), "either": choice, "correct": Const(correct, 1)}
        return [cells[cell] for cell in says[name]]

    def taken_first(correct: int) -> list[Value]:
        ways = (bits(f"other-exception-taken-first-isv{isv}", correct) for isv in (0, 1))
        return [Mux(choice, one, zero) for zero, one in zip(*ways, strict=True)]

    by_last = {
        Last.NOTHING: bits("nothing"),
        Last.INSTRUCTION: bits("anything-else"),
        Last.LOAD_EXCLUSIVE: bits("load-exclusive"),
        Last.ERET_OR_ISB: bits("isb"),
        Last.OTHER_EXCEPTION: taken_first(0),
        Last.OTHER_EXCEPTION_EX: taken_first(1),
    }
    isv, ex = (_at([by_last[last][n] for last in Last], u.row.last)[0] for n in (0, 1))
    ec = Mux(u.row.out_target_el == u.row.el, SAME, LOWER)
    return Cat(Const(IFSC, 6), ex, Const(0, 17), isv, Const(1, 1), ec[:6], Const(0, 32))


class Specification:
    """The second design: what it holds is its own, `shown` is what the unit's outputs must be."""

    def __init__(self, u: Unit):
        self.held = SimpleNamespace(
            **{n: Signal(ROW[n].width, name=f"held_{n}", init=RESET.get(n, 0)) for n in STATE}
        )
        self.shown = SimpleNamespace(**self.held.__dict__)
        self._m: Module = u.m
        self.words = words = u.of(self.shown)
        self._before(words)
        self._after(words)
        self._next(words)

    def _show(self, **values: Any) -> None:
        """Outputs, each a signal, so that those who use it share it."""
        for name, value in values.items():
            output = Signal(ROW[name].width, name=f"specified_{name}")
            self._m.d.comb += output.eq(value)
            setattr(self.shown, name, output)

    def _before(self, u: Unit) -> None:
        """The state before the event, and the step exception that is due."""
        c, row = u.controls, u.row
        self._show(eld=c.eld(row.el), enabled=enabled(u, c, row.el, u.seen.kde, row.d, u.halted))
        self._show(state=state(u, c, row.el, row.enabled, u.seen.ss, row.ss))
        to_el2 = (row.el == EL.EL2) | ((row.el <= EL.EL1) & c.el2_enabled & (c.tge | c.tde))
        self._show(out_target_el=Mux(to_el2, EL.EL2, EL.EL1))
        self._show(out_esr=syndrome(u))
        self._show(step_exception=u.step, illegal_state=u.illegal_state)
        self._show(esr=Mux(u.step, row.out_esr, 0))

    def _after(self, u: Unit) -> None:
        """PSTATE after the event: of an exception, of a return, of an instruction."""
        row, r, c = u.row, Return(u), u.controls
        from_el0 = Mux(c.el2_enabled & c.tge, EL.EL2, EL.EL1)
        illegal_state = Mux(row.el == EL.EL0, from_el0, row.el)
        target = Mux(u.illegal_state, illegal_state, u.given.event__target_el)
        target = Mux(u.step, row.out_target_el, target)
        left = Mux(r.illegal, row.el, u.spsr.el)
        self._show(el_after=Mux(u.enters, target, Mux(u.returns, left, row.el)))
        aarch32 = _at([0, c.el1_aarch32, c.el2_aarch32, 0], row.el_after)
        width = Mux(r.illegal, row.nrw, u.spsr.nrw)
        self._show(nrw_after=Mux(u.enters, aarch32, Mux(u.returns, width, row.nrw)))
        d = Mux(u.completes & u.given.event__d_write, u.given.event__d_value, row.d)
        d = Mux(u.enters & ~row.nrw_after, 1, d)
        self._show(d_after=Mux(u.returns & ~row.nrw_after, u.spsr.d, d))
        self._show(ss_after=u.returns & return_ss(u, r))
        self._show(il_after=u.returns & (r.illegal | u.spsr.il))
        saved = u.enters & ~row.nrw_after
        self._show(spsr_saved=saved, spsr_ss=saved & saved_ss(u))
        after, el = u.controls_after, row.el_after
        can = enabled(u, after, el, u.seen_after.kde, row.d_after, Const(0))
        self._show(state_after=state(u, after, el, can, u.seen_after.ss, row.ss_after))

    def _next(self, u: Unit) -> None:
        """What is held from the next cycle on."""
        held, given = self.held, u.given
        written = Mux(u.writes_mdscr, given.event__mdscr_value, held.mdscr_el1_written)
        sees = u.synchronises | (u.writes_mdscr & given.choice__mdscr_seen)
        with self._m.If(given.load__enable):
            self._m.d.sync += [getattr(held, name).eq(u.load[name]) for name in PSTATE]
            self._m.d.sync += held.mdscr_el1.eq(given.load__mdscr_el1)
            self._m.d.sync += held.mdscr_el1_written.eq(given.load__mdscr_el1_written)
            self._m.d.sync += held.last.eq(given.load__last)
        with self._m.Elif(u.happens):
            after = {name: getattr(u.row, f"{name}_after") for name in PSTATE}
            self._m.d.sync += [getattr(held, name).eq(value) for name, value in after.items()]
            self._m.d.sync += held.mdscr_el1_written.eq(written)
            self._m.d.sync += held.mdscr_el1.eq(Mux(sees, written, held.mdscr_el1))
            self._m.d.sync += held.last.eq(stepped(u))


def stepped(u: Unit) -> Value:
    """What a step exception that comes next can say of what was stepped (section 7)."""
    last = u.row.last
    first = Mux(
        one_of(last, Last.LOAD_EXCLUSIVE, Last.OTHER_EXCEPTION_EX),
        Last.OTHER_EXCEPTION_EX,
        Mux(last == Last.NOTHING, Last.NOTHING, Last.OTHER_EXCEPTION),
    )
    free = Mux(u.kind == Event.ISB, Last.ERET_OR_ISB, Last.INSTRUCTION)
    of_completed = Mux(u.kind == Event.LOAD_EXCLUSIVE, Last.LOAD_EXCLUSIVE, free)
    now = Mux(u.completes, of_completed, Last.ERET_OR_ISB)
    now = Mux(u.enters, Last.OTHER_EXCEPTION, now)
    passed = Mux(u.pending & ~u.step, first, Last.NOTHING)
    return Mux(u.not_pending, now, passed)


def _assume_possible(u: Unit) -> None:
    """What is so of every PE: EL2 uses AArch32 only over an AArch32 EL1, and not if it is Secure.

    An ERET is not executed at EL0, and this project's not in AArch32 state.
    """
    for c in (u.controls, u.controls_after):
        el2_aarch32 = c.have_el2 & c.el2_aarch32
        u.assume(~el2_aarch32 | (c.el1_aarch32 & (c.ns | ~c.secure_el2)))
    u.assume(~u.returns | ~u.row.nrw)
    u.assume(~u.instruction(Event.ERET) | (u.row.el != EL.EL0))


@rule("equality", "model/manual; sections 2 to 9")
def unit_is_the_specification(u: Unit) -> None:
    """In every cycle of every sequence, each output of the step unit is that of a second design,
    which is made of the manual's tables."""
    specification = Specification(u)
    _assume_possible(specification.words)
    said = specification.shown.__dict__
    u.expect(Const(1), **{name: said[name] for name in (*STATE, *DERIVED)})
    u.expect(u.happens, **{name: said[name] for name in EFFECT})
    u.expect_outputs(specification.shown)
    u.expect(u.pending, **{name: said[name] for name in ("out_target_el", "out_esr")})
    u.lemma(u.row.last <= max(Last))
