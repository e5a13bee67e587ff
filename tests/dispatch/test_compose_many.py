"""Many jobs are composed by merging values into Hydra's result: each equals what Hydra itself composes."""

import hydra
import pytest
from omegaconf import OmegaConf

from align_lab.base.errors import ConfigError
from align_lab.base.paths import conf_folder
from align_lab.config import composition
from align_lab.config.root import STUDY_KEYS

SAMPLE = [
    ["algo=rloo", "seed=3", "train.lr=1", "sampling.temperature=1.5"],
    ["algo=ppo", "algo.clip=0.1", "train.budget.episodes=640", "study=x"],
    ["reward=vader", "hardware=slurm_gpu", "hardware.placement.partition=main", "train.micro_batch=null"],
    ["algo=dpo", "preferences={pairs: 64, seed: 4}", "evaluation.prompts=32"],
    ["sweeps=five_algorithms", "algo=reinforce", "train.max_grad_norm=.inf", "hardware.placement.setup=[a,b]"],
]


@pytest.mark.parametrize("overrides", SAMPLE, ids=lambda o: o[0])
def test_the_merged_config_equals_hydras(overrides):
    composition.load_components()
    merged = composition.Composer().run(overrides)
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        expected = hydra.compose(
            "config", [text.replace(".inf", "inf") for text in [*overrides, composition.search_path_override()]]
        )
    plain = OmegaConf.to_container(expected, resolve=True)
    for judge in plain["evaluation"]["judges"].values():
        judge["max_failed"] = 0.1  # judges of a run have all their fields
    assert merged.values == {key: value for key, value in plain.items() if key not in (*STUDY_KEYS, "sweeps")}


def test_composing_a_job_does_not_change_the_next_one():
    composer = composition.Composer()
    first = composer.run(["algo=rloo", "seed=1"])
    composer.run(["algo=rloo", "seed=2", "train.lr=1"])
    assert composer.run(["algo=rloo", "seed=1"]) == first


def test_jobs_that_differ_in_the_seed_alone_equal_those_that_are_composed_one_by_one():
    jobs = [["algo=rloo", f"seed={seed}", "train.lr=1"] for seed in range(3)] + [["algo=rloo", "seed=2"]]
    together = composition.Composer().runs(jobs)
    alone = [composition.Composer().run(job) for job in jobs]
    assert together == alone and [run.name for run in together] == [run.name for run in alone]
    with pytest.raises(ConfigError, match="seed"):
        composition.Composer().runs([*jobs, ["algo=rloo", "train.lr=1", "seed=-1"]])


def test_a_value_that_a_users_yaml_derives_from_the_seed_is_derived_for_each(tmp_path, monkeypatch):
    (tmp_path / "conf" / "record").mkdir(parents=True)
    (tmp_path / "conf" / "record" / "mine.yaml").write_text(
        "defaults:\n  - /schema/record/local@_here_\n  - _self_\ncheckpoint_every: ${seed}\n"
    )
    monkeypatch.chdir(tmp_path)
    runs = composition.Composer().runs([["algo=rloo", "record=mine", f"seed={seed}"] for seed in (4, 5)])
    assert [run["record"]["checkpoint_every"] for run in runs] == [4, 5]
