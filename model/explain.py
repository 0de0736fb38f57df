"""`python -m model.explain`: why a single step fires or does not, from a register dump.

`model.dump` reads the words, `model.why` finds the facts; this module prints them as text or as
one JSON object. `--vectors` answers a whole vector file instead.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from model.arch import (
    HCR_EL2,
    MDCR_EL2,
    MDCR_EL3,
    MDSCR_EL1,
    OSDLR_EL1,
    OSLSR_EL1,
    SCR_EL3,
    SDER32_EL3,
    ESR_ELx,
    Event,
    ExceptionClass,
    Last,
    Register,
    SPSR_ELx,
    StepISS,
    StepState,
)
from model.arguments import Parser, UsageError, stop, stop_at
from model.columns import BY_NAME, COLUMNS, Kind
from model.conditions import Rule
from model.dump import REGISTERS, SPSRS, Dump, DumpError, read_words
from model.machine import Effect
from model.vectors import OUTPUTS, VectorError, model_answer, run
from model.why import Change, Return, Why, explain

EXAMPLE = "python -m model.explain MDSCR_EL1=0x1 MDCR_EL2=0x100 SPSR_EL2=0x2003c5 EL=2 EVENT=eret"

JSON_HELP = """\
--json prints one object. The vector file's output columns under their names (null: an empty cell),
and
  inputs         the columns given: name to value
  secure         1 if the current EL is in Secure state
  target_rules   the conditions for ELd = EL2
  enabled_rules  the conditions for debug exceptions to be enabled from here
  state_rules    the first three: the state is active; all four: active-not-pending
  return         what an eret or debug_exit did, or null: legal, secure, eld, enabled (of the
                 destination), and legal_rules, destination_rules, ss_rules
  happens, next  what the event does, and what the instruction after it does
  next_step      the Software Step exception that then comes, or null: el, esr, isv, ex, spsr_ss
  fires          1 if one instruction executes and the step exception comes after it
  why            the conditions that keep it from firing
  changes        up to three sets of bits to change so that it fires, each a list of
                 {bit, to, column, value}; value is what the whole column then holds
  no_change      why there is no such set, or null
  esrs, notes    the ESRs given, decoded; what was ignored or assumed
A rule is {rule, says, ok, applies, reads}; ok is true where it does not apply."""

EXIT_HELP = "Exit code: 0 answered, 2 it could not be, 130 interrupted."


# Words for values. A value of `Why` is a numpy scalar, which `:d` prints as a number.

_REGISTERS = (
    *(MDSCR_EL1, MDCR_EL2, HCR_EL2, SCR_EL3, MDCR_EL3, SDER32_EL3),
    *(OSLSR_EL1, OSDLR_EL1),
)
_LAYOUTS: dict[str, type[Register]] = {register.__name__: register for register in _REGISTERS}
_LAYOUTS |= {name.upper(): SPSR_ELx for name in SPSRS}


def _bit(name: str) -> str:
    """A register bit's name with its position; an input's name as it is."""
    register, _, field = name.partition(".")
    layout = _LAYOUTS.get(register)
    known = layout.fields().get(field) if layout else None
    return f"{name} (bit {known.lsb})" if known else name


def _reading(name: str, value: Any) -> str:
    return f"{_bit(name)} = {value:{'#07b' if name.endswith('<4:0>') else 'd'}}"


def _readings(rule: Rule) -> str:
    return ", ".join(_reading(name, int(value)) for name, value in rule.reads.items())


def _event(why: Why) -> str:
    return Event(int(why.given.event)).text


def _state(value: Any) -> str:
    return StepState(int(value)).text


def _security(secure: bool) -> str:
    return "Secure" if secure else "Non-secure"


def _enabled(enabled: Any) -> str:
    return "enabled" if enabled else "disabled"


def _esr(esr: int) -> str:
    """An ESR with its EC, and ISV and EX if it is a Software Step exception's."""
    ec = ESR_ELx.EC.get(esr)
    name = next((f" {known.name}" for known in ExceptionClass if known == ec), "")
    is_step = ec in (ExceptionClass.SOFTSTEP_LOWER, ExceptionClass.SOFTSTEP_SAME)
    bits = f", ISV {StepISS.ISV.get(esr)}, EX {StepISS.EX.get(esr)}" if is_step else ""
    return f"0x{esr:08X} (EC {ec:#04x}{name}{bits})"


