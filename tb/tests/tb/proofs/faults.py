"""Faults in the hardware, and the claims that each of them must break."""

#: The twelve mistakes of section 8: (edits, the claim that each breaks). Two are in two ways.
MISTAKES = [
    (
        "1. the exception return's SS is eaten by the advance",
        [("hw/step.py", "ss.eq(event.spsr.SS & stepping", "ss.eq(0 & event.spsr.SS & stepping")],
        "mistakes.eret_keeps_the_ss_it_loaded",
    ),
    (
        "2. SS loads when debug was already enabled at the source",
        [("hw/step.py", "stepping & ~source.enabled & after.enabled", "stepping & after.enabled")],
        "mistakes.no_ss_from_where_debug_is_enabled",
    ),
    (
        "3. an illegal return drops SS",
        [("hw/step.py", "stepping & ~source.enabled", "stepping & ~ret.illegal & ~source.enabled")],
        "mistakes.illegal_return_keeps_ss",
    ),
    (
        "4. KDE is consulted below ELd",
        [("hw/routing.py", "eq(self.el < self.eld)", "eq((self.el < self.eld) & self.kde)")],
        "mistakes.d_and_kde_do_not_count_below_eld",
    ),
    (
        "4. D is consulted below ELd",
        [("hw/routing.py", "eq(self.el < self.eld)", "eq((self.el < self.eld) & ~self.d)")],
        "mistakes.d_and_kde_do_not_count_below_eld",
    ),
    (
        "5. the state is kept in a register of its own",
        [
            (
                "hw/step.py",
                "        m.submodules.syndrome = syndrome = SoftwareStepSyndrome()\n",
                "        m.submodules.syndrome = syndrome = SoftwareStepSyndrome()\n"
                "        kept = Signal(StepState)\n"
                "        with m.If(self.event.valid):\n"
                '            state = self._state(m, "state_now", now, seen, pstate.ss)\n'
                "            m.d.sync += kept.eq(state)\n",
            ),
            (
                "hw/step.py",
                'self.state.eq(self._state(m, "state_now", now, seen, pstate.ss)),',
                "self.state.eq(kept),",
            ),
        ],
        "mistakes.state_is_derived",
    ),
    (
        "6. the OS Lock is tested at the wrong bit",
        [
            (
                "hw/registers.py",
                "OSLSR_EL1 = layout(arch.OSLSR_EL1)",
                'OSLSR_EL1 = data.FlexibleLayout(64, {"OSLK": data.Field(1, 0)})',
            )
        ],
        "mistakes.os_lock_is_bit_1",
    ),
    (
        "6. the OS Lock blocks a BRK",
        [
            (
                "hw/step.py",
                "with m.If(decision.enters):",
                "with m.If(decision.enters & ~((self.event.kind == Event.EXCEPTION)"
                " & self.controls.oslsr_el1.OSLK)):",
            )
        ],
        "mistakes.os_lock_is_bit_1",
    ),
    (
        "7. a stepped DAIFSet still raises the step exception",
        [
            (
                "hw/step.py",
                "m.If(decision.completes & event.d_write)",
                "m.If(decision.completes & event.d_write & ~event.d_value)",
            )
        ],
        "mistakes.stepped_daifset_raises_nothing",
    ),
    (
        "8. SVC saves SS = 1",
        [("hw/step.py", "saved & pstate.ss & ~decision.calls", "saved & pstate.ss")],
        "mistakes.calls_save_0_and_trapped_ones_1",
    ),
    (
        "8. a trapped SMC saves SS = 0",
        [
            (
                "hw/step.py",
                "saved & pstate.ss & ~decision.calls",
                "saved & pstate.ss & ~decision.calls & (event.kind != Event.EXCEPTION)",
            )
        ],
        "mistakes.calls_save_0_and_trapped_ones_1",
    ),
    (
        "9. EC's same or lower EL is fixed before the EL is known",
        [
            (
                "hw/step.py",
                "        m.submodules.syndrome = syndrome = SoftwareStepSyndrome()\n",
                "        m.submodules.syndrome = syndrome = SoftwareStepSyndrome()\n"
                "        fixed = Signal()\n"
                "        with m.If(self.event.valid):\n"
                "            m.d.sync += fixed.eq(now.eld == pstate.el)\n",
            ),
            ("hw/step.py", "same_el.eq(now.eld == pstate.el)", "same_el.eq(fixed)"),
        ],
        "mistakes.ec_goes_by_the_el_at_the_exception",
    ),
    (
        "10. an instruction abort beats the step",
        [
            (
                "hw/step.py",
                "~((self.kind == Event.INTERRUPT) & self.async_first)",
                "~((self.kind == Event.INTERRUPT) & self.async_first)"
                " & (self.kind != Event.EXCEPTION)",
            )
        ],
        "mistakes.nothing_synchronous_beats_the_step",
    ),
    (
        "11. the source's security state is used for the destination",
        [
            (
                "hw/step.py",
                'after = self._routing(m, "after", decoder_after, seen_next, 0, el, d)',
                'after = self._routing(m, "after", decoder_after, seen_next, 0, el, d)\n'
                "        m.d.comb += after.effective.ns.eq(\n"
                "            decoder_after.effective.ns & (pstate.el != EL.EL3)\n"
                "        )",
            )
        ],
        "mistakes.destination_has_its_own_security_state",
    ),
    (
        "12. EX is left over from an earlier step",
        [
            (
                "hw/step.py",
                "m.If(self.completes & (self.kind == Event.LOAD_EXCLUSIVE))",
                "m.If(self.completes & ((self.kind == Event.LOAD_EXCLUSIVE)"
                " | (self.last == Last.LOAD_EXCLUSIVE)))",
            )
        ],
        "mistakes.ex_is_of_the_last_step",
    ),
    (
        "12. EX is set with ISV = 0",
        [("hw/syndrome.py", "esr.EX.eq(self.isv_choice)", "esr.EX.eq(1)")],
        "mistakes.ex_is_of_the_last_step",
    ),
]

