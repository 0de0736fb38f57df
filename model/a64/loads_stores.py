"""Loads and stores (manual C4.1.95), as rows."""

from collections.abc import Callable
from typing import NamedTuple

from model.a64.decode import Operation, Reserved, Row, row
from model.a64.exceptions import LSInstructionSyndrome, alignment_fault, sp_alignment_fault
from model.a64.pseudocode import ExtendReg, Ones, SignExtend, read_slot, write_slot
from model.a64.state import MASK64, SP, State
from model.arch import EL, Event, SCTLR_ELx

#: Moves the register of one instruction from or to memory at an address.
Transfer = Callable[[State, int], None]
#: The transfer of an access of so many bytes, of the register Rt, that is used as so many bits;
#: the last argument is what ESR says of the instruction (see `LSInstructionSyndrome`).
Kind = Callable[[int, int, int, int], Transfer]
Build = Callable[..., Operation]

#: The SCTLR_ELx of what is executed at an EL.
_SCTLR = {EL.EL0: "SCTLR_EL1", EL.EL1: "SCTLR_EL1", EL.EL2: "SCTLR_EL2", EL.EL3: "SCTLR_EL3"}


def CheckSPAlignment(state: State) -> None:
    """Before an access by SP."""
    if state.x[SP] & 0xF:
        enable = SCTLR_ELx.SA if state.el != EL.EL0 else SCTLR_ELx.SA0
        if enable.is_set(state.sysregs[_SCTLR[state.el]]):
            raise sp_alignment_fault(state)


def CheckAlignment(state: State, address: int, alignment: int, write: bool) -> None:
    """Before an access by no multiple of `alignment`, its size or that of one of its two parts."""
    sctlr = _SCTLR[state.el]
    if SCTLR_ELx.A.is_set(state.sysregs[sctlr]):
        what = f"access not aligned to {alignment} bytes, with {sctlr}.A = 1,"
        raise alignment_fault(state, what, address, write)


def _by_base(Rn: int, execute: Operation) -> Operation:
    """An operation that uses the base register Rn."""
    if Rn != SP:
        return execute

    def by_sp(state: State) -> int | None:
        CheckSPAlignment(state)
        return execute(state)

    return by_sp


def _load(size: int, Rt: int, regsize: int, syndrome: int) -> Transfer:
    t = write_slot(Rt)
    unaligned = size - 1

    def transfer(state: State, address: int) -> None:
        if address & unaligned:
            CheckAlignment(state, address, size, write=False)
        state.x[t] = state.load(address, size, syndrome)

    return transfer


def _load_signed(size: int, Rt: int, regsize: int, syndrome: int) -> Transfer:
    t = write_slot(Rt)
    mask = Ones(regsize)
    unaligned = size - 1

    def transfer(state: State, address: int) -> None:
        if address & unaligned:
            CheckAlignment(state, address, size, write=False)
        state.x[t] = SignExtend(state.load(address, size, syndrome), 8 * size) & mask

    return transfer


def _store(size: int, Rt: int, regsize: int, syndrome: int) -> Transfer:
    t = read_slot(Rt)
    unaligned = size - 1

    def transfer(state: State, address: int) -> None:
        if address & unaligned:
            CheckAlignment(state, address, size, write=True)
        state.store(address, size, state.x[t], syndrome)

    return transfer


def _prefetch(size: int, Rt: int, regsize: int, syndrome: int) -> Transfer:
    """A prefetch, of which Rt is the operation: a hint, and no fault where no memory is."""
    return lambda state, address: None


class _Access(NamedTuple):
    """An instruction that loads or stores one register, before its addressing mode."""

    name: str
    size: str  #: bits 31:30 of the diagram; "1 sz" where they also choose W or X
    opc: str  #: bits 23:22; "1 narrow" where bit 22 chooses W
    bytes: int  #: moved; twice as many with sz
    kind: Kind

    def transfer(
        self, Rt: int, sz: int, narrow: int, writeback: bool = False
    ) -> tuple[int, Transfer]:
        """The bytes moved, and what moves them."""
        size = self.bytes << sz
        signed = self.kind is _load_signed
        sf = size == 8 or (signed and not narrow)
        syndrome = 0 if writeback else LSInstructionSyndrome(size, Rt, sf, signed)
        return size, self.kind(size, Rt, 64 if sf else 32, syndrome)

    def by_base(self, Rn: int, execute: Operation) -> Operation:
        """As `_by_base`; a prefetch never faults."""
        return execute if self.kind is _prefetch else _by_base(Rn, execute)

    @property
    def writes(self) -> str:
        """What it writes but the base: see `row`."""
        return "Rt" if self.kind in (_load, _load_signed) else ""


