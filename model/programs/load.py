"""Images ready to run from reset: programs of ours, and a user's own."""

import struct
from dataclasses import replace
from functools import cache
from pathlib import Path

from model.arch import HCR_EL2, MDCR_EL2, RAM_BASE, RAM_SIZE, Mode, SPSR_ELx
from model.hyp.words import Sequence
from model.kvm.uapi import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP
from model.kvm.vcpu import Vcpu, set_guest_debug
from model.programs import ProgramError
from model.programs.elf import load_executable
from model.programs.image import Image, from_text

DIRECTORY = Path(__file__).parent

BOOT = "boot"

#: The same on QEMU's `virt` machine, which begins at EL2.
VIRT = "virt"

#: The loop at EL2, one image a sequence.
HYPERVISORS = {name: f"hypervisor_{name}" for name in ("v1", "bic", "callout", "upstream")}

#: The world switch of `model.kvm`, whose host waits for it.
KVM = "kvm"

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
        why = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        mend = "run python -m model.programs.build"
        raise ProgramError(f"{path}: cannot be read: {why}: {mend}") from error


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
    return load(BOOT).combined(_with_hypervisor(name, sequence, guest_debug))


def on_virt(name: str, sequence: str, guest_debug: int, rounds: int) -> Image:
    """As `hosted`, for QEMU's `virt` machine: from EL2, the guest `rounds` times, then power off.

    `rounds` is 1 to 2^64 - 1; the guest must be one that can run again on what it has left behind.
    Stage 2 stays off, as there are no tables. See virt.S for what is told on the serial line.
    """
    if rounds < 1:
        raise ValueError(f"{rounds} rounds: it runs once at least")
    image = load(VIRT).combined(_with_hypervisor(name, sequence, guest_debug))
    at = image.symbols
    patches = {
        "virt_rounds": rounds,
        "virt_guest_enter": at["guest_enter"],
        "virt_entry": load(name).entry,
        "hypervisor_hcr": HCR_EL2.RW.mask,
    }
    branches = tuple((at[end], _branch(at[end], at[f"virt_{end}"])) for end in ("done", "failed"))
    patched = image.patched(patches)
    return replace(patched, segments=patched.segments + branches)


def with_world_switch(program: Image, sequence: Sequence) -> Image:
    """From reset at EL3 to EL2, which waits at `host_wait`: the world switch of `model.kvm`.

    ValueError if the sequence does not fit.
    """
    image = load(BOOT).combined(load(KVM), program)
    start, end = image.symbols["sequence"], image.symbols["sequence_end"]
    code = struct.pack(f"<{len(sequence.words)}I", *sequence.words)
    if start + len(code) >= end:
        most = (end - start) // 4 - 1
        raise ValueError(f"{sequence.name}: {len(sequence.words)} words: no more than {most} fit")
    code += _branch(start + len(code), end)
    return replace(image, segments=(*image.segments, (start, code)))


def _with_hypervisor(name: str, sequence: str, guest_debug: int) -> Image:
    """The loop at EL2, and a guest that it runs."""
    vcpu = Vcpu()
    set_guest_debug(vcpu, guest_debug)
    program = load(name)
    patches = {
        "vcpu_guest_debug": vcpu.guest_debug,
        "vcpu_mdcr_el2": vcpu.mdcr_el2 & MDCR_EL2.TDE.mask,
        "vcpu_elr": program.entry,
    }
    return load(HYPERVISORS[sequence]).combined(program).patched(patches)


def _branch(address: int, target: int) -> bytes:
    """B at an address, to a target."""
    return struct.pack("<I", 0x1400_0000 | (target - address) // 4 & 0x3FF_FFFF)


def load_elf(path: Path) -> Image:
    """From reset at EL3 to the entry of a user's own static AArch64 ELF at EL1h, SP at RAM's end.

    Its symbols are those of the file alone with boot's own. ProgramError, in one line, if the file
    is none that can run.
    """
    program = load_executable(path)
    boot = load(BOOT).symbols.keys()
    symbols = {key: value for key, value in program.symbols.items() if key not in boot}
    return at_el1(Image(program.segments, symbols, program.entry), RAM_BASE + RAM_SIZE)
