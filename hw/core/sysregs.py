"""System registers: which there are, who may access them, what they hold.

Source: DDI 0487 C5.2, D17 (the pseudocode of the accesses), D17.2 (encodings). MDSCR_EL1 is held by
the step unit, the fields of PSTATE by `hw.core.pstate`.
"""

from enum import IntEnum

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core.exceptions import Entry
from hw.core.pstate import CURRENT_EL, DAIF, NZCV, SPSEL, CorePSTATE, place
from hw.registers import HCR_EL2, MDCR_EL2, Controls, layout
from hw.routing import DebugControls
from model import arch
from model.arch import EL, RESET_VALUES, SYSREGS

SCTLR_ELx = layout(arch.SCTLR_ELx)
OSDLR_EL1 = layout(arch.OSDLR_EL1)


class Trap(IntEnum):
    """What traps the accesses to a register that the EL alone would allow."""

    NONE = 0
    DEBUG = 1  #: MDCR_EL2.TDA, at EL1
    OS_LOCK = 2  #: MDCR_EL2.TDOSA, at EL1
    VIRTUAL_MEMORY = 3  #: HCR_EL2.TVM: writes at EL1
    MASKS = 4  #: SCTLR_EL1.UMA, at EL0
    COUNTER = 5  #: PMUSERENR_EL0.EN, taken as 0, at EL0


#: op1 to the lowest EL that may access the register
LOWEST_EL = {0: EL.EL1, 3: EL.EL0, 4: EL.EL2, 6: EL.EL3}

READ_ONLY = {"OSLSR_EL1", "CurrentEL", "MIDR_EL1", "MPIDR_EL1"}
WRITE_ONLY = {"OSLAR_EL1"}

TRAPS = {
    "MDSCR_EL1": Trap.DEBUG,
    "OSLAR_EL1": Trap.OS_LOCK,
    "OSLSR_EL1": Trap.OS_LOCK,
    "OSDLR_EL1": Trap.OS_LOCK,
    "SCTLR_EL1": Trap.VIRTUAL_MEMORY,
    "ESR_EL1": Trap.VIRTUAL_MEMORY,
    "FAR_EL1": Trap.VIRTUAL_MEMORY,
    "DAIF": Trap.MASKS,
    "PMCCNTR_EL0": Trap.COUNTER,
}

#: Registers that other state stands for, or that are constants.
NOT_STORED = {"MDSCR_EL1", "SPSel", "CurrentEL", "NZCV", "DAIF", "MIDR_EL1", "MPIDR_EL1"}
NOT_STORED |= {"OSLAR_EL1", "OSLSR_EL1"}  # OSLSR_EL1.OSLK alone is stored

STORED = [name for name in SYSREGS if name not in NOT_STORED]


class AccessCheck(wiring.Component):
    """Whether an MRS or MSR is UNDEFINED or traps.

    MSR (immediate) is checked as MSR (register) of the register that it changes.
    """

    number: In(15)  # arch.SysReg.number
    write: In(1)  # MSR
    pstate: In(CorePSTATE)
    effective: In(DebugControls)
    mdcr_el2: In(MDCR_EL2)
    hcr_el2: In(HCR_EL2)
    sctlr: In(SCTLR_ELx)  # of the current EL; EL1's at EL0

    undefined: Out(1)
    trap: Out(1)  # if not UNDEFINED ...
    target: Out(EL)  # ... to this EL

    def elaborate(self, platform):
        m = Module()
        lowest_el = Signal(EL)
        missing = Signal()  # no such register, or not to be accessed so
        trap = Signal(Trap)
        with m.Switch(self.number):
            for name, register in SYSREGS.items():
                with m.Case(register.number):
                    m.d.comb += [
                        lowest_el.eq(LOWEST_EL[register.op1]),
                        trap.eq(TRAPS.get(name, Trap.NONE)),
                    ]
                    if name in READ_ONLY:
                        m.d.comb += missing.eq(self.write)
                    if name in WRITE_ONLY:
                        m.d.comb += missing.eq(~self.write)
                    if name == "TPIDRRO_EL0":
                        m.d.comb += lowest_el.eq(Mux(self.write, EL.EL1, EL.EL0))
                    if name == "SP_EL0":
                        m.d.comb += missing.eq(~self.pstate.sp)
            with m.Default():
                m.d.comb += missing.eq(1)
        m.d.comb += self.undefined.eq(missing | (self.pstate.el < lowest_el))
        self._trap(m, trap)
        return m

    def _trap(self, m, trap):
        e, mdcr = self.effective, self.mdcr_el2
        below_el2 = (self.pstate.el == EL.EL1) & e.el2_enabled
        debug = e.tde | e.tge  # makes the trap bits of MDCR_EL2 behave as 1
        m.d.comb += self.target.eq(EL.EL2)
        with m.Switch(trap):
            with m.Case(Trap.DEBUG):
                m.d.comb += self.trap.eq(below_el2 & (mdcr.TDA | debug))
            with m.Case(Trap.OS_LOCK):
                m.d.comb += self.trap.eq(below_el2 & (mdcr.TDOSA | debug))
            with m.Case(Trap.VIRTUAL_MEMORY):
                m.d.comb += self.trap.eq(below_el2 & self.write & self.hcr_el2.TVM)
            with m.Case(Trap.MASKS, Trap.COUNTER):
                open_ = (trap == Trap.MASKS) & self.sctlr.UMA
                m.d.comb += self.trap.eq((self.pstate.el == EL.EL0) & ~open_)
                with m.If(~(e.el2_enabled & e.tge)):
                    m.d.comb += self.target.eq(EL.EL1)


