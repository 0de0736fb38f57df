"""The step unit: PSTATE.SS and the state derived from it.

Source: DDI 0487 D2.12 (Software Step exceptions), D1.10 and D1.11 (exception entry and return).

The unit is told each event in the cycle in which it happens, and answers in the same cycle: what
was done, on the trace. Before an event, `pending` asks for a Software Step exception in its place.
The step state is derived in every cycle and never stored: whatever changes PSTATE, MDSCR_EL1 or the
controls changes it.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.registers import MDSCR_EL1, PSTATE, Controls, SPSR_ELx, StepESR
from hw.routing import ControlDecoder, DebugRouting, ExceptionReturn, IllegalStateTarget
from hw.syndrome import SoftwareStepSyndrome
from hw.trace import Trace
from model.arch import EL, Event, Last, StepState

#: What happens in this cycle. Values that the event does not use are ignored.
EventPort = wiring.Signature(
    {
        "valid": Out(1),  # there is an event in this cycle
        "kind": Out(Event),  # which one
        "pc": Out(64),  # address of the instruction
        "target_el": Out(EL),  # EL that svc, hvc, smc, exception and interrupt are taken to
        "spsr": Out(SPSR_ELx),  # SPSR_ELx for eret, DSPSR for debug_exit
        "d_write": Out(1),  # the instruction executed writes PSTATE.D ...
        "d_value": Out(1),  # ... with this
        "mdscr_write": Out(1),  # the instruction executed writes MDSCR_EL1 ...
        "mdscr_value": Out(MDSCR_EL1),  # ... with this
    }
)

#: What the architecture leaves open, decided from outside in the cycle of the event.
Choices = wiring.Signature(
    {
        "async_first": Out(1),  # an interrupt is taken before a pending step exception
        "isv_choice": Out(1),  # ISV where what was stepped leaves it open
        "mdscr_seen": Out(1),  # a write of MDSCR_EL1 is seen at once, not at the next CSE
    }
)

#: The state to be in from the next cycle on, whatever this cycle's event makes of the present one:
#: where the PE starts, or a checkpoint restored.
Load = wiring.Signature(
    {
        "enable": Out(1),  # load the state below at the end of this cycle
        "pstate": Out(PSTATE),  # el, nrw, d, ss, il
        "mdscr_el1": Out(MDSCR_EL1),  # as the PE sees it
        "mdscr_el1_written": Out(MDSCR_EL1),  # as last written: the same, but for an unseen write
        "last": Out(Last),  # what was stepped before
    }
)


class Decision(wiring.Component):
    """What happens: the step exception, the Illegal Execution state exception, or the event."""

    kind: In(Event)
    pending: In(1)  # a Software Step exception is due
    il: In(1)  # PSTATE.IL
    async_first: In(1)  # choice: an interrupt is taken before it

    step: Out(1)  # the Software Step exception is taken
    illegal_state: Out(1)  # the Illegal Execution state exception is taken
    completes: Out(1)  # an instruction does, and is neither of the next two
    calls: Out(1)  # SVC, HVC or SMC completes: an exception with the next instruction as return
    returns: Out(1)  # exception return or Debug exit
    enters: Out(1)  # an exception of whatever kind is taken

    def elaborate(self, platform):
        m = Module()
        interrupted = Signal()  # an exception comes instead of an instruction
        with m.If(self.pending & ~((self.kind == Event.INTERRUPT) & self.async_first)):
            m.d.comb += self.step.eq(1)
        with m.Elif((self.kind == Event.EXCEPTION) | (self.kind == Event.INTERRUPT)):
            m.d.comb += interrupted.eq(1)
        with m.Elif(self.kind == Event.DEBUG_EXIT):
            m.d.comb += self.returns.eq(1)
        with m.Elif(self.il):
            m.d.comb += self.illegal_state.eq(1)
        with m.Else():
            with m.Switch(self.kind):
                with m.Case(Event.EXECUTE, Event.LOAD_EXCLUSIVE, Event.ISB):
                    m.d.comb += self.completes.eq(1)
                with m.Case(Event.SVC, Event.HVC, Event.SMC):
                    m.d.comb += self.calls.eq(1)
                with m.Case(Event.ERET):
                    m.d.comb += self.returns.eq(1)
        m.d.comb += self.enters.eq(self.step | self.illegal_state | self.calls | interrupted)
        return m


class WhatWasStepped(wiring.Component):
    """What a step exception that comes after this event will know of what was stepped.

    Only an instruction that starts in active-not-pending is stepped.
    """

    state: In(StepState)  # before the event
    kind: In(Event)
    step: In(1)  # from the Decision, as the next three
    completes: In(1)
    returns: In(1)
    enters: In(1)
    last: In(Last)  # what a step exception would know now

    last_after: Out(Last)

    def elaborate(self, platform):
        m = Module()
        after = self.last_after
        m.d.comb += after.eq(Last.NOTHING)
        with m.If(self.state == StepState.ACTIVE_NOT_PENDING):
            m.d.comb += after.eq(Last.INSTRUCTION)
            with m.If(self.completes & (self.kind == Event.LOAD_EXCLUSIVE)):
                m.d.comb += after.eq(Last.LOAD_EXCLUSIVE)
            with m.If(self.returns | (self.completes & (self.kind == Event.ISB))):
                m.d.comb += after.eq(Last.ERET_OR_ISB)
            with m.If(self.enters):
                m.d.comb += after.eq(Last.OTHER_EXCEPTION)
        with m.Elif((self.state == StepState.ACTIVE_PENDING) & ~self.step):
            # An interrupt came first: what was stepped before it is not forgotten.
            with m.Switch(self.last):
                with m.Case(Last.LOAD_EXCLUSIVE, Last.OTHER_EXCEPTION_EX):
                    m.d.comb += after.eq(Last.OTHER_EXCEPTION_EX)
                with m.Case(Last.INSTRUCTION, Last.ERET_OR_ISB, Last.OTHER_EXCEPTION):
                    m.d.comb += after.eq(Last.OTHER_EXCEPTION)
        return m


class StepStateMachine(wiring.Component):
    """The step state, derived (D2.12.3)."""

    eld_aarch32: In(1)
    enabled: In(1)  # debug exceptions are, from the current EL
    mdscr_ss: In(1)
    pstate_ss: In(1)

    state: Out(StepState)

    def elaborate(self, platform):
        m = Module()
        with m.If(self.eld_aarch32 | ~self.enabled | ~self.mdscr_ss):
            m.d.comb += self.state.eq(StepState.INACTIVE)
        with m.Elif(self.pstate_ss):
            m.d.comb += self.state.eq(StepState.ACTIVE_NOT_PENDING)
        with m.Else():
            m.d.comb += self.state.eq(StepState.ACTIVE_PENDING)
        return m


class StepUnit(wiring.Component):
    """The software step state machine of one PE.

    After reset the PE is at EL3, debug exceptions masked; `load` starts it anywhere else.
    """

    controls: In(Controls)  # as the PE sees them before the event ...
    controls_after: In(Controls)  # ... and once it has happened: the same, but for late writes
    halted: In(1)  # the PE is in Debug state: the next event is debug_exit
    event: In(EventPort)
    choice: In(Choices)
    load: In(Load)

    pending: Out(1)  # a Software Step exception comes before the next instruction ...
    target_el: Out(EL)  # ... and is taken to this EL ...
    esr: Out(StepESR)  # ... with this syndrome
    pstate: Out(PSTATE)  # now
    mdscr_el1: Out(MDSCR_EL1)  # as last written
    state: Out(StepState)  # now
    trace: Out(Trace)

    def elaborate(self, platform):
        m = Module()
        pstate = Signal(PSTATE, init={"el": EL.EL3, "d": 1})
        written = Signal(MDSCR_EL1)  # as last written
        seen = Signal(MDSCR_EL1)  # as the PE sees it
        last = Signal(Last)
        m.d.comb += [self.pstate.eq(pstate), self.mdscr_el1.eq(written)]

        m.submodules.decoder = decoder = ControlDecoder()
        wiring.connect(m, wiring.flipped(self.controls), decoder.controls)
        m.submodules.decoder_after = decoder_after = ControlDecoder()
        wiring.connect(m, wiring.flipped(self.controls_after), decoder_after.controls)
        now = self._before(m, pstate, seen, last)
        decision = self._decide(m, pstate, last)
        written_next, seen_next = self._write_mdscr(m, decision, written, seen)
        pstate_next = self._change_pstate(m, decision, pstate, written, seen_next)
        self._fill_trace(m, decision, now, pstate, pstate_next)
        m.d.comb += [
            self.trace.mdscr_el1.eq(seen),
            self.trace.mdscr_el1_written.eq(written),
            self.trace.last.eq(last),
        ]

        with m.If(self.load.enable):
            m.d.sync += [
                pstate.eq(self.load.pstate),
                written.eq(self.load.mdscr_el1_written),
                seen.eq(self.load.mdscr_el1),
                last.eq(self.load.last),
            ]
        with m.Elif(self.event.valid):
            m.d.sync += [
                pstate.eq(pstate_next),
                written.eq(written_next),
                seen.eq(seen_next),
                last.eq(m.submodules.stepped.last_after),
            ]
        return m

    def _routing(self, m, name, decoder, mdscr_el1, halted, el, d):
        """The debug exceptions from an EL, with a view of the control registers."""
        m.submodules[name] = routing = DebugRouting()
        m.d.comb += [
            routing.effective.eq(decoder.effective),
            routing.kde.eq(mdscr_el1.KDE),
            routing.halted.eq(halted),
            routing.el.eq(el),
            routing.d.eq(d),
        ]
        return routing

    def _state(self, m, name, routing, mdscr_el1, pstate_ss):
        """The step state that a routing, a view of MDSCR_EL1 and PSTATE.SS make."""
        m.submodules[name] = machine = StepStateMachine()
        m.d.comb += [
            machine.eld_aarch32.eq(routing.eld_aarch32),
            machine.enabled.eq(routing.enabled),
            machine.mdscr_ss.eq(mdscr_el1.SS),
            machine.pstate_ss.eq(pstate_ss),
        ]
        return machine.state

    def _before(self, m, pstate, seen, last):
        """The state before the event, and the step exception that it may ask for."""
        decoder = m.submodules.decoder
        now = self._routing(m, "now", decoder, seen, self.halted, pstate.el, pstate.d)
        m.submodules.syndrome = syndrome = SoftwareStepSyndrome()
        m.d.comb += [
            self.state.eq(self._state(m, "state_now", now, seen, pstate.ss)),
            self.pending.eq(self.state == StepState.ACTIVE_PENDING),
            # From EL2 as from below: where debug exceptions are enabled, ELd is never below.
            self.target_el.eq(now.eld),
            syndrome.last.eq(last),
            syndrome.same_el.eq(now.eld == pstate.el),
            syndrome.isv_choice.eq(self.choice.isv_choice),
            self.esr.eq(syndrome.esr),
        ]
        return now

    def _decide(self, m, pstate, last):
        m.submodules.decision = decision = Decision()
        m.submodules.stepped = stepped = WhatWasStepped()
        m.d.comb += [
            decision.kind.eq(self.event.kind),
            decision.pending.eq(self.pending),
            decision.il.eq(pstate.il),
            decision.async_first.eq(self.choice.async_first),
            stepped.state.eq(self.state),
            stepped.kind.eq(self.event.kind),
            stepped.step.eq(decision.step),
            stepped.completes.eq(decision.completes),
            stepped.returns.eq(decision.returns),
            stepped.enters.eq(decision.enters),
            stepped.last.eq(last),
        ]
        return decision

    def _write_mdscr(self, m, decision, written, seen):
        """(as written, as seen) after the event.

        Exception entry, exception return and ISB synchronise the context. The first two do it
        before they change PSTATE, so both are judged with what was written.
        """
        written_next = Signal(MDSCR_EL1)
        seen_next = Signal(MDSCR_EL1)
        m.d.comb += [written_next.eq(written), seen_next.eq(seen)]
        with m.If(decision.completes & self.event.mdscr_write):
            m.d.comb += written_next.eq(self.event.mdscr_value)
            with m.If(self.choice.mdscr_seen):
                m.d.comb += seen_next.eq(self.event.mdscr_value)
        with m.If(decision.enters | decision.returns | (self.event.kind == Event.ISB)):
            m.d.comb += seen_next.eq(written_next)
        return written_next, seen_next

    def _change_pstate(self, m, decision, pstate, written, seen_next):
        """PSTATE after the event. Only a return sets SS: completing an instruction clears it.

        An exception goes where the PE, as it is, sends it. A return synchronises the context first.
        """
        event = self.event
        decoder_after = m.submodules.decoder_after
        el = Signal(EL)
        nrw = Signal()
        d = Signal()
        ss = Signal()
        il = Signal()
        m.submodules.exception_return = ret = ExceptionReturn()
        m.submodules.illegal_state = illegal_state = IllegalStateTarget()
        m.d.comb += [
            illegal_state.effective.eq(m.submodules.decoder.effective),
            illegal_state.el.eq(pstate.el),
            ret.effective.eq(decoder_after.effective),
            ret.el.eq(pstate.el),
            ret.spsr.eq(event.spsr),
            el.eq(pstate.el),
            nrw.eq(pstate.nrw),
            d.eq(pstate.d),
        ]
        with m.If(decision.completes & event.d_write):
            m.d.comb += d.eq(event.d_value)

        with m.If(decision.enters):
            m.d.comb += el.eq(event.target_el)
            with m.If(decision.step):
                m.d.comb += el.eq(self.target_el)
            with m.Elif(decision.illegal_state):
                m.d.comb += el.eq(illegal_state.target)
            m.d.comb += nrw.eq(0)
            with m.Switch(el):
                with m.Case(EL.EL1):
                    m.d.comb += nrw.eq(self.controls.el1_aarch32)
                with m.Case(EL.EL2):
                    m.d.comb += nrw.eq(self.controls.el2_aarch32)
            # AArch32 state has no PSTATE.D: an entry to it leaves the bit alone.
            with m.If(~nrw):
                m.d.comb += d.eq(1)

        source = self._routing(
            m, "source", decoder_after, written, self.halted, pstate.el, pstate.d
        )
        after = self._routing(m, "after", decoder_after, seen_next, 0, el, d)
        with m.If(decision.returns):
            with m.If(~ret.illegal):
                m.d.comb += [el.eq(ret.target), nrw.eq(event.spsr.nRW)]
            with m.If(~nrw):
                m.d.comb += d.eq(event.spsr.D)
            stepping = written.SS & ~after.eld_aarch32
            m.d.comb += [
                il.eq(event.spsr.IL | ret.illegal),
                ss.eq(event.spsr.SS & stepping & ~source.enabled & after.enabled),
            ]

        pstate_next = Signal(PSTATE)
        m.d.comb += [
            pstate_next.eq(Cat(el, nrw, d, ss, il)),
            self.trace.state_after.eq(self._state(m, "state_after", after, seen_next, ss)),
        ]
        return pstate_next

    def _fill_trace(self, m, decision, now, pstate, pstate_next):
        trace, event = self.trace, self.event
        saved = decision.enters & ~pstate_next.nrw
        m.d.comb += [
            trace.valid.eq(event.valid),
            trace.event.eq(event.kind),
            trace.pc.eq(event.pc),
            trace.eld.eq(now.eld),
            trace.enabled.eq(now.enabled),
            trace.state.eq(self.state),
            trace.step_exception.eq(decision.step),
            trace.illegal_state.eq(decision.illegal_state),
            trace.spsr_saved.eq(saved),
            trace.spsr_ss.eq(saved & pstate.ss & ~decision.calls),
        ]
        with m.If(decision.step):
            m.d.comb += trace.esr.eq(self.esr)
        for field in ("el", "nrw", "d", "ss", "il"):
            m.d.comb += [
                getattr(trace, field).eq(getattr(pstate, field)),
                getattr(trace, f"{field}_after").eq(getattr(pstate_next, field)),
            ]
