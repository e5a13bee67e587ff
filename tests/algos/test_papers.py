"""The index of papers is complete and true: every algorithm is in it, and what it names exists."""

from __future__ import annotations

import dataclasses
import re
import sys
from functools import cache
from typing import Any

import pytest

from align_lab.base import registry
from align_lab.cli.card import card, index
from align_lab.config import composition
from align_lab.config.groups import options
from tests.cards import CHECKOUT, pages

composition.load_components(composition.parse([]))
ALGORITHMS = options("algo")
INDEX = index()


def test_every_algorithm_is_in_the_index_and_nothing_else():
    assert set(INDEX["algos"]) == set(ALGORITHMS)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_papers_of_an_algorithm_are_those_that_its_docstring_cites(name):
    entry = INDEX["algos"][name]
    component = registry.lookup("algo", _values(name)["name"])
    cited = re.findall(r"\d{4}\.\d{5}", sys.modules[component.__module__].__doc__ or "")
    listed = [INDEX["papers"][key]["arxiv"] for key in entry["papers"]]
    assert listed, "an algorithm implements a paper"
    assert set(listed) <= set(cited), f"listed {listed}, cited {cited}"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_tests_and_the_studies_that_it_names_exist(name):
    entry = INDEX["algos"][name]
    assert entry["tests"], "an algorithm without a test is not to be trusted"
    for target in [*entry["tests"], *entry["studies"]]:
        path, _, test = target.partition("::")
        assert (CHECKOUT / path).exists(), path
        assert not test or f"def {test}" in (CHECKOUT / path).read_text(encoding="utf-8"), target
    for study in entry["studies"]:
        words = rf"\b{name.replace('_pp', '(_pp|[+]{2})').replace('_', '[-_ ]')}(?!\w)"
        text = (CHECKOUT / study).read_text(encoding="utf-8").replace("\\_", "_")
        assert re.search(words, text, re.IGNORECASE), f"{study} is not about {name}"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_field_of_an_algorithm_says_where_its_default_comes_from(name):
    fields = {one.name.removeprefix("algo."): one for one in card("algo", name).fields}
    assert not [field for field, one in fields.items() if not one.source]
    assert set(INDEX["algos"][name]["defaults"]) == set(fields)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_values_that_a_search_tries_are_allowed(name):
    values = _values(name)
    component = registry.lookup("algo", values["name"])
    for spec in dataclasses.fields(component):
        for value in spec.metadata["tune"].ends() if spec.metadata.get("tune") else ():
            assert not registry.problems(component, {**values, spec.name: value})


def test_every_field_of_the_index_exists():
    for entry in INDEX["fields"]:
        assert all((CHECKOUT / test).exists() for test in entry["tests"])
        for field in entry["field"].split(", "):
            overrides = ["reward=reward_model"] if field.startswith("reward.") else []
            value = composition.Composer().values(overrides)
            for name in field.split("."):
                assert name in value, field
                value = value[name]


def test_the_pages_are_those_that_the_components_give():
    for path, content in pages().items():
        assert path.exists() and path.read_text(encoding="utf-8") == content, (
            f"run python -m tests.cards --write: {path}"
        )


@cache
def _values(name: str) -> dict[str, Any]:
    return dict(composition.Composer().values([f"algo={name}"])["algo"])
