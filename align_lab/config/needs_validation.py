"""What an algorithm needs of the other fields: samples to compare, a ratio, other prompts, a critic's start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from align_lab.base import registry
from align_lab.base.types import Needs


def problems(cfg: Mapping[str, Any], needs: Needs) -> list[str]:
    """One sentence each: what was found, what the algorithm needs, what to type."""
    return [
        *_group_size(cfg, needs),
        *_single_update(cfg, needs),
        *_mismatched(cfg, needs),
        *_staleness(cfg, needs),
    ]


def _group_size(cfg: Mapping[str, Any], needs: Needs) -> list[str]:
    """Completions to compare with each other, or to pair."""
    messages: list[str] = []
    name, train = cfg["algo"]["name"], cfg["train"]
    if needs.samples and train["group_size"] < needs.min_group_size:
        messages.append(
            f"algo={name} needs train.group_size >= {needs.min_group_size} (got {train['group_size']}): "
            f"with one sample there is nothing to compare it with. Set train.group_size={_usual_size(needs)} or "
            "algo=reinforce_pp"
        )
    if not needs.samples and needs.paired and train["prompts_per_step"] * train["group_size"] % 2:
        messages.append(
            f"algo={name} uses pairs: train.prompts_per_step x train.group_size must be even (got "
            f"{train['prompts_per_step']} x {train['group_size']}). Set train.group_size=4"
        )
    if needs.samples and needs.max_group_size is not None and train["group_size"] > needs.max_group_size:
        completions = train["prompts_per_step"] * train["group_size"]
        messages.append(
            f"algo={name} needs train.group_size <= {needs.max_group_size} (got {train['group_size']}). "
            f"Set train.group_size={needs.max_group_size}; with "
            f"train.prompts_per_step={completions // needs.max_group_size} a step holds as many completions as before"
        )
    return messages


def _usual_size(needs: Needs) -> int:
    """The default number of samples a prompt, where the algorithm takes so many."""
    return max(needs.min_group_size, min(4, needs.max_group_size or 4))


def _mismatched(cfg: Mapping[str, Any], needs: Needs) -> list[str]:
    """A completion of another prompt, for each one of a minibatch."""
    train = cfg["train"]
    completions = train["prompts_per_step"] * train["group_size"] // max(1, train["minibatches"])
    if not needs.mismatched or completions >= 2:
        return []
    return [
        f"algo={cfg['algo']['name']} compares each completion with one of another prompt of its minibatch, which has "
        f"{completions} (train.prompts_per_step={train['prompts_per_step']} x train.group_size={train['group_size']} / "
        f"train.minibatches={train['minibatches']}). Set train.minibatches=1 train.prompts_per_step=16"
    ]


def never_trained(cfg: Mapping[str, Any], needs: Needs) -> list[str]:
    """A policy that is trained after the critic's own steps have ended."""
    steps = registry.build("train", cfg["train"]).last_step
    if needs.critic is None or needs.critic.pretrain_steps < steps:
        return []
    alone = needs.critic.pretrain_steps
    return [
        f"algo.critic_pretrain_steps={alone}: the critic alone is trained in the first {alone} steps, and the run has "
        f"{steps}, so that the policy would stay as it is. Set algo.critic_pretrain_steps={steps // 10}, or a "
        f"larger number of steps: train.steps={12 * alone}"
    ]


def _single_update(cfg: Mapping[str, Any], needs: Needs) -> list[str]:
    """Without a ratio, a second update would treat the experience as if the updated policy had sampled it."""
    train = cfg["train"]
    if not needs.single_update or train["epochs"] * train["minibatches"] == 1:
        return []
    return [
        f"algo={cfg['algo']['name']} has no ratio between the policy and the one that sampled, so that only the first "
        f"update of a step is right (got train.epochs={train['epochs']}, train.minibatches={train['minibatches']}). "
        "Set train.epochs=1 train.minibatches=1, or choose an algorithm with a ratio, for example algo=grpo or "
        "algo=reinforce_pp"
    ]


def _staleness(cfg: Mapping[str, Any], needs: Needs) -> list[str]:
    """Completions of older weights need a correction, and an algorithm whose next prompts are known in advance."""
    sampling, algo = cfg["sampling"], f"algo={cfg['algo']['name']}"
    if not sampling["staleness"]:
        return []
    messages: list[str] = []
    if sampling["importance_cap"] is None:
        messages.append(
            "sampling.staleness=1 needs sampling.importance_cap (got null): the weights of the step before sample, and "
            "importance weights correct for that. Set sampling.importance_cap=2 or sampling.staleness=0"
        )
    why = ""
    if not needs.samples:
        why = f"{algo} samples nothing while it trains, so there is nothing that older weights could sample"
    elif needs.pairs:
        why = f"{algo} mixes preference pairs with samples of the current policy, whose shares change from step to step"
    elif needs.rounds:
        why = f"{algo} samples several steps at once, in rounds of its own"
    elif needs.refills:
        why = (
            f"{algo} samples further prompts by what a step has scored, which is not known when its completions are "
            "asked for (algo.refills=0 samples none)"
        )
    return [*messages, f"sampling.staleness=1: {why}. Set sampling.staleness=0"] if why else messages


def critic_of_reward(cfg: Mapping[str, Any], needs: Needs) -> list[str]:
    """A critic with the reward model's weights needs a reward model that starts from the policy's model."""
    if needs.critic is None or needs.critic.init != "reward":
        return []
    algo, reward, model = (cfg[group]["name"] for group in ("algo", "reward", "model"))
    start = registry.build("reward", cfg["reward"]).starts_from(cfg["model"])
    if start is None:
        return [
            f"algo={algo} starts its critic from the reward model, and reward={reward} is none. "
            "Set algo.critic_init=policy"
        ]
    if start != cfg["model"]:
        return [
            f"algo={algo} starts its critic from the reward model, whose tokenizer and shape are those of "
            f"model={start['name']}, not those of model={model}. Set algo.critic_init=policy"
        ]
    return []
