"""Icarus Verilog, driven by cocotb: built in no time, slow to run."""

from tb.sims.cocotb_sim import CocotbSimulator

ICARUS = CocotbSimulator(
    name="icarus",
    programs={"iverilog": "iverilog", "vvp": "iverilog"},
    version_command=("iverilog", "-V"),
    flat=True,
)

missing, run = ICARUS.missing, ICARUS.run
