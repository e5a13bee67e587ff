"""Every committed study composes, and each of its runs is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.config import equal_settings, study_file
from align_lab.config import study as studies

SWEEPS = sorted(path.stem for path in (Path(__file__).parents[2] / "sweeps").glob("*.yaml"))


@pytest.mark.nightly
@pytest.mark.parametrize("name", SWEEPS)
def test_every_run_of_a_committed_study_is_valid(name):
    study = studies.read([f"sweeps={name}"])
    arms = {str(run["arm"]) for run in study.runs}
    assert study.name == name, "a study has the name of its file"
    assert arms == set(study.settings.arms) and not study.duplicates
    seeds = study.settings.seeds
    assert len(study.runs) == len(arms) * (seeds["most"] if study.seed_plan else len(seeds))
    assert study.settings.question.endswith("?")


@pytest.mark.parametrize("name", ["ppo_max", "preference_losses"])  # of many steps; tuned
def test_a_study_of_minutes_is_a_committed_study_with_the_words_of_the_page(name):
    page = (Path(__file__).parents[2] / "docs" / "running_studies.md").read_text(encoding="utf-8")
    (typed,) = re.findall(r"`align_lab (sweeps=sail [^`]*)`", page)
    words = [word.replace("sail", name).strip("'") for word in typed.split()]
    study = studies.read(words)
    assert study.name == f"{name}_quick" and study.tuning is None and study.seed_plan is None
    assert len(study.runs) == 3 * len(study.settings.arms)
    assert {registry.build("train", run["train"]).planned_steps for run in study.runs} == {960 // 64}


TUNED = "sweeps=five_algorithms"  # tuned, and with seeds in steps


def test_the_command_line_has_the_last_word_on_seeds_and_tuning():
    plain = studies.read([TUNED, "tune=null", "seeds=[0,1]"])
    assert plain.tuning is None and plain.seed_plan is None and len(plain.runs) == 5 * 2
    other = studies.read([TUNED, "tune.sampler=tpe", "tune.trials=4", "seeds.most=6"])
    assert other.tuning.sampler == "tpe" and other.tuning.trials == 4 and other.seed_plan.most == 6
    merged = studies.read([TUNED, "tune={trials: 3}"])
    assert merged.tuning.trials == 3 and merged.tuning.seeds == [100, 101]


@pytest.mark.parametrize(
    ("texts", "multirun", "message"),
    [
        ([TUNED, "tune.trial=3"], True, "tune.trial is not known: did you mean 'trials'?"),
        ([TUNED, "seeds.mst=6"], True, "seeds.mst is not known: did you mean 'most'?"),
        ([TUNED, "tune=3"], True, "tune=3: it must be {trials: 12"),
        ([TUNED, "vary=${seed}"], True, "vary=0: it must be a list of rl, pairs, reward, policy"),
        ([TUNED, "tune.trials=3,4"], True, "tune.trials=3,4: a study has one value of tune.trials"),
        (["algo=rloo,dpo", "seeds=[0,1]", "seed=1,2"], True, "seeds=[0,1] and seed=1,2: both say which seeds"),
        (["algo=rloo", "tune.trials=3"], False, "tune is of a study with several runs, and this is one run. Add -m"),
        (["algo=rloo", "seeds=[0,1]"], False, "seeds is of a study with several runs"),
        (["algo=rloo", "budget.episodes=64"], False, "this is one run. Type train.budget.episodes=64"),
    ],
)
def test_what_a_plan_cannot_say_is_refused(texts, multirun, message):
    with pytest.raises(ConfigError) as refused:
        studies.read(texts, multirun=multirun)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("arms: ${seed}", "arms=0: it must be a mapping"),
        ("arms: {a: '${seed}'}", "arms.a: it is 0, and must be a list, for example arms.a=[algo=rloo]"),
        ("arms: {a: '${study}'}", "arms.a: it is 'mine', and must be a list, for example arms.a=[algo=rloo]"),
        ("claims: [[a > b]]", "claims: ['a > b'] is not understood. Write 'A > B'"),
    ],
)
def test_a_field_of_a_sweep_file_that_has_another_form_is_named(tmp_path, monkeypatch, field, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(f"# @package _global_\nstudy: mine\nseeds: [0]\n{field}\n")
    with pytest.raises(ConfigError) as refused:
        studies.read(["sweeps=mine"])
    assert said in str(refused.value)


def test_a_sweep_file_for_another_package_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text("# @package no.such\nstudy: mine\n")
    with pytest.raises(ConfigError, match=r"its first line is '# @package no\.such'\. Write '# @package _global_'"):
        studies.read(study_file.expanded(["sweeps=mine"]))


ARMS = "arms={{a: ['algo=grpo', '{}'], b: ['algo=rloo', '{}'], c: ['algo=dpo']}}"


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (
            "sampling.missing_eos_penalty=0",
            "train.group_size=8",
            "the arms differ in sampling.missing_eos_penalty (a: 0.0; b: 1.0; c: 1.0). A setting must be equal in all",
        ),
        ("reward=length", "train.lr=1e-4", 'differ in reward (a: "length"; b: "human_ratings"; c: "human_ratings").'),
        ("sampling.top_p=0.9", "sampling.top_p=0.8", "type it once, for all: sampling.top_p=0.9."),
        ("sampling.top_p=0.9", "sampling.top_p=0.9", "sweep it in place of arms, -m sampling.top_p=A,B"),
        ("evaluation.prompts=8", "evaluation.every=3", "(a: 20; b: 3; c: 20)"),
    ],
)
def test_arms_that_differ_in_a_setting_are_refused_before_anything_runs(a, b, message):
    with pytest.raises(ConfigError) as refused:
        studies.read([ARMS.format(a, b), "seeds=[0,1]"])
    assert message in str(refused.value)


def test_a_setting_that_the_command_sweeps_is_no_difference_between_arms_and_is_said():
    swept = studies.read(["algo=rloo,dpo", "sampling.top_p=0.9,1", "seed=0,1"])
    assert len(swept.runs) == 8
    assert equal_settings.caution(swept.runs) == (
        "a setting, sampling.top_p (0.9, 1.0), is not equal in all runs: compare refuses them, unless you type "
        "--allow=sampling.top_p"
    )
    recipes = studies.read(["algo=rloo,dpo", "train.lr=1e-4,1e-5", "hardware.placement.minutes=9,8"])
    assert not equal_settings.caution(recipes.runs)
