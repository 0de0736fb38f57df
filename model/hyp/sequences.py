"""Loads a sequence from whatever holds one."""

from pathlib import Path

from model.hyp import SequenceError
from model.hyp.assemble import DIRECTORY, NAMES, assemble
from model.hyp.elf import MAGIC, text_words, words_of
from model.hyp.words import Sequence, from_text


def load(name_or_path: str | Path) -> Sequence:
    """A sequence: `v1`, `bic`, `callout` or `upstream`, or a file.

    The file is a source (.S, .s), a text of words (.words), an ELF object, or raw little-endian
    words (any other file). SequenceError, in one line, if it gives no sequence.
    """
    name = str(name_or_path)
    if name in NAMES:
        return from_text(_read(DIRECTORY / f"{name}.words").decode(), name)
    path = Path(name_or_path)
    data = _read(path)
    if path.suffix in (".S", ".s"):
        return assemble(path)
    if path.suffix == ".words":
        return from_text(data.decode(errors="replace"), name)
    words = text_words(data, name) if data.startswith(MAGIC) else _raw_words(data, name)
    return Sequence(name, words, ("",) * len(words))


def _raw_words(data: bytes, name: str) -> tuple[int, ...]:
    if not data:
        raise SequenceError(f"{name}: the file is empty: raw A64 code is 4 bytes an instruction")
    return words_of(data, f"{name}: a file of raw words")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SequenceError(
            f"{path}: no such file, nor one of the sequences here: {', '.join(NAMES)}"
        ) from None
    except OSError as error:
        raise SequenceError(f"{path}: cannot be read: {error.strerror}") from error
