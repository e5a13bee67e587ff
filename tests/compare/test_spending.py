"""By which measures the arms' budgets are equal, and where a machine's load shows in the seconds."""

from __future__ import annotations

import json

import pytest

from align_lab.compare.analysis import analyze
from align_lab.compare.spending import spread
from tests.compare.folders import edit, write_run


@pytest.fixture
def study(tmp_path):
    for arm in ("ppo", "rloo", "dpo"):
        for seed in range(3):
            write_run(tmp_path / "st", arm, seed, (0.0, 0.5, 1.0 + seed / 10))
    return tmp_path / "st"


def spend(study, pattern, **amounts):
    for path in study.glob(pattern):
        manifest = path / "manifest.json"
        edit(manifest, spent={**json.loads(manifest.read_text())["spent"], **amounts})


def said(study, text):
    return [note for note in analyze([study])["notes"] if text in note]


def test_equal_budgets_need_no_word(study):
    assert not said(study, "budgets are") and not said(study, "other work ran")


def test_a_budget_that_is_not_equal_is_named_with_its_amounts(study):
    spend(study, "rloo-*", episodes=384)
    (note,) = said(study, "budgets are")
    assert "equal in generated tokens, labels and device-seconds, and not equal in episodes" in note
    assert "320 to rloo 384" in note


def test_unequal_seconds_for_equal_work_are_the_machines(study):
    spend(study, "ppo-tiny-s1-*", device_seconds=60.0)
    (note,) = said(study, "other work ran on the machine")
    assert "ppo up to 3.0 times as long" in note and "rloo" not in note


def test_of_more_than_two_arms_the_least_and_the_most_are_named():
    assert spread({f"a{i}": 100.0 + i * 50 for i in range(9)}) == "(from a0 100 to a8 500)"
    assert spread({"a": 100.0, "b": 100.5}) == spread({"a": None}) == ""
    assert spread({"a": 2.8e12, "b": 1e13}) == "(a 2.80 × 10¹², b 1.00 × 10¹³)"
