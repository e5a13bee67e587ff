"""Configs of other trainers, as they write them (`configs/`), in our fields: what is equal, what differs, what is not
known. Expected values are read off the files and the trainers' documentation, never off the tables.
"""

import json
import shutil
from pathlib import Path

import pytest

from align_lab.base.errors import ConfigError
from align_lab.compare.foreign import reader
from align_lab.compare.foreign.settings import agreement
from align_lab.compare.foreign.settings.translation import Known
from tests.compare.foreign_files import openrlhf_rows, trl_state, verl_log, wandb_chart

CONFIGS = Path(__file__).parent / "configs"
OURS = {
    "algo.name": "grpo", "algo.kl_coef": 0.04, "algo.clip": 0.2, "algo.std_eps": 1e-4, "data.name": "files",
    "reward.name": "python", "evaluation.metric": "eval/score", "evaluation.temperature": None, "evaluation.samples": 1,
    "model.name": "hf", "model.path": "Qwen/Qwen2.5-0.5B-Instruct", "model.lora.rank": 0, "model.lora.alpha": 32,
    "hardware.numerics.dtype": "float32", "sampling.temperature": 0.7, "sampling.top_p": 1.0,
    "sampling.max_new_tokens": 8, "sampling.missing_eos_penalty": 0.0, "sampling.importance_cap": None,
    "train.prompts_per_step": 4, "train.group_size": 4, "train.epochs": 1, "train.minibatches": 1, "train.lr": 3e-4,
    "train.warmup_steps": 1, "train.decay": "constant", "train.beta1": 0.9, "train.beta2": 0.95, "train.adam_eps": 1e-8,
    "train.weight_decay": 0.0, "train.max_grad_norm": 1.0, "train.steps": 2, "train.critic_lr": 1e-3,
}  # fmt: skip


def one(*words):
    (run,) = reader.read([[str(word) for word in words]]).runs
    return run.settings


def values(settings):
    return {name: found.value for name, found in settings.fields.items() if isinstance(found, Known)}


def rows(settings, **ours):
    side = agreement.ours("mine", {**OURS, **ours})
    found = agreement.agreement("theirs", settings, [side])
    return found, {row["field"]: row for row in found["fields"]}


@pytest.fixture
def trl(tmp_path):
    return Path(shutil.copytree(CONFIGS / "trl_1_16", tmp_path / "grpo-s1"))


@pytest.fixture
def verl(tmp_path):
    log = verl_log(tmp_path / "grpo-s1.jsonl", [0.1, 0.2])
    (tmp_path / ".hydra").mkdir()
    shutil.copy(CONFIGS / "verl_0_7" / "config.yaml", tmp_path / ".hydra" / "config.yaml")
    return log


# TRL


