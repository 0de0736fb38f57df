"""The words of the manual about one PE, as Amaranth expressions: what properties are written with.

Written from the specification that this project restates, section by section, and from nothing in
`hw`: not even its layouts, for a field that is at the wrong bit is to be found, too.
"""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring

#: Section 1: register to the bits of its fields. M is 3:0, with nRW above it 4:0.
BITS = {
    "mdscr_el1": {"SS": 0, "KDE": 13},
    "mdcr_el2": {"TDE": 8},
    "hcr_el2": {"TGE": 27},
    "scr_el3": {"NS": 0, "EEL2": 18},
    "mdcr_el3": {"SDD": 16},
    "sder32_el3": {"SUIDEN": 0},
    "oslsr_el1": {"OSLK": 1},
    "spsr": {"nRW": 4, "D": 9, "IL": 20, "SS": 21},
}


def field(register: str, value: Value, name: str) -> Value:
    """A field of one bit."""
    return Value.cast(value)[BITS[register][name]]


def shared(m: Module, value: Value) -> Value:
    """The same as a signal: an expression would be written out wherever it is used."""
    signal = Signal(Shape.cast(value.shape()))
    m.d.comb += signal.eq(value)
    return signal


def either(*values: Value) -> Value:
    """Whether any holds."""
    return Cat(*values).any()


def one_of(value: Value, *members: int) -> Value:
    """Whether a value is one of these."""
    return either(*(value == member for member in members))


class Controls:
    """The control registers as they take effect (sections 1 and 10).

    Without EL2 its registers read as 0; without EL3 the PE is Non-secure.
    """

    def __init__(self, m: Module, port: wiring.PureInterface):
        self._m = m
        self.have_el2, self.have_el3 = port.have_el2, port.have_el3
        self.el1_aarch32, self.el2_aarch32 = port.el1_aarch32, port.el2_aarch32
        self.tge = self.have_el2 & field("hcr_el2", port.hcr_el2, "TGE")
        self.tde = self.have_el2 & field("mdcr_el2", port.mdcr_el2, "TDE")
        self.ns = Mux(self.have_el3, field("scr_el3", port.scr_el3, "NS"), 1)
        self.sdd = self.have_el3 & field("mdcr_el3", port.mdcr_el3, "SDD")
        self.suiden = field("sder32_el3", port.sder32_el3, "SUIDEN")
        self.oslk = field("oslsr_el1", port.oslsr_el1, "OSLK")
        self.double_lock = port.double_lock
        self.secure_el2 = (
            self.have_el2 & self.have_el3 & port.have_sel2 & field("scr_el3", port.scr_el3, "EEL2")
        )
        self.el2_enabled = self.have_el2 & (self.ns | self.secure_el2)

    def secure(self, el: Value) -> Value:
        """Section 10: an EL's security state."""
        return self.have_el3 & Mux(el == 3, 1, ~self.ns)

    def goes_to_el2(self, el: Value) -> Value:
        """Section 2: ELd is EL2; otherwise it is EL1."""
        usable = self.have_el2 & (~self.secure(el) | self.secure_el2)
        return shared(self._m, usable & (self.tge | self.tde))

    def eld(self, el: Value) -> Value:
        """Section 2: the debug target from an EL."""
        return Mux(self.goes_to_el2(el), 2, 1)

    def eld_aarch32(self, el: Value) -> Value:
        """Whether ELd uses AArch32."""
        return Mux(self.goes_to_el2(el), self.el2_aarch32, self.el1_aarch32)

    def locked(self) -> Value:
        """Section 3: the OS Lock or the double lock."""
        return self.oslk | self.double_lock

    def secure_debug_disabled(self, el: Value) -> Value:
        """Section 3: in Secure state, SDD, but for AArch32 EL0 with SUIDEN."""
        excepted = (el == 0) & self.el1_aarch32 & self.suiden
        return self.secure(el) & self.sdd & ~excepted

    def enabled(self, el: Value, kde: Value, d: Value, halted: Value) -> Value:
        """Section 3: debug exceptions from an EL, with MDSCR_EL1.KDE and PSTATE.D."""
        never = either(self.locked(), halted, self.secure_debug_disabled(el), el == 3)
        at_eld = el == self.eld(el)
        below = el < self.eld(el)
        return shared(self._m, ~never & Mux(at_eld, kde & ~d, below))


class ProgramStatus:
    """A saved program status register (sections 1 and 9)."""

    def __init__(self, value: Value):
        register = Value.cast(value)
        self.mode = register[:4]
        self.nrw, self.d, self.il, self.ss = (
            field("spsr", register, name) for name in ("nRW", "D", "IL", "SS")
        )
        whole = register[:5]
        self.names_el1_32 = one_of(whole, 0b10001, 0b10010, 0b10011, 0b10111, 0b11011, 0b11111)
        self.names_el0_32 = whole == 0b10000
        self.names_el2_32 = whole == 0b11010
        self.no_such_mode = Mux(
            self.nrw,
            ~either(self.names_el1_32, self.names_el0_32, self.names_el2_32),
            self.mode[1] | (self.mode == 0b0001),
        )
        #: the EL that the mode names, if there is such a mode
        self.el = Mux(self.nrw, Mux(self.names_el2_32, 2, self.names_el1_32), self.mode[2:])