_STEP, _ROUTING, _SYNDROME, _TRACE = (
    f"hw/{name}.py" for name in ("step", "routing", "syndrome", "trace")
)
_SS = (_STEP, "ss.eq(event.spsr.SS & stepping & ~source.enabled & after.enabled)")
_SAVED = (_STEP, "saved & pstate.ss & ~decision.calls")
_STEPPING = (_STEP, "stepping = written.SS & ~after.eld_aarch32")
_USABLE = (_ROUTING, "el2_usable = e.have_el2 & (~secure | e.secure_el2)")
_SECURE = (_ROUTING, "e.have_el3 & ((self.el == EL.EL3) | ~e.ns)")
_ALLOWED = (_ROUTING, "m.If(~e.locked & ~self.halted & ~forbidden)")
_AT_ELD = (_ROUTING, "self.enabled.eq(self.kde & ~self.d)")
_BELOW = (_ROUTING, "self.enabled.eq(self.el < self.eld)")
_ILLEGAL = (_ROUTING, "no_mode | wrong_width | unavailable | above")
_PENDING = (_STEP, "m.If(self.pending & ~((self.kind == Event.INTERRUPT) & self.async_first))")
_ENTERS = (_STEP, "self.step | self.illegal_state | self.calls | interrupted")
_WRITES = (_STEP, "m.If(decision.completes & self.event.mdscr_write)")
_SEEN = (_STEP, "m.If(self.choice.mdscr_seen)")
_SYNCHRONISES = (
    _STEP,
    "m.If(decision.enters | decision.returns | (self.event.kind == Event.ISB))",
)
_NEXT = (_STEP, "pstate_next.eq(Cat(el, nrw, d, ss, il))")
_D_WRITE = (_STEP, "m.If(decision.completes & event.d_write)")
_OTHER = (_STEP, "after.eq(Last.OTHER_EXCEPTION)\n        with m.Elif")
_FREE = (_STEP, "m.If(self.returns | (self.completes & (self.kind == Event.ISB)))")
_STORED = (_STEP, "pstate.eq(pstate_next),")

