"""Runs that write a page: small cases beside the others, in a directory of their own."""

import contextlib
import json
from collections import namedtuple

import pytest

from model.arch import Event
from tb import cases, prove, work
from tb.harness import ROW
from tb.proofs import results
from tb.run import main
from tb.testbench import Failure, Table

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'and' </pre><img src=x onerror=alert(2)>"

Page = namedtuple("Page", "path code")


async def steps(bench):
    await bench.start(mdscr_el1=1, mdcr_el2=0x100, ss=1)
    for _ in range(30):
        await bench.do(Event.EXECUTE)


async def hostile(bench):
    await steps(bench)
    bench.tables.append(Table(HOSTILE, ["sequence", "debug", "cycles"], [["v1", "on", HOSTILE]]))
    raise Failure(HOSTILE)


async def tells(bench):
    await steps(bench)
    rows = [["v1", "off", "6"], ["v1", "on", "25"], ["bic", "off", "7"], ["bic", "on", "26"]]
    bench.tables.append(Table("what it costs", ["sequence", "guest debug", "entry"], rows))


def _faulty(monkeypatch):
    """Hardware whose trace says SS = 1 after each event."""
    adapter = work.adapter("pysim").Adapter
    cycle = adapter.cycle

    async def wrong(self, stimulus):
        return await cycle(self, stimulus) | 1 << ROW["ss_after"].lsb

    monkeypatch.setattr(adapter, "cycle", wrong)


def keep(name, **changes):
    """What became of a claim, as `tb.prove` keeps it."""
    record = {"status": "proved", "reason": "", "extent": "1 cycle", "seconds": 0.5, "table": []}
    record |= {"history": [], "waves": None, "reproduce": f"python -m tb.prove {name}"}
    directory = prove.DIRECTORY / name
    directory.mkdir(parents=True)
    results.write(directory, record | changes)
    return directory / results.NAME


def _keep_results():
    """One of each kind."""
    keep("routing.eld_is_el1")
    keep(
        "state.table",
        status="refuted",
        reason=HOSTILE,
        table=[["field", "hardware", "model"], ["ss_after", "1", "0"]],
        history=["cycle 0: [start]", HOSTILE],
        waves=str(prove.DIRECTORY / "state.table" / "refuted.vcd"),
    )
    (prove.DIRECTORY / "state.table" / "refuted.vcd").write_text("")
    keep("sequences.v1", status="not proved", reason="the solver gives up", extent="-")
    path = keep("routing.eld_is_el2")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "another"}))
    keep("unit.trace_shows_the_event").write_text("no JSON")


@contextlib.contextmanager
def _in(directory):
    with pytest.MonkeyPatch.context() as monkeypatch, contextlib.chdir(directory):
        monkeypatch.setattr(prove, "DIRECTORY", directory / "sim_build" / "proofs")
        cases.load()
        for body in (steps, hostile, tells):
            case = cases.Case(f"toy.{body.__name__}", body, "a toy", False)
            monkeypatch.setitem(cases.CASES, case.name, case)
        yield monkeypatch


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs a command line on Amaranth's simulator: the page that it leaves, and the exit code."""

    def go(*words, faulty=False):
        directory = tmp_path_factory.mktemp("page")
        with _in(directory) as monkeypatch:
            if faulty:
                _faulty(monkeypatch)
                _keep_results()
            code = main(["-j", "1", "--sim", "pysim", *words])
        return Page(directory / "sim_build" / "report" / "index.html", code)

    return go


@pytest.fixture
def here(tmp_path):
    """The same cases in tmp_path, until the test ends."""
    with _in(tmp_path):
        yield tmp_path


@pytest.fixture(scope="module")
def passing(made):
    """The page of a run that passed."""
    return made("toy.steps", "toy.tells", "core.arithmetic_and_memory", "--report", "-w")


@pytest.fixture(scope="module")
def failing(made):
    """The page of a run with a mismatch, and with a test whose failure is hostile; proofs, too."""
    return made("toy.steps", "toy.hostile", faulty=True)


@pytest.fixture(scope="module")
def catalogue(made):
    """The page of a run of known defects."""
    if why := work.adapter("compiled").missing():
        pytest.skip(f"not run: {why}")
    return made("catalogue.K1", "catalogue.M2", "--sim", "compiled", "--report", "-w")
