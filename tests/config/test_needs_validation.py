"""What an algorithm needs of the other fields is refused with words that, typed as they stand, are accepted."""

import re

import pytest

from align_lab.base.errors import ConfigError
from align_lab.config import study
from tests.train import small

COMPARE = [name for name in small.algorithms() if small.algorithm(name).needs.min_group_size > 1]
SAMPLING = [name for name in COMPARE if small.algorithm(name).needs.samples]
BOUNDED = [name for name in SAMPLING if small.algorithm(name).needs.max_group_size]
TYPED = re.compile(r"\b[a-z_]+(?:\.[a-z_]+)*=[\w.]+")


def refused(*texts, multirun=False):
    with pytest.raises(ConfigError) as error:
        study.read(texts, multirun=multirun)
    return str(error.value)


def read(*texts, multirun=False):
    return study.read(texts, multirun=multirun)


@pytest.mark.nightly
@pytest.mark.parametrize("name", SAMPLING)
def test_a_group_of_one_is_refused_with_a_size_and_an_algorithm_that_are_accepted(name):
    message = refused(f"algo={name}", "train.group_size=1")
    assert f"algo={name} needs train.group_size >= 2 (got 1)" in message
    advice = re.search(r"Set (train\.group_size=\d+) or (algo=\w+)$", message)
    assert advice, message
    assert read(f"algo={name}", advice[1]).runs and read(advice[2], "train.group_size=1").runs


@pytest.mark.parametrize("name", BOUNDED)
def test_a_group_that_is_too_large_is_refused_with_what_is_accepted(name):
    message = refused(f"algo={name}", "train.group_size=8", "train.prompts_per_step=3")
    typed = TYPED.findall(message.partition("Set ")[2])
    (run,) = read(f"algo={name}", *typed).runs
    assert run["train"]["group_size"] * run["train"]["prompts_per_step"] == 24


def test_algorithms_that_pair_their_samples_are_among_them():
    assert {"rloo", "grpo", "sail_pp", "sail_pr", "sail_released"} <= set(SAMPLING) and {"sail_pr"} <= set(BOUNDED)


@pytest.mark.parametrize("plan", [{"prompts_per_step": 1}, {"prompts_per_step": 16, "minibatches": 16}])
def test_kto_with_one_completion_a_minibatch_is_refused(plan):
    """Its z₀ would be the log-ratio of that completion itself."""
    few = ["train.group_size=1", *(f"train.{name}={value}" for name, value in plan.items())]
    message = refused("algo=kto", *few)
    assert "compares each completion with one of another prompt of its minibatch, which has 1 (" in message
    assert read("algo=kto", "train.group_size=1", *TYPED.findall(message.partition("Set ")[2])).runs
    assert read("algo=kto", "train.prompts_per_step=1", "train.group_size=2").runs


@pytest.mark.parametrize("plan", [("train.steps=3",), ("train.budget.episodes=300",)])
def test_a_policy_that_would_never_be_trained_is_refused(plan):
    message = refused("algo=ppo_max", "algo.critic_pretrain_steps=5", *plan)
    steps = {"train.steps=3": 3, "train.budget.episodes=300": 5}[plan[0]]
    assert f"in the first 5 steps, and the run has {steps}, so that the policy would stay as it is" in message
    first, second = TYPED.findall(message.partition("Set ")[2])
    assert read("algo=ppo_max", *plan, first).runs
    assert read("algo=ppo_max", "algo.critic_pretrain_steps=5", second).runs


def test_a_learning_rate_of_a_critic_that_no_run_has_is_refused():
    message = refused("algo=rloo", "train.critic_lr=0.01")
    assert message.startswith("train.critic_lr=0.01: algo=rloo has no critic that could learn with it. Leave it out")
    assert refused("algo=rloo,dpo", "train.critic_lr=0.01", multirun=True) == message
    assert read("algo=ppo", "train.critic_lr=0.01").runs
    assert read("algo=rloo", "model=smollm2_135m").runs[0]["train"]["critic_lr"] == 1e-5  # nobody has typed it


def test_a_study_in_which_one_arm_has_a_critic_may_say_how_fast_it_learns():
    assert len(read("algo=rloo,ppo", "train.critic_lr=0.01", multirun=True).runs) == 2