_LDR = _Access("LDR", "1 sz", "01", 4, _load)
_LDRSW = _Access("LDRSW", "10", "10", 4, _load_signed)
_ACCESSES = (
    _Access("STRB", "00", "00", 1, _store),
    _Access("LDRB", "00", "01", 1, _load),
    _Access("LDRSB", "00", "1 narrow", 1, _load_signed),
    _Access("STRH", "01", "00", 2, _store),
    _Access("LDRH", "01", "01", 2, _load),
    _Access("LDRSH", "01", "1 narrow", 2, _load_signed),
    _Access("STR", "1 sz", "00", 4, _store),
    _LDR,
    _LDRSW,
)
_PREFETCH = _Access("PRFM", "11", "10", 8, _prefetch)


# One register: a build function an addressing mode


def _unsigned_offset(access: _Access) -> Build:
    def build(imm12: int, Rn: int, Rt: int, sz: int = 0, narrow: int = 0) -> Operation:
        size, transfer = access.transfer(Rt, sz, narrow)
        offset = imm12 * size

        def execute(state: State) -> None:
            transfer(state, state.x[Rn] + offset & MASK64)

        return access.by_base(Rn, execute)

    return build


def _unscaled(access: _Access) -> Build:
    def build(imm9: int, Rn: int, Rt: int, sz: int = 0, narrow: int = 0) -> Operation:
        _, transfer = access.transfer(Rt, sz, narrow)
        offset = SignExtend(imm9, 9)

        def execute(state: State) -> None:
            transfer(state, state.x[Rn] + offset & MASK64)

        return access.by_base(Rn, execute)

    return build


def _register_offset(access: _Access) -> Build:
    def build(
        Rm: int, option: int, S: int, Rn: int, Rt: int, sz: int = 0, narrow: int = 0
    ) -> Operation:
        if not option & 0b010:
            raise Reserved(f"option={option:#05b}: an offset has 32 or 64 bits")
        size, transfer = access.transfer(Rt, sz, narrow)
        shift = size.bit_length() - 1 if S else 0
        m = read_slot(Rm)

        def execute(state: State) -> None:
            transfer(state, state.x[Rn] + ExtendReg(state.x[m], option, shift) & MASK64)

        return access.by_base(Rn, execute)

    return build


def _post_index(access: _Access) -> Build:
    return _indexed(access, postindex=True)


def _pre_index(access: _Access) -> Build:
    return _indexed(access, postindex=False)


def _indexed(access: _Access, postindex: bool) -> Build:
    def build(imm9: int, Rn: int, Rt: int, sz: int = 0, narrow: int = 0) -> Operation:
        _check_writeback(Rn, Rt)
        _, transfer = access.transfer(Rt, sz, narrow, writeback=True)
        return _with_writeback(transfer, SignExtend(imm9, 9), Rn, postindex)

    return build


def _check_writeback(Rn: int, *transferred: int) -> None:
    if Rn != 31 and Rn in transferred:
        raise Reserved(f"writeback to x{Rn}, which it transfers, is CONSTRAINED UNPREDICTABLE")


def _with_writeback(transfer: Transfer, offset: int, Rn: int, postindex: bool) -> Operation:
    def execute(state: State) -> None:
        base = state.x[Rn]
        moved = base + offset & MASK64
        transfer(state, base if postindex else moved)
        state.x[Rn] = moved

    return _by_base(Rn, execute)


def _literal(access: _Access) -> Build:
    def build(imm19: int, Rt: int, sz: int = 0) -> Operation:
        _, transfer = access.transfer(Rt, sz, narrow=0)
        offset = SignExtend(imm19, 19) * 4

        def execute(state: State) -> None:
            transfer(state, state.pc + offset & MASK64)

        return execute

    return build


# Two registers


def _pair_transfer(load: bool, signed: bool, size: int, Rt: int, Rt2: int) -> Transfer:
    """Reserved for a load of two values into one register."""
    if not load:
        return _store_pair(size, Rt, Rt2)
    if Rt == Rt2:
        raise Reserved(f"two loads to register {Rt} are CONSTRAINED UNPREDICTABLE")
    return _load_pair(size, Rt, Rt2, signed)


def _load_pair(size: int, Rt: int, Rt2: int, signed: bool) -> Transfer:
    t, t2 = write_slot(Rt), write_slot(Rt2)
    unaligned, mask = size - 1, Ones(8 * size)

    def transfer(state: State, address: int) -> None:
        if address & unaligned:
            CheckAlignment(state, address, size, write=False)
        both = state.load(address, 2 * size)
        first, second = both & mask, both >> 8 * size
        if signed:
            first, second = SignExtend(first, 32) & MASK64, SignExtend(second, 32) & MASK64
        state.x[t], state.x[t2] = first, second

    return transfer


