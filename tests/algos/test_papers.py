"""The index of papers is complete and true: every algorithm is in it, and what it names exists."""

from __future__ import annotations

import dataclasses
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from align_lab.base import registry
from align_lab.cli.card import Card, as_markdown, as_text, card, index
from align_lab.config import composition
from align_lab.config.groups import options
from tests.cards import CHECKOUT, pages

composition.load_components(composition.parse([]))
ALGORITHMS = options("algo")
INDEX = index()


@cache
def _card(name: str) -> Card:
    return card("algo", name)


@cache
def _values(name: str) -> dict[str, Any]:
    return dict(composition.Composer().values([f"algo={name}"])["algo"])


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
    for target in entry["tests"]:
        assert _is_about(target.partition("::")[0], name), f"{target} does not name {name}"
    for study in entry["studies"]:
        words = rf"\b{name.replace('_pp', '(_pp|[+]{2})').replace('_', '[-_ ]')}(?!\w)"
        text = (CHECKOUT / study).read_text(encoding="utf-8").replace("\\_", "_")
        assert re.search(words, text, re.IGNORECASE), f"{study} is not about {name}"


def _is_about(path: str, name: str) -> bool:
    """Does a test's file name the option or its class? Golden values and conformance are tables in other files."""
    made_of = {"golden": CHECKOUT / "tests" / "golden", "benchmarks": CHECKOUT / "benchmarks" / "conformance"}
    folder = made_of.get(Path(path).parts[1])
    files = sorted(folder.glob("*.py")) if folder else [CHECKOUT / path]
    words = {name} | ({registry.lookup("algo", name).__name__} if name in registry.names("algo") else set())
    text = " ".join(file.read_text(encoding="utf-8") for file in files)
    return any(re.search(rf"\b{word}\b", text) for word in words)


def test_what_came_out_of_a_study_is_what_the_gallery_says():
    gallery = (CHECKOUT / "docs" / "gallery.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[[^\]]*\]\((studies/\w+\.md)\) \| (.*) \| (.*) \|$", gallery, re.M)
    assert {f"docs/{page}": [question, out] for page, question, out in rows} == INDEX["studies"]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_card_says_what_came_out_or_that_it_is_not_measured(name):
    shown = _card(name)
    for text in (as_text(shown), as_markdown(shown)):
        _, _, measured = text.partition("Measured\n")
        assert all(INDEX["studies"][study][1] in measured for study in INDEX["algos"][name]["studies"])
        assert ("not measured yet" in measured) == (not INDEX["algos"][name]["studies"])


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) & set(registry.names("algo"))))
def test_a_clip_that_cannot_act_with_the_default_of_one_update_a_rollout_is_said(name):
    component = registry.lookup("algo", name)
    if {"clip", "weight_cap"} & {spec.name for spec in dataclasses.fields(component)}:
        text = " ".join((sys.modules[component.__module__].__doc__ or "").split())
        assert re.search(r"one update.* never acts?\b", text), "the ratio is 1 in the first update"


def test_the_script_of_ppo_max_has_a_card_of_its_own():
    shown = as_text(_card("ppo_max_moss_script"))
    assert "train_ppo_en.sh" in shown and "λ = 0.95" in shown and "0.8 is the larger" not in shown


def test_kto_holds_the_reference_for_completions_of_other_prompts():
    memory = " ".join(_card("kto").memory)
    assert "a frozen copy of the start policy" in memory and "no second model" not in memory


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_field_of_an_algorithm_says_where_its_default_comes_from(name):
    fields = {one.name.removeprefix("algo."): one for one in _card(name).fields}
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
        assert all((CHECKOUT / target).exists() for target in [*entry["tests"], *entry.get("studies", [])])
        assert ("part" in entry) == (entry["paper"] in INDEX["papers"])
        for field in entry["field"].split(", "):
            value = composition.Composer().values([entry["option"]] if "option" in entry else [])
            for name in field.split("."):
                assert name in value, field
                value = value[name]


def test_the_pages_are_those_that_the_components_give():
    for path, content in pages().items():
        assert path.exists() and path.read_text(encoding="utf-8") == content, (
            f"run python -m tests.cards --write: {path}"
        )


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_range_that_is_tuned_says_where_its_ends_come_from(name):
    shown = _card(name)
    tuned = [one for one in (*shown.fields, *shown.training) if one.tune]
    assert [one.name for one in tuned if not one.range_source] == []
    assert {"train.lr", "train.epochs"} & {one.name for one in shown.training}
    for text in (as_text(shown), as_markdown(shown)):
        assert all(one.range_source.replace("|", "") in text.replace("\\|", "") for one in tuned)


def test_every_source_of_a_range_is_that_of_a_field_of_some_algorithm():
    shown = {name: [*_card(name).fields, *_card(name).training] for name in ALGORITHMS}
    tried = {name: {(one.name.rpartition(".")[2], one.tune) for one in fields} for name, fields in shown.items()}
    for entry in INDEX["ranges"]:
        users = [name for name in ALGORITHMS if (entry["field"], entry["range"]) in tried[name]]
        assert users and set(entry.get("algos", users)) <= set(users), entry