def test_a_folder_of_trl_is_read_with_its_version_and_trainer(trl):
    settings = one("trl", trl)
    assert settings.version == "TRL 1.16.0" and settings.files == ["training_args.json"]
    found = values(settings)
    expected = {
        "algo.name": "grpo", "algo.kl_coef": 0.04, "sampling.temperature": 0.7, "sampling.max_new_tokens": 8,
        "train.group_size": 4, "train.prompts_per_step": 4, "train.minibatches": 1, "train.epochs": 1,
        "train.lr": 3e-4, "train.decay": "constant", "train.warmup_steps": 1, "train.beta2": 0.999, "train.steps": 2,
        "hardware.numerics.dtype": "float32", "model.lora.rank": 0, "train.optimizer": "adamw",
        "algo.kl_times_ratio": True, "sampling.top_k": None, "sampling.importance_cap": None,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


def test_the_table_begins_with_what_differs_and_never_proves_data_and_reward(trl):
    found, by_field = rows(one("trl", trl))
    differ = {row["field"] for row in found["fields"] if row["state"] == "differs"}
    assert differ == {"evaluation.samples", "algo.kl_times_ratio", "train.beta2"}
    unknown = {row["field"] for row in found["fields"] if row["state"] == "not known"}
    assert unknown == {"data", "reward", "evaluation", "model"}
    assert [row["state"] for row in found["fields"]] == sorted(
        (row["state"] for row in found["fields"]), key=["differs", "not known", "equal"].index
    )
    count = len(found["fields"])
    assert (found["differs"], found["unknown"], found["equal"]) == (3, 4, count - 7)
    begin = f"Of {count} settings that decide a comparison of theirs with mine, {count - 7} are equal, 3 differ ("
    assert found["sentence"].startswith(begin)
    assert by_field["train.beta2"]["source"] == "adam_beta2 in training_args.json"
    assert by_field["algo.clip"]["role"] == "recipe" and by_field["sampling.top_p"]["role"] == "setting"
    assert "train.critic_lr" not in by_field  # GRPO has no critic


def test_fields_of_another_algorithm_are_not_compared(trl):
    _, by_field = rows(one("trl", trl), **{"algo.name": "ppo", "algo.vf_coef": 0.1})
    assert [name for name in by_field if name.startswith("algo.")] == ["algo.name"]
    assert by_field["algo.name"]["state"] == "differs"


def test_of_several_arms_the_one_that_is_most_alike_is_compared(trl):
    sides = [
        agreement.ours("ppo", {**OURS, "algo.name": "ppo"}),
        agreement.ours("far", {**OURS, "train.lr": 1.0}),
        agreement.ours("near", OURS),
    ]
    assert agreement.agreement("theirs", one("trl", trl), sides)["against"] == "near"


def test_what_no_table_knows_is_listed_and_not_guessed(trl):
    args = json.loads((trl / "training_args.json").read_text())
    (trl / "training_args.json").write_text(json.dumps({**args, "new_trick": 3}))
    settings = one("trl", trl)
    assert "new_trick" in settings.unmapped and "learning_rate" not in settings.unmapped
    assert not {"output_dir", "hub_token", "logging_steps"} & set(settings.unmapped)


def test_defaults_are_those_of_the_version_and_the_trainer(tmp_path):
    run = trl_state(tmp_path / "a-s1", [0.1])
    (run / "config.yaml").write_text("learning_rate: 1e-5\nnum_generations: 16\ngeneration_batch_size: 64\n")
    newest = values(one("trl", run, "version=1.16", "trainer=grpo"))
    assert (newest["train.prompts_per_step"], newest["train.lr"], newest["train.group_size"]) == (4, 1e-5, 16)
    assert newest["algo.name"] == "dapo" and newest["sampling.max_new_tokens"] == 512  # loss_type=dapo since 0.22
    older = values(one("trl", run, "version=0.21.0", "trainer=grpo"))
    assert older["algo.name"].startswith("GRPO with loss_type=bnpo") and older["sampling.max_new_tokens"] == 256
    assert values(one("trl", run, "version=1.16", "trainer=rloo"))["algo.kl_coef"] == 0.05


def test_the_nearest_lower_version_is_named_as_an_assumption(tmp_path):
    run = trl_state(tmp_path / "a-s1", [0.1])
    (run / "config.yaml").write_text("learning_rate: 1e-5\n")
    settings = one("trl", run, "version=1.12", "trainer=grpo")
    assert settings.version == "TRL 1.12, with the defaults of 1.9, the nearest known below it"
    found, by_field = rows(settings)
    assert by_field["sampling.top_p"]["assumed"] and not by_field["train.lr"]["assumed"]
    assert by_field["sampling.top_p"]["source"] == "top_p (default of TRL 1.9, assumed for 1.12)"
    assert "rest on the defaults of another version" in found["sentence"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("trainer=grpo",), "the version of TRL is not known: type version=1.16"),
        (("version=0.5", "trainer=grpo"), "the defaults of TRL 0.5 are not known"),
        (("version=nightly", "trainer=grpo"), "the defaults of TRL nightly are not known"),
    ],
)
def test_without_a_known_version_no_default_counts(tmp_path, words, why):
    run = trl_state(tmp_path / "a-s1", [0.1])
    (run / "config.yaml").write_text("learning_rate: 1e-5\n")
    settings = one("trl", run, *words)
    assert values(settings)["train.lr"] == 1e-5 and "sampling.top_p" not in values(settings)
    assert why in settings.fields["sampling.top_p"].why


