"""The core's tests find a fault in it: each of `faults.json`, planted in a copy.

The copy's core is compiled without optimisation: that is built in a third of the time.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tb.sims import compiled
from tb.tests.hw.test_faults import copy_tree, plant

FAULTS = json.loads(Path(__file__).with_name("faults.json").read_text())

RUN = """
import sys
from tb.sims import cxx
cxx.FAST = "-O0"
from tb.run import main
sys.exit(main(["core.every_legal_bin", "core.random_programs", "-x", "-q", "-j", "1"]))
"""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["what"])
def test_the_tests_of_the_core_find(fault, tmp_path):
    if missing := compiled.missing():
        pytest.skip(f"not run: {missing}")
    copy_tree(tmp_path)
    plant(tmp_path, fault)
    command = [sys.executable, "-c", RUN]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert run.returncode == 1, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].startswith("FAIL")
    assert "reproduce: python -m tb.run core." in run.stdout
