"""Runs of other programs: read from files in their own formats, compared alike, and never taken for proven."""

import json
import math

import pytest

from align_lab.base.errors import ConfigError
from align_lab.compare.foreign import reader, sources
from tests.compare.foreign_files import (
    openrlhf_rows,
    trl_ppo_state,
    trl_state,
    verl_log,
    wandb_chart,
    write_csv,
)


def read(*words):
    return reader.read([[str(word) for word in words]])


def told(result):
    return [(run.label, run.seed) for run in result.runs]


# TRL


def test_a_folder_of_trl_runs_gives_arms_and_seeds_from_its_names(tmp_path):
    trl_state(tmp_path / "grpo-qwen-s1", [0.1, 0.2])
    trl_state(tmp_path / "grpo-qwen-seed_2", [0.1, 0.4])
    trl_state(tmp_path / "rloo" / "seed3", [0.1, 0.3])
    result = read("trl", tmp_path)
    assert sorted(told(result)) == [("grpo-qwen (TRL)", 1), ("grpo-qwen (TRL)", 2), ("rloo (TRL)", 3)]
    one = next(run for run in result.runs if run.seed == 1)
    assert one.series["objective/scores"] == ([1, 2], [0.1, 0.2])
    assert one.series["objective/kl"] == ([1, 2], [0.01, 0.02])
    assert one.columns["completions/mean_length"] == "completions/mean_length"


def test_the_state_is_read_as_transformers_itself_saves_it(tmp_path):
    from transformers.trainer_callback import TrainerState

    history = [{"reward": 0.25, "kl": 0.5, "step": 1}, {"eval_reward": 0.75, "step": 1}, {"train_loss": 0.1, "step": 1}]
    (tmp_path / "grpo-s1").mkdir()
    TrainerState(global_step=1, log_history=history).save_to_json(str(tmp_path / "grpo-s1" / "trainer_state.json"))
    (run,) = read("trl", tmp_path).runs
    assert (run.last("objective/scores"), run.last("eval/score"), run.seed) == (0.25, 0.75, 1)


def test_a_held_out_score_of_trl_is_its_eval_reward(tmp_path):
    trl_state(tmp_path / "grpo-s1", [0.1, 0.2, 0.3, 0.4], evals=[0.5, 0.7])
    (run,) = read("trl", tmp_path).runs
    assert run.series["eval/score"] == ([2, 4], [0.5, 0.7]) and run.last("eval/score") == 0.7


def test_names_of_the_older_ppo_trainer_are_ours(tmp_path):
    trl_ppo_state(tmp_path / "ppo-s4", [0.5, 1.0])
    (run,) = read("trl", tmp_path).runs
    assert run.last("objective/scores") == 1.0 and run.last("episode") == 128 and run.last("objective/kl") == 1.0


def test_of_a_runs_checkpoints_only_the_furthest_counts(tmp_path):
    trl_state(tmp_path / "grpo-s1" / "checkpoint-2", [0.1, 0.2])
    trl_state(tmp_path / "grpo-s1" / "checkpoint-10", [0.1, 0.2, 0.9])
    trl_state(tmp_path / "grpo-s2" / "checkpoint-2", [0.1, 0.2])
    trl_state(tmp_path / "grpo-s2", [0.1, 0.2, 0.8])
    result = read("trl", tmp_path)
    assert {run.seed: run.last("objective/scores") for run in result.runs} == {1: 0.9, 2: 0.8}
    assert told(read("trl", tmp_path / "grpo-s1" / "checkpoint-10" / "trainer_state.json")) == [("grpo (TRL)", 1)]


def test_a_training_score_is_the_mean_of_the_last_tenth(tmp_path):
    trl_state(tmp_path / "grpo-s1", [*([0.0] * 18), 0.4, 0.6])
    assert read("trl", tmp_path).runs[0].last("objective/scores") == 0.5


# verl and OpenRLHF


def test_a_log_of_verl_is_read_with_its_validation(tmp_path):
    log = verl_log(
        tmp_path / "gsm8k" / "grpo-s3.jsonl", [0.2, 0.4], val=[0.1, 0.5], torn='{"step": 3, "data": {"critic'
    )
    (run,) = read("verl", log).runs
    assert (run.label, run.seed) == ("grpo (verl)", 3)
    assert run.series["eval/score"] == ([0, 2], [0.1, 0.5])
    assert run.series["objective/scores"] == ([1, 2], [0.2, 0.4])
    assert run.columns["objective/kl"] == "actor/kl_loss"


