"""Synchronous exceptions: what an instruction raises that it does not complete for.

Each is raised with the record of the exception to take, and with a text for who runs code where
nobody takes exceptions. `model.a64.routing` says where they go, `model.a64.entry` takes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from model.a64 import A64Error, routing
from model.arch import EL, AbortISS, ExceptionClass, FaultStatus

if TYPE_CHECKING:
    from model.a64.state import State


class ExceptionRecord(NamedTuple):
    """What is known of an exception before it is taken (manual J1, ExceptionRecord)."""

    ec: ExceptionClass  #: where the manual has one for a lower EL and one for the same: the first
    iss: int = 0  #: 25 bits
    target: EL | None = None  #: None: `routing.default_target`
    vaddress: int | None = None  #: for FAR_ELx, 64 bits; None where it is not written
    ipaddress: int | None = None  #: for HPFAR_EL2, 64 bits; None where it is not written


#: An UNDEFINED instruction.
UNDEFINED = ExceptionRecord(ExceptionClass.UNKNOWN)


class SynchronousException(A64Error):
    """An exception that an instruction takes instead of completing. Nothing has been written."""

    def __init__(self, text: str, record: ExceptionRecord = UNDEFINED) -> None:
        super().__init__(text)
        self.record = record


class Undefined(SynchronousException):
    """An instruction that is UNDEFINED, everywhere or where the PE is."""


class Trapped(SynchronousException):
    """An instruction that is trapped to an EL which controls it."""


class UnmappedAccess(SynchronousException):
    """An access to an address where no memory is, or a store to read-only memory."""


class MisalignedAccess(SynchronousException):
    """An access to an address, or by a stack pointer, or a fetch, that is not a due multiple."""


def undefined(state: State, what: str) -> Undefined:
    """What is UNDEFINED at this EL, or as the control registers are."""
    return Undefined(f"pc {state.pc:#x}: {what} is undefined at {state.el.name}")


def trapped(
    state: State, what: str, ec: ExceptionClass, iss: int, target: EL | None = None
) -> Trapped:
    """A trap to `target`, or to the default target."""
    to = routing.default_target(state) if target is None else target
    text = f"pc {state.pc:#x}: {what} at {state.el.name} is trapped to {to.name}"
    return Trapped(text, ExceptionRecord(ec, iss, to))


def alignment_fault(state: State, what: str, address: int, write: bool) -> MisalignedAccess:
    """A data access that is not aligned as it must be."""
    iss = AbortISS.WnR.put(write) | AbortISS.FSC.put(FaultStatus.ALIGNMENT)
    record = ExceptionRecord(ExceptionClass.DABT_LOWER, iss, vaddress=address)
    return MisalignedAccess(f"pc {state.pc:#x}: {what} at {address:#x}", record)


def sp_alignment_fault(state: State) -> MisalignedAccess:
    """A load or store by a stack pointer that is no multiple of 16."""
    text = f"pc {state.pc:#x}: access by sp {state.sp:#x}: it is not a multiple of 16"
    return MisalignedAccess(text, ExceptionRecord(ExceptionClass.SP_ALIGN))


def pc_alignment_fault(state: State) -> MisalignedAccess:
    """A fetch from an address that is no multiple of 4."""
    text = f"pc {state.pc:#x}: no instruction can be fetched: it is not a multiple of 4"
    return MisalignedAccess(text, ExceptionRecord(ExceptionClass.PC_ALIGN, vaddress=state.pc))


def instruction_abort(state: State) -> UnmappedAccess:
    """A fetch where no memory is."""
    text = f"pc {state.pc:#x}: no instruction can be fetched: no memory is mapped there"
    return UnmappedAccess(text, _abort(state, ExceptionClass.IABT_LOWER, 0, 0, state.pc))


def data_abort(
    state: State, what: str, address: int, write: bool, syndrome: int, why: str
) -> UnmappedAccess:
    """A data access with its first byte without memory at `address`.

    `syndrome` is what ISS says of the instruction at stage 2: see `LSInstructionSyndrome`.
    """
    iss = AbortISS.WnR.put(write)
    record = _abort(state, ExceptionClass.DABT_LOWER, iss, syndrome, address)
    return UnmappedAccess(f"pc {state.pc:#x}: {what}: {why}", record)


def _abort(
    state: State, ec: ExceptionClass, iss: int, syndrome: int, address: int
) -> ExceptionRecord:
    """Where stage 2 translates, what has no memory is not mapped; elsewhere nothing answers."""
    if routing.stage_2(state):
        iss |= syndrome | AbortISS.FSC.put(FaultStatus.TRANSLATION_LEVEL_3)
        return ExceptionRecord(ec, iss, EL.EL2, address, address)
    iss |= AbortISS.FSC.put(FaultStatus.EXTERNAL)
    return ExceptionRecord(ec, iss, routing.external_abort_target(state), address)


def LSInstructionSyndrome(
    size: int, Rt: int, sf: bool, signed: bool = False, ordered: bool = False
) -> int:
    """ISS<24:14> of a stage 2 fault of a load or store of one register that writes no base back.

    `size` in bytes; `sf`: the register has 64 bits; `signed`: a sign-extending load; `ordered`: it
    has acquire or release semantics.
    """
    return (
        AbortISS.ISV.put(1)
        | AbortISS.SAS.put(size.bit_length() - 1)
        | AbortISS.SSE.put(signed)
        | AbortISS.SRT.put(Rt)
        | AbortISS.SF.put(sf)
        | AbortISS.AR.put(ordered)
    )
