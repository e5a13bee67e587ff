"""Factors of a study file: their combinations are its arms, and what makes no design is refused with what to write."""

from __future__ import annotations

import json
import re

import pytest

from align_lab.base.errors import ConfigError, DataError
from align_lab.config import study, study_file
from align_lab.dispatch import expected_runs
from align_lab.record import expected
from align_lab.record.layout import StudyLayout

FOUR = """\
algo: policy_gradient
factors:
  algo.baseline: [none, moving_average, leave_one_out, group_mean]
  algo.normalization: [none, group, batch]
  algo.kl: [none, sequence_reward, k2_loss, k3_loss]
  algo.aggregation: [token_mean, sequence_mean, sequence_sum, constant]
design: fraction
seeds: [0, 1]
"""
NAMED = """\
factors:
  algorithm: {RLOO: [algo=rloo], GRPO: [algo=grpo]}
  samples: {few: [], many: [train.group_size=8, train.prompts_per_step=8]}
  train.lr: [1e-4, 5e-4]
seeds: [0, 1]
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def of(text, *words):
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return study.read([*study_file.expanded(["mine.yaml"]), *words])

    return of


def test_a_fraction_of_four_fields_is_sixteen_arms_each_with_one_value_of_every_field(read):
    asked = read(FOUR)
    assert len(asked.runs) == 16 * 2 and len(asked.design.cells) == 16 and not asked.duplicates
    assert list(asked.design.levels) == ["baseline", "normalization", "kl", "aggregation"]
    for run in asked.runs:
        values = tuple(run["algo"][factor] for factor in asked.design.levels)
        assert run["arm"] == " + ".join(values) and asked.design.cells[run["arm"]] == values


def test_levels_may_have_names_and_several_overrides(read):
    asked = read(NAMED)
    assert len(asked.design.cells) == 8 and asked.design.is_full
    by_arm = {run["arm"]: run for run in asked.runs}
    one = by_arm["GRPO + many + 0.0005"]
    assert one.choices["algo"] == "grpo" and one["train"]["group_size"] == 8 and one["train"]["lr"] == 5e-4
    assert by_arm["RLOO + few + 0.0001"]["train"]["group_size"] == 4
    assert asked.design.levels["lr"] == ("0.0001", "0.0005")


def test_a_sweep_file_for_hydra_has_factors_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    text = "# @package _global_\nstudy: packaged\n" + NAMED
    (tmp_path / "sweeps" / "packaged.yaml").write_text(text)
    asked = study.read(["sweeps=packaged", "design=fraction"])
    assert len(asked.design.cells) == 4 and len(asked.runs) == 8


def test_what_the_factors_are_is_recorded_with_the_study_and_stays(read, tmp_path):
    asked = read(FOUR)
    expected_runs.update(tmp_path, asked)
    expected_runs.update(tmp_path, study.read(["algo=rloo,grpo", "seeds=[0,1]"]))
    recorded = expected.read(tmp_path)
    assert recorded["factors"] == {name: list(levels) for name, levels in asked.design.levels.items()}
    assert recorded["cells"] == {arm: list(levels) for arm, levels in asked.design.cells.items()}


def test_a_damaged_record_of_the_factors_is_named(tmp_path):
    file = StudyLayout(tmp_path).expected_runs
    file.parent.mkdir(parents=True)
    for cell in (["none"], ["none", "many"]):
        content = {"runs": {}, "factors": {"kl": ["none", "k2"], "samples": ["few"]}, "cells": {"a": cell}}
        file.write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"cells\.a holds .*, which are no levels of the factors. Remove it"):
            expected.read(tmp_path)


TWO = "factors: {algo.kl: [none, k2_loss], algo.baseline: [none, group_mean]}\nalgo: policy_gradient\nseeds: [0, 1]\n"


def replaced(old, new):
    assert old in TWO
    return TWO.replace(old, new)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("factors: 3\n", "factors=3: it must be two factors or more with their levels, for example {algo.kl:"),
        ("factors: {algo.kl: [none, k2_loss]}\n", "The levels of one factor are arms: write arms"),
        (replaced("[none, k2_loss]", "[none]"), "factors.algo.kl has one level, and nothing to compare it with."),
        (replaced("[none, k2_loss]", "none"), "factors.algo.kl=none: write the values of a field"),
        (replaced("[none, k2_loss]", "[none, none]"), "factors.algo.kl: none is there twice"),
        (replaced("[none, k2_loss]", "[none, [a]]"), "is no name: it is made of letters of ASCII"),
        (
            replaced("algo.kl: [none, k2_loss]", "kl: {a: [algo.kl=none], b: [algo.kl=none]}"),
            "factors.kl: a and b are the same, and would be compared with itself. Leave one out",
        ),
        (replaced("algo.kl: [none, k2_loss]", "kl: {a: algo.kl=none}"), "factors.kl.a=algo.kl=none: write the values"),
        (
            replaced("algo.kl: [none, k2_loss]", "kl: {a: ['algo.kl=none,k2_loss'], b: []}"),
            "factors.kl.a: algo.kl=none,k2_loss holds several values. Write a level for each value",
        ),
        (
            replaced("algo.kl: [none, k2_loss]", "kl: {a: [algo.baseline=none], b: [algo.kl=none]}"),
            "sets algo.baseline, as kl does: they could not be told apart. Leave it to one of them",
        ),
        (replaced("algo.kl", "model.kl.baseline"), "factors: two are called baseline. Give one a name: NAME: {LEVEL:"),
        (TWO + "arms: {a: [algo=rloo], b: [algo=dpo]}\n", "factors and arms: the combinations of factors are the arms"),
        (TWO + "control: none\n", "control asks about arms, and factors about their levels: leave one of the two out"),
        (TWO + "contrasts: [[a, b]]\n", "contrasts asks about arms"),
        (TWO.replace("[0, 1]", "{first: 4, smallest: 0.1}"), "factors need a fixed number of seeds"),
        (TWO + "design: fraction\n", "design=fraction: none is smaller than all 4 combinations"),
        (TWO + "design: half\n", "design=half is not known: allowed: fraction, full, interactions"),
        (FOUR.replace("fraction", "full"), "all 192 combinations are too many: a study has at most 128 cells"),
        (FOUR.replace("fraction", "full"), "Type design=fraction, which has 16 cells, or leave levels out"),
        (FOUR.replace("fraction", "interactions"), "Type design=fraction, which has 16 cells"),
        ("design: fraction\nalgo: rloo\n", "design=fraction is a choice among the combinations of factors. Add two"),
        (replaced("[none, k2_loss]", "[none, k4_loss]"), "algo.kl=k4_loss is not known: did you mean 'k3_loss'?"),
    ],
)
def test_factors_that_make_no_design_are_refused_with_what_to_write(read, text, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        read(text)


@pytest.mark.parametrize("word", ["algo.kl=none", "algo.kl=none,k2_loss"])
def test_the_command_line_cannot_set_what_a_factor_chooses(read, word):
    with pytest.raises(ConfigError, match="algo.kl is set for every run, and kl is to choose it: leave one of the two"):
        read(FOUR, word)


def test_one_run_has_no_factors():
    for word in ("factors={algo.kl: [none, k2_loss], algo.baseline: [none, group_mean]}", "design=fraction"):
        with pytest.raises(ConfigError, match="is of a study with several runs, and this is one run"):
            study.read(["algo=policy_gradient", word], multirun=False)
