"""Whether a mutant is the same machine: what no test has found, a solver is asked about.

The registers of both are taken as inputs, the same ones, and what they will be as outputs: any
state, reached or not. If then nothing differs, the two are equivalent, by induction of length one.

Of the step unit it is asked what the scoreboard compares, for every event that is legal
(`tb.mutation.watched`); of the core, all outputs, for all inputs.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hw.emit import EmitError, run_pyosys
from tb.mutation.mutants import CORE_TARGET, TARGETS, TOP, UNIT_TARGET, Mutant, netlist
from tb.sims import SimulatorError

SECONDS = 20  #: that the solver may take for a mutant

#: The modules that are asked about, one if the one before it differs: less has to be looked at in a
#: part of the core, but what the rest of it cannot do may be needed to see that nothing differs.
MODULES = {UNIT_TARGET.name: (TOP,), CORE_TARGET.name: (f"{TOP}.control", TOP)}

#: What the solver may rely on.
RELYING = {UNIT_TARGET.name: "-set gold_legal 1", CORE_TARGET.name: ""}

#: Registers and memories keep their names: there are as many in both, in the same order.
PREPARE = """
hierarchy -top {module}
flatten -noscopeinfo
memory_collect
delete -output w:row
rename -enumerate -pattern register_% t:$dff
rename -enumerate -pattern memory_% t:$mem_v2
rename -top {name}
"""
BEGIN = f"""
read_rtlil netlist.il
design -save netlist
{PREPARE.format(module="{module}", name="gold")}
design -save gold
"""
COMPARE = f"""
design -load netlist
{{command}}
{PREPARE.format(module="{module}", name="gate")}
design -copy-from gold -as gold gold
expose -evert -sep __ t:$dff t:$mem_v2
miter -equiv -flatten -make_outputs gold gate miter
hierarchy -top miter
opt -fast
tee -q -o {{number}}.log sat -timeout {SECONDS} -prove trigger 0 {{relying}} miter
"""


def proved(mutants: Sequence[Mutant]) -> list[bool]:
    """Of each mutant of one target, whether it is equivalent. SimulatorError."""
    if not mutants:
        return []
    (target,) = {mutant.target for mutant in mutants}
    left = list(mutants)
    for module in MODULES[target]:
        answers = zip(left, _ask(target, module, left), strict=True)
        left = [mutant for mutant, same in answers if not same]
    return [mutant not in left for mutant in mutants]


def _ask(target: str, module: str, mutants: Sequence[Mutant]) -> list[bool]:
    script = BEGIN.format(module=module) + "".join(
        COMPARE.format(module=module, command=m.command, number=m.number, relying=RELYING[target])
        for m in mutants
    )
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "netlist.il").write_text(netlist(TARGETS[target]))
        try:
            run_pyosys(script, place)
        except EmitError as error:
            raise SimulatorError(str(error)) from None
        logs = [(place / f"{mutant.number}.log").read_text() for mutant in mutants]
    return ["SAT proof finished - no model found: SUCCESS!" in log for log in logs]
