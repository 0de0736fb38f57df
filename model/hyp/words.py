"""A sequence of machine code words, and its text form: one `0x%08x  // source line` a line."""

from dataclasses import dataclass

from model.hyp import SequenceError


@dataclass(frozen=True)
class Sequence:
    """A64 code that runs from its first word until it falls off the end, or returns by ERET."""

    name: str  #: the file it came from, or the name of one of ours
    words: tuple[int, ...]  #: 32 bits each
    listing: tuple[str, ...]  #: the source line of each word; "" where it is not known

    def __post_init__(self) -> None:
        if len(self.words) != len(self.listing):
            raise ValueError(f"{self.name}: {len(self.words)} words, {len(self.listing)} lines")


def to_text(sequence: Sequence, heading: str) -> str:
    """The sequence as text under a one-line heading. The same sequence gives the same bytes."""
    lines = [f"// {heading}"]
    for word, source in zip(sequence.words, sequence.listing, strict=True):
        lines.append(f"{word:#010x}  // {source}" if source else f"{word:#010x}")
    return "\n".join(lines) + "\n"


def from_text(text: str, name: str) -> Sequence:
    """The sequence that a text holds. SequenceError names the line that is not a word."""
    words, listing = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        code, _, source = line.partition("//")
        if not code.strip():
            continue
        words.append(_word(code.strip(), f"{name}:{number}"))
        listing.append(source.strip())
    return Sequence(name, tuple(words), tuple(listing))


def _word(text: str, where: str) -> int:
    try:
        word = int(text, 16)
    except ValueError:
        word = -1
    if not 0 <= word < 1 << 32:
        raise SequenceError(f"{where}: {text!r} is not a 32-bit hexadecimal word")
    return word
