"""Whether a mutant is the same machine: what no test has found, a solver is asked about.

The registers of both are taken as inputs, and what they will be as outputs: any state, reached or
not. If then nothing differs in any state for any inputs, the two are equivalent, by induction of
length one. Of the core it is `control` that is asked about, with everything in it.
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hw.emit import EmitError, run_pyosys
from tb.mutation.mutants import CORE_TARGET, TARGETS, TOP, UNIT_TARGET, Mutant, netlist
from tb.sims import SimulatorError

SECONDS = 60  #: that the solver may take for a mutant

#: The module that is asked about.
MODULES = {UNIT_TARGET.name: TOP, CORE_TARGET.name: f"{TOP}.control"}

PREPARE = """
hierarchy -top {module}
flatten -noscopeinfo
opt_clean
rename -top {name}
"""
COMPARE = f"""
read_rtlil netlist.il
{PREPARE.format(module="{module}", name="gold")}
design -stash gold
read_rtlil netlist.il
{{command}}
{PREPARE.format(module="{module}", name="gate")}
design -copy-from gold -as gold gold
expose -evert-dff -sep __evert_ gold gate
miter -equiv -flatten gold gate miter
hierarchy -top miter
opt -fast
tee -q -o {{number}}.log sat -timeout {SECONDS} -prove trigger 0 miter
design -reset
"""


def proved(mutants: Sequence[Mutant]) -> list[bool]:
    """Of each mutant of one target, whether it is equivalent. SimulatorError."""
    if not mutants:
        return []
    (target,) = {mutant.target for mutant in mutants}
    script = "".join(
        COMPARE.format(module=MODULES[target], command=m.command, number=m.number) for m in mutants
    )
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "netlist.il").write_text(netlist(TARGETS[target]))
        try:
            run_pyosys(script, place)
        except EmitError as error:
            raise SimulatorError(str(error)) from None
        return [_proved((place / f"{mutant.number}.log").read_text()) for mutant in mutants]


def _proved(log: str) -> bool:
    return bool(re.search(r"SAT proof finished - no model found: SUCCESS!", log))
