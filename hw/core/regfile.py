"""The general-purpose registers X0 to X30. SP is elsewhere."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

RegisterRead = wiring.Signature({"number": Out(5), "value": In(64)})
RegisterWrite = wiring.Signature({"enable": Out(1), "number": Out(5), "value": Out(64)})


class RegisterFile(wiring.Component):
    """Three registers read in a cycle, three written at its end, each a different one.

    Register 31 reads as 0; it must not be written. A reset does not change them: the architecture
    leaves them UNKNOWN.
    """

    n: In(RegisterRead)
    m: In(RegisterRead)
    a: In(RegisterRead)
    w0: In(RegisterWrite)
    w1: In(RegisterWrite)
    w2: In(RegisterWrite)

    def elaborate(self, platform):
        m = Module()
        m.submodules.x = x = Memory(shape=64, depth=32, init=[])
        for port in (self.n, self.m, self.a):
            read = x.read_port(domain="comb")
            m.d.comb += read.addr.eq(port.number)
            with m.If(port.number != 31):
                m.d.comb += port.value.eq(read.data)
        for port in (self.w0, self.w1, self.w2):
            write = x.write_port()
            m.d.comb += [
                write.addr.eq(port.number),
                write.data.eq(port.value),
                write.en.eq(port.enable),
            ]
        return m
