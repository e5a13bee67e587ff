"""Names of other trainers lead to our fields, and every wrong word to what to type."""

from pathlib import Path

import pytest
import yaml

from align_lab import __main__
from align_lab.compare.foreign.settings import programs
from align_lab.config import composition, synonyms
from align_lab.config.composition import Composer
from align_lab.config.groups import GROUPS, options
from tests import rotation

TABLES = sorted(Path(programs.__file__).with_name("programs").glob("*.yaml"))
OTHERS = {  # field -> an option that has it
    "algo.aggregation": "algo=policy_gradient", 
    "algo.normalization": "algo=policy_gradient", "data.columns.prompt": "data=files", "reward.file": "reward=python",
    "algo.beta": "algo=dpo", "algo.clip": "algo=ppo", "algo.clip_high": "algo=dapo", "algo.gamma": "algo=ppo",
    "algo.entropy_coef": "algo=ppo_max", "algo.label_smoothing": "algo=dpo", "algo.lam": "algo=ppo",
    "algo.refills": "algo=dapo", "algo.value_clip": "algo=ppo", "algo.vf_coef": "algo=ppo",
    "data.template": "data=files", "model.path": "model=hf", "reward.path": "reward=hf_classifier",
}  # fmt: skip

OTHER_MEANINGS = {  # one name that decides two fields, has another meaning in a section, or depends on the algorithm
    "openrlhf actor.adam.eps: train.adam_eps", "openrlhf actor.eps_clip: algo.clip_high",
    "openrlhf actor.model_name_or_path: model", "openrlhf eval.n_samples_per_prompt: evaluation.samples",
    "trl beta: algo.beta", "trl epsilon: algo.clip_high", "trl epsilon: algo.weight_cap",
    "trl epsilon_high: algo.weight_cap", "trl model_name_or_path: model", "trl num_generations: evaluation.samples",
    "trl reward_funcs: reward", "verl actor_rollout_ref.actor.clip_ratio: algo.clip_high",
    "verl actor_rollout_ref.rollout.val_kwargs.n: evaluation.samples",
    "verl data.train_batch_size: train.minibatches", "verl data.train_files: data", "verl data.val_files: evaluation",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    composition.load_components()


def problem(*words):
    """What is said of the last of these overrides."""
    messages, _, _ = Composer()._merge(words)
    return "\n".join(messages)


@pytest.mark.nightly
@pytest.mark.parametrize("field", synonyms.NAMES)
def test_every_name_of_another_trainer_leads_to_our_field(field):
    option = [OTHERS[field]] if field in OTHERS else []
    for name in {*synonyms.NAMES[field]} - {field}:
        assert f"did you mean {field}?" in problem(*option, f"{name}=1"), name
        assert f"did you mean {field}?" in problem(*option, f"train.{name}=1"), name


def test_the_names_agree_with_the_tables_that_read_other_configs():
    """Where both know a name, they mean the same field, but for OTHER_MEANINGS."""
    agreed, others = 0, set()
    for table in TABLES:
        for field, rules in yaml.safe_load(table.read_text())["fields"].items():
            for name in names(rules):
                known = synonyms.FIELDS.get(name.rpartition(".")[2])
                agreed += known == field
                others |= {f"{table.stem} {name}: {field}"} if known not in (None, field) else set()
    assert agreed >= 30 and others == OTHER_MEANINGS


def names(rules):
    """The names of another trainer that alone decide a field."""
    for rule in rules if isinstance(rules, list) else [rules]:
        theirs = rule.get("of", []) if isinstance(rule, dict) else [rule]
        yield from [theirs] if isinstance(theirs, str) else map(str, theirs) if len(theirs) == 1 else []


def test_every_misspelt_field_leads_to_it():
    """The name without its last letter, in the section where it belongs."""
    _, config, _ = Composer()._merge([])
    from align_lab.base import run_config

    fields = [field for field, _ in run_config.leaves(run_config.plain(config)) if "judges" not in field]
    typed = rotation.in_turn([field for field in fields if field[:-1] not in fields], "a misspelt field")
    wrong = {field for field in typed if field not in problem(f"{field[:-1]}=1")}
    assert len(fields) > 120 and wrong <= {"train.beta1", "train.beta2"}  # `train.beta` is the KL's weight elsewhere


@pytest.mark.nightly
@pytest.mark.parametrize("group", GROUPS)
def test_every_misspelt_option_leads_to_it(group):
    for name in options(group):
        for typed in (name.upper(), f"{name}x"):
            if typed != name:
                assert f"did you mean {name!r}?" in problem(f"{group}={typed}"), typed
    assert "several values need the flag -m" in problem(f"{group}={','.join(list(options(group))[:2])},b")


@pytest.mark.parametrize("option", ["rloo", "PPO", "smollm2_135m", "slurm_gpu", "reasoning"])
def test_an_option_alone_leads_to_its_group(option, capsys):
    assert __main__.main([option]) == 2
    assert f"={option.lower()}?" in capsys.readouterr().err


def test_the_program_alone_shows_how_to_begin(capsys):
    assert __main__.main([]) == 0
    shown = capsys.readouterr().out
    assert "align_lab algo=reinforce_pp" in shown and "compare" in shown and "--help" in shown


def test_the_version_is_the_package_s(capsys):
    assert __main__.main(["--version"]) == 0 and capsys.readouterr().out.startswith("align_lab 0.")


def test_dimensions_that_no_attention_has_are_refused_before_anything_starts():
    with pytest.raises(ValueError, match=r"width must be an even multiple of heads.*Type model.width=96"):
        Composer().run(["model.width=100"])
    for found in ("model.width=100", "model.heads=3", "model.kv_heads=3"):
        with pytest.raises(ValueError) as refused:
            Composer().run([found])
        typed = str(refused.value).partition("Type ")[2].split()
        Composer().run([*([found] if not found.startswith("model.width") else []), *typed])


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("agorithm=ppo", "did you mean algo=ppo?"),
        ("algorithm.adv_estimator=grpo", "did you mean algo=grpo?"),
        ("trainer.logger=wandb", "did you mean record=wandb?"),
        ("weight_decay=0.1", "did you mean train.weight_decay?"),
        ("epochs=2", "did you mean train.epochs?"),
        ("lam=0.9", "algo.lam is a field of other algorithms (ppo, "),
        ("epsilon_high=0.3", "Type algo=dapo algo.clip_high=..."),
        ("model_name_or_path=gpt2", "model.path is a field of model=hf. Type model=hf model.path=..."),
        ("reward_model.model.path=x", "Type reward=hf_classifier reward.path=..."),
        ("custom_reward_function.path=x.py", "Type reward=python reward.file=..."),
        ("critic.optim.lr=1e-5", "did you mean train.critic_lr?"),
        ("rollout.name=vllm", "did you mean hardware.numerics.sampler?"),
        ("algorithm.lam=0.9", "Type algo=ppo algo.lam=..."),
        ("data.train_files=a.parquet", "did you mean data.prompts?"),
        ("gpu=1", "did you mean hardware.placement.gpus_per_node?"),
        ("top_k=5", "nothing here is called so: tokens are drawn from all"),
        ("actor.optim.optimizer=adam", "the optimizer is AdamW"),
        ("algorithm.kl_ctrl.type=fixed", "the weight of the KL penalty stays as it is: algo.kl_coef"),
        ("model=Qwen/Qwen2.5-0.5B", "or a model of the Hugging Face hub: model=hf model.path=Qwen/Qwen2.5-0.5B"),
        ("data=imdb", "data set of the Hugging Face hub: data=files data.prompts=imdb"),
        ("algo=foo", "algo=foo is not known: allowed: "),
    ],
)
def test_a_name_that_the_default_config_does_not_have_leads_to_what_is_meant(word, hint):
    assert hint in problem(word)


def test_a_name_has_a_counterpart_or_none():
    assert not synonyms.WITHOUT.keys() & synonyms.FIELDS.keys()
    assert not any("did you mean" in problem(f"{name}=1") for name in synonyms.WITHOUT)


@pytest.mark.parametrize("word", ["max_prompt_length=1", "logging_steps=1", "loss_type=1", "whiten_rewards=true"])
def test_a_name_that_nothing_here_has_is_not_mistaken_for_another(word):
    assert "did you mean" not in problem(word)