def _store_pair(size: int, Rt: int, Rt2: int) -> Transfer:
    t, t2 = read_slot(Rt), read_slot(Rt2)
    unaligned, mask = size - 1, Ones(8 * size)

    def transfer(state: State, address: int) -> None:
        if address & unaligned:
            CheckAlignment(state, address, size, write=True)
        state.store(address, 2 * size, state.x[t] & mask | state.x[t2] << 8 * size)

    return transfer


def _pair_offset(load: bool, signed: bool) -> Build:
    def build(imm7: int, Rt2: int, Rn: int, Rt: int, sf: int = 0) -> Operation:
        size = 8 if sf else 4
        offset = SignExtend(imm7, 7) * size
        transfer = _pair_transfer(load, signed, size, Rt, Rt2)

        def execute(state: State) -> None:
            transfer(state, state.x[Rn] + offset & MASK64)

        return _by_base(Rn, execute)

    return build


def _pair_indexed(load: bool, signed: bool, postindex: bool) -> Build:
    def build(imm7: int, Rt2: int, Rn: int, Rt: int, sf: int = 0) -> Operation:
        _check_writeback(Rn, Rt, Rt2)
        size = 8 if sf else 4
        transfer = _pair_transfer(load, signed, size, Rt, Rt2)
        return _with_writeback(transfer, SignExtend(imm7, 7) * size, Rn, postindex)

    return build


# Exclusive and ordered: memory here is coherent and in order, so that the order costs nothing


def _check_aligned(state: State, address: int, size: int, write: bool) -> None:
    if address % size:
        what = f"exclusive or ordered access of {size} bytes"
        raise alignment_fault(state, what, address, write)


def _mark_exclusive(transfer: Transfer, bytes_marked: int, Rn: int) -> Operation:
    """A load-exclusive: the monitor remembers what was loaded."""

    def execute(state: State) -> None:
        address = state.x[Rn]
        _check_aligned(state, address, bytes_marked, write=False)
        transfer(state, address)
        state.exclusive = (address, bytes_marked)

    return _by_base(Rn, execute)


def _if_exclusive(transfer: Transfer, bytes_marked: int, Rs: int, Rn: int) -> Operation:
    """A store-exclusive: only what the monitor remembers is stored, and Rs becomes 0; else 1.

    Where address or size differs from the load's, whether it stores is IMPLEMENTATION DEFINED:
    here it does not.
    """
    s = write_slot(Rs)

    def execute(state: State) -> None:
        address = state.x[Rn]
        _check_aligned(state, address, bytes_marked, write=True)
        passes = state.exclusive == (address, bytes_marked)
        if passes:
            transfer(state, address)
        state.exclusive = None
        state.x[s] = 0 if passes else 1

    return _by_base(Rn, execute)


def load_exclusive(size: int, Rn: int, Rt: int) -> Operation:
    """LDXR and LDAXR; size is the log2 of the bytes."""
    return _mark_exclusive(_load(1 << size, Rt, 64, 0), 1 << size, Rn)


def store_exclusive(size: int, Rs: int, Rn: int, Rt: int) -> Operation:
    """STXR and STLXR; size is the log2 of the bytes."""
    _check_status(Rs, Rn, Rt)
    return _if_exclusive(_store(1 << size, Rt, 64, 0), 1 << size, Rs, Rn)


def load_exclusive_pair(sz: int, Rt2: int, Rn: int, Rt: int) -> Operation:
    """LDXP and LDAXP."""
    size = 8 if sz else 4
    return _mark_exclusive(_pair_transfer(True, False, size, Rt, Rt2), 2 * size, Rn)


def store_exclusive_pair(sz: int, Rs: int, Rt2: int, Rn: int, Rt: int) -> Operation:
    """STXP and STLXP."""
    _check_status(Rs, Rn, Rt, Rt2)
    size = 8 if sz else 4
    return _if_exclusive(_store_pair(size, Rt, Rt2), 2 * size, Rs, Rn)


def _check_status(Rs: int, Rn: int, *stored: int) -> None:
    if Rs in stored or Rs == Rn != 31:
        raise Reserved(f"status in register {Rs}, which it uses, is CONSTRAINED UNPREDICTABLE")


def _ordered(kind: Kind) -> Build:
    """LDAR and STLR."""

    def build(size: int, Rn: int, Rt: int) -> Operation:
        syndrome = LSInstructionSyndrome(1 << size, Rt, sf=size == 3, ordered=True)
        transfer = kind(1 << size, Rt, 64, syndrome)

        def execute(state: State) -> None:
            _check_aligned(state, state.x[Rn], 1 << size, write=kind is _store)
            transfer(state, state.x[Rn])

        return _by_base(Rn, execute)

    return build


# The rows

_LOADED_PAIR = "Rt Rt2"

