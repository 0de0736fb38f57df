"""The sequencer: when a row of the trace begins, and when it ends."""

from enum import IntEnum

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core.timing import LATENCY, TimingClass

CYCLES_MAX = max(latency.cycles for latency in LATENCY.values())


class Stage(IntEnum):
    """What the core is about."""

    RESET = 0  #: the first word is being asked for
    BEGIN = 1  #: first cycle of a row: all but the answers of memory and divider is decided
    BUSY = 2  #: an access, a division, or the class's latency is under way
    WAIT = 3  #: WFI or WFE


class Sequencer(wiring.Component):
    """The stage, and the end of a row.

    A row takes the cycles of its class, counted from the end of the row before it. What WFI and WFE
    wait comes on top.
    """

    timing: In(TimingClass)  # of the row; an abort that memory answers with may change it
    waits: In(1)  # the row is a WFI or WFE that has to wait ...
    wakes: In(1)  # ... and this ends the waiting, or lets none begin

    stage: Out(Stage)
    begins: Out(1)  # this is the row's first cycle
    answered: Out(1)  # this is the cycle in which memory answers what was asked in the first one
    retires: Out(1)  # this is the row's last cycle

    def elaborate(self, platform):
        m = Module()
        elapsed = Signal(range(CYCLES_MAX))  # cycles of this row before this one
        last = Signal.like(elapsed)
        with m.Switch(self.timing):
            for each, latency in LATENCY.items():
                with m.Case(each):
                    m.d.comb += last.eq(latency.cycles - 1)

        waiting = Signal()
        m.d.comb += [
            self.begins.eq(self.stage == Stage.BEGIN),
            self.answered.eq((self.stage == Stage.BUSY) & (elapsed == 1)),
            waiting.eq(self.waits & ~self.wakes & (self.stage != Stage.BUSY)),
            self.retires.eq((self.stage != Stage.RESET) & ~waiting & (elapsed >= last)),
        ]
        with m.If((self.stage == Stage.RESET) | self.retires):
            m.d.sync += [self.stage.eq(Stage.BEGIN), elapsed.eq(0)]
        with m.Elif(waiting):
            m.d.sync += self.stage.eq(Stage.WAIT)
        with m.Else():
            m.d.sync += [self.stage.eq(Stage.BUSY), elapsed.eq(elapsed + 1)]
        return m
