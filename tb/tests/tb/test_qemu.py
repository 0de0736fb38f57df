"""QEMU through the same loop at EL2; and what is said when it does not do as it should."""

import subprocess
import time
from functools import cache

import pytest

from model.arch import ExceptionClass
from model.kvm.uapi import KVM_GUESTDBG_ENABLE
from model.programs.load import GUESTS, HYPERVISORS, STEPPING, guest, on_virt
from tb import qemu
from tb.sims import SimulatorError
from tb.tests.model.programs.run import Ended, run

STEPPABLE = [name for name in GUESTS if name != "spinlock"]


@pytest.fixture
def installed():
    """The test is skipped if there is no QEMU."""
    if why := qemu.missing():
        pytest.skip(f"not run: {why}")


@pytest.fixture
def small(monkeypatch):
    """Measurements of a moment."""
    monkeypatch.setattr(qemu, "NUMBER", 7)
    monkeypatch.setattr(qemu, "RESULT", 13)
    monkeypatch.setattr(qemu, "UNSTEPPED_ROUNDS", 2)
    qemu.instructions.cache_clear()
    yield
    qemu.instructions.cache_clear()


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Puts a shell script in the place of QEMU."""

    def replace(script: str):
        path = tmp_path / "qemu"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(qemu, "PROGRAM", str(path))

    return replace


@pytest.fixture
def processes(monkeypatch):
    """What has been started."""
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return started


@cache
def alone(name: str) -> Ended:
    """A guest on the reference PE."""
    return run(guest(name))


def image(name: str = "list", sequence: str = "bic", guest_debug: int = STEPPING, rounds: int = 1):
    return on_virt(name, sequence, guest_debug, rounds)


def refusal(image) -> str:
    with pytest.raises(SimulatorError) as error:
        qemu.run(image)
    message = str(error.value)
    assert "\n" not in message
    return message


# What QEMU does


@pytest.mark.parametrize(
    ("name", "sequence"),
    [*((name, "bic") for name in STEPPABLE), *(("list", s) for s in HYPERVISORS)],
)
def test_qemu_steps_a_guest_as_the_reference_runs_it(name, sequence, installed):
    ended = qemu.run(image(name, sequence))
    assert ended.steps == len(alone(name).executed())
    assert ended.x0 == alone(name).doubleword("result")
    assert ended.seconds > 0


@pytest.mark.parametrize("guest_debug", [0, KVM_GUESTDBG_ENABLE])
@pytest.mark.parametrize("sequence", HYPERVISORS)
def test_a_guest_that_is_not_stepped_takes_no_steps(sequence, guest_debug, installed):
    ended = qemu.run(image("spinlock", sequence, guest_debug))
    assert (ended.steps, ended.x0) == (0, 20)


def test_rounds_add_up(installed):
    ended = qemu.run(image("memcpy", rounds=3))
    assert ended.steps == 3 * len(alone("memcpy").executed())
    assert ended.x0 == alone("memcpy").doubleword("result")


def test_it_runs_once_at_least():
    with pytest.raises(ValueError, match="0 rounds"):
        image(rounds=0)


def test_a_spin_lock_is_never_done_when_stepped(installed, processes, monkeypatch):
    monkeypatch.setattr(qemu, "TIMEOUT", 2)
    message = refusal(image("spinlock"))
    assert message.endswith(" was ended: the guest was not done in 2 s")
    assert processes[0].returncode


def test_a_guest_that_fails_is_told(installed):
    """Its own access to MDSCR_EL1 comes to EL2, where nobody emulates it."""
    message = refusal(image("self_el1"))
    assert ": the guest failed with ESR_EL2 = 0x" in message
    assert int(message.rpartition("= ")[2], 16) >> 26 == ExceptionClass.SYS64


@pytest.mark.parametrize("sequence", HYPERVISORS)
def test_what_is_measured(sequence, installed, small):
    assert qemu.single_steps_per_second(sequence) > 0
    assert qemu.instructions_per_second(sequence) > 0
    assert qemu.instructions() == len(alone("fibonacci").executed())


def test_a_wrong_result_is_told(installed, small, monkeypatch):
    monkeypatch.setattr(qemu, "RESULT", 14)
    with pytest.raises(SimulatorError, match="fibonacci of 7 gave 13, not 14"):
        qemu.single_steps_per_second()


# What else may be in its place


def test_qemu_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(qemu, "PROGRAM", "qemu-system-nothing")
    why = "qemu-system-nothing is not installed (apt-get install qemu-system-arm)"
    assert qemu.missing() == why == refusal(image())


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'no such machine' >&2; echo more >&2; exit 1", "no such machine"),
        ("exit 0", "it said nothing"),
        ("printf B", "it said nothing"),
        ("printf BD0123456789abcde", "it said nothing"),
        ("printf BD0123456789abcdefg", "it said nothing"),
        ("printf XD0123456789abcdef", "it said nothing"),
        ("printf BX0123456789abcdef", "it said nothing"),
        ("printf B; kill -9 $$", "it said nothing"),
    ],
)
def test_qemu_that_does_not_run_the_guest_is_told(script, why, program):
    program(script)
    assert refusal(image()).endswith(f"/qemu did not run the guest: {why}")


def test_the_time_is_from_the_first_byte_to_the_second(program):
    program("sleep 1; printf B; sleep 0.2; printf D; sleep 1; printf 0123456789abcdef")
    assert 0.1 < qemu.run(image()).seconds < 1


def test_qemu_that_does_not_end_is_ended(program, processes, monkeypatch):
    monkeypatch.setattr(qemu, "TIMEOUT", 0.2)
    program("exec sleep 100")
    start = time.monotonic()
    assert refusal(image()).endswith("/qemu was ended: the guest was not done in 0.2 s")
    assert time.monotonic() - start < 50
    assert processes[0].returncode


def test_an_interruption_ends_qemu(program, processes, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    program("printf B; exec sleep 100")
    monkeypatch.setattr(time, "perf_counter", interrupt)
    with pytest.raises(KeyboardInterrupt):
        qemu.run(image())
    assert processes[0].returncode
