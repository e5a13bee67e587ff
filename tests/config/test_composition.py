"""Every mistake in a command is reported before anything starts, with what to type instead."""

import pytest

from align_lab.base.errors import ConfigError
from align_lab.config.composition import compose

WRONG = [  # overrides, what the message must contain
    (["algo=reinforce_p"], ["algo=reinforce_p is not known", "did you mean 'reinforce_pp'?", "allowed: "]),
    (["algo.kl_cof=0.1"], ["there is no algo.kl_cof", "did you mean 'algo.kl_coef'?"]),
    (["+algo.kl_cof=0.1"], ["there is no algo.kl_cof", "algo.kl_coef"]),
    (["++algo.kl_cof=0.1"], ["there is no algo.kl_cof", "algo.kl_coef"]),
    (["~algo.clip"], ["algo.clip cannot be removed"]),
    (["~algo"], ["a run needs its algo"]),
    (["algo.clip=-1"], ["algo.clip must be > 0 (got -1"]),
    (["algo.clip=abc"], ["algo.clip must be a number (default 0.2)"]),
    (["+algo.clip=0.1"], ["algo.clip exists already", "algo.clip=0.1"]),
    (["algo=rloo", "train.group_size=1"], ["train.group_size >= 2 (got 1)", "train.group_size=4 or algo=reinforce_pp"]),
    (["algo=dpo", "algo.clip=0.1"], ["there is no algo.clip", "algo.beta"]),
    (["kl_coef=0.1"], ["did you mean algo.kl_coef?"]),
    (["sede=3"], ["there is no sede", "'seed'"]),
    (["seed=1,2"], ["several values need the flag -m"]),
    (["seed="], ["seed must be a whole number"]),
    (["train.steps=1.5"], ["train.steps must be a whole number"]),
    (["train.minibatches=3"], ["does not split into train.minibatches=3"]),
    (["study=a/b"], ["plain folder name"]),
    (["train.decay=sometimes"], ["train.decay=sometimes is not known", "cosine"]),
    (["seed 3"], ["not understood"]),
    (["data.template=Q: {question}"], ["inside those of the shell: 'data.template=\"...\"'"]),
    (["sampling.top_p=.nan"], ["sampling.top_p must be"]),
    (["sweeps=five_algorithmz"], ["sweeps=five_algorithmz is not known"]),
    (["algo.name=ppo"], ["choose the component itself: algo=ppo"]),
    (["train.budget=5"], ["train.budget holds several fields", "train.budget.episodes"]),
    (["sampling=null"], ["sampling holds several fields"]),
    (["hardware.numerics=null"], ["hardware.numerics holds several fields"]),
    (["sampling.max_new_tokens=500"], ["leaves no room for a prompt in model.context=96"]),
    (["evaluation.prompts=5000"], ["more than the 800 held-out examples of data=movie_reviews"]),
    (["algo=ppo_max", "reward=vader"], ["algo.critic_init=policy"]),
    (["algo=dpo", "train.group_size=1", "train.prompts_per_step=1"], ["must be even"]),
    (["algo=sail_pp"], ["train.group_size <= 2 (got 4)", "Set train.group_size=2; with train.prompts_per_step=32"]),
    (["algo=sail_pr", "train.group_size=1"], ["algo=sail_pr needs train.group_size >= 2 (got 1)"]),
    (
        ["algo=sail_pp", "train.group_size=2", "preferences.temperature=1"],
        ["samples at sampling.temperature=0.7", "Set preferences.temperature=null"],
    ),
    (["algo=sail_pp", "train.group_size=2", "train.epochs=2"], ["no ratio", "Set train.epochs=1 train.minibatches=1"]),
    (
        ["algo=sail_pr", "train.group_size=2", "train.prompts_per_step=4", "hardware=cpu_2proc"],
        ["2 processes", "more than the prompts of a step that completions are sampled for, 1.2", "prompts_per_step=7"],
    ),
    (["algo=kto", "preferences.source=data"], ["algo=kto learns from preference pairs", "preferences.source=reward"]),
    (
        ["algo=sail_pr", "train.group_size=2", "preferences.source=data"],
        ["algo=sail_pr learns", "movie_reviews has none", "for example data=files data.preferences=FILE"],
    ),
    (
        ["algo=sail_pr", "train.group_size=2", "reward=reward_model"],
        ["reward=reward_model learns", "data=files data.preferences=FILE, or", "reward=python reward.file=FILE"],
    ),
    (
        ["algo=rloo", "sampling.staleness=1"],
        ["needs sampling.importance_cap (got null)", "Set sampling.importance_cap=2"],
    ),
    (["algo=rloo", "sampling.staleness=2", "sampling.importance_cap=2"], ["sampling.staleness must be"]),
    (["algo=dpo", "sampling.staleness=1", "sampling.importance_cap=2"], ["algo=dpo samples nothing while it trains"]),
    (
        ["algo=sail_pr", "train.group_size=2", "sampling.staleness=1", "sampling.importance_cap=2"],
        ["algo=sail_pr mixes preference pairs with samples", "Set sampling.staleness=0"],
    ),
    (["algo=iterative_dpo", "sampling.staleness=1", "sampling.importance_cap=2"], ["in rounds of its own"]),
    (
        ["algo=dapo", "sampling.staleness=1", "sampling.importance_cap=2"],
        ["algo.refills=0", "Set sampling.staleness=0"],
    ),
    (["algo=iterative_dpo", "algo.round_steps=0"], ["algo.round_steps must be >= 1 (got 0"]),
    (["algo=ipo", "algo.over_tokens=median"], ["algo.over_tokens=median is not known", "sum", "mean"]),
    (["train.micro_batch=2"], ["smaller than a group"]),
    (["hardware=tpu"], ["hardware=tpu is not known", "cpu", "gpu"]),
    (["plugins=[no_such_module]"], ["no module named 'no_such_module'"]),
]


