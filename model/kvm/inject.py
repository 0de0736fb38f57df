"""Exceptions that the host puts into a guest: the guest's registers as if the PE had taken one.

Source: DDI 0487 D1.10 (exception entry), D17.2.37 (ESR_ELx).
"""

from model.arch import EL, AbortISS, ESR_ELx, ExceptionClass, FaultStatus, Mode, SPSR_ELx, VBAR_ELx
from model.kvm.vcpu import Vcpu

_LOWER_EL, _SP_ELX = 0x400, 0x200  #: offsets of the vectors, on top of that of SP_EL0

#: What an entry to EL1 leaves of PSTATE.
_NZCV = SPSR_ELx.N.mask | SPSR_ELx.Z.mask | SPSR_ELx.C.mask | SPSR_ELx.V.mask
_DAIF = SPSR_ELx.D.mask | SPSR_ELx.A.mask | SPSR_ELx.I.mask | SPSR_ELx.F.mask

#: Classes that have a number of their own, one more, for an exception from the same EL.
_WITH_SAME = (ExceptionClass.IABT_LOWER, ExceptionClass.DABT_LOWER)


def current_el(spsr: int) -> EL:
    """The EL of an SPSR that names a mode of AArch64."""
    return EL(SPSR_ELx.M.get(spsr) >> 2)


def inject(vcpu: Vcpu, ec: ExceptionClass, iss: int = 0, far: int | None = None) -> None:
    """Take a synchronous exception to EL1 that returns to the present instruction.

    `ec` is that of an exception from a lower EL, where there are two. FAR_EL1 is written if given.
    """
    same = current_el(vcpu.spsr) == EL.EL1
    ec_of_el = ec + (same and ec in _WITH_SAME)
    inject_esr(vcpu, ESR_ELx.EC.put(ec_of_el) | ESR_ELx.IL.put(1) | ESR_ELx.ISS.put(iss))
    if far is not None:
        vcpu.far_el1 = far


def inject_esr(vcpu: Vcpu, esr: int) -> None:
    """The same, with the whole syndrome."""
    spsr = vcpu.spsr
    offset = _LOWER_EL if current_el(spsr) == EL.EL0 else _SP_ELX * (spsr & 1)
    vcpu.spsr_el1, vcpu.elr_el1, vcpu.esr_el1 = spsr, vcpu.elr, esr
    vcpu.elr = (vcpu.vbar_el1 & VBAR_ELx.BASE.mask) + offset
    vcpu.spsr = spsr & _NZCV | _DAIF | Mode.EL1h


def inject_undefined(vcpu: Vcpu) -> None:
    """An UNDEFINED instruction."""
    inject(vcpu, ExceptionClass.UNKNOWN)


def inject_external_abort(
    vcpu: Vcpu, far: int, instruction: bool = False, write: bool = False
) -> None:
    """A synchronous external abort of a data access, a store if `write`, or of a fetch."""
    ec = ExceptionClass.IABT_LOWER if instruction else ExceptionClass.DABT_LOWER
    inject(vcpu, ec, AbortISS.WnR.put(write) | FaultStatus.EXTERNAL, far)