def test_several_validation_sets_are_not_guessed_between(tmp_path):
    log = verl_log(tmp_path / "grpo-s3.jsonl", [0.2, 0.4], val=[0.1, 0.5])
    row = {"step": 3, "data": {"val-core/math/reward/mean@1": 0.5}}
    log.write_text(log.read_text() + json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match=r"(?s)val-core/openai/gsm8k/reward/mean@1, val-core/math.*map=FILE"):
        read("verl", log)
    own = tmp_path / "own.yaml"
    own.write_text("metrics: {eval/score: [val-core/math/reward/mean@1]}\n")
    assert read("verl", log, f"map={own}").runs[0].last("eval/score") == 0.5


def test_rows_of_openrlhf_are_read(tmp_path):
    openrlhf_rows(tmp_path / "reinforce-s7.jsonl", [0.1, 0.6])
    (run,) = read("openrlhf", tmp_path).runs
    assert (run.label, run.seed, run.last("objective/scores")) == ("reinforce (OpenRLHF)", 7, 0.6)
    assert run.last("completions/mean_length") == 100


# W&B


def test_charts_of_wandb_are_split_by_run_and_joined_by_name(tmp_path):
    wandb_chart(tmp_path / "a.csv", "train/reward", {"grpo-s1": [0.1, 0.3], "grpo - big-s2": [0.2, 0.5, 0.6]})
    wandb_chart(tmp_path / "b.csv", "train/kl", {"grpo-s1": [0.0, 2.0], "grpo - big-s2": [0.0, 3.0]})
    result = read("wandb", tmp_path)
    assert told(result) == [("grpo (W&B)", 1), ("grpo - big (W&B)", 2)]
    assert result.runs[0].series["objective/scores"] == ([0, 10], [0.1, 0.3])
    assert result.runs[0].last("objective/kl") == 2.0 and all(run.sampled for run in result.runs)
    assert result.runs[1].series["objective/scores"] == ([0, 10, 20], [0.2, 0.5, 0.6])


def history(scores):
    return [
        {"_step": i, "_runtime": 3.0 * i, "train/global_step": 2 * i, "train/reward": value, "eval/reward": None}
        for i, value in enumerate(scores)
    ]


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet"])
def test_a_history_of_wandb_is_read_in_every_format(tmp_path, ending):
    rows, path = history([0.1, 0.5]), tmp_path / f"dpo-s5.{ending}"
    if ending == "csv":
        write_csv(path, rows)
    elif ending == "parquet":
        import polars as pl

        pl.DataFrame(rows, schema_overrides={"eval/reward": pl.Float64}).write_parquet(path)
    else:
        path.write_text(json.dumps(rows) if ending == "json" else "".join(json.dumps(row) + "\n" for row in rows))
    (run,) = read("wandb", path).runs
    assert (run.label, run.seed, run.sampled) == ("dpo (W&B)", 5, False)
    assert run.series["objective/scores"] == ([0, 2], [0.1, 0.5])
    assert "eval/score" not in run.series  # a column without a number is none


def test_columns_as_pandas_writes_them_are_read(tmp_path):
    path = tmp_path / "dpo-s5.json"
    path.write_text(json.dumps({"_step": {"0": 0, "1": 1}, "train/reward": {"0": 0.1, "1": 0.5}}))
    assert read("wandb", path).runs[0].last("objective/scores") == 0.5


def test_the_runs_table_of_wandb_names_its_runs_and_their_seeds(tmp_path):
    rows = [
        {"Name": f"brave-fox-{i}", "State": "finished", "algo": "grpo", "seed": i, "train/reward": 0.1 * i}
        for i in (1, 2)
    ]
    result = read("wandb", write_csv(tmp_path / "export.csv", rows))
    assert told(result) == [("grpo (W&B)", 1), ("grpo (W&B)", 2)] and result.runs[1].last("objective/scores") == 0.2


