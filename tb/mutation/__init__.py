"""Mutants of the hardware: small changes of its netlist, each of which some test should find.

`mutants` draws them, with Yosys' `mutate`. `unit` and `core` build many into one netlist, with an
input that selects one, and run the regression's tests on each. `equivalence` asks a solver about
those that no test has found. `python -m tb.mutate` is the command.
"""
