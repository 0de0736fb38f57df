"""CXXRTL's C++ with its one long function cut into parts.

`eval` has all of a design's logic. A compiler's time grows out of hand with the length of a
function, and what it makes of a long one is slower too.
"""

import re

PART = 10_000  #: characters of the source, about: some 40 lines

_BEGIN = "bool {top}::eval(performer *performer) {{\n"
_END = "\treturn converged;\n}\n"
_CLASS_END = "}}; // struct {top}\n"
_WIRE = re.compile(r"\tvalue<\d+> \w+;")


def cut(source: str, top: str) -> str:
    """The same with `eval` in parts, if it has the form that is expected of a design's class `top`.

    Wires that are variables of `eval` become members.
    """
    begin, class_end = _BEGIN.format(top=top), _CLASS_END.format(top=top)
    head, found, rest = source.partition(begin)
    body, end, tail = rest.partition(_END)
    before, class_found, after = head.partition(class_end)
    if not (found and end and class_found):
        return source
    lines = body.splitlines()
    wires = [line for line in lines if _WIRE.fullmatch(line)]
    first, second, *statements = (line for line in lines if not _WIRE.fullmatch(line))
    parts = _parts(statements)
    signature = "part{n}(bool posedge_p_clk)"
    members = wires + [f"\tvoid {signature.format(n=n)};" for n in range(len(parts))]
    functions = [
        "\n".join([f"void {top}::{signature.format(n=n)} {{", *part, "}", ""])
        for n, part in enumerate(parts)
    ]
    calls = [f"\tpart{n}(posedge_p_clk);" for n in range(len(parts))]
    return "".join(
        [
            *(before, "\n".join(members), "\n", class_end, after),
            *functions,
            *(begin, "\n".join([first, second, *calls]), "\n", end, tail),
        ]
    )


def _parts(statements: list[str]) -> list[list[str]]:
    """Cut before the comment that a cell's statements begin with."""
    parts: list[list[str]] = [[]]
    before = ""
    for line in statements:
        begins = line.startswith("\t//") and not before.startswith("\t//")
        if begins and sum(map(len, parts[-1])) > PART:
            parts.append([])
        parts[-1].append(line)
        before = line
    return parts
