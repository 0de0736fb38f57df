"""Images ready to run from reset: programs of ours, and a user's own."""

from functools import cache
from pathlib import Path

from model.arch import MDCR_EL2, RAM_BASE, RAM_SIZE, Mode, SPSR_ELx
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP
from model.kvm.vcpu import Vcpu, set_guest_debug
from model.programs import ProgramError
from model.programs.elf import load_executable
from model.programs.image import Image, from_text

DIRECTORY = Path(__file__).parent

BOOT = "boot"

#: The loop at EL2, one image a sequence.
HYPERVISORS = {name: f"hypervisor_{name}" for name in ("v1", "bic", "callout")}

#: What computes something at EL1: all end at `end_of_run`, a hypercall, with `result` stored.
GUESTS = ("sort", "crc32", "strsearch", "fibonacci", "list", "memcpy", "spinlock")

#: What steps itself at EL1: ends at `end`, with `logged` entries of ELR_EL1 and ESR_EL1 at `log`.
SELF_STEPPING = ("self_el0", "self_el1")

STEPPING = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP

#: SPSR of EL1h with all interrupts and debug exceptions masked.
_EL1H = Mode.EL1h | SPSR_ELx.D.mask | SPSR_ELx.A.mask | SPSR_ELx.I.mask | SPSR_ELx.F.mask


@cache
def load(name: str) -> Image:
    """An image of ours by its name, as built. ProgramError if there is none, or it is damaged."""
    path = DIRECTORY / f"{name}.words"
    try:
        return from_text(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise ProgramError(
            f"{path}: cannot be read: {error}: run python -m model.programs.build"
        ) from error


def guest(name: str) -> Image:
    """From reset at EL3 straight to a guest at EL1h, without a hypervisor.

    A guest of GUESTS is over at `end_of_run`: its hypercall then parks at `el2_park`.
    """
    return at_el1(load(name))


def at_el1(program: Image, sp: int = 0) -> Image:
    """From reset at EL3 straight to the entry of a program at EL1h, with SP_EL1 = `sp`.

    An exception that the program does not take itself parks at el1_park, el2_park or el3_park.
    """
    boot = {"boot_target": program.entry, "boot_spsr": _EL1H, "boot_sp_el1": sp}
    return load(BOOT).combined(program).patched(boot)


def hosted(name: str, sequence: str, guest_debug: int = STEPPING) -> Image:
    """From reset at EL3 to the loop at EL2 with a sequence, which runs a guest at EL1h.

    `guest_debug` is KVM_GUESTDBG_*, 32 bits. It is over at `done`, with the vcpu saved and the
    number of steps at `steps`; or at `failed`, with ESR_EL2 in x0.
    """
    vcpu = Vcpu()
    set_guest_debug(vcpu, guest_debug)
    program = load(name)
    patches = {
        "vcpu_guest_debug": vcpu.guest_debug,
        "vcpu_mdcr_el2": vcpu.mdcr_el2 & MDCR_EL2.TDE.mask,
        "vcpu_elr": program.entry,
    }
    hypervisor = load(HYPERVISORS[sequence])
    return load(BOOT).combined(hypervisor, program).patched(patches)


def load_elf(path: Path) -> Image:
    """From reset at EL3 to the entry of a user's own static AArch64 ELF at EL1h, SP at RAM's end.

    Its symbols are those of the file alone with boot's own. ProgramError, in one line, if the file
    is none that can run.
    """
    program = load_executable(path)
    boot = load(BOOT).symbols.keys()
    symbols = {key: value for key, value in program.symbols.items() if key not in boot}
    return at_el1(Image(program.segments, symbols, program.entry), RAM_BASE + RAM_SIZE)