def _step(effect: Effect) -> str:
    """The Software Step exception that was taken."""
    el = f"EL{effect.el_after:d}"
    syndrome = f"ESR_{el} = {_esr(int(effect.esr))}"
    return (
        f"a Software Step exception is taken to {el} with {syndrome}; "
        f"SPSR_{el}.SS = {effect.spsr_ss:d} is saved"
    )


# Sentences


def happens(why: Why) -> str:
    """What the event does."""
    effect, given, event = why.effect, why.given, _event(why)
    el = f"EL{effect.el_after:d}"
    saved = f"SPSR_{el}.SS = {effect.spsr_ss:d} is saved"
    if effect.step_exception:
        return f"Instead of the {event}, {_step(effect)}."
    if effect.illegal_state:
        taken = f"an Illegal Execution state exception is taken to {el}"
        return f"PSTATE.IL is 1: instead of the {event}, {taken}; {saved}."
    if why.returned and not why.returned.legal:
        return f"The return is illegal: the PE stays at {el} and PSTATE.IL becomes 1."
    if why.returned:
        width = "AArch32" if effect.nrw_after else "AArch64"
        return f"The {event} returns to {el} ({_security(why.returned.secure)}, {width})."
    if effect.spsr_saved:
        return f"The {event} is taken to {el}; {saved}."
    if given.d_write:
        return f"The instruction completes; it writes PSTATE.D = {given.d_value:d}."
    if given.mdscr_write:
        seen = "seen at once" if given.mdscr_seen else "not seen yet"
        return f"The instruction completes; its MDSCR_EL1 = {given.mdscr_value:#x} is {seen}."
    return "The instruction completes."


def what_follows(why: Why) -> str:
    """What the instruction after the event does, if it is an ordinary one."""
    instruction, step = why.follows.instruction, why.follows.step
    choice = "; its ISV is the implementation's choice" if why.follows.isv_is_choice else ""
    if step and instruction.step_exception:
        return f"Before the next instruction, {_step(step)}{choice}."
    does = "executes"
    if instruction.illegal_state:
        el = f"EL{instruction.el_after:d}"
        does = f"takes an Illegal Execution state exception to {el} (PSTATE.IL is 1)"
    if step:
        return f"The next instruction (an ordinary one) {does}, then {_step(step)}{choice}."
    return f"The next instruction {does}; no Software Step exception follows."


# Text


def _rules(rules: Sequence[Rule]) -> Iterator[str]:
    for rule in rules:
        mark = ("ok" if rule.ok else "NO") if rule.applies else "--"
        yield f"  {mark}  {rule.says:<36}  {_readings(rule) if rule.applies else rule.otherwise}"


def _section(heading: str, rules: Sequence[Rule]) -> Iterator[str]:
    yield from ("", heading)
    yield from _rules(rules)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 94, initial_indent="  ", subsequent_indent="    ")


def _return_text(returned: Return, effect: Effect) -> Iterator[str]:
    if not returned.legal:
        yield from _section("The return is illegal", returned.legal_rules)
    dest = f"EL{effect.el_after:d}, {_security(returned.secure)} (ELd = EL{returned.eld})"
    heading = f"Debug exceptions at the destination, {dest}: {_enabled(returned.enabled)}"
    yield from _section(heading, returned.destination_rules)
    yield from _section(f"PSTATE.SS becomes {effect.ss_after:d}", returned.ss_rules)


def _change_text(change: Change) -> str:
    text = f"{'set' if change.to else 'clear'} {_bit(change.bit.name)}"
    if BY_NAME[change.bit.column].kind is Kind.REGISTER:
        text += f": {change.bit.name.partition('.')[0]} = {change.value:#x}"
    # OSLSR_EL1 is read-only.
    return text + (" (write OSLAR_EL1)" if change.bit.column == "oslsr_el1" else "")


