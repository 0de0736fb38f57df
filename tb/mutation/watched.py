"""The step unit with what a solver needs to know: what is compared, and what may happen."""

from amaranth.hdl import Cat, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from model.arch import EL, Event, Last
from tb import scoreboard
from tb.harness import ROW, STIMULUS, UNIT, Harness, width

#: Fields of the row that are compared only where another field is 1, as in `tb.scoreboard`.
WHERE = dict.fromkeys((*scoreboard.EFFECT, "event", "pc"), "valid")
WHERE |= dict.fromkeys(("out_target_el", "out_esr"), "out_pending")


class Watched(Harness):
    """The step unit in its harness, and two more outputs.

    `compared` is the row, 0 in what the scoreboard does not compare. `legal` is 0 when something
    happens that cannot, by the rules of the vector file (`model.columns.problems`).
    """

    def __init__(self):
        wiring.Component.__init__(
            self,
            {
                "reset": In(1),
                "stimulus": In(width(STIMULUS)),
                "row": Out(width(ROW)),
                "compared": Out(width(ROW)),
                "legal": Out(1),
            },
        )
        self._design = UNIT

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += [
            self.compared.eq(Cat(self._compared(name) for name in ROW)),
            self.legal.eq(~self._seen("valid") | ~self._illegal()),
        ]
        return m

    def _seen(self, name: str) -> Value:
        slot = ROW[name]
        return self.row[slot.lsb : slot.lsb + slot.width]

    def _given(self, name: str) -> Value:
        slot = STIMULUS[name]
        return self.stimulus[slot.lsb : slot.lsb + slot.width]

    def _compared(self, name: str) -> Value:
        value = self._seen(name)
        return Mux(self._seen(WHERE[name]), value, 0) if name in WHERE else value

    def _uses_aarch32(self) -> Value:
        """PSTATE.nRW follows from the EL; EL0 is as EL1."""
        el, el1, el2 = (
            self._seen("el"),
            self._given("controls__el1_aarch32"),
            self._given("controls__el2_aarch32"),
        )
        return ((el <= EL.EL1) & el1) | ((el == EL.EL2) & el2)

    def _illegal(self) -> Value:
        kind, halted = self._given("event__kind"), self._given("halted")
        aarch32, at_el0 = self._seen("nrw"), self._seen("el") == EL.EL0
        d_write, mdscr_write = (self._given(f"event__{name}_write") for name in ("d", "mdscr"))
        executes, exits = kind == Event.EXECUTE, kind == Event.DEBUG_EXIT
        returns = kind == Event.ERET
        el2_aarch32 = self._given("controls__have_el2") & self._given("controls__el2_aarch32")
        return (
            (kind >= len(Event))
            | (aarch32 != self._uses_aarch32())
            | (el2_aarch32 & ~self._given("controls__el1_aarch32"))
            | (self._seen("last") >= len(Last))
            | (halted != exits)
            | (returns & at_el0)
            | ((returns | exits) & aarch32)
            | ((d_write | mdscr_write) & ~executes)
            | (d_write & aarch32)
            | (mdscr_write & at_el0)
        )
