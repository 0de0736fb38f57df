"""Whether a mutant is the same machine: what no test has found, a solver is asked about.

The registers of both are taken as inputs, the same ones, and what they will be as outputs: any
state, reached or not. If then nothing differs, the two are equivalent, by induction of length one.
A bit of a register that no output of the design depends on may be anything, and become anything.

Of the step unit it is asked what the scoreboard compares, for every event that is legal
(`tb.mutation.watched`); of the core, all outputs, for all inputs.
"""

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hw.emit import EmitError, run_pyosys
from tb.mutation.mutants import CORE_TARGET, TARGETS, TOP, UNIT_TARGET, Mutant, netlist
from tb.sims import SimulatorError

SECONDS = 60  #: that the solver may take for a mutant

#: The module that mutants are made of.
PARTS = {UNIT_TARGET.name: TOP, CORE_TARGET.name: f"{TOP}.control"}

#: What the solver may rely on.
RELYING = {UNIT_TARGET.name: "-set gold_legal 1", CORE_TARGET.name: ""}

#: Registers, a bit each, and memories: there are as many in both, and they are in the same order.
PREPARE = """
hierarchy -top {module}
flatten -noscopeinfo
memory_collect
delete -output w:row
simplemap t:$dff
rename -enumerate -pattern register_% t:$_DFF_P_
rename -enumerate -pattern memory_% t:$mem_v2
rename -top {name}
"""
BEGIN = f"""
read_rtlil netlist.il
design -save netlist
{PREPARE.format(module="{module}", name="gold")}
design -save gold
"""
#: Which registers there are, and which of them outputs depend on.
LIVE = f"""
read_rtlil netlist.il
{PREPARE.format(module="{module}", name="gold")}
tee -q -o all select -list t:$_DFF_P_
pmuxtree
simplemap
opt_clean -purge
tee -q -o live select -list t:$_DFF_P_
"""
COMPARE = f"""
design -load netlist
{{command}}
{PREPARE.format(module="{module}", name="gate")}
design -copy-from gold -as gold gold
expose -evert -sep __ t:$_DFF_P_ t:$mem_v2
{{forget}}
miter -equiv -flatten -make_outputs gold gate miter
hierarchy -top miter
opt -fast
tee -q -o {{number}}.log sat -timeout {SECONDS} -prove trigger 0 {{relying}} miter
"""


def proved(mutants: Sequence[Mutant], whole: bool = True) -> list[bool]:
    """Of each mutant of one target, whether it is equivalent. SimulatorError.

    `whole`: in the whole design, not in the part of it that mutants are made of, where less has to
    be looked at. What the rest cannot do may be needed to see that nothing differs.
    """
    if not mutants:
        return []
    (target,) = {mutant.target for mutant in mutants}
    return _ask(target, TOP if whole else PARTS[target], mutants)


def _ask(target: str, module: str, mutants: Sequence[Mutant]) -> list[bool]:
    how = {"module": module, "relying": RELYING[target], "forget": _forget(target, module)}
    compare = "".join(COMPARE.format(command=m.command, number=m.number, **how) for m in mutants)
    logs = _yosys(
        target, BEGIN.format(module=module) + compare, [f"{m.number}.log" for m in mutants]
    )
    return ["SAT proof finished - no model found: SUCCESS!" in log for log in logs]


@cache
def _forget(target: str, module: str) -> str:
    """The command that takes what the dead registers become from what is compared."""
    every, live = _yosys(target, LIVE.format(module=module), ["all", "live"])
    dead = set(every.split()) - set(live.split())
    wires = sorted(f"w:{name.partition('/')[2]}__D" for name in dead)
    return f"delete -output {' '.join(wires)}" if wires else ""


def _yosys(target: str, script: str, files: Sequence[str]) -> list[str]:
    """What a script leaves in files."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "netlist.il").write_text(netlist(TARGETS[target]))
        try:
            run_pyosys(script, place)
        except EmitError as error:
            raise SimulatorError(str(error)) from None
        return [(place / file).read_text() for file in files]
