"""Validation of a composed config before anything starts: the bounds of every field, and the rules between groups."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from align_lab import preflight
from align_lab.base import registry
from align_lab.config import hardware_validation, needs_validation, task_validation, varying
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
        messages += needs_validation.problems(cfg, needs)
        if "train" in sound:
            messages += needs_validation.never_trained(cfg, needs)
        if "reward" in sound:
            messages += needs_validation.critic_of_reward(cfg, needs)
    if {"data", "model", "reward"} <= sound:
        messages += task_validation.problems(cfg, needs) + varying.problems(cfg, needs)
    if not any(text.startswith(("hardware.", "train.")) for text in messages):
        messages += hardware_validation.problems(cfg, needs) + vllm_install.problems(cfg["hardware"])
    messages += _within_train(cfg["train"]) + _within_data(cfg) + _placement(cfg) + _study(str(cfg["study"]))
    messages += _packages(cfg)
    return messages or preflight.problems(cfg)  # the memory of an invalid config cannot be estimated


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
