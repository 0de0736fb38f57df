"""The core's tests find a fault in it: each of `faults.json`, planted in a copy.

Most of the time goes into the copy's core, so it is compiled as fast as may be. What else a failure
brings about is left out: a program is not shrunk, no waveform is made.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tb.sims import compiled
from tb.tests.hw.test_faults import copy_tree, plant

FAULTS = json.loads(Path(__file__).with_name("faults.json").read_text())

#: Some random programs find most faults, and sooner than the others do: they come first.
RUN = """
from tb.cases.core import random_programs
from tb.harness import CORE
from tb.sims import cxx
from tb.work import COMPILED, Job, Unit, run_unit

# Not even what CXXRTL marks as always inline is: that compiles in two thirds of the time.
cxx.FAST = "-O0"
cxx.FLAGS += ("-D__always_inline__=__unused__", "-fno-asynchronous-unwind-tables")
random_programs.SHRINK_RUNS = 1

def run(case):
    (result,) = run_unit(Unit(COMPILED, (Job(case, seed=1),), design=CORE.name))
    print(case, result.status, *result.failure.splitlines()[-20:], sep="\\n")
    return result.status != "passed"

programs, random_programs.PROGRAMS = random_programs.PROGRAMS, 2
if not run("core.random_programs") and not run("core.every_legal_bin"):
    random_programs.PROGRAMS = programs
    run("core.random_programs")
"""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["what"])
def test_the_tests_of_the_core_find(fault, tmp_path):
    if missing := compiled.missing():
        pytest.skip(f"not run: {missing}")
    copy_tree(tmp_path)
    plant(tmp_path, fault)
    command = [sys.executable, "-c", RUN]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "\nfailed\n" in run.stdout, run.stdout