#: Registers that are there twice: as written, and as the PE sees them.
LATE = {"MDCR_EL2": MDCR_EL2, "HCR_EL2": HCR_EL2}


class SystemRegisters(wiring.Component):
    """Storage, MRS and MSR, and what the core takes from the registers.

    All writes happen at the clock edge.
    """

    number: In(15)  # arch.SysReg.number, of MRS and MSR
    value: Out(64)  # as MRS reads it: what was written, seen or not
    write: In(1)  # MSR
    write_value: In(64)
    write_seen: In(1)  # choice: the write is seen at once, not at the next synchronisation
    synchronise: In(1)  # a context synchronisation event happens
    entry: In(Entry)  # an exception is taken

    pstate: In(CorePSTATE)
    mdscr_el1: In(64)

    sp: Out(64)  # the stack pointer in use
    sp_write: In(1)
    sp_value: In(64)

    controls: Out(Controls)  # as the PE sees them ...
    controls_after: Out(Controls)  # ... and as it will from the next cycle on
    sctlr: Out(SCTLR_ELx)  # of the current EL; EL1's at EL0
    spsr: Out(64)  # of the current EL
    elr: Out(64)  # of the current EL
    vbar: Out(64)  # of the EL that the exception is taken to

    def elaborate(self, platform):
        m = Module()
        stored = {
            name: Signal(64, name=name.lower(), init=RESET_VALUES.get(name, 0))
            for name in [*STORED, "SP_EL3"]
        }
        os_lock = Signal(init=arch.OSLSR_EL1.OSLK.get(RESET_VALUES["OSLSR_EL1"]))
        self._write(m, stored)
        self._enter(m, stored)
        self._stack_pointer(m, stored)
        self._select(m, stored)
        self._control(m, stored, os_lock)
        self._read(m, stored, os_lock)
        return m

    def _write(self, m, stored):
        """MSR of what is stored, and the cycle counter's counting."""
        m.d.sync += stored["PMCCNTR_EL0"].eq(stored["PMCCNTR_EL0"] + 1)
        with m.If(self.write):
            with m.Switch(self.number):
                for name in STORED:
                    with m.Case(SYSREGS[name].number):
                        m.d.sync += stored[name].eq(self.write_value)

    def _enter(self, m, stored):
        entry = self.entry
        with m.If(entry.valid):
            with m.Switch(entry.target_el):
                for el in (EL.EL1, EL.EL2, EL.EL3):
                    with m.Case(el):
                        m.d.sync += [
                            stored[f"ELR_{el.name}"].eq(entry.elr),
                            stored[f"SPSR_{el.name}"].eq(entry.spsr),
                        ]
                        with m.If(entry.sets_esr):
                            m.d.sync += stored[f"ESR_{el.name}"].eq(entry.esr)
                        with m.If(entry.sets_far):
                            m.d.sync += stored[f"FAR_{el.name}"].eq(entry.far)
            with m.If(entry.sets_hpfar):
                m.d.sync += stored["HPFAR_EL2"].eq(entry.hpfar)

    def _stack_pointer(self, m, stored):
        used = Signal(EL)  # 0 for SP_EL0
        m.d.comb += used.eq(Mux(self.pstate.sp, self.pstate.el, EL.EL0))
        with m.Switch(used):
            for el in EL:
                with m.Case(el):
                    m.d.comb += self.sp.eq(stored[f"SP_{el.name}"])
                    with m.If(self.sp_write):
                        m.d.sync += stored[f"SP_{el.name}"].eq(self.sp_value)

    def _select(self, m, stored):
        """The registers of one EL."""
        m.d.comb += self.sctlr.eq(stored["SCTLR_EL1"])
        with m.Switch(self.pstate.el):
            for el in (EL.EL1, EL.EL2, EL.EL3):
                with m.Case(el):
                    m.d.comb += [
                        self.sctlr.eq(stored[f"SCTLR_{el.name}"]),
                        self.spsr.eq(stored[f"SPSR_{el.name}"]),
                        self.elr.eq(stored[f"ELR_{el.name}"]),
                    ]
        with m.Switch(self.entry.target_el):
            for el in (EL.EL1, EL.EL2, EL.EL3):
                with m.Case(el):
                    m.d.comb += self.vbar.eq(stored[f"VBAR_{el.name}"])

    def _control(self, m, stored, os_lock):
        """The control registers as the PE sees them, now and after this cycle."""

        def written(name, now):
            return Mux(self._writes(name), self.write_value, now)

        now, after = self.controls, self.controls_after
        for controls in (now, after):
            # EL1 and EL2 use AArch64.
            m.d.comb += [controls.have_el2.eq(1), controls.have_el3.eq(1), controls.have_sel2.eq(1)]
        for name in ("SCR_EL3", "MDCR_EL3", "SDER32_EL3"):
            m.d.comb += [
                Value.cast(getattr(now, name.lower())).eq(stored[name]),
                Value.cast(getattr(after, name.lower())).eq(written(name, stored[name])),
            ]
        for name in LATE:
            seen = Signal(64, name=f"{name.lower()}_seen")
            seen_next = self._seen(m, seen, self._writes(name), written(name, stored[name]))
            m.d.comb += [
                Value.cast(getattr(now, name.lower())).eq(seen),
                Value.cast(getattr(after, name.lower())).eq(seen_next),
            ]
        lock_seen = Signal(init=os_lock.init)
        lock_next = Signal()
        writes_lock = self._writes("OSLAR_EL1")
        m.d.comb += lock_next.eq(Mux(writes_lock, self.write_value[0], os_lock))
        m.d.sync += os_lock.eq(lock_next)
        lock_seen_next = self._seen(m, lock_seen, writes_lock, lock_next)
        # DBGPRCR_EL1.CORENPDRQ, which would keep the double lock away, is not there: it is 0.
        dlk, dlk_next = (
            OSDLR_EL1(value).DLK
            for value in (stored["OSDLR_EL1"], written("OSDLR_EL1", stored["OSDLR_EL1"]))
        )
        m.d.comb += [
            now.oslsr_el1.OSLK.eq(lock_seen),
            after.oslsr_el1.OSLK.eq(lock_seen_next),
            now.double_lock.eq(dlk),
            after.double_lock.eq(dlk_next),
        ]

    def _writes(self, name):
        return self.write & (self.number == SYSREGS[name].number)

    def _seen(self, m, seen, writes, written_next):
        """What the PE will see, of a register that it may see late."""
        seen_next = Signal.like(seen, name_suffix="_next")
        m.d.comb += seen_next.eq(seen)
        with m.If(self.synchronise | (writes & self.write_seen)):
            m.d.comb += seen_next.eq(written_next)
        m.d.sync += seen.eq(seen_next)
        return seen_next

    def _read(self, m, stored, os_lock):
        readable = {name: stored[name] for name in STORED}
        p = self.pstate
        readable |= {
            "MDSCR_EL1": self.mdscr_el1,
            "OSLSR_EL1": Cat(Const(0, 1), os_lock, Const(0, 1), Const(1, 1)),  # OSLM is 0b10
            "MIDR_EL1": Const(arch.MIDR_VALUE, 64),
            "MPIDR_EL1": Const(arch.MPIDR_VALUE, 64),
            "SPSel": place(SPSEL, p.sp),
            "CurrentEL": place(CURRENT_EL, p.el),
            "NZCV": place(NZCV, p.nzcv),
            "DAIF": place(DAIF, p.daif),
        }
        with m.Switch(self.number):
            for name, value in readable.items():
                with m.Case(SYSREGS[name].number):
                    m.d.comb += self.value.eq(value)