def test_without_a_trainer_only_what_all_share_is_known(tmp_path):
    run = trl_state(tmp_path / "a-s1", [0.1])
    (run / "config.yaml").write_text("learning_rate: 1e-5\n")
    settings = one("trl", run, "version=1.16")
    assert values(settings)["train.lr"] == 1e-5 and "algo.name" not in values(settings)


def test_dpo_is_not_asked_for_sampling(tmp_path):
    run = trl_state(tmp_path / "dpo-s1", [0.1])
    args = {"beta": 0.1, "loss_type": ["sigmoid"], "f_divergence_type": "reverse_kl", "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2, "label_smoothing": 0.0}  # fmt: skip
    (run / "training_args.json").write_text(json.dumps(args))
    settings = one("trl", run, "version=1.16")
    found, by_field = rows(settings, **{"algo.name": "dpo", "algo.beta": 0.1, "algo.label_smoothing": 0.0})
    assert by_field["algo.name"]["state"] == by_field["algo.beta"]["state"] == "equal"
    assert not any(name.startswith("sampling.") for name in by_field)
    assert "num_processes is not in its config" in by_field["train.prompts_per_step"]["source"]


def test_a_lora_adapter_beside_the_config_is_read(trl):
    (trl / "adapter_config.json").write_text('{"r": 16, "lora_alpha": 32, "peft_type": "LORA"}')
    found = values(one("trl", trl))
    assert (found["model.lora.rank"], found["model.lora.alpha"]) == (16, 32)


# Wrong input


def test_a_pickle_is_never_opened(trl):
    (trl / "training_args.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(ConfigError, match=r"is a pickle.*to_json_string"):
        one("trl", trl, f"config={trl / 'training_args.bin'}")
    assert one("trl", trl).files == ["training_args.json"]


def test_configs_that_contradict_each_other_leave_the_field_unknown(trl):
    (trl / "config.yaml").write_text("learning_rate: 5e-6\nnum_generations: 4\n")
    settings = one("trl", trl)
    assert "train.lr" not in values(settings) and values(settings)["train.group_size"] == 4
    (note,) = settings.notes
    assert "learning_rate: 0.0003 in training_args.json; 5e-06 in config.yaml" in note and "config=FILE" in note
    assert values(one("trl", trl, f"config={trl / 'config.yaml'}"))["train.lr"] == 5e-6


@pytest.mark.parametrize(
    ("text", "said"), [("{", "cannot be read"), ("[1]", "holds no names"), ('{"a": 1}', "no setting of TRL")]
)
def test_a_broken_config_that_was_typed_is_refused_and_one_that_lies_there_is_a_note(tmp_path, text, said):
    run = trl_state(tmp_path / "grpo-s1", [0.1])
    (run / "training_args.json").write_text(text)
    with pytest.raises(ConfigError, match=said):
        one("trl", run, f"config={run / 'training_args.json'}")
    assert one("trl", run) is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("config=gone.json", "no such file"),
        ("trainer=grpoo", "did you mean 'grpo'"),
        ("config=a.docx", "its ending is none of"),
    ],
)
def test_a_wrong_word_says_what_to_type(trl, monkeypatch, word, said):
    monkeypatch.chdir(trl)
    (trl / "a.docx").write_text("x")
    with pytest.raises(ConfigError, match=said):
        one("trl", trl, word)


