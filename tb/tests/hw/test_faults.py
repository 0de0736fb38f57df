"""The default run finds a fault in the hardware: each of `faults.json`, planted in a copy."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FAULTS = json.loads(Path(__file__).with_name("faults.json").read_text())
HW_FILES = {"hw/registers.py", "hw/routing.py", "hw/step.py", "hw/syndrome.py", "hw/trace.py"}


def copy_tree(destination: Path) -> None:
    """The code, without its tests."""
    ignore = shutil.ignore_patterns("tests", "__pycache__")
    for package in ("model", "hw", "tb"):
        shutil.copytree(ROOT / package, destination / package, ignore=ignore)


def plant(tree: Path, fault: dict[str, str]) -> None:
    """Put a fault into a copy."""
    path = tree / fault["file"]
    source = path.read_text()
    assert source.count(fault["old"]) == 1, f"{fault['file']} has changed: choose the fault again"
    path.write_text(source.replace(fault["old"], fault["new"]))


#: The default run, but that a failed test is not run again for its waveform: that is another build.
#: -x: as soon as something is found; -j 1: the tests themselves run on every core.
RUN = """
import sys
from unittest.mock import patch
from tb import regression
from tb.run import main
patch.object(regression, "_run_for_waves").start()
sys.exit(main(["-x", "-q", "-j", "1"]))
"""


def _default_run(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=1200)


def test_the_copy_itself_passes(tmp_path):
    copy_tree(tmp_path)
    run = _default_run(tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].startswith("PASS")


def test_there_are_faults_for_every_file_with_logic():
    assert len(FAULTS) >= 30
    assert {fault["file"] for fault in FAULTS} == HW_FILES


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["what"])
def test_the_default_run_finds(fault, tmp_path):
    copy_tree(tmp_path)
    plant(tmp_path, fault)
    run = _default_run(tmp_path)
    assert run.returncode == 1, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].startswith("FAIL")
    assert "reproduce: python -m tb.run" in run.stdout
