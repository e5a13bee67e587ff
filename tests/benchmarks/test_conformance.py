"""Our components against values that TRL's own code computed, and the tool that computes and compares them.

`values/trl_1_16.json` holds TRL's inputs and results with versions and date, as `benchmarks.conformance --record` wrote
them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.conformance import __main__ as tool
from benchmarks.conformance import ours
from benchmarks.conformance.__main__ import RECORDED, from_recording
from benchmarks.conformance.cases import DEFAULTS, QUANTITIES
from benchmarks.conformance.comparing import compare, gap
from benchmarks.conformance.report import DOCS, markdown
from benchmarks.conformance.table import CASES
from benchmarks.trl_environment import installed

BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module")
def recorded():
    content, outcomes = from_recording(CASES)
    return content, {one.case.name: one for one in outcomes}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_first_difference_from_trl_is_the_declared_one(recorded, name):
    one = recorded[1][name]
    assert one.first == BY_NAME[name].expected, one.differences


@pytest.mark.parametrize(
    ("name", "fields", "first"),
    [
        ("grpo: the paper's", {"clip": 0.1}, "clip"),
        ("grpo: the paper's", {"kl_coef": 0.05}, "kl"),
        ("grpo: the paper's", {"std_eps": 1e-2}, "advantage"),
        ("gspo: the paper's", {"clip": 0.2}, "clip"),
        ("cispo: weights up to 5", {"weight_cap": 1.5}, "ratio"),
        ("dr_grpo: with KL", {"kl_coef": 0.05}, "kl"),
        ("dpo: defaults", {"beta": 0.11}, "denominator"),
        ("ipo: means over tokens", {"beta": 0.2, "over_tokens": "mean"}, "denominator"),
        ("kto: defaults", {"beta": 0.2}, "loss"),
        ("simpo: the paper's", {"gamma": 0.5}, "loss"),
        ("rloo: first update of a rollout", {"kl_coef": 0.04}, "advantage"),
    ],
)
def test_another_setting_is_found_and_named(recorded, name, fields, first):
    content = recorded[0]
    case = replace(BY_NAME[name], ours=fields)
    theirs = content["results"][name]
    assert compare(case, ours.quantities(case, content["record"], theirs), theirs).first == first


def test_every_algorithm_has_both_comparisons():
    for algo in {case.algo for case in CASES}:
        cases = [case for case in CASES if case.algo == algo]
        assert any(case.comparison == DEFAULTS for case in cases), algo
        assert any(case.expected == "equal" for case in cases), algo


def test_every_difference_is_explained_and_every_declaration_is_a_quantity():
    assert len(BY_NAME) == len(CASES)
    for case in CASES:
        assert case.expected in ("equal", *QUANTITIES), case.name
        assert case.because or case.expected == "equal", case.name


def test_the_recording_states_where_its_values_come_from():
    content = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert content["versions"]["trl"].startswith("1.16.")
    assert set(content["results"]) == set(BY_NAME)
    assert set(content["functions"]) == {case.trainer for case in CASES}
    assert all(text.startswith("trl.") for text in content["functions"].values())


def test_the_table_in_docs_is_that_of_the_recording(recorded):
    assert markdown(list(recorded[1].values())) in DOCS.read_text(encoding="utf-8"), (
        "type: python -m benchmarks.conformance --recorded --docs"
    )


def test_differences_are_relative_above_one_and_shapes_must_agree():
    assert gap([1.0, 2.0], [1.0, 4.0]) == 0.5
    assert gap([0.25], [0.5]) == 0.25
    assert gap([1.0], [[1.0]]) == gap([float("nan")], [1.0]) == float("inf")


@pytest.mark.parametrize(("declared", "status"), [("ratio", 0), ("equal", 1)])
def test_the_exit_status_says_whether_all_is_as_declared(monkeypatch, capsys, declared, status):
    case = replace(BY_NAME["rloo: defaults"], expected=declared)
    monkeypatch.setattr(tool, "CASES", [case])
    monkeypatch.setattr(sys, "argv", ["conformance", "--recorded"])
    assert tool.main() == status
    assert ("declared: equal" in capsys.readouterr().out) == bool(status)


@pytest.mark.slow
def test_the_tool_runs_trl(tmp_path):
    if installed() is None:
        pytest.skip("there is no environment of TRL: python -m benchmarks.conformance makes one")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.conformance", "--algo", "dpo", "--json", str(tmp_path / "out.json")],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads((tmp_path / "out.json").read_text())["comparisons"]
    assert {row["algo"] for row in rows} == {"dpo"} and all(row["as_declared"] for row in rows)
    assert "dpo" in done.stdout and "trl 1.16." in done.stdout