def test_no_config_at_all_is_no_settings(tmp_path):
    assert one("trl", trl_state(tmp_path / "grpo-s1", [0.1])) is None


def test_runs_of_one_arm_that_differ_leave_the_field_unknown(tmp_path):
    for seed, rate in ((1, 1e-5), (2, 3e-5)):
        run = trl_state(tmp_path / f"grpo-s{seed}", [0.1])
        (run / "config.yaml").write_text(f"learning_rate: {rate}\nbeta: 0.1\n")
    runs = reader.read([["trl", str(tmp_path)]]).runs
    arm = agreement.together([run.settings for run in runs])
    assert "train.lr" not in values(arm) and "its runs differ: 1e-05 and 3e-05" in arm.fields["train.lr"].why


# verl, OpenRLHF, prime-rl, W&B


VERL = {
    "algo.name": "grpo", "algo.kl_coef": 0.04, "algo.clip": 0.2, "train.prompts_per_step": 16, "train.group_size": 8,
    "train.minibatches": 1, "train.lr": 3e-4, "train.steps": 40, "sampling.max_new_tokens": 32,
    "evaluation.temperature": 0.0, "train.weight_decay": 0.01, "train.beta2": 0.999, "algo.dual_clip": 3.0,
    "algo.kl_estimator": "k3", "hardware.numerics.dtype": "bfloat16", "train.warmup_steps": 0,
    "train.decay": "constant", "model": "Qwen/Qwen2.5-0.5B-Instruct",
}  # fmt: skip


def test_hydras_config_of_verl_needs_no_version(verl):
    found = values(one("verl", verl))
    assert {name: found.get(name) for name in VERL} == VERL


def test_the_overrides_of_verl_say_the_same_with_its_version(tmp_path, verl):
    shutil.rmtree(tmp_path / ".hydra")
    overrides = CONFIGS / "verl_0_7" / "overrides.yaml"
    found = values(one("verl", verl, f"config={overrides}", "version=0.7.0"))
    assert {name: found.get(name) for name in VERL} == VERL
    assert "algo.dual_clip" not in values(one("verl", verl, f"config={overrides}"))


def test_a_kl_in_the_reward_is_not_one_in_the_loss(tmp_path, verl):
    config = tmp_path / ".hydra" / "config.yaml"
    text = config.read_text().replace("use_kl_loss: true", "use_kl_loss: false")
    config.write_text(text.replace("use_kl_in_reward: false", "use_kl_in_reward: true"))
    assert values(one("verl", verl))["algo.kl_coef"] == "0.001, inside the reward"


OPENRLHF = {
    "algo.name": "reinforce_pp", "algo.kl_coef": 0.01, "algo.score_clip": 10, "train.prompts_per_step": 16,
    "train.group_size": 8, "train.minibatches": 1, "train.lr": 3e-4, "train.decay": "constant", "train.warmup_steps": 0,
    "train.beta2": 0.95, "sampling.max_new_tokens": 32, "evaluation.temperature": 0.6, "evaluation.samples": 4,
    "hardware.numerics.dtype": "bfloat16", "model": "Qwen/Qwen2.5-0.5B-Instruct", "reward": "my_reward.py",
}  # fmt: skip


@pytest.mark.parametrize("config", ["wandb_0_10.yaml", "wandb_0_11.yaml"])  # flat names; namespaces inside a namespace
def test_what_wandb_keeps_of_openrlhf_is_read_in_both_forms(tmp_path, config):
    log = openrlhf_rows(tmp_path / "rpp-s1.jsonl", [0.1])
    found = values(one("openrlhf", log, f"config={CONFIGS / 'openrlhf' / config}"))
    assert {name: found.get(name) for name in OPENRLHF} == OPENRLHF


