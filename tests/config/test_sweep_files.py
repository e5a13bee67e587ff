"""Every committed study composes, and each of its runs is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from align_lab.base.errors import ConfigError
from align_lab.config import study as studies
from align_lab.config import study_file

SWEEPS = sorted(path.stem for path in (Path(__file__).parents[2] / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("name", SWEEPS)
def test_every_run_of_a_committed_study_is_valid(name):
    study = studies.read([f"sweeps={name}"])
    arms = {str(run["arm"]) for run in study.runs}
    assert study.name == name, "a study has the name of its file"
    assert arms == set(study.settings.arms) and not study.duplicates
    seeds = study.settings.seeds
    assert len(study.runs) == len(arms) * (seeds["most"] if study.seed_plan else len(seeds))
    assert study.settings.question.endswith("?")


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
