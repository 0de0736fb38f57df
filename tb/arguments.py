"""What the bench's command lines have in common, with what all have (`model.arguments`)."""

import argparse
import os
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from model.arguments import COULD_NOT_RUN as COULD_NOT_RUN
from model.arguments import Parser as Parser
from model.arguments import UsageError as UsageError
from model.arguments import rewriter as rewriter
from model.arguments import stop as stop
from model.arguments import stop_at as stop_at


class OutputConsole(Console):
    """Raises BrokenPipeError: Rich's own exit code would be that of a mismatch."""

    def on_broken_pipe(self) -> None:
        """The caller knows what to do."""
        raise BrokenPipeError


def count(text: str) -> int:
    """A whole number from 1 on. ArgumentTypeError."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return value


def seconds(text: str) -> float:
    """A time above 0. ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
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