#: A fault for each claim about the unit: claim to (file, old text, new text).
FAULTS = {
    "routing.eld_is_el2": (*_USABLE, "el2_usable = e.have_el2 & ~secure"),
    "routing.eld_is_el1": (*_USABLE, "el2_usable = e.have_el2"),
    "routing.el3_is_secure_whatever_ns_is": (*_SECURE, "e.have_el3 & ~e.ns"),
    "enables.locks_disable": (*_ALLOWED, "m.If(~self.halted & ~forbidden)"),
    "enables.halted_disables": (*_ALLOWED, "m.If(~e.locked & ~forbidden)"),
    "enables.sdd_disables_secure_state": (*_ALLOWED, "m.If(~e.locked & ~self.halted)"),
    "enables.suiden_enables_secure_el0": (
        _ROUTING,
        "forbidden = secure & e.sdd & ~secure_user",
        "forbidden = secure & e.sdd",
    ),
    "enables.at_eld_kde_and_d_decide": (*_AT_ELD, "self.enabled.eq(self.kde)"),
    "enables.below_eld_they_are_enabled": (*_BELOW, "self.enabled.eq(self.kde)"),
    "enables.above_eld_they_are_disabled": (*_BELOW, "self.enabled.eq(1)"),
    "state.table": (
        _STEP,
        "m.If(self.eld_aarch32 | ~self.enabled | ~self.mdscr_ss)",
        "m.If(~self.enabled | ~self.mdscr_ss)",
    ),
    "state.pending_asks_for_the_exception": (
        _STEP,
        "self.pending.eq(self.state == StepState.ACTIVE_PENDING)",
        "self.pending.eq(self.state != StepState.INACTIVE)",
    ),
    "state.step_comes_before_the_instruction": (
        *_PENDING,
        "m.If(self.pending & ~self.il & ~((self.kind == Event.INTERRUPT) & self.async_first))",
    ),
    "state.interrupt_may_come_first": (*_PENDING, "m.If(self.pending)"),
    "state.no_step_exception_otherwise": (
        *_PENDING,
        "m.If(self.pending | (self.kind == Event.ISB))",
    ),
    "state.stepped_over_instruction_does_nothing": (*_WRITES, "m.If(self.event.mdscr_write)"),
    "state.completion_clears_ss": (
        *_NEXT,
        "pstate_next.eq(Cat(el, nrw, d, ss | (decision.completes & pstate.ss), il))",
    ),
    "state.only_a_return_sets_ss": (
        *_NEXT,
        "pstate_next.eq(Cat(el, nrw, d, ss | (decision.calls & pstate.ss), il))",
    ),
    "state.completion_keeps_the_rest": (
        *_NEXT,
        "pstate_next.eq(Cat(el, nrw ^ decision.completes, d, ss, il))",
    ),
    "state.d_is_written_by_an_instruction": (*_D_WRITE, "m.If(0)"),
    "state.d_synchronises_itself": (
        *_STORED,
        "pstate.eq(pstate_next), pstate.d.eq(pstate.d | pstate_next.d),",
    ),
    "state.state_after_is_the_tables": (
        _STEP,
        'm, "after", decoder_after, seen_next, 0, el, d',
        'm, "after", decoder_after, seen_next, self.halted, el, d',
    ),
    "mdscr.written_by_an_instruction_alone": (*_WRITES, "m.If(self.event.mdscr_write)"),
    "mdscr.write_is_seen_at_once_or_late": (*_SEEN, "m.If(1)"),
    "mdscr.entry_isb_and_return_synchronise": (
        *_SYNCHRONISES,
        "m.If(decision.enters | decision.returns)",
    ),
    "mdscr.nothing_else_changes_the_view": (
        *_SYNCHRONISES,
        "m.If(decision.completes | decision.enters | decision.returns)",
    ),
    "unit.starts_at_el3_masked": (_STEP, 'init={"el": EL.EL3, "d": 1}', 'init={"el": EL.EL3}'),
    "unit.loads_what_it_is_told": (_STEP, "                last.eq(self.load.last),\n", ""),
    "unit.goes_on_from_what_the_event_left": (*_STORED, "pstate.ss.eq(pstate_next.ss),"),
    "unit.rests_without_an_event": (_STEP, "m.Elif(self.event.valid)", "m.Else()"),
    "unit.trace_shows_the_event": (_TRACE, '"pc": Out(64)', '"pc": Out(8)'),
    "entry.masks_and_clears": (
        _STEP,
        "            with m.If(~nrw):\n                m.d.comb += d.eq(1)",
        "            with m.If(~nrw & ~decision.calls):\n                m.d.comb += d.eq(1)",
    ),
    "entry.saves_ss": (*_SAVED, "saved & pstate_next.ss & ~decision.calls"),
    "entry.calls_save_0": (*_SAVED, "saved & pstate.ss"),
    "entry.step_exception_saves_0": (*_SAVED, "saved & (decision.step | pstate.ss)"),
    "entry.interrupt_before_the_step_saves_0": (*_SAVED, "saved & (pstate.ss | self.pending)"),
    "entry.to_aarch32_saves_no_ss": (
        _STEP,
        "saved = decision.enters & ~pstate_next.nrw",
        "saved = decision.enters",
    ),
    "entry.goes_where_it_is_sent": (*_ENTERS, "self.step | self.illegal_state | self.calls"),
    "entry.illegal_state_goes_up_from_el0_alone": (
        _ROUTING,
        "self.effective.el2_enabled & self.effective.tge",
        "self.effective.tge",
    ),
    "entry.to_el1_is_pending_at_once": (
        _STEP,
        'm, "state_after", after, seen_next, ss',
        'm, "state_after", after, seen_next, ss | decision.enters',
    ),
    "entry.step_comes_before_the_vectors_first_instruction": (
        *_PENDING,
        "m.If(self.pending & (self.kind != Event.EXCEPTION))",
    ),
    "step.target": (
        _STEP,
        "self.target_el.eq(now.eld)",
        "self.target_el.eq(now.eld | (pstate.el == EL.EL0))",
    ),
    "step.is_taken_to_its_target": (
        _STEP,
        "with m.If(decision.step):\n                m.d.comb += el",
        "with m.If(decision.step & pstate.d):\n                m.d.comb += el",
    ),
    "step.esr_is_a_steps": (_SYNDROME, "esr.IL.eq(1)", "esr.IL.eq(self.same_el)"),
    "step.ec_is_of_the_el_it_comes_from": (_SYNDROME, "m.If(self.same_el)", "m.If(~self.same_el)"),
    "step.isv_and_ex_of_what_was_stepped": (
        _SYNDROME,
        "            with m.Case(Last.INSTRUCTION):\n                m.d.comb += esr.ISV.eq(1)\n",
        "",
    ),
    "step.ex_needs_isv": (_SYNDROME, "esr.EX.eq(self.isv_choice)", "esr.EX.eq(1)"),
    "stepped.instruction": (*_FREE, "m.If(self.returns)"),
    "stepped.exception_return": (*_FREE, "m.If(self.completes & (self.kind == Event.ISB))"),
    "stepped.exception_taken_first": (*_OTHER, "after.eq(Last.INSTRUCTION)\n        with m.Elif"),
    "stepped.nothing": (
        _STEP,
        "m.Elif((self.state == StepState.ACTIVE_PENDING) & ~self.step)",
        "m.Elif(~self.step)",
    ),
    "stepped.not_forgotten_by_an_interrupt": (
        _STEP,
        "m.Case(Last.LOAD_EXCLUSIVE, Last.OTHER_EXCEPTION_EX)",
        "m.Case(Last.LOAD_EXCLUSIVE)",
    ),
    "return.copies_ss_if_all_hold": (*_SS, "ss.eq(0)"),
    "return.writes_0_without_mdscr_ss": (*_STEPPING, "stepping = ~after.eld_aarch32"),
    "return.writes_0_under_an_aarch32_eld": (*_STEPPING, "stepping = written.SS"),
    "return.writes_0_if_enabled_at_the_source": (
        *_SS,
        "ss.eq(event.spsr.SS & stepping & after.enabled)",
    ),
    "return.writes_0_if_disabled_at_the_destination": (
        *_SS,
        "ss.eq(event.spsr.SS & stepping & ~source.enabled)",
    ),
    "return.debug_exit_comes_from_where_they_are_disabled": (
        _STEP,
        "written, self.halted, pstate.el, pstate.d\n",
        "written, 0, pstate.el, pstate.d\n",
    ),
    "return.illegal_return_counts_as_one_to_the_current_el": (
        *_SS,
        "ss.eq(event.spsr.SS & ~ret.illegal & stepping & ~source.enabled & after.enabled)",
    ),
    "return.double_lock_at_the_destination_writes_0": (
        _ROUTING,
        "e.locked.eq(c.oslsr_el1.OSLK | c.double_lock)",
        "e.locked.eq(c.oslsr_el1.OSLK)",
    ),
    "return.synchronises_first": (
        *_STEPPING,
        "stepping = self.trace.mdscr_el1.SS & ~after.eld_aarch32",
    ),
    "legality.no_such_mode": (_ROUTING, "m.d.comb += no_mode.eq(1)", "m.d.comb += no_mode.eq(0)"),
    "legality.target_of_the_other_width": (
        _ROUTING,
        "wrong_width.eq(~aarch32 & e.el1_aarch32)",
        "wrong_width.eq(0)",
    ),
    "legality.hyp_mode_in_secure_state": (
        _ROUTING,
        "~e.el2_enabled | (aarch32 & ~e.ns)",
        "~e.el2_enabled",
    ),
    "legality.target_not_implemented": (
        _ROUTING,
        "unavailable.eq(~e.have_el3)",
        "unavailable.eq(0)",
    ),
    "legality.target_above": (*_ILLEGAL, "no_mode | wrong_width | unavailable"),
    "legality.el2_not_enabled": (
        _ROUTING,
        "~e.el2_enabled | (aarch32 & ~e.ns)",
        "~e.have_el2 | (aarch32 & ~e.ns)",
    ),
    "legality.el1_under_tge": (
        _ROUTING,
        "unavailable.eq(e.el2_enabled & e.tge)",
        "unavailable.eq(0)",
    ),
    "legality.all_others_are_legal": (
        _ROUTING,
        "unavailable.eq(e.el2_enabled & e.tge)",
        "unavailable.eq(e.tge)",
    ),
    "legality.d_comes_from_the_spsr": (
        _STEP,
        "            with m.If(~nrw):\n                m.d.comb += d.eq(event.spsr.D)",
        "            m.d.comb += d.eq(event.spsr.D)",
    ),
    "legality.return_takes_no_exception": (
        *_ENTERS,
        "self.step | self.illegal_state | self.calls | interrupted | (self.returns & self.il)",
    ),
    "equality.unit_is_the_model": (_TRACE, '"last": Out(Last)', '"last": Out(2)'),
    "equality.unit_is_the_specification": (
        _ROUTING,
        "c.scr_el3.NS | ~c.have_el3",
        "c.scr_el3.NS",
    ),
}