def test_a_script_is_a_config(tmp_path):
    log = openrlhf_rows(tmp_path / "rpp-s1.jsonl", [0.1])
    shutil.copy(CONFIGS / "openrlhf" / "run.sh", tmp_path)
    settings = one("openrlhf", log, "version=0.11.0")
    expected = {**OPENRLHF, "train.minibatches": 2, "algo.score_clip": 5}
    assert {name: values(settings).get(name) for name in expected} == expected
    assert "data.prompt_dataset is not in its config" in settings.fields["data"].why  # the script does not set $DATA


def test_a_run_of_prime_rl_is_read_from_its_metrics_and_its_toml(tmp_path):
    run = tmp_path / "small-s3"
    shutil.copytree(CONFIGS / "prime_rl_0_8", run)
    (run / "run_default").mkdir()
    scores = [{"step": i, "train/agg/effective/reward/mean": 0.1 * i, "time": 1.0} for i in range(3)]
    scores.append({"step": 2, "eval/reverse-text/effective/agent/avg@1": 0.75})
    (run / "run_default" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scores))
    (run / "metrics.jsonl").write_text('{"step": 0, "loss/mean": 0.5}\n')
    result = reader.read([["prime_rl", str(tmp_path), "version=0.8.0"]])
    (found,) = result.runs
    assert (found.label, found.seed, found.last("eval/score")) == ("small (prime-rl)", 3, 0.75)
    (left,) = result.left_out
    assert "holds no score" in left.why
    expected = {
        "train.prompts_per_step": 16, "train.group_size": 8, "train.lr": 3e-4, "train.weight_decay": 0.01,
        "sampling.temperature": 1.0, "sampling.max_new_tokens": 32, "model.lora.rank": 0, "train.off_policy_steps": 8,
        "train.steps": 40, "train.warmup_steps": 0, "algo.name": "grpo with the loss default",
    }  # fmt: skip
    assert {name: values(found.settings).get(name) for name in expected} == expected


def test_the_program_behind_a_wandb_config_is_recognized(tmp_path):
    args = json.loads((CONFIGS / "trl_1_16" / "training_args.json").read_text())
    model = json.loads((CONFIGS / "trl_1_16" / "config.json").read_text())  # transformers' callback adds it
    (tmp_path / "files").mkdir()
    wrapped = {key: {"desc": None, "value": value} for key, value in {**model, **args, "_name_or_path": "a/b"}.items()}
    (tmp_path / "files" / "config.yaml").write_text(json.dumps(wrapped))
    (tmp_path / "files" / "requirements.txt").write_text("torch==2.13.0\ntrl==1.16.0\n")
    wandb_chart(tmp_path / "a.csv", "train/reward", {"grpo-s1": [0.1, 0.3]})
    settings = one("wandb", tmp_path / "a.csv")
    assert settings.version == "TRL 1.16.0" and values(settings)["algo.name"] == "grpo"
    assert values(settings)["model"] == "a/b"
    (tmp_path / "files" / "config.yaml").write_text("lr: {value: 0.1}\n")
    assert one("wandb", tmp_path / "a.csv") is None


def test_a_runs_table_holds_some_columns_and_says_nothing_of_the_others(tmp_path):
    table = tmp_path / "export.csv"
    table.write_text("Name,seed,learning_rate,num_generations,train/reward\nbrave-fox,1,1e-05,8,0.5\n")
    settings = one("wandb", table, "arm=grpo", "version=1.16", "trainer=grpo")
    assert values(settings)["train.lr"] == 1e-5 and "sampling.top_p" not in values(settings)


def test_runs_of_ours_on_wandb_have_our_names(tmp_path):
    config = {"arm": "rloo", "seed": 1, "run": {"algo": {"name": "rloo"}, "train": {"lr": 1e-4, "group_size": 4}}}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    (tmp_path / "rloo-s1.jsonl").write_text('{"step": 1, "eval/score": 0.5}\n')
    settings = one("wandb", tmp_path / "rloo-s1.jsonl")
    assert values(settings) == {"algo.name": "rloo", "train.lr": 1e-4, "train.group_size": 4}
