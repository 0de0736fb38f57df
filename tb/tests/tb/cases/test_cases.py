"""All cases: each has a name of its own, and says what it checks."""

import pytest

from tb import cases
from tb.cases import CASES, case, register


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    cases.load()
    monkeypatch.setattr(cases, "CASES", dict(CASES))


async def nothing(tb):
    """Does nothing."""


def test_every_file_of_cases_is_loaded():
    topics = {name.partition(".")[0] for name in CASES}
    assert topics >= {"bins", "directed", "hyp", "lockstep", "tables"}


def test_every_case_is_known_under_its_own_name():
    assert all(name == each.name for name, each in CASES.items())


def test_every_case_says_what_it_checks():
    assert [name for name, each in CASES.items() if not each.source] == []


def test_every_directed_case_has_a_sentence():
    unsaid = [
        name
        for name, each in CASES.items()
        if name.startswith("directed.") and not each.body.__doc__
    ]
    assert unsaid == []


def test_every_mistake_that_implementers_make_has_a_case():
    sources = [each.source for each in CASES.values()]
    for number in range(1, 13):
        assert any(source.endswith(f"mistake {number}") for source in sources), number


def test_a_name_is_taken_once():
    register("toy.one", nothing, "a toy")
    with pytest.raises(ValueError, match=r"^two cases are named toy\.one$"):
        register("toy.one", nothing, "a toy")


@pytest.mark.parametrize("module", ["tb.cases.toy", "tb.cases.toy.file_of_it"])
def test_the_decorator_names_a_case_for_its_topic_and_itself(monkeypatch, module):
    monkeypatch.setattr(nothing, "__module__", module)
    assert case("a toy", random=True)(nothing) is nothing
    made = cases.CASES["toy.nothing"]
    assert (made.body, made.source, made.random) == (nothing, "a toy", True)


def test_loading_again_changes_nothing():
    before = list(CASES)
    cases.load()
    assert list(CASES) == before
