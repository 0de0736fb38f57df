"""Mutants: drawn by Yosys from a netlist that knows its lines, and built into one netlist."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from amaranth.back import rtlil as amaranth_rtlil

from hw.core.core import Core
from hw.emit import EmitError, run_pyosys
from tb.harness import CORE, UNIT, Design
from tb.mutation.watched import Watched
from tb.sims import SimulatorError
from tb.sims.builds import ROOT

TOP = "design"  #: name of the module
SELECT = "mutant"  #: the input that selects a mutant by its number; 0: none, the design as it is

READ = f"""
read_rtlil design.il
hierarchy -top {TOP}
"""
ELABORATE = f"""{READ}
proc
opt_clean
write_rtlil netlist.il
"""
DRAW = """{read}
select -set chosen {chosen}
mutate -list {count} -seed {seed} -o list @chosen
"""
APPLY = """{read}
{mutations}
delete -output w:compared w:legal
opt_clean
write_rtlil mutated.il
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A part of the hardware that mutants are made of."""

    name: str
    design: Design  #: what simulates it
    chosen: str  #: the modules, as Yosys selects them

    def elaborated(self) -> str:
        """RTLIL with source lines."""
        component = Watched() if self.design is UNIT else Core()
        text = amaranth_rtlil.convert(component, name=TOP, emit_src=True)
        return text.replace(f"{ROOT}/", "")


UNIT_TARGET = Target("unit", UNIT, f"{TOP}.unit*")
#: control.py and what is in it: exceptions.py, sysregs.py, decide.py, pstate.py. The step unit in
#: it is the other target.
CORE_TARGET = Target("core", CORE, f"{TOP}.control* {TOP}.control.step_unit* %d")

TARGETS = {target.name: target for target in (UNIT_TARGET, CORE_TARGET)}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of the netlist."""

    target: str
    number: int  #: that selects it, from 1 on
    command: str  #: of Yosys

    @property
    def places(self) -> list[str]:
        """Source lines of the cell and the wire: file and line."""
        found = re.findall(r"-src (\S+)", self.command)
        return list(dict.fromkeys(src for each in found for src in _lines(each)))

    @property
    def what(self) -> str:
        """The change in words: what becomes of which bit."""
        mode, cell, port = (self._option(name) for name in ("mode", "cell", "port"))
        bit, wire = self._option("portbit"), self._option("wire")
        change = {
            "inv": "is inverted",
            "const0": "is 0",
            "const1": "is 1",
            "cnot0": f"is inverted where bit {self._option('ctrlbit')} is 0",
            "cnot1": f"is inverted where bit {self._option('ctrlbit')} is 1",
        }[mode]
        module = self._option("module").removeprefix(f"{TOP}.")
        at = f" ({wire}[{self._option('wirebit')}])" if wire else ""
        return f"{module}: {cell}.{port}[{bit}]{at} {change}"

    def _option(self, name: str) -> str:
        found = re.search(rf"-{name} (\S+)", self.command)
        return found[1].lstrip("\\") if found else ""


def _lines(src: str) -> Iterator[str]:
    for part in src.split("|"):
        if part.startswith("hw/"):
            yield part


@cache
def netlist(target: Target) -> str:
    """The target without processes, as RTLIL; mutants are changes of this. SimulatorError."""
    return _yosys(ELABORATE, target.elaborated(), "netlist.il")


def draw(target: Target, count: int, seed: int) -> list[Mutant]:
    """Mutants, spread evenly by Yosys; fewer if there are not so many. SimulatorError."""
    if not count:
        return []
    script = DRAW.format(read=READ, chosen=target.chosen, count=count, seed=seed)
    lines = _yosys(script, netlist(target), "list").splitlines()
    commands = list(dict.fromkeys(lines))
    return [Mutant(target.name, n, command) for n, command in enumerate(commands, 1)]


def mutated(target: Target, mutants: Sequence[Mutant]) -> str:
    """The netlist with the mutants in it, each active while input SELECT is its number."""
    bits = max(mutant.number for mutant in mutants).bit_length()
    mutations = "\n".join(f"{m.command} -ctrl {SELECT} {bits} {m.number}" for m in mutants)
    script = APPLY.format(read=READ, mutations=mutations)
    return _yosys(script, netlist(target), "mutated.il")


def _yosys(script: str, text: str, result: str) -> str:
    """What a script leaves in a file that it makes of design.il."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "design.il").write_text(text)
        try:
            run_pyosys(script, place)
        except EmitError as error:
            raise SimulatorError(str(error)) from None
        return (place / result).read_text()
