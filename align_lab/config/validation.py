"""Validation of a composed config before anything starts: the bounds of every field, and the rules between groups."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from align_lab import preflight
from align_lab.base import registry
from align_lab.base.types import Needs
from align_lab.config import hardware_validation, task_validation, varying
from align_lab.config.groups import GROUPS
from align_lab.config.root import RunSettings
from align_lab.rollout import vllm_install


def problems(cfg: Mapping[str, Any]) -> list[str]:
    """Every mistake in the values, one sentence each: the value, what is allowed, what to type."""
    messages = registry.problems(RunSettings, cfg)
    for group in GROUPS:
        messages += registry.problems(registry.lookup(group, cfg[group]["name"]), cfg[group], f"{group}.")
    sound = {group for group in GROUPS if not any(text.startswith(f"{group}.") for text in messages)}
    for group in sorted(sound):
        messages += registry.build(group, cfg[group]).problems()
    needs = None
    if "algo" in sound:
        needs = registry.build("algo", cfg["algo"]).needs
        messages += _against_needs(cfg, needs)
        if "reward" in sound:
            messages += _critic_of_reward(cfg, needs)
    if {"data", "model", "reward"} <= sound:
        messages += task_validation.problems(cfg, needs) + varying.problems(cfg, needs)
    if not any(text.startswith(("hardware.", "train.")) for text in messages):
        messages += hardware_validation.problems(cfg, needs) + vllm_install.problems(cfg["hardware"])
    messages += _within_train(cfg["train"]) + _within_data(cfg) + _placement(cfg) + _study(str(cfg["study"]))
    messages += _packages(cfg)
    return messages or preflight.problems(cfg)  # the memory of an invalid config cannot be estimated


def _against_needs(cfg: Mapping[str, Any], needs: Needs) -> list[str]:
    """What the algorithm requires of the other groups."""
    messages: list[str] = []
    name, train = cfg["algo"]["name"], cfg["train"]
    if needs.samples and train["group_size"] < needs.min_group_size:
        messages.append(
            f"algo={name} needs train.group_size >= {needs.min_group_size} (got {train['group_size']}): "
            "with one sample there is nothing to compare it with. Set train.group_size=4 or algo=reinforce_pp"
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
    messages += _single_update(cfg, needs) + _staleness(cfg, needs)
    return messages


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


def _critic_of_reward(cfg: Mapping[str, Any], needs: Needs) -> list[str]:
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


def _within_train(train: Mapping[str, Any]) -> list[str]:
    messages: list[str] = []
    micro, group = train["micro_batch"], train["group_size"]
    if train["minibatches"] > 0 and train["prompts_per_step"] % train["minibatches"]:
        messages.append(
            f"train.prompts_per_step={train['prompts_per_step']} does not split into train.minibatches="
            f"{train['minibatches']} equal parts. Set train.minibatches to a divisor"
        )
    if micro is not None and 0 < micro < group:
        messages.append(
            f"train.micro_batch={micro} is smaller than a group, which is never split. "
            f"Set train.micro_batch={group} or more"
        )
    return messages


def _within_data(cfg: Mapping[str, Any]) -> list[str]:
    messages: list[str] = []
    new, context = cfg["sampling"]["max_new_tokens"], cfg["model"].get("context", math.inf)
    if new >= context:
        messages.append(
            f"sampling.max_new_tokens={new} leaves no room for a prompt in model.context={context}. "
            f"Set sampling.max_new_tokens={context // 2} or a larger model.context"
        )
    return messages


def _placement(cfg: Mapping[str, Any]) -> list[str]:
    place = cfg["hardware"].get("placement", {})
    if place.get("executor") == "slurm" and 60 * place["minutes"] <= place["signal_seconds"]:
        return [
            f"hardware.placement.minutes={place['minutes']} is the time limit, and the signal to save comes "
            f"{place['signal_seconds']} s before it: no time to train. Set hardware.placement.signal_seconds=30, or "
            "more minutes"
        ]
    return []


def _packages(cfg: Mapping[str, Any]) -> list[str]:
    """Components that need an optional package name it in `package`."""
    missing = {group: registry.missing_package(registry.lookup(group, cfg[group]["name"])) for group in GROUPS}
    return [f"{group}={cfg[group]['name']} needs {text}" for group, text in missing.items() if text]


def _study(name: str) -> list[str]:
    if not re.fullmatch(r"\w[\w .+=@-]*", name):
        return [f"study={name!r} must be a plain folder name, for example study=my_study"]
    return []
