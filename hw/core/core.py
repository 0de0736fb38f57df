"""The core: in order, one instruction after the other, EL0 to EL3, AArch64 only."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core.trace import CoreTrace

#: Interrupts: levels, active high.
Pins = wiring.Signature({"irq": Out(1), "fiq": Out(1), "serror": Out(1)})

#: What the architecture leaves open. These and the pins change only between rows of the trace.
CoreChoices = wiring.Signature(
    {
        "async_first": Out(1),  # an interrupt is taken before a pending step exception
        "isv_choice": Out(1),  # ISV where what was stepped leaves it open
        "write_seen": Out(1),  # a write of a control register is seen at once, not at the next CSE
        "wfx_ends": Out(1),  # WFI and WFE end at once
    }
)

FetchRequest = wiring.Signature({"valid": Out(1), "address": Out(64)})
FetchResponse = wiring.Signature({"word": Out(32), "error": Out(1)})
#: The memory answers in the cycle after the request.
FetchPort = wiring.Signature({"request": Out(FetchRequest), "response": In(FetchResponse)})

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
        return Module()
