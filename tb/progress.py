"""How far a run is: a bar on a terminal, a line a minute elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

MINUTE = 60.0  #: seconds


class Progress:
    """Of `total` tests, `done` were done before. A context manager; quiet, it shows nothing."""

    def __init__(self, console: Console, total: int, done: int, quiet: bool):
        self._console, self._quiet = console, quiet
        self._total, self._done, self._now, self._cycles = total, done, 0, 0
        self._start = self._told = time.monotonic()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),  # all of it fits in 80 columns
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
            auto_refresh=False,  # that takes a thread, and processes are forked here
        )
        self._task = self._bar.add_task("tests", total=total, completed=done, figures="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, cycles: int) -> None:
        """One more test is done."""
        self._now += 1
        self._cycles += cycles

    def tick(self) -> None:
        """Show how things are. To be called often."""
        now = time.monotonic()
        done = self._done + self._now
        self._bar.update(self._task, completed=done, figures=self._figures(now), refresh=True)
        if self._quiet or self._console.is_terminal or now - self._told < MINUTE:
            return
        self._told = now
        self._console.print(f"{done} of {self._total} tests: {self._figures(now)}")

    def _figures(self, now: float) -> str:
        """Rates, and the time left if there are any."""
        seconds = max(now - self._start, 1e-3)
        rate = self._now / seconds
        rates = f"{rate:.1f} tests/s, {self._cycles / seconds:,.0f} cycles/s"
        if not self._now:
            return rates
        minutes, left = divmod(round((self._total - self._done - self._now) / rate), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{rates}, {hours}:{minutes:02}:{left:02} left"
