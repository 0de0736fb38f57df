"""Which host keeps which property: as measured, and as docs/guest-debug.md says."""

from pathlib import Path

import pytest

from model.kvm.properties import JUDGED, Property
from tb.cases import kvm
from tb.kvm import verdicts
from tb.kvm.hosts import HOSTS
from tb.work import PASSED, Job, Unit, adapter, load_cases, run_unit

PAGE = Path(__file__).parents[4] / "docs" / "guest-debug.md"


@pytest.mark.parametrize("host", HOSTS)
def test_each_host_breaks_what_it_is_known_to_break(host):
    assert set(verdicts.of_host(HOSTS[host])) == verdicts.BREAKS[host]


def test_upstream_keeps_all():
    assert verdicts.BREAKS["upstream"] == frozenset()
    assert all(verdicts.BREAKS[name] for name in HOSTS if name != "upstream")


def test_the_table_of_the_page_is_the_runs():
    if why := adapter("compiled").missing():
        pytest.skip(f"not run: {why}")
    load_cases(None)
    (result,) = run_unit(Unit("compiled", (Job("kvm.properties", 1),), design="core"))
    assert (result.status, result.failure) == (PASSED, "")
    (table,) = result.tables
    assert verdicts.markdown(table.header, table.rows) in PAGE.read_text()


def test_there_is_a_row_for_each_property():
    broken = {"one": {Property.P1: ["plain"]}, "other": {}}
    rows = verdicts.rows(broken, {"one": "3 cycles", "other": "4 cycles"})
    assert [row[0] for row in rows] == [each.name for each in Property]
    assert rows[0][2:] == ["breaks", "keeps"]
    assert rows[len(JUDGED)][2:] == ["3 cycles", "4 cycles"]


def test_the_case_fails_when_a_host_breaks_something_else(monkeypatch):
    if why := adapter("compiled").missing():
        pytest.skip(f"not run: {why}")
    load_cases(None)
    monkeypatch.setattr(kvm.verdicts, "BREAKS", {**verdicts.BREAKS, "v1": frozenset()})
    (result,) = run_unit(Unit("compiled", (Job("kvm.properties", 1),), design="core"))
    assert result.failure.splitlines()[0] == "v1 breaks P1, P3, P4, P6, P7, and not -"
