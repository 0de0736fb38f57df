"""What a sequence does wrong at guest entry, and which instruction is to blame for it."""

from dataclasses import dataclass

from model.a64 import A64Error
from model.a64.interpreter import Retired, last_change, record
from model.a64.system import sysreg_name
from model.arch import MDSCR_EL1, Register, SPSR_ELx
from model.hyp.entry import MAX_STEPS, TEXT, Difference, EntryPoint, Scenario, statement_of
from model.hyp.words import Sequence
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP

#: A register with more wrong fields than this is reported as a whole.
MAX_FIELDS = 4

_LAYOUTS: dict[str, type[Register]] = {"SPSR_EL2": SPSR_ELx, "MDSCR_EL1": MDSCR_EL1}
_CONTROLS = {"ENABLE": KVM_GUESTDBG_ENABLE, "SINGLESTEP": KVM_GUESTDBG_SINGLESTEP}


@dataclass(slots=True)
class Finding:
    """One thing that a sequence does wrong. `str` explains it in a few lines."""

    sequence: str
    field: str  #: such as "SPSR_EL2.SS", "SPSR_EL2<22>", "x5", "vcpu+0x40"; "" if it did not end
    problem: str  #: what is wrong, in one line
    scenario: Scenario  #: the first run that showed it
    details: tuple[str, ...]  #: the values, and who is to blame
    instruction: int | None  #: index of the word to blame, if any
    count: int = 0  #: failing runs that showed it

    def __str__(self) -> str:
        runs = "1 run" if self.count == 1 else f"{self.count} runs"
        lines = [
            f"{self.sequence}: {self.problem} (in {runs})",
            f"given    {_scenario_text(self.scenario)}",
        ]
        return "\n  ".join([*lines, *self.details])


def explain(
    sequence: Sequence, point: EntryPoint, scenario: Scenario, restored: Scenario
) -> list[Finding]:
    """Run a failing scenario again, recorded, and turn each difference into a finding.

    `restored` is what the world switch hands to the sequence: the scenario itself, unless C code
    has changed the saved state before.
    """
    point.reset(restored)
    retired = record(point.state, point.end, MAX_STEPS)
    point.is_right(*statement_of(sequence.name, scenario.guest_debug, *scenario[1:]))
    return [
        _finding(sequence, scenario, retired, difference, field, mask)
        for difference in point.differences()
        for field, mask in _wrong_fields(difference)
    ]


def _finding(
    sequence: Sequence,
    scenario: Scenario,
    retired: list[Retired],
    difference: Difference,
    field: str,
    mask: int,
) -> Finding:
    name = difference.name
    instruction, blame = _blame(sequence, retired, name, mask)
    details = (
        f"expected {name} = {_value_text(name, difference.expected)}",
        f"found    {name} = {_value_text(name, difference.found)}",
        *blame,
    )
    problem = _problem(field, mask, difference)
    return Finding(sequence.name, field, problem, scenario, details, _index(instruction))


def explain_error(
    sequence: Sequence, point: EntryPoint, scenario: Scenario, error: A64Error
) -> Finding:
    """The finding of a run that has just ended in an error."""
    index = (point.state.pc - TEXT) // 4
    inside = 0 <= index < len(sequence.words)
    details = (f"at {_place(sequence, index)}",) if inside else ()
    problem = f"does not run to its end: {error}"
    return Finding(sequence.name, "", problem, scenario, details, index if inside else None)


def _wrong_fields(difference: Difference) -> list[tuple[str, int]]:
    """Name and mask of each wrong field; a register without known fields is one, a bit another."""
    name = difference.name
    wrong = difference.expected ^ difference.found
    if name not in _LAYOUTS:
        return [(name, wrong)]
    fields = [
        (f"{name}.{field_name}", wrong & field.mask)
        for field_name, field in _LAYOUTS[name].fields().items()
        if wrong & field.mask
    ]
    unnamed = wrong & ~sum(mask for _, mask in fields)
    fields += [(f"{name}<{n}>", 1 << n) for n in range(64) if unnamed >> n & 1]
    return fields if len(fields) <= MAX_FIELDS else [(name, wrong)]