#: Addressing mode to the diagram, with holes for size and opc, and the build function.
_MODES = {
    "unsigned offset": ("{size} 111 0 01 {opc} imm12:12 Rn:5 Rt:5", _unsigned_offset),
    "post-index": ("{size} 111 0 00 {opc} 0 imm9:9 01 Rn:5 Rt:5", _post_index),
    "pre-index": ("{size} 111 0 00 {opc} 0 imm9:9 11 Rn:5 Rt:5", _pre_index),
    "register": ("{size} 111 0 00 {opc} 1 Rm:5 option:3 S 10 Rn:5 Rt:5", _register_offset),
}


def _mode_row(access: _Access, mode: str) -> Row:
    diagram, build = _MODES[mode]
    opened = diagram.format(size=access.size, opc=access.opc)
    writes = f"{access.writes} Rn|SP" if "index" in mode else access.writes
    return row(f"{access.name} ({mode})", opened, build(access), writes=writes)


def _unscaled_row(access: _Access) -> Row:
    """The unscaled offset has names of its own, such as LDURSB and PRFUM."""
    stem, rest = access.name[:2], access.name[2:]
    name = "PRFUM" if access is _PREFETCH else f"{stem}U{rest}"
    diagram = f"{access.size} 111 0 00 {access.opc} 0 imm9:9 00 Rn:5 Rt:5"
    return row(name, diagram, _unscaled(access), writes=access.writes)


def _literal_row(access: _Access, opc: str) -> Row:
    diagram = f"{opc} 011 0 00 imm19:19 Rt:5"
    return row(f"{access.name} (literal)", diagram, _literal(access), writes=access.writes)


def _pair_rows(name: str, opc: str, load: bool, signed: bool = False) -> tuple[Row, ...]:
    rest = f"{int(load)} imm7:7 Rt2:5 Rn:5 Rt:5"
    loaded = _LOADED_PAIR if load else ""
    moved = f"{loaded} Rn|SP"
    post, pre = (_pair_indexed(load, signed, postindex) for postindex in (True, False))
    offset = _pair_offset(load, signed)
    return (
        row(f"{name} (post-index)", f"{opc} 101 0 001 {rest}", post, writes=moved),
        row(f"{name} (offset)", f"{opc} 101 0 010 {rest}", offset, writes=loaded),
        row(f"{name} (pre-index)", f"{opc} 101 0 011 {rest}", pre, writes=moved),
    )


def _exclusive_rows(ordered: bool) -> tuple[Row, ...]:
    """Load-exclusives and store-exclusives; with `ordered`, load-acquire and store-release."""
    o0 = int(ordered)
    load, store = ("LDA", "STL") if ordered else ("LD", "ST")
    event = Event.LOAD_EXCLUSIVE
    rest = f"{o0} 11111 Rn:5 Rt:5"
    pair = f"{o0} Rt2:5 Rn:5 Rt:5"
    load_pair = f"1 sz 001000 0 1 1 11111 {pair}"
    return (
        row(f"{store}XR", f"size:2 001000 0 0 0 Rs:5 {rest}", store_exclusive, writes="Rs"),
        row(f"{load}XR", f"size:2 001000 0 1 0 11111 {rest}", load_exclusive, event, "Rt"),
        row(f"{store}XP", f"1 sz 001000 0 0 1 Rs:5 {pair}", store_exclusive_pair, writes="Rs"),
        row(f"{load}XP", load_pair, load_exclusive_pair, event, _LOADED_PAIR),
    )


ROWS: tuple[Row, ...] = (
    *_exclusive_rows(ordered=False),
    *_exclusive_rows(ordered=True),
    row("STLR", "size:2 001000 1 0 0 11111 1 11111 Rn:5 Rt:5", _ordered(_store)),
    row("LDAR", "size:2 001000 1 1 0 11111 1 11111 Rn:5 Rt:5", _ordered(_load), writes="Rt"),
    _literal_row(_LDR, "0 sz"),
    _literal_row(_LDRSW, "10"),
    _literal_row(_PREFETCH, "11"),
    row("STNP", "sf 0 101 0 000 0 imm7:7 Rt2:5 Rn:5 Rt:5", _pair_offset(False, False)),
    row(
        "LDNP",
        "sf 0 101 0 000 1 imm7:7 Rt2:5 Rn:5 Rt:5",
        _pair_offset(True, False),
        writes=_LOADED_PAIR,
    ),
    *_pair_rows("STP", "sf 0", load=False),
    *_pair_rows("LDP", "sf 0", load=True),
    *_pair_rows("LDPSW", "01", load=True, signed=True),
    *(_mode_row(access, mode) for access in _ACCESSES for mode in _MODES),
    *(_unscaled_row(access) for access in (*_ACCESSES, _PREFETCH)),
    _mode_row(_PREFETCH, "unsigned offset"),
    _mode_row(_PREFETCH, "register"),
)
