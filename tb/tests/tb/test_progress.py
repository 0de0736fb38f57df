"""How far a run is."""

import io

import pytest
from rich.console import Console

from tb import progress
from tb.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """The time, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def shown(is_terminal, clock, quiet=False):
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal, width=200, highlight=False)
    with Progress(console, 100, 20, quiet) as bar:
        for _ in range(5):
            clock[0] += 20
            for _ in range(4):
                bar.advance(1000)
            bar.tick()
    return out.getvalue()


def test_a_terminal_has_a_bar_with_rates_and_the_time_left(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = shown(True, clock)
    assert "24/100" in text
    assert "40/100" in text
    assert "0.2 tests/s, 200 cycles/s, 0:05:00 left" in text


def test_elsewhere_there_is_a_line_a_minute(clock):
    assert shown(False, clock).splitlines() == [
        "32 of 100 tests: 0.2 tests/s, 200 cycles/s, 0:05:40 left"
    ]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_quiet_there_is_nothing(clock, is_terminal):
    assert shown(is_terminal, clock, quiet=True) == ""


def test_before_the_first_result_no_time_is_foretold(clock):
    out = io.StringIO()
    with Progress(Console(file=out), 10, 0, quiet=False) as bar:
        clock[0] += progress.MINUTE
        bar.tick()
    assert out.getvalue() == "0 of 10 tests: 0.0 tests/s, 0 cycles/s\n"
