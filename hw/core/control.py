"""The control side: PSTATE, system registers and step unit, and what a row does to them.

Source: DDI 0487 D1.10 (exception entry), D1.11 (exception return), D2.12 (software step), C6.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.core.decide import Decide, WaitCheck
from hw.core.decode import Group, Operation
from hw.core.exceptions import (
    Cause,
    DataFault,
    ExceptionTarget,
    InterruptRouting,
    Syndrome,
    Vector,
)
from hw.core.pstate import DAIF, SPSEL, CorePSTATE, ProcessState, SavedState, place, take
from hw.core.sysregs import AccessCheck, SCTLR_ELx, SystemRegisters
from hw.core.trace import ControlTrace
from hw.registers import SPSR_ELx
from hw.routing import ControlDecoder, ExceptionReturn
from hw.step import StepUnit
from model.arch import SYSREGS, Event, Retire

#: Calls that complete: the exception's return address is the next instruction.
CALLS = {Cause.SVC: Event.SVC, Cause.HVC: Event.HVC, Cause.SMC: Event.SMC}

#: SPSR_ELx.M of no AArch64 mode: M<1> is set.
RESERVED_MODE = 0b0010


class Inputs(data.Struct):
    """Pins and choices, as sampled when the row began."""

    irq: 1
    fiq: 1
    serror: 1
    async_first: 1
    isv_choice: 1
    write_seen: 1
    wfx_ends: 1


class Control(wiring.Component):
    """Decides what a row is, and does its part of it at the end of the row.

    Inputs are those of the row, all the same from its first cycle to its last, but for what the
    data memory answers.
    """

    inputs: In(Inputs)
    retires: In(1)  # this is the row's last cycle
    pc: In(64)
    fetch_misaligned: In(1)
    fetch_error: In(1)
    word: In(32)
    operation: In(Operation)
    target: In(64)  # where the instruction goes on, if it completes and is no ERET
    msr_value: In(64)  # Xt of MSR
    nzcv: In(4)  # flags that the instruction sets
    sp_write: In(1)  # the row writes the stack pointer in use ...
    sp_value: In(64)  # ... with this
    sp_misaligned: In(1)
    access_misaligned: In(1)
    data_error: In(1)
    fault: In(DataFault)

    cause: Out(Cause)
    completes: Out(1)  # an instruction does, without an exception
    waits: Out(1)  # the instruction is a WFI or WFE that waits
    pstate: Out(CorePSTATE)
    sctlr: Out(SCTLR_ELx)  # of the current EL; EL1's at EL0
    sp: Out(64)  # the stack pointer in use
    mrs_value: Out(64)
    next_pc: Out(64)
    trace: Out(ControlTrace)

    def elaborate(self, platform):
        m = Module()
        m.submodules.step_unit = StepUnit()
        m.submodules.state = ProcessState()
        m.submodules.registers = SystemRegisters()
        m.submodules.effective = ControlDecoder()
        m.submodules.effective_after = ControlDecoder()
        m.submodules.decide = Decide()
        self._connect_controls(m)
        self._decide(m)
        self._move_registers(m)
        self._enter(m)
        self._return(m)
        self._step(m)
        self._event_register(m)
        self._trace(m)
        return m

    def _connect_controls(self, m):
        parts = m.submodules
        registers, step = parts.registers, parts.step_unit
        now, after = parts.effective.controls, parts.effective_after.controls
        wiring.connect(m, registers.controls, step.controls, now)
        wiring.connect(m, registers.controls_after, step.controls_after, after)
        m.d.comb += [
            self.pstate.eq(parts.state.now),
            self.sctlr.eq(registers.sctlr),
            self.sp.eq(registers.sp),
            registers.pstate.eq(self.pstate),
            registers.mdscr_el1.eq(step.mdscr_el1),
            registers.write_seen.eq(self.inputs.write_seen),
            registers.sp_write.eq(self.sp_write),
            registers.sp_value.eq(self.sp_value),
        ]

    def _decide(self, m):
        parts, inputs = m.submodules, self.inputs
        effective, controls = parts.effective.effective, parts.registers.controls
        m.submodules.interrupts = interrupts = InterruptRouting()
        m.submodules.access = access = AccessCheck()
        m.submodules.wait = wait = WaitCheck()
        decide = m.submodules.decide
        for part in (interrupts, access, wait, decide):
            m.d.comb += [part.effective.eq(effective), part.hcr_el2.eq(controls.hcr_el2)]
        for part in (interrupts, access, decide):
            m.d.comb += part.pstate.eq(self.pstate)
        for part in (interrupts, decide):
            m.d.comb += part.scr_el3.eq(controls.scr_el3)
        for part in (access, wait):
            m.d.comb += part.sctlr.eq(self.sctlr)
        for pin in interrupts.pins.signature.members:
            m.d.comb += getattr(interrupts.pins, pin).eq(getattr(inputs, pin))
        m.d.comb += [
            access.mdcr_el2.eq(controls.mdcr_el2),
            access.number.eq(parts.registers.number),
            access.write.eq(self.operation.group != Group.MRS),
            wait.group.eq(self.operation.group),
            wait.el.eq(self.pstate.el),
            wait.interrupt_pending.eq(interrupts.pending),
            decide.interrupt.eq(interrupts.take),
            decide.step.eq(parts.step_unit.pending),
            decide.async_first.eq(inputs.async_first),
            decide.misaligned.eq(self.fetch_misaligned),
            decide.fetch_error.eq(self.fetch_error),
            decide.operation.eq(self.operation),
            decide.register_undefined.eq(access.undefined),
            decide.register_traps.eq(access.trap),
            decide.wait_traps.eq(wait.traps),
            decide.sp_misaligned.eq(self.sp_misaligned),
            decide.access_misaligned.eq(self.access_misaligned),
            decide.data_error.eq(self.data_error),
            self.cause.eq(decide.cause),
            self.completes.eq(decide.executes & (self.cause == Cause.NONE)),
            self.waits.eq(decide.executes & wait.waits),
        ]

    def _move_registers(self, m):
        """MRS, MSR, and MSR (immediate), which is an MSR of the register that it changes."""
        registers, change = m.submodules.registers, m.submodules.state.change
        operation, daif = self.operation, self.pstate.daif
        number = Signal(15)
        value = Signal(64)
        writes = Signal()
        m.d.comb += [number.eq(operation.sysreg), value.eq(self.msr_value)]
        with m.Switch(operation.group):
            with m.Case(Group.MSR):
                m.d.comb += writes.eq(self.completes)
            with m.Case(Group.DAIFSET, Group.DAIFCLR):
                set_ = operation.group == Group.DAIFSET
                changed = Mux(set_, daif | operation.crm, daif & ~operation.crm)
                m.d.comb += [
                    writes.eq(self.completes),
                    number.eq(SYSREGS["DAIF"].number),
                    value.eq(place(DAIF, changed)),
                ]
            with m.Case(Group.SPSEL):
                m.d.comb += [
                    writes.eq(self.completes),
                    number.eq(SYSREGS["SPSel"].number),
                    value.eq(place(SPSEL, operation.crm[0])),
                ]
        m.d.comb += [
            registers.number.eq(number),
            registers.write.eq(self.retires & writes),
            registers.write_value.eq(value),
            self.mrs_value.eq(registers.value),
            change.valid.eq(self.retires),
            change.sets_flags.eq(self.completes & operation.sets_flags),
            change.nzcv.eq(self.nzcv),
            change.write.eq(writes),
            change.number.eq(number),
            change.value.eq(value),
        ]
        event = m.submodules.step_unit.event
        m.d.comb += [
            event.d_write.eq(writes & (number == SYSREGS["DAIF"].number)),
            event.d_value.eq(take(DAIF, value)[3]),
            event.mdscr_write.eq(writes & (number == SYSREGS["MDSCR_EL1"].number)),
            Value.cast(event.mdscr_value).eq(value),
        ]

    def _enter(self, m):
        """What an exception writes, and where it goes."""
        parts = m.submodules
        controls, interrupts = parts.registers.controls, parts.interrupts
        m.submodules.router = router = ExceptionTarget()
        m.submodules.syndrome = syndrome = Syndrome()
        m.submodules.saved = saved = SavedState()
        m.submodules.vector = vector = Vector()
        entry = parts.registers.entry
        calls = Signal()
        with m.Switch(self.cause):
            with m.Case(*CALLS):
                m.d.comb += calls.eq(1)
        m.d.comb += [
            router.cause.eq(self.cause),
            router.el.eq(self.pstate.el),
            router.effective.eq(parts.effective.effective),
            router.hcr_el2.eq(controls.hcr_el2),
            router.scr_el3.eq(controls.scr_el3),
            router.interrupt_target.eq(interrupts.target),
            router.step_target.eq(parts.step_unit.target_el),
            router.trap_target.eq(parts.access.target),
            router.wfx_target.eq(parts.wait.target),
            syndrome.cause.eq(self.cause),
            syndrome.kind.eq(interrupts.kind),
            syndrome.word.eq(self.word),
            syndrome.pc.eq(self.pc),
            syndrome.same_el.eq(router.target == self.pstate.el),
            syndrome.stage_2.eq(router.stage_2),
            syndrome.step_esr.eq(parts.step_unit.esr),
            saved.pstate.eq(self.pstate),
            saved.ss.eq(parts.step_unit.trace.spsr_ss),
            vector.vbar.eq(parts.registers.vbar),
            vector.lower.eq(router.target != self.pstate.el),
            vector.sp.eq(self.pstate.sp),
            vector.kind.eq(self.trace.kind),
            entry.valid.eq(self.retires & (self.cause != Cause.NONE)),
            entry.target_el.eq(router.target),
            entry.elr.eq(Mux(calls, self.pc + 4, self.pc)),
            entry.spsr.eq(saved.spsr),
            parts.state.change.enters.eq(self.cause != Cause.NONE),
        ]
        wiring.connect(m, wiring.flipped(self.fault), syndrome.fault)
        for name in ("esr", "far", "hpfar", "sets_esr", "sets_far", "sets_hpfar"):
            m.d.comb += getattr(entry, name).eq(getattr(syndrome, name))

    def _return(self, m):
        """ERET, and where the row goes on."""
        parts = m.submodules
        m.submodules.ret = ret = ExceptionReturn()
        registers, change = parts.registers, parts.state.change
        spsr = Signal(SPSR_ELx)
        m.d.comb += spsr.eq(registers.spsr)
        # No EL of this core has AArch32, EL0 neither, which the step unit does not know: a return
        # to it is illegal, as one to a mode that there is not.
        with m.If(SPSR_ELx(registers.spsr).nRW):
            m.d.comb += [spsr.nRW.eq(0), spsr.M.eq(RESERVED_MODE)]
        returns = Signal()
        synchronises = Signal()
        m.d.comb += [
            ret.effective.eq(parts.effective_after.effective),
            ret.el.eq(self.pstate.el),
            ret.spsr.eq(spsr),
            returns.eq(self.completes & (self.operation.group == Group.ERET)),
            change.returns.eq(returns),
            change.illegal.eq(ret.illegal),
            change.spsr.eq(spsr),
            parts.step_unit.event.spsr.eq(spsr),
            synchronises.eq(self.completes & (self.operation.group == Group.ISB)),
        ]
        m.d.comb += registers.synchronise.eq(
            self.retires & (change.enters | returns | synchronises)
        )
        m.d.comb += self.next_pc.eq(self.target)
        with m.If(change.enters):
            m.d.comb += self.next_pc.eq(parts.vector.address)
        with m.Elif(returns):
            m.d.comb += self.next_pc.eq(registers.elr)

    def _step(self, m):
        """The step unit's event. It takes step and illegal state exceptions of its own."""
        step, state, operation = m.submodules.step_unit, m.submodules.state, self.operation
        kind = step.event.kind
        m.d.comb += [
            step.event.valid.eq(self.retires),
            step.event.pc.eq(self.pc),
            step.event.target_el.eq(m.submodules.router.target),
            step.choice.async_first.eq(self.inputs.async_first),
            step.choice.isv_choice.eq(self.inputs.isv_choice),
            step.choice.mdscr_seen.eq(self.inputs.write_seen),
            state.step.eq(step.pstate),
        ]
        for field in ("el", "nrw", "d", "ss", "il"):
            after = getattr(step.trace, f"{field}_after")
            m.d.comb += getattr(state.step_after, field).eq(after)

        m.d.comb += kind.eq(Event.EXCEPTION)
        with m.Switch(self.cause):
            with m.Case(Cause.INTERRUPT):
                m.d.comb += kind.eq(Event.INTERRUPT)
            with m.Case(Cause.STEP, Cause.ILLEGAL_STATE):
                m.d.comb += kind.eq(Event.EXECUTE)
            for cause, event in CALLS.items():
                with m.Case(cause):
                    m.d.comb += kind.eq(event)
            with m.Case(Cause.NONE):
                m.d.comb += kind.eq(Event.EXECUTE)
                with m.Switch(operation.group):
                    with m.Case(Group.ISB):
                        m.d.comb += kind.eq(Event.ISB)
                    with m.Case(Group.ERET):
                        m.d.comb += kind.eq(Event.ERET)
                    with m.Case(Group.MEMORY):
                        with m.If(operation.exclusive & ~operation.store):
                            m.d.comb += kind.eq(Event.LOAD_EXCLUSIVE)

    def _event_register(self, m):
        """What SEV and every exception return set, and WFE clears."""
        event_register = Signal()
        after = self.trace.event_after
        m.d.comb += [
            m.submodules.wait.event_register.eq(event_register),
            after.eq(event_register),
        ]
        with m.If(self.completes):
            with m.Switch(self.operation.group):
                with m.Case(Group.SEV, Group.ERET):
                    m.d.comb += after.eq(1)
                with m.Case(Group.WFE):
                    m.d.comb += after.eq(0)
        with m.If(self.retires):
            m.d.sync += event_register.eq(after)

    def _trace(self, m):
        parts, trace = m.submodules, self.trace
        step, state, entry = parts.step_unit, parts.state, parts.registers.entry
        operation = self.operation
        m.d.comb += trace.el.eq(self.pstate.el)
        for name in ("eld", "enabled", "state", "last", "event", "state_after"):
            m.d.comb += getattr(trace, name).eq(getattr(step.trace, name))
        for name in ("el", "sp", "nzcv", "daif", "ss", "il"):
            m.d.comb += getattr(trace, f"{name}_after").eq(getattr(state.after, name))

        with m.If(self.cause == Cause.INTERRUPT):
            m.d.comb += trace.kind.eq(parts.interrupts.kind)
        with m.Elif(self.cause != Cause.NONE):
            m.d.comb += trace.kind.eq(Retire.SYNCHRONOUS)
        with m.If(self.cause != Cause.NONE):
            for name in entry.signature.members:
                if name != "valid":
                    m.d.comb += getattr(trace, name).eq(getattr(entry, name))

        with m.If(self.completes & (operation.group == Group.MSR)):
            m.d.comb += [
                trace.sys_en.eq(1),
                trace.sys_reg.eq(operation.sysreg),
                trace.sys_value.eq(self.msr_value),
            ]
        counter = operation.sysreg == SYSREGS["PMCCNTR_EL0"].number
        with m.If(self.completes & (operation.group == Group.MRS) & counter):
            m.d.comb += trace.cycle_count.eq(self.mrs_value)