def _changes_text(why: Why) -> Iterator[str]:
    yield from ("", "To make the step fire")
    if why.fires:
        yield "  change nothing: it fires"
    elif not why.changes:
        yield _paragraph(f"no change of control bits is enough: {why.never}")
    for number, alternative in enumerate(why.changes, 1):
        for place, change in enumerate(alternative):
            yield f"  {f'{number}.' if not place else '  '} {_change_text(change)}"


def to_text(dump: Dump, why: Why) -> Iterator[str]:
    """The explanation, a line or a wrapped paragraph at a time."""
    pe, effect = why.pe, why.effect
    pstate = f"PSTATE.D = {pe.d:d}, SS = {pe.ss:d}, IL = {pe.il:d}"
    yield f"EL{pe.el:d}, {_security(why.secure)}, {pstate}; event: {_event(why)}"
    yield "The step fires." if why.fires else "The step does not fire:"
    yield from _rules(why.blockers)
    yield from (_paragraph(f"note: {text}") for text in dump.notes)
    yield from (_paragraph(f"{name} = {_esr(value)}") for name, value in dump.esrs.items())

    width = "AArch32" if why.eld_aarch32 else "AArch64"
    routed = "all of these hold" if effect.eld == 2 else "not all of these hold"
    yield from _section(
        f"Debug target: ELd = EL{effect.eld:d} ({width}), because {routed}", why.target_rules
    )
    yield from _section(
        f"Debug exceptions from EL{pe.el:d}: {_enabled(effect.enabled)}", why.enabled_rules
    )
    yield from _section(f"Step state before: {_state(effect.state)}", why.state_rules)
    if why.returned:
        yield from _return_text(why.returned, effect)

    yield from ("", "What happens")
    yield _paragraph(happens(why))
    pstate = f"D = {effect.d_after:d}, SS = {effect.ss_after:d}, IL = {effect.il_after:d}"
    state = f"step state {_state(effect.state_after)}"
    yield _paragraph(f"After it: EL{effect.el_after:d}, PSTATE.{pstate}; {state}.")
    yield _paragraph(what_follows(why))
    yield from _changes_text(why)


# JSON