def _problem(field: str, mask: int, difference: Difference) -> str:
    if field == difference.name or mask.bit_count() > 1:
        return f"{field} is wrong"
    found = int(difference.found & mask != 0)
    return f"{field} is {found} and must be {1 - found}"


def _scenario_text(scenario: Scenario) -> str:
    controls = [name for name, bit in _CONTROLS.items() if scenario.guest_debug & bit]
    return (
        f"guest_debug = {scenario.guest_debug:#x} ({' | '.join(controls) or 'not ENABLE'}),"
        f" SPSR_EL2 = {_value_text('SPSR_EL2', scenario.spsr)},"
        f" MDSCR_EL1 = {_value_text('MDSCR_EL1', scenario.mdscr)}"
    )


def _value_text(name: str, value: int) -> str:
    """A register's value, with its fields that are not 0."""
    layout = _LAYOUTS.get(name, Register)
    fields = {field_name: field.get(value) for field_name, field in layout.fields().items()}
    named = " ".join(f"{field_name}={number}" for field_name, number in fields.items() if number)
    return f"{value:#x} ({named})" if named else f"{value:#x}"


def _blame(
    sequence: Sequence, retired: list[Retired], name: str, mask: int
) -> tuple[Retired | None, tuple[str, ...]]:
    """The instruction that last changed the wrong bits, and lines that say so."""
    if name in _LAYOUTS:
        return _blame_for_output(sequence, retired, name, mask)
    if name.startswith("vcpu"):
        store = [r for r in retired if r.instruction.name.startswith("ST")][-1]
        return store, (f"last stored by {_retired_text(sequence, store)}",)
    changer = last_change(retired, name, mask)
    assert changer is not None, f"{name} differs, so an instruction changed it"
    return changer, (f"last changed by {_retired_text(sequence, changer)}",)


def _blame_for_output(
    sequence: Sequence, retired: list[Retired], name: str, mask: int
) -> tuple[Retired | None, tuple[str, ...]]:
    """As `_blame`, for the two registers that a sequence is there to write.

    To blame is the instruction that changed the bits in the general-purpose register which MSR
    then wrote; if none did, MSR; without MSR, the branch that led past it.
    """
    writes = [index for index, r in enumerate(retired) if _is_msr(r, name)]
    if not writes:
        return _blame_for_silence(sequence, retired)
    msr = retired[writes[-1]]
    written = f"written by {_retired_text(sequence, msr)}"
    changer = _changer_since_mrs(retired[: writes[-1]], f"x{msr.instruction.fields['Rt']}", mask)
    if changer is None:
        return msr, (f"{written}, and no instruction before it changed the bit",)
    return changer, (f"last changed by {_retired_text(sequence, changer)}", written)


def _blame_for_silence(
    sequence: Sequence, retired: list[Retired]
) -> tuple[Retired | None, tuple[str, ...]]:
    branches = [r for r in retired if r.branched]
    if not branches:
        return None, ("no instruction wrote it",)
    branch = _retired_text(sequence, branches[-1])
    return branches[-1], (f"no instruction wrote it; branched at {branch}",)


def _is_msr(retired: Retired, name: str) -> bool:
    instruction = retired.instruction
    return instruction.name == "MSR (register)" and sysreg_name(instruction.fields) == name


def _changer_since_mrs(retired: list[Retired], register: str, mask: int) -> Retired | None:
    """The last instruction that changed the bits after MRS read them into the register."""
    for candidate in reversed(retired):
        instruction = candidate.instruction
        if instruction.name == "MRS" and f"x{instruction.fields['Rt']}" == register:
            return None
        if candidate.changed(register, mask):
            return candidate
    return None


def _index(retired: Retired | None) -> int | None:
    return None if retired is None else (retired.pc - TEXT) // 4


def _retired_text(sequence: Sequence, retired: Retired) -> str:
    return _place(sequence, (retired.pc - TEXT) // 4, retired.instruction.name)


def _place(sequence: Sequence, index: int, name: str = "") -> str:
    """A word of the sequence: its byte offset, the word, and its source line or its name."""
    source = sequence.listing[index] or name
    return f"+{4 * index:#x}: {sequence.words[index]:#010x}  {source}".rstrip()
