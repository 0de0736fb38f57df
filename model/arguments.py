"""What all command lines have in common: what cannot be done is one line, and exit code 2."""

import argparse
import contextlib
import errno
import os
import sys
from typing import NoReturn

COULD_NOT_RUN = 2


class UsageError(Exception):
    """Something was asked for that cannot be: one line that says what and the mend."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, which names -h."""

    def error(self, message: str) -> NoReturn:
        """Print it and end the process."""
        self.exit(COULD_NOT_RUN, f"error: {message}; {self.prog} -h lists the options\n")


def rewriter(prog: str, description: str) -> Parser:
    """The parser of a command that writes files of the project anew, or says whether it would."""
    parser = Parser(
        prog=prog,
        description=description,
        epilog="Exit code: 0 done or the same, 1 --check found a difference, 2 it could not run.",
    )
    parser.add_argument("--check", action="store_true", help="compare only; change nothing")
    return parser


def stop(why: str) -> int:
    """Say in one line why it could not run; returns the exit code."""
    print(f"error: {why}", file=sys.stderr)
    return COULD_NOT_RUN


def stop_at(error: OSError) -> int:
    """The same, of a file or standard output; of a reader that has seen enough, nothing."""
    if error.filename is None:
        discard_output()
    if isinstance(error, BrokenPipeError):
        return COULD_NOT_RUN
    where = error.filename or ("standard output" if error.errno == errno.ENOSPC else None)
    return stop(f"{where}: {error.strerror}" if where else str(error))


def discard_output() -> None:
    """Let Python's last flush succeed, on its way out, of what could not be written."""
    with contextlib.suppress(OSError, AttributeError):  # it is no file, or closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
