"""A run on a Dask cluster: a real scheduler and workers, as processes of this machine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import tb
from tb import cluster
from tb.cluster import Cluster, ClusterError
from tb.plan import VERSION, Plan
from tb.run import main

TREE = Path(tb.__file__).parent.parent

pytest.importorskip("distributed")

HANGS = 600  #: seconds: far more than a loaded machine takes

#: The work of a worker in these tests: one job ends its process.
DEADLY = """
import os, signal
from tb import totals
from tb.work import PASSED, Result

def run_unit(directory, unit):
    if any(job.case == "directed.reset_state" for job in unit.jobs):
        os.kill(os.getpid(), signal.SIGKILL)
    none = totals.none()
    return [Result(job.case, "pysim", job.seed, PASSED, 1, 0.1, none) for job in unit.jobs]

def broken(directory, unit):
    raise ZeroDivisionError("really\\nbad")
"""


class Machines:
    """Starts a scheduler and workers."""

    def __init__(self, directory):
        (directory / "deadly.py").write_text(DEADLY)
        self.directory = directory
        self.processes = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self.start(
            "scheduler", "--host", "127.0.0.1", "--port", port, "--no-show", "--no-dashboard"
        )

    def start(self, what, *words, path=TREE, python=(sys.executable,)):
        process = subprocess.Popen(
            [*python, "-m", f"distributed.cli.dask_{what}", *map(str, words)],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{self.directory}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def command(self, *words):
        """A regression, with pipes."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tb.run", *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(TREE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def worker(self, **more):
        words = ("--nthreads", 1, "--no-nanny", "--no-dashboard", "--local-directory", "dask")
        return self.start("worker", self.address, *words, **more)

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()


@pytest.fixture
def machines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    machines = Machines(tmp_path)
    yield machines
    machines.end()
    sys.modules.pop("deadly", None)


def results(path):
    """All that a run wrote, but for the time that it took."""
    content = json.loads(Path(path).read_text())
    del content["seconds"]
    for test in content["tests"]:
        del test["seconds"]
    return content


def test_a_cluster_gives_what_one_machine_gives_and_again_if_a_worker_is_killed(machines):
    machines.worker()
    killed = machines.worker()
    tests = ("directed.e*", "directed.i*", "lockstep.events", "--sim", "pysim")
    here = machines.command(*tests, "--json", "here.json")
    here.communicate(timeout=HANGS)
    assert here.returncode == 0
    there = machines.command(*tests, "--dask", machines.address, "--json", "there.json", "-q")
    out, err = there.communicate(timeout=HANGS)
    assert (there.returncode, err) == (0, "")
    assert out.startswith("PASS: ")
    again = machines.command(*tests, "--dask", machines.address, "--json", "again.json")
    again.stdout.readline()
    killed.send_signal(signal.SIGKILL)  # as the memory guard of the system does
    out, err = again.communicate(timeout=HANGS)
    assert (again.returncode, err) == (0, "")
    assert results("here.json") == results("there.json") == results("again.json")


def test_a_job_that_kills_three_workers_is_reported_and_the_rest_go_on(
    machines, monkeypatch, capsys
):
    workers = [machines.worker() for _ in range(4)]
    import deadly

    monkeypatch.setattr(cluster, "run_unit", deadly.run_unit)
    tests = ("reset_state", "directed.eret*", "directed.isv*")
    assert main([*tests, "--dask", machines.address, "--json", "out.json", "-q"]) == 1
    content = results("out.json")
    (bad,) = [test for test in content["tests"] if test["status"] != "passed"]
    assert (bad["name"], bad["status"]) == ("directed.reset_state", "error")
    assert bad["failure"] == ("it killed its worker process 3 times; did it run out of memory?")
    assert len(content["tests"]) > 10
    assert sum(worker.poll() is None for worker in workers) == 1
    assert "  " + bad["failure"] in capsys.readouterr().out.splitlines()


def test_what_a_worker_raises_is_one_line(machines, monkeypatch, capsys):
    machines.worker()
    import deadly

    monkeypatch.setattr(cluster, "run_unit", deadly.broken)
    assert main(["reset_state", "--dask", machines.address]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: dask worker tcp://127.0.0.1:")
    assert line.endswith(": ZeroDivisionError: really")


def test_the_users_sequence_is_run_by_the_workers(machines, capsys):
    machines.worker()
    Path("mine.words").write_text("0xd503201f  // nop\n")
    assert main(["--hyp", "mine.words", "-q", "--json", "here.json"]) == 1
    here = capsys.readouterr().out.splitlines()
    words = ["--hyp", "mine.words", "-q", "--dask", machines.address, "--json", "there.json"]
    assert main(words) == 1
    assert results("here.json") == results("there.json")
    assert capsys.readouterr().out.splitlines()[:-1] == here[:-1]


def test_a_worker_with_other_code_is_refused(machines, capsys):
    machines.worker()
    with pytest.raises(ClusterError) as caught:
        Cluster(machines.address, Plan(("pysim",), ("toy",), version="other"))
    text = str(caught.value)
    assert text.startswith("dask worker tcp://127.0.0.1:")
    assert f"has another version of the code ({VERSION}, here other): start it again" in text


def test_a_worker_without_the_code_is_refused(machines, capsys):
    # Without `site`, a package that is installed in its own directory is not found.
    machines.worker(path=sysconfig.get_path("purelib"), python=[sys.executable, "-S"])
    assert main(["reset_state", "--dask", machines.address]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: dask worker tcp://127.0.0.1:")
    assert " has not this code: start it again, from " in line


def test_a_cluster_without_workers_is_told(machines, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    assert main(["reset_state", "--dask", machines.address]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: the Dask scheduler at {machines.address} has had no worker for 0 s; "
        f"start some (dask worker {machines.address}), then use --resume"
    ]


def test_a_scheduler_that_ends_is_told_and_the_run_resumed(machines):
    machines.worker()
    words = ("directed.e*", "lockstep.events", "--sim", "pysim", "--dask", machines.address)
    run = machines.command(*words)
    run.stdout.readline()
    machines.scheduler.kill()
    _, err = run.communicate(timeout=HANGS)
    gone = f"the Dask scheduler at {machines.address} is gone; start it again, then use --resume"
    assert (run.returncode, err) == (2, f"error: {gone}\n")
    resumed = machines.command(*words[:4], "--resume")
    out, err = resumed.communicate(timeout=HANGS)
    assert (resumed.returncode, err) == (0, "")
    assert out.startswith("resumed: ")


def test_ctrl_c_stops_the_run(machines):
    machines.worker()
    run = machines.command("lockstep", "--sim", "pysim", "--seeds", 400, "--dask", machines.address)
    run.stdout.readline()
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=HANGS)
    assert (run.returncode, err) == (2, "")
    done, total = re.match(r"INTERRUPTED: (\d+) of (\d+) tests, ", out.splitlines()[-1]).groups()
    assert int(done) < int(total)


def test_no_scheduler_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "TIMEOUT", 0.5)
    assert main(["reset_state", "--dask", "127.0.0.1:1"]) == 2
    give = "give the one that `dask scheduler` prints, as tcp://HOST:PORT"
    assert capsys.readouterr().err == (f"error: no Dask scheduler answers at 127.0.0.1:1; {give}\n")


@pytest.mark.parametrize("address", ["", "x", "x:y", "http://x:1", "tcp://:1", "a b:1"])
def test_what_is_no_address_is_one_line(monkeypatch, capsys, tmp_path, address):
    monkeypatch.chdir(tmp_path)
    assert main(["reset_state", "--dask", address]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --dask: {address!r} is not an address; give the one that ")


def test_what_is_not_installed_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    assert main(["reset_state", "--dask", "127.0.0.1:8786"]) == 2
    said = "dask cannot run: distributed is not installed (pip install 'softstep[dask]')"
    assert capsys.readouterr().err == f"error: {said}\n"
