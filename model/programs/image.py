"""An image: what is in memory before the core starts, and where things are in it; as text, too."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from model.programs import ProgramError

WORD_BYTES = 4

#: As many words of 0 in a row are left out of the text: memory holds 0 before.
_ZEROS_LEFT_OUT = 8


@dataclass(frozen=True)
class Image:
    """Bytes to load into memory that holds 0, the symbols in them, and where to begin."""

    segments: tuple[tuple[int, bytes], ...]  #: address and contents; a later one wins
    symbols: Mapping[str, int]  #: name to address
    entry: int

    def patched(self, values: Mapping[str, int]) -> "Image":
        """The image with doublewords of 64 bits at the symbols named. KeyError for an unknown one.

        ValueError if a value has more than 64 bits, or is less than 0.
        """
        patches = []
        for name, value in values.items():
            if not 0 <= value < 1 << 64:
                raise ValueError(f"{name}: {value:#x} has more than 64 bits")
            patches.append((self.symbols[name], struct.pack("<Q", value)))
        return Image((*self.segments, *patches), self.symbols, self.entry)

    def combined(self, *others: "Image") -> "Image":
        """This image with the others in memory beside it; the entry is this one's.

        ValueError if two of them have a symbol of the same name.
        """
        symbols = dict(self.symbols)
        segments = self.segments
        for other in others:
            if both := symbols.keys() & other.symbols.keys():
                raise ValueError(f"two images have the symbol {min(both)}")
            symbols |= other.symbols
            segments += other.segments
        return Image(segments, symbols, self.entry)


def to_text(image: Image, heading: Iterable[str]) -> str:
    """The image as text: comments, its entry and symbols, then words at addresses.

    Words of 0 may be left out. ValueError if a segment is not of whole words.
    """
    lines = [f"# {line}" for line in heading]
    lines.append(f"# entry {image.entry:#x}")
    by_address = sorted(image.symbols.items(), key=lambda item: (item[1], item[0]))
    lines += [f"# symbol {name} {address:#x}" for name, address in by_address]
    for address, contents in image.segments:
        lines += _segment_lines(address, contents)
    return "\n".join(lines) + "\n"


def _segment_lines(address: int, contents: bytes) -> Iterator[str]:
    if address % WORD_BYTES or len(contents) % WORD_BYTES:
        raise ValueError(f"the segment at {address:#x} is not of whole words")
    words = [word for (word,) in struct.iter_unpack("<I", contents)]
    begun = False
    index = 0
    while index < len(words):
        zeros = _zeros_at(words, index)
        if zeros >= _ZEROS_LEFT_OUT:
            index += zeros
            begun = False
            continue
        if not begun:
            yield f"@{address + index * WORD_BYTES:#x}"
            begun = True
        yield f"{words[index]:#010x}"
        index += 1


def _zeros_at(words: list[int], index: int) -> int:
    """How many words of 0 there are in a row from `index` on."""
    end = index
    while end < len(words) and not words[end]:
        end += 1
    return end - index


def from_text(text: str, name: str) -> Image:
    """The image that a text holds. ProgramError names the line that cannot be."""
    segments: list[tuple[int, bytearray]] = []
    symbols: dict[str, int] = {}
    entry = None
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{name}:{number}"
        match line.split():
            case ["#", "entry", address]:
                entry = _number(address, where)
            case ["#", "symbol", symbol, address]:
                symbols[symbol] = _number(address, where)
            case [] | ["#", *_]:
                pass
            case [token] if token.startswith("@"):
                segments.append((_number(token[1:], where), bytearray()))
            case [token] if segments:
                segments[-1][1].extend(struct.pack("<I", _number(token, where, bits=32)))
            case _:
                raise ProgramError(f"{where}: {line!r} is no word at an address")
    if entry is None:
        raise ProgramError(f"{name}: no line '# entry ADDRESS'")
    return Image(tuple((start, bytes(data)) for start, data in segments), symbols, entry)


def _number(text: str, where: str, bits: int = 64) -> int:
    try:
        value = int(text, 16)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << bits:
        raise ProgramError(f"{where}: {text!r} is not a hexadecimal number of {bits} bits")
    return value
