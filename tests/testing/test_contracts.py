"""Each check finds a component that breaks its clause, and passes those that keep the contract."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pytest

from align_lab.base import registry
from align_lab.base.download import DownloadRefused, no_downloads
from align_lab.base.errors import ConfigError
from align_lab.base.task import Example
from align_lab.testing import assert_contract, check
from tests.testing.broken.collected import BROKEN

registry.scan()
KINDS = set(registry.kinds()) - {"algo"}  # tests/algos has those
BUILT_IN = [
    (kind, name)
    for kind in sorted(KINDS)
    for name in registry.names(kind)
    if registry.lookup(kind, name).__module__.startswith("align_lab.")
]
problems_of = functools.cache(check)


@pytest.mark.nightly
@pytest.mark.parametrize(("kind", "name"), BROKEN)
def test_the_check_of_a_clause_finds_a_component_that_breaks_it(kind, name):
    problems = problems_of(kind, name)
    assert [one for one in problems if one.startswith(f"{kind}={name}: {BROKEN[kind, name]}: ")], problems


@pytest.mark.parametrize(("kind", "name"), BROKEN)
def test_a_problem_is_one_line_and_never_a_traceback(kind, name):
    for problem in problems_of(kind, name):
        assert "\n" not in problem and "Traceback" not in problem


@pytest.mark.parametrize("kind", ["algo", "data", "reward"])
def test_a_component_that_keeps_its_contract_has_no_problem(kind):
    assert check(kind, "sound") == []


@pytest.mark.parametrize(("kind", "name"), [one for one in BUILT_IN if one != ("model", "hf")])
def test_every_component_of_this_package_keeps_its_contract(kind, name):
    assert_contract(kind, name, downloads=False)


def test_settings_that_the_component_refuses_are_a_problem_in_a_test():
    (problem,) = check("model", "hf")
    assert problem.startswith("model=hf: its settings can be used: model=hf needs a model: set model.path=FOLDER")


def test_fields_other_than_the_defaults_can_be_given(tmp_path):
    problems = check("model", "hf", path=str(tmp_path))
    assert len(problems) == 1 and "has no config.json" in problems[0]


def test_an_assertion_lists_every_problem_with_component_and_check():
    with pytest.raises(
        AssertionError, match=r"reward=TooFewScores: every completion has one outcome: .*1 scores for 5"
    ):
        assert_contract("reward", "TooFewScores")


def test_an_exception_of_a_component_names_the_file_and_the_line():
    (problem,) = check("record", "Raises")[:1]
    assert "it raised KeyError: 'color' (settings.py, line " in problem


def test_a_reward_that_reads_a_column_is_checked_on_examples_that_have_it():
    (problem, *_) = check("reward", "verifier")
    assert "the reward reads the column 'answer'" in problem and "examples=[Example(" in problem
    assert check("reward", "verifier", examples=[Example(key="1", prompt="2 + 2", columns={"answer": "4"})]) == []


def test_a_data_set_that_would_download_is_skipped_where_downloads_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path))
    assert check("data", "movie_reviews", downloads=False) == []
    assert not list(tmp_path.iterdir())
    with no_downloads(), pytest.raises(DownloadRefused, match="vaderSentiment==3.3.2"):
        registry.lookup("data", "movie_reviews")().build(tmp_path)


def test_a_reward_that_handles_a_missing_column_itself_is_checked_without_it():
    assert check("reward", "forgiving") == []


def test_a_class_that_was_registered_before_its_contract_was_imported_is_a_problem(monkeypatch):
    monkeypatch.setitem(registry._components, ("reward", "alone"), Alone)
    (problem, *_) = check("reward", "alone")
    assert problem == "reward=alone: it inherits the contract: Alone does not inherit Reward. Write class Alone(Reward)"


@dataclass(frozen=True)
class Alone:
    """A reward without its contract."""


def test_an_unknown_component_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean 'vader'"):
        check("reward", "vadar")