# Arm, seed, mapping


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.yaml", "seed: {value: 11}\nalgorithm: {value: {adv_estimator: rloo}}\n"),  # W&B's run folder
        ("config.json", json.dumps({"data": {"seed": 11}, "algorithm": {"adv_estimator": "rloo"}})),
        (".hydra/config.yaml", "data: {seed: 11}\nalgorithm: {adv_estimator: rloo}\nmodel: ${oc.env:X}\n"),
    ],
)
def test_a_config_beside_the_file_says_arm_and_seed(tmp_path, file, text):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / file).write_text(text)
    assert told(read("verl", verl_log(tmp_path / "exp-s2.jsonl", [0.1]))) == [("rloo (verl)", 11)]


def test_what_is_typed_counts_before_all_else(tmp_path):
    trl_state(tmp_path / "grpo-s1", [0.1])
    assert told(read("trl", tmp_path, "arm=mine", "seed=9")) == [("mine (TRL)", 9)]


def test_a_seed_that_cannot_be_told_is_asked_for(tmp_path):
    trl_state(tmp_path / "experiments1", [0.1])
    with pytest.raises(ConfigError, match=r"seed of experiments1.*--from trl .* seed=1"):
        read("trl", tmp_path / "experiments1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trl"], "lacks its path"),
        (["trll", "x"], "did you mean 'trl'"),
        (["trl", "nowhere"], "there is no nowhere"),
        (["trl", ".", "five"], "'five' behind --from"),
        (["trl", ".", "seed=one"], "holds no trainer_state.json"),
        (["wandb", "nowhere.csv"], "there is no nowhere.csv"),
        (["trl", ".", "map=gone.yaml"], "no mapping file gone.yaml"),
    ],
)
def test_a_wrong_word_says_what_to_type(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        reader.read([words])


def test_a_file_without_a_score_names_its_columns_and_the_way_to_map_them(tmp_path):
    log = tmp_path / "mine-s1.jsonl"
    log.write_text('{"step": 1, "my_metric": 0.5, "note": "text"}\n{"step": 2, "my_metric": 0.75}\n')
    with pytest.raises(ConfigError, match=r"(?s)Its columns: step, my_metric\.\n.*map=FILE.*eval/score"):
        read("verl", log)
    own = tmp_path / "own.yaml"
    own.write_text("title: Mine\nmetrics:\n  eval/score: my_metric\n")
    (run,) = read("verl", log, f"map={own}").runs
    assert run.label == "mine (Mine)" and run.series["eval/score"] == ([1, 2], [0.5, 0.75])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics: {eval/scor: [x]}", "did you mean 'eval/score'"),
        ("metric: {}", "did you mean 'metrics'"),
        ("[1, 2]", "is no mapping file"),
        ("a: [", "is no mapping file"),
    ],
)
def test_a_wrong_mapping_file_is_refused(tmp_path, text, said):
    own = tmp_path / "own.yaml"
    own.write_text(text)
    with pytest.raises(ConfigError, match=said):
        sources.named("trl", str(own))


@pytest.mark.parametrize("name", sources.names())
def test_every_mapping_that_comes_along_is_whole(name):
    source = sources.named(name)
    assert source.title and source.files and source.step and any(score in source.metrics for score in sources.SCORES)


@pytest.mark.parametrize("content", ["", "nonsense", "[1, 2]", '{"a": 1}'])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "grpo-s1" / "trainer_state.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"trainer_state\.json cannot be read"):
        read("trl", tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf, "NaN", "Infinity"])
def test_a_run_that_ends_without_a_number_is_left_out_with_the_reason(tmp_path, value):
    openrlhf_rows(tmp_path / "ppo-s1.jsonl", [0.1, value])
    openrlhf_rows(tmp_path / "ppo-s2.jsonl", [0.1, 0.2])
    result = read("openrlhf", tmp_path)
    assert told(result) == [("ppo (OpenRLHF)", 2)]
    (left,) = result.left_out
    assert (left.name, left.state, left.seed) == ("ppo-s1", "diverged", 1) and "train/reward ends with" in left.why


def test_a_seed_that_is_there_already_is_left_out(tmp_path):
    trl_state(tmp_path / "a" / "grpo-s1", [0.1])
    trl_state(tmp_path / "b" / "grpo-s1", [0.2])
    result = read("trl", tmp_path)
    assert len(result.runs) == 1 and f"{result.runs[0].name} is used" in result.left_out[0].why
