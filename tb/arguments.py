"""What the command lines have in common: a wrong argument is one line, and exit code 2."""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

COULD_NOT_RUN = 2


class UsageError(Exception):
    """The run was asked for something that cannot be: one line that says what and the mend."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, which names -h."""

    def error(self, message: str) -> NoReturn:
        """Print it and end the process."""
        self.exit(COULD_NOT_RUN, f"error: {message}; {self.prog} -h lists the options\n")


class OutputConsole(Console):
    """Raises BrokenPipeError: Rich's own exit code would be that of a mismatch."""

    def on_broken_pipe(self) -> None:
        """The caller knows what to do."""
        raise BrokenPipeError


def stop(why: str) -> int:
    """Say in one line why it could not run; returns the exit code."""
    print(f"error: {why}", file=sys.stderr)
    return COULD_NOT_RUN


def count(text: str) -> int:
    """A whole number from 1 on. ArgumentTypeError."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return value


def check_writable(*paths: Path | None) -> None:
    """A run is not to be lost for a wrong path. UsageError."""
    for path in paths:
        if path is not None and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
            raise UsageError(f"{path}: cannot be written; give a file in an existing directory")


def bar(console: Console) -> Progress:
    """A bar that says how many of all are done: on a terminal only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        auto_refresh=False,  # that takes a thread, and processes are forked here
    )
