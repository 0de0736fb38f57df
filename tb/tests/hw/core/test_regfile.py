"""The general-purpose registers: three are read in a cycle, three are written."""

from amaranth.sim import Simulator

from hw.core.regfile import RegisterFile


def test_reads_see_the_last_write_and_register_31_is_zero(rng):
    registers = RegisterFile()
    reads = (registers.n, registers.m, registers.a)
    writes = (registers.w0, registers.w1, registers.w2)
    simulator = Simulator(registers)
    simulator.add_clock(1e-6)
    expected = [0] * 32
    compared = set()

    async def bench(context):
        for _ in range(400):
            written = {}
            for port, number in zip(writes, rng.sample(range(31), 3), strict=True):
                value, enable = rng.getrandbits(64), rng.getrandbits(1)
                context.set(port.number, number)
                context.set(port.value, value)
                context.set(port.enable, enable)
                if enable:
                    written[number] = value
            for port in reads:  # before the clock edge
                number = rng.randrange(32)
                context.set(port.number, number)
                assert context.get(port.value) == expected[number]
                compared.add((port, number))
            await context.tick()
            for number, value in written.items():
                expected[number] = value

    simulator.add_testbench(bench)
    simulator.run()
    assert len(compared) > 90
    assert all(expected[:31])
    assert expected[31] == 0
