"""The core: in order, one instruction after the other, EL0 to EL3, AArch64 only.

A row of the trace begins where the one before it retires. In its first cycle its word comes from
memory, and all is decided about it but what memory and the divider have yet to answer: interrupts,
the pending step exception, faults of the fetch, decode, traps. All of that is worked out anew in
each cycle of the row, from state that does not change before its last one: there, at one clock
edge, everything that the row does happens. (But for a store, which is asked for in the first
cycle, once nothing but memory's answer can stop it.)
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.core.control import Control, Inputs
from hw.core.decode import Decoder, Group
from hw.core.divide import Divider
from hw.core.exceptions import Cause, Pins
from hw.core.execute import Execute
from hw.core.fetch import Fetch, FetchPort
from hw.core.memory import ExclusiveMonitor, LoadStore
from hw.core.regfile import RegisterFile
from hw.core.sequencer import Sequencer
from hw.core.timing import TimingClass
from hw.core.trace import CONTROL_FIELDS, CoreTrace
from model.arch import EL, Access

SP = 31  #: number of the stack pointer, where an instruction means it, else of XZR

#: What the architecture leaves open. These and the pins change only between rows of the trace.
CoreChoices = wiring.Signature(
    {
        "async_first": Out(1),  # an interrupt is taken before a pending step exception
        "isv_choice": Out(1),  # ISV where what was stepped leaves it open
        "write_seen": Out(1),  # a write of a control register is seen at once, not at the next CSE
        "wfx_ends": Out(1),  # WFI and WFE end at once
    }
)

DataRequest = wiring.Signature(
    {
        "valid": Out(1),
        "write": Out(1),
        "address": Out(64),
        "size": Out(3),  # log2 of the bytes: 0 to 4
        "data": Out(128),
    }
)
DataResponse = wiring.Signature(
    {
        "data": Out(128),
        "error": Out(1),  # nothing was written ...
        "fault_offset": Out(4),  # ... because this byte of the access is the first with no memory
    }
)


class Answer(data.Struct):
    """DataResponse, as kept until the row retires."""

    data: 128
    error: 1
    fault_offset: 4


#: The memory is read or written at the request's clock edge, and answers in the cycle after it.
DataPort = wiring.Signature({"request": Out(DataRequest), "response": In(DataResponse)})


class Core(wiring.Component):
    """An A64 core around the step unit. The memory is outside."""

    pins: In(Pins)
    choice: In(CoreChoices)
    fetch: Out(FetchPort)
    data: Out(DataPort)
    retire: Out(CoreTrace)

    def elaborate(self, platform):
        m = Module()
        m.submodules.sequencer = Sequencer()
        m.submodules.fetch = Fetch()
        m.submodules.decoder = Decoder()
        m.submodules.registers = RegisterFile()
        m.submodules.execute = Execute()
        m.submodules.divider = Divider()
        m.submodules.load_store = LoadStore()
        m.submodules.monitor = ExclusiveMonitor()
        m.submodules.control = Control()
        self._sample(m)
        self._sequence(m)
        self._fetch_and_decode(m)
        self._operands(m)
        accesses = self._access(m)
        self._write_registers(m)
        self._trace(m, accesses)
        return m

    def _sample(self, m):
        """Pins and choices of the row: as they are in its first cycle."""
        sequencer, control = m.submodules.sequencer, m.submodules.control
        live, kept, inputs = Signal(Inputs), Signal(Inputs), Signal(Inputs)
        for port in (self.pins, self.choice):
            for name in port.signature.members:
                m.d.comb += getattr(live, name).eq(getattr(port, name))
        m.d.comb += [
            inputs.eq(Mux(sequencer.begins, live, kept)),
            control.inputs.eq(inputs),
            # A pin ends the waiting whenever it comes.
            sequencer.wakes.eq(inputs.wfx_ends | live.irq | live.fiq | live.serror),
        ]
        m.d.sync += kept.eq(inputs)

    def _sequence(self, m):
        """How long the row takes."""
        sequencer, control = m.submodules.sequencer, m.submodules.control
        operation, taken = m.submodules.decoder.operation, m.submodules.execute.taken
        m.d.comb += [sequencer.waits.eq(control.waits), sequencer.timing.eq(operation.timing)]
        with m.If(control.cause != Cause.NONE):
            m.d.comb += sequencer.timing.eq(TimingClass.EXCEPTION_ENTRY)
        with m.Elif(operation.group == Group.ERET):
            m.d.comb += sequencer.timing.eq(TimingClass.EXCEPTION_RETURN)
        with m.Elif(taken):
            m.d.comb += sequencer.timing.eq(TimingClass.BRANCH_TAKEN)

    def _fetch_and_decode(self, m):
        parts = m.submodules
        fetch, decoder, control = parts.fetch, parts.decoder, parts.control
        retires = parts.sequencer.retires
        wiring.connect(m, fetch.port, wiring.flipped(self.fetch))
        m.d.comb += [
            fetch.retire.eq(retires),
            fetch.next_pc.eq(control.next_pc),
            decoder.word.eq(fetch.word),
            control.retires.eq(retires),
            control.pc.eq(fetch.pc),
            control.fetch_misaligned.eq(fetch.misaligned),
            control.fetch_error.eq(fetch.error),
            control.word.eq(fetch.word),
            control.operation.eq(decoder.operation),
        ]

    def _operands(self, m):
        """Registers read, and who is given them."""
        parts = m.submodules
        operation, registers, control = parts.decoder.operation, parts.registers, parts.control
        rn = Signal(64)
        m.d.comb += [
            registers.n.number.eq(operation.rn),
            registers.m.number.eq(operation.rm),
            registers.a.number.eq(operation.ra),
            rn.eq(registers.n.value),
        ]
        with m.If(operation.rn_sp & (operation.rn == SP)):
            m.d.comb += rn.eq(control.sp)
        rm, ra = registers.m.value, registers.a.value
        execute, divider, load_store = parts.execute, parts.divider, parts.load_store
        for part in (execute, load_store):
            m.d.comb += [part.operation.eq(operation), part.pc.eq(parts.fetch.pc)]
        m.d.comb += [
            execute.n.eq(rn),
            execute.m.eq(rm),
            execute.a.eq(ra),
            execute.nzcv.eq(control.pstate.nzcv),
            divider.dividend.eq(rn),
            divider.divisor.eq(rm),
            divider.signed.eq(operation.signed),
            divider.sf.eq(operation.sf),
            load_store.base.eq(rn),
            load_store.offset.eq(execute.operand2),
            load_store.rt.eq(ra),
            load_store.rt2.eq(rm),
            load_store.checks_alignment.eq(control.sctlr.A),
            control.msr_value.eq(ra),
        ]

    def _access(self, m):
        """The access to memory, if the row makes one: returns whether it does."""
        parts = m.submodules
        operation, control = parts.decoder.operation, parts.control
        sequencer, load_store, monitor = parts.sequencer, parts.load_store, parts.monitor
        request, response = self.data.request, self.data.response
        kept, answer = Signal(Answer), Signal(Answer)
        for name in response.signature.members:
            live = getattr(response, name)
            m.d.comb += getattr(answer, name).eq(Mux(sequencer.answered, live, getattr(kept, name)))
        m.d.sync += kept.eq(answer)

        is_memory = operation.group == Group.MEMORY
        exclusive_store = operation.exclusive & operation.store
        accesses = Signal()
        m.d.comb += [
            accesses.eq(is_memory & ~(exclusive_store & ~monitor.passes)),
            request.valid.eq(sequencer.begins & control.completes & accesses),
            request.write.eq(operation.store),
            request.address.eq(load_store.address),
            request.size.eq(load_store.size),
            request.data.eq(load_store.stored),
            load_store.loaded.eq(answer.data),
        ]
        user = control.pstate.el == EL.EL0
        checks_sp = Mux(user, control.sctlr.SA0, control.sctlr.SA)
        by_sp = operation.rn_sp & (operation.rn == SP)
        m.d.comb += [
            control.sp_misaligned.eq(by_sp & checks_sp & control.sp[:4].any()),
            control.access_misaligned.eq(load_store.misaligned),
            control.data_error.eq(accesses & ~sequencer.begins & answer.error),
            control.fault.address.eq(load_store.address),
            control.fault.write.eq(operation.store),
            control.fault.syndrome.eq(load_store.syndrome),
        ]
        with m.If(control.data_error):
            m.d.comb += control.fault.address.eq(load_store.address + answer.fault_offset)

        ends = sequencer.retires & control.completes
        clears = (is_memory & exclusive_store) | (operation.group == Group.CLREX)
        clears |= operation.group == Group.ERET
        m.d.comb += [
            monitor.address.eq(load_store.address),
            monitor.size.eq(load_store.size),
            monitor.mark.eq(ends & is_memory & operation.exclusive & ~operation.store),
            monitor.clear.eq(ends & clears),
        ]
        return accesses

    def _write_registers(self, m):
        """Up to three: a result, the second register of a pair, a base."""
        parts = m.submodules
        operation, control, trace = parts.decoder.operation, parts.control, self.retire
        load_store, divider = parts.load_store, parts.divider
        result = Signal(64)
        m.d.comb += [
            result.eq(parts.execute.result),
            divider.start.eq(parts.sequencer.begins & (operation.group == Group.DIVIDE)),
        ]
        with m.Switch(operation.group):
            with m.Case(Group.DIVIDE):
                m.d.comb += result.eq(divider.quotient)
            with m.Case(Group.MRS):
                m.d.comb += result.eq(control.mrs_value)
            with m.Case(Group.MEMORY):
                # A store writes its status, if anything: 1 where it was not to be done.
                failed = ~parts.monitor.passes
                m.d.comb += result.eq(Mux(operation.store, failed, load_store.value))

        is_memory = operation.group == Group.MEMORY
        second = is_memory & operation.pair & ~operation.store
        base = is_memory & operation.writeback
        for n, (writes, number, is_sp, value) in enumerate(
            (
                (operation.writes_rd, operation.rd, operation.rd_sp, result),
                (second, operation.rm, 0, load_store.value2),
                (base, operation.rn, 1, load_store.written_back),
            )
        ):
            to_sp = Signal(name=f"x{n}_to_sp")
            shown = Signal(name=f"x{n}_shown")
            port = getattr(parts.registers, f"w{n}")
            m.d.comb += [
                to_sp.eq((number == SP) & is_sp),
                shown.eq(control.completes & writes & ((number != SP) | to_sp)),
                port.enable.eq(parts.sequencer.retires & shown & ~to_sp),
                port.number.eq(number),
                port.value.eq(value),
            ]
            with m.If(shown):
                m.d.comb += [
                    getattr(trace, f"x{n}_en").eq(1),
                    getattr(trace, f"x{n}_reg").eq(number),
                    getattr(trace, f"x{n}_value").eq(value),
                ]
            with m.If(shown & to_sp):
                m.d.comb += [
                    control.sp_write.eq(parts.sequencer.retires),
                    control.sp_value.eq(value),
                ]
        m.d.comb += control.nzcv.eq(parts.execute.nzcv_after)
        # The ALU knows of no return: control knows where ERET goes on.
        next_word = parts.fetch.pc + 4
        m.d.comb += control.target.eq(Mux(parts.execute.taken, parts.execute.target, next_word))

    def _trace(self, m, accesses):
        parts, trace = m.submodules, self.retire
        operation, control = parts.decoder.operation, parts.control
        monitor, load_store = parts.monitor, parts.load_store
        m.d.comb += [
            trace.valid.eq(parts.sequencer.retires),
            trace.pc.eq(parts.fetch.pc),
            trace.pc_after.eq(control.next_pc),
            trace.exclusive_after.eq(monitor.mark | (monitor.marked & ~monitor.clear)),
        ]
        for name, _ in data.Layout.cast(Inputs):
            m.d.comb += getattr(trace, name).eq(getattr(control.inputs, name))
        for name in CONTROL_FIELDS:
            m.d.comb += getattr(trace, name).eq(getattr(control.trace, name))
        with m.If((control.cause != Cause.INTERRUPT) & (control.cause != Cause.STEP)):
            m.d.comb += trace.word.eq(parts.fetch.word)
        with m.If(control.completes & accesses):
            m.d.comb += [
                trace.mem.eq(Mux(operation.store, Access.STORE, Access.LOAD)),
                trace.mem_address.eq(load_store.address),
                trace.mem_size.eq(load_store.size),
                trace.mem_data.eq(Mux(operation.store, load_store.stored, load_store.read)),
            ]