def _rules_json(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    return [
        {
            "rule": rule.name,
            "says": rule.says,
            "ok": bool(rule.holds),
            "applies": bool(rule.applies),
            "reads": {name: int(value) for name, value in rule.reads.items()},
        }
        for rule in rules
    ]


def _outputs_json(effect: Effect) -> dict[str, Any]:
    """The output columns of the vector file."""
    outputs: dict[str, Any] = {name: int(getattr(effect, name)) for name in OUTPUTS}
    outputs["state"] = _state(effect.state)
    outputs["state_after"] = _state(effect.state_after)
    outputs["esr"] = f"0x{effect.esr:08X}" if effect.step_exception else None
    outputs["spsr_ss"] = int(effect.spsr_ss) if effect.spsr_saved else None
    return outputs


def _return_json(returned: Return | None) -> dict[str, Any] | None:
    if returned is None:
        return None
    return {
        "legal": int(returned.legal),
        "secure": int(returned.secure),
        "eld": returned.eld,
        "enabled": int(returned.enabled),
        "legal_rules": _rules_json(returned.legal_rules),
        "destination_rules": _rules_json(returned.destination_rules),
        "ss_rules": _rules_json(returned.ss_rules),
    }


def _step_json(effect: Effect | None) -> dict[str, Any] | None:
    if effect is None:
        return None
    esr = int(effect.esr)
    return {
        "el": int(effect.el_after),
        "esr": f"0x{esr:08X}",
        "isv": StepISS.ISV.get(esr),
        "ex": StepISS.EX.get(esr),
        "spsr_ss": int(effect.spsr_ss),
    }


def _cell(column: str, value: int) -> str | int:
    """A value as a cell of the vector file shows it; numbers other than registers as numbers."""
    kind = BY_NAME[column].kind
    if kind is Kind.EVENT:
        return Event(value).text
    if kind is Kind.LAST:
        return Last(value).text
    return f"{value:#x}" if kind is Kind.REGISTER else value


def _change_json(change: Change) -> dict[str, Any]:
    column = change.bit.column
    value = _cell(column, change.value)
    return {"bit": change.bit.name, "to": change.to, "column": column, "value": value}


def to_json(dump: Dump, why: Why) -> dict[str, Any]:
    """The explanation under the keys of `JSON_HELP`."""
    return {
        "inputs": {name: _cell(name, value) for name, value in dump.values.items()},
        "secure": int(why.secure),
        **_outputs_json(why.effect),
        "target_rules": _rules_json(why.target_rules),
        "enabled_rules": _rules_json(why.enabled_rules),
        "state_rules": _rules_json(why.state_rules),
        "return": _return_json(why.returned),
        "happens": happens(why),
        "next": what_follows(why),
        "next_step": _step_json(why.follows.step),
        "fires": int(why.fires),
        "why": _rules_json(why.blockers),
        "changes": [[_change_json(change) for change in one] for one in why.changes],
        "no_change": why.never or None,
        "esrs": {name: _esr(value) for name, value in dump.esrs.items()},
        "notes": dump.notes,
    }


# The command line


def _names() -> Iterator[str]:
    for column in COLUMNS:
        default = Event.EXECUTE if column.name == "event" else column.default
        shown = "" if default is None else f" (default {_cell(column.name, default)})"
        values = {Kind.EVENT: Event, Kind.LAST: Last}.get(column.kind, ())
        yield f"  {column.name:<14} {column.meaning}{shown}"
        if values:
            listed = ", ".join(member.text for member in values)
            yield textwrap.fill(listed, 94, initial_indent=" " * 17, subsequent_indent=" " * 17)
    yield from (f"  {name:<14} {meaning}" for name, meaning in REGISTERS.items())


def parser() -> argparse.ArgumentParser:
    """The command line."""
    names = "names (in any case; values are 0x... or decimal):\n" + "\n".join(_names())
    p = Parser(
        prog="python -m model.explain",
        usage="python -m model.explain [--json] NAME=VALUE ...\n"
        "       python -m model.explain --vectors IN.csv -o OUT.csv",
        description=f"Why a single step fires or does not, from a register dump.\n\n  {EXAMPLE}",
        epilog="\n\n".join((names, JSON_HELP, EXIT_HELP)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    p.add_argument("words", nargs="*", metavar="NAME=VALUE", help="see the names below")
    p.add_argument("-h", "--help", action="store_true", help="show this help")
    p.add_argument("--json", action="store_true", help="print the facts as a JSON object")
    p.add_argument("--vectors", type=Path, metavar="IN.csv", help="answer a vector file")
    p.add_argument("-o", dest="output", type=Path, metavar="OUT.csv", help="where to write it")
    return p


def _answer_vectors(args: argparse.Namespace) -> str:
    if args.words:
        raise UsageError(f"--vectors takes its values from the file; leave out {args.words[0]!r}")
    if args.json:
        raise UsageError("--vectors writes CSV; leave out --json")
    if args.output is None:
        raise UsageError("--vectors needs the file to write: add -o OUT.csv")
    lines = run(args.vectors, args.output, model_answer)
    return f"lines written to {args.output}: {lines}"


def _answer(args: argparse.Namespace) -> str:
    """What the command line asks for, as text."""
    if args.vectors is not None:
        return _answer_vectors(args)
    if args.output is not None:
        raise UsageError("-o goes with --vectors IN.csv")
    if not args.words:
        raise UsageError(f"there is no NAME=VALUE to explain; for example: {EXAMPLE}")
    dump = read_words(args.words)
    why = explain(dump.values)
    return json.dumps(to_json(dump, why), indent=2) if args.json else "\n".join(to_text(dump, why))


def _run(argv: Sequence[str]) -> int:
    p = parser()
    args = p.parse_intermixed_args(argv)
    print(p.format_help() if args.help else _answer(args), flush=True)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 2 for an error, 130 for Ctrl-C."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except (UsageError, DumpError, VectorError) as error:
        return stop(str(error))
    except KeyboardInterrupt:
        stop("interrupted")
        return 130
    except OSError as error:
        return stop_at(error)


if __name__ == "__main__":
    sys.exit(main())
