"""The reference PE as an engine that does the world switch at once: no rows of it but what counts.

Nearly all rows of a single step are EL2's, and they are the same every time. Here the registers are
put in place instead, and saved, as `kvm.S` does. The sequence at guest entry, the exception return,
the guest and the exception to EL2 are executed. What differs from `KickedEngine` is the number of
rows, and with it the cycle of an event.
"""

import struct
from collections.abc import Sequence

from model.a64.processor import QUIET
from model.a64.state import State
from model.a64.trace import Inputs, Row
from model.arch import (
    EL,
    OSLSR_EL1,
    RAM_BASE,
    RAM_SIZE,
    RESET_VECTOR,
    SYSREGS,
    Last,
    Retire,
)
from model.kvm.engine import WAIT, NoExit, Ran
from model.kvm.session import KickedEngine, is_event
from model.kvm.vcpu import OFFSETS, SIZE
from model.programs.image import Image

_VCPU = struct.Struct(f"<{SIZE // 8}Q")
_AT = {name: offset // 8 for name, offset in OFFSETS.items()}
_X = slice(_AT["x"], _AT["x"] + 31)

#: System registers that are restored and saved, to their doublewords; ...
_BOTH = {
    name: _AT[name.lower()]
    for name in (
        *("MDSCR_EL1", "SCTLR_EL1", "VBAR_EL1", "ELR_EL1", "SPSR_EL1", "ESR_EL1", "FAR_EL1"),
        *("TPIDR_EL0", "TPIDRRO_EL0", "TPIDR_EL1"),
    )
}
_BOTH |= {"SPSR_EL2": _AT["spsr"], "ELR_EL2": _AT["elr"]}
_RESTORED = _BOTH | {"MDCR_EL2": _AT["mdcr_el2"], "HCR_EL2": _AT["hcr_el2"]}
_SAVED = _BOTH | {name: _AT[name.lower()] for name in ("ESR_EL2", "FAR_EL2", "HPFAR_EL2")}

_OS_LOCK, _SP_EL0, _SP_EL1, _EXIT = (_AT[name] for name in ("os_lock", "sp_el0", "sp_el1", "exit"))

#: Rows of the writes that `GuestTrace` knows: all but the value.
_MSR = Row._make(0 for _ in Row._fields)._replace(el=int(EL.EL2), sys_en=1)
_TOLD = {
    name: _MSR._replace(sys_reg=SYSREGS[name].number)
    for name in ("MDSCR_EL1", "MDCR_EL2", "SPSR_EL2", "SPSR_EL1", "ELR_EL1", "ESR_EL1")
}
_VALUE = Row._fields.index("sys_value")

_NO_BYTES = bytes(RAM_SIZE)
_LOWER_EL, _VECTOR = 0x400, 0x80
_STACKED = struct.Struct("<4Q")  #: x2, x3, x0 and x1, while a sequence runs
_DOORBELL = struct.Struct("<2Q")


class QuickEngine(KickedEngine):
    """See above. It can be started again, and is then as new."""

    def __init__(self) -> None:
        super().__init__()
        self._symbols: dict[str, int] = {}
        self._no_sequence = False

    async def start(self, image: Image) -> Ran:
        """See `Engine`."""
        processor = self._processor
        memory = processor.state.memory
        processor.state = State(el=EL.EL3, pc=RESET_VECTOR, daif=0b1111, memory=memory)
        processor.last = int(Last.NOTHING)
        self.write(RAM_BASE, _NO_BYTES)
        for address, content in image.segments:
            self.write(address, content)
        self._symbols = dict(image.symbols)
        self._wait = image.symbols[WAIT]
        self.pins.clear()
        start, end = self._symbols["sequence"], self._symbols["sequence_end"]
        self._no_sequence = self._number(start, 4) == 0x1400_0000 | (end - start) // 4
        return await self.run()

    async def run(self, inputs: Sequence[Inputs] = (QUIET,)) -> Ran:
        """See `Engine`."""
        at = self._number(self._symbols["doorbell"], 8)
        if not at or self._processor.state.pc != self._wait:
            return await super().run(inputs)
        rows = self._restored(at)
        if not self._sequence(rows):  # the exception that it has taken is handled as it is
            return Ran(rows + (await super().run()).rows, [])
        self._guest(rows)
        self._save(at)
        return Ran(rows, [])

    def _number(self, address: int, size: int) -> int:
        return int.from_bytes(self.read(address, size), "little")

    def _restored(self, at: int) -> list[Row]:
        """The guest's registers are put in place; what is told of it."""
        state = self._processor.state
        words = _VCPU.unpack(self.read(at, SIZE))
        x = words[_X]
        sysregs = state.sysregs
        for name, n in _RESTORED.items():
            sysregs[name] = words[n]
        sysregs["OSLSR_EL1"] &= ~OSLSR_EL1.OSLK.mask
        sysregs["OSLSR_EL1"] |= OSLSR_EL1.OSLK.put(words[_OS_LOCK] & 1)
        state.unused_sps[EL.EL0], state.unused_sps[EL.EL1] = words[_SP_EL0], words[_SP_EL1]
        state.x[:3] = at, x[2], x[3]
        state.x[4:31] = x[4:]
        state.sp -= _STACKED.size
        self.write(state.sp, _STACKED.pack(x[2], x[3], x[0], x[1]))
        self.write(self._symbols["doorbell"], _DOORBELL.pack(0, at))  # current is behind it
        return [
            Row._make((*row[:_VALUE], words[_RESTORED[name]], *row[_VALUE + 1 :]))
            for name, row in _TOLD.items()
        ]

    def _sequence(self, rows: list[Row]) -> bool:
        """Up to the exception return. False: it has taken an exception."""
        state, end = self._processor.state, self._symbols["sequence_end"]
        if not self._no_sequence:
            state.pc = self._symbols["sequence"]
            while state.pc != end:
                if len(rows) == self._max_rows:
                    raise NoExit(self._no_exit(rows))
                rows.append(self._processor.step())
                if rows[-1].kind != Retire.INSTRUCTION:
                    return False
        state.x[2], state.x[3], *state.x[:2] = _STACKED.unpack(self.read(state.sp, _STACKED.size))
        state.sp += _STACKED.size
        state.pc = self._symbols["guest_eret"]
        return True

    def _guest(self, rows: list[Row]) -> None:
        """The exception return, and the guest up to its exit."""
        state, step = self._processor.state, self._processor.step
        kick, self.kick_after = self.kick_after, None
        high = self.high() if kick is not None else QUIET
        rows.append(step())
        events = 0
        while state.el <= EL.EL1:
            if len(rows) == self._max_rows:
                raise NoExit(self._no_exit(rows))
            row = step(QUIET if kick is None or events < kick else high)
            rows.append(row)
            events += is_event(row)
        if kick is not None:
            self.exited(rows[-1], kick - events)

    def _save(self, at: int) -> None:
        """The guest's registers, and why it has exited."""
        state = self._processor.state
        words = list(_VCPU.unpack(self.read(at, SIZE)))
        sysregs = state.sysregs
        for name, n in _SAVED.items():
            words[n] = sysregs[name]
        words[_X] = state.x[:31]
        words[_OS_LOCK] = OSLSR_EL1.OSLK.get(sysregs["OSLSR_EL1"])
        words[_SP_EL0], words[_SP_EL1] = state.unused_sps[EL.EL0], state.unused_sps[EL.EL1]
        words[_EXIT] = (state.pc - sysregs["VBAR_EL2"] - _LOWER_EL) // _VECTOR
        self.write(at, _VCPU.pack(*words))
        state.pc = self._wait
        self._processor.last = int(Last.NOTHING)
