"""What all command lines have in common: what cannot be done is one line, and exit code 2."""

import argparse
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


def stop(why: str) -> int:
    """Say in one line why it could not run; returns the exit code."""
    print(f"error: {why}", file=sys.stderr)
    return COULD_NOT_RUN