@pytest.mark.parametrize(
    ("overrides", "parts"),
    WRONG,
    ids=lambda value: " ".join(value) if isinstance(value, list) and len(value) < 3 else None,
)
def test_a_mistake_is_reported_with_what_to_type(overrides, parts):
    with pytest.raises(ConfigError) as error:
        compose(overrides)
    for part in parts:
        assert part in str(error.value)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(ConfigError) as error:
        compose(
            [
                "algo=rloo",
                "train.group_size=1",
                "model=tinny",
                "train.stps=3",
                "++seed_=1",
                "sampling.temperature=0",
                "train.lr=x",
            ]
        )
    lines = str(error.value).splitlines()
    assert len(lines) == 6
    for part in (
        "tinny",
        "train.stps",
        "seed_",
        "sampling.temperature must be > 0",
        "train.lr must be",
        "train.group_size >= 2",
    ):
        assert any(part in line for line in lines), part


def test_the_defaults_are_those_of_the_readme():
    cfg = compose([])
    assert cfg.choices == {
        "algo": "reinforce_pp",
        "model": "tiny",
        "reward": "human_ratings",
        "hardware": "cpu",
        "data": "movie_reviews",
        "train": "default",
        "record": "local",
    }
    assert cfg.name.startswith("reinforce_pp-tiny-s0-")


def test_forced_overrides_of_existing_fields_are_accepted():
    assert compose(["++algo.kl_coef=0.3", "algo=rloo"])["algo"]["kl_coef"] == 0.3


def test_the_signature_follows_what_changes_results_and_nothing_else():
    base = compose([]).signature
    for unchanged in (["study=other"], ["record.samples=1"], ["algo=reinforce_pp"], ["train.micro_batch=8"]):
        assert compose(unchanged).signature == base, unchanged
    for changed in (
        ["seed=1"],
        ["algo.kl_coef=0.2"],
        ["train.lr=1e-3"],
        ["hardware.numerics.threads=2"],
        ["evaluation.prompts=300"],
        ["model.sft.seed=1"],
        ["data.split_seed=1"],
    ):
        assert compose(changed).signature != base, changed


def test_a_preset_keeps_its_own_name():
    cfg = compose(["algo=ppo_max_moss_script"])
    assert cfg.choices["algo"] == "ppo_max_moss_script"
    assert cfg["algo"]["name"] == "ppo_max"
    assert cfg["algo"]["score_norm"] == "scale"
