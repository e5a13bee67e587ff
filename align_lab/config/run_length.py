"""How long a run is: its budget decides where nobody has said how many steps it takes.

A model's yaml file says how many steps suit it, and the default of `train.steps` is such a number too. Neither may end
a run before the budget that its user has declared. `train.steps` that the user sets may:
what comes first ends the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from align_lab.base import registry
from align_lab.base.contracts import Algorithm
from align_lab.base.hyperparameters import Train
from align_lab.config.study_file import sweep_file

STEPS = "train.steps"


def are_set(groups: Sequence[str], fields: Iterable[Override]) -> bool:
    """Does the command, the arm or the sweep file of a run say its number of steps? `groups`: chosen options."""
    files = (sweep_file(text.partition("=")[2]) for text in groups if text.startswith("sweeps="))
    return any(field.key_or_group == STEPS for field in fields) or any(
        OmegaConf.select(content, STEPS) is not None
        for file in files
        if file is not None and isinstance(content := OmegaConf.load(file), DictConfig)
    )


def settle(values: dict[str, Any]) -> list[str]:
    """Give a run, whose number of steps nobody has set, those that its budget needs, in place. Returns what is wrong.

    Fewer steps than the default stay the default: the budget ends the run before it.
    """
    train = values["train"]
    if registry.problems(registry.lookup("train", train["name"]), train, "train."):
        return []  # said elsewhere
    plan: Train = registry.build("train", train)
    longest = plan.budget.longest(plan.completions)
    if longest is None:
        return []
    train["steps"] = max(plan.steps, longest)
    return _problems(plan, _samples(values)) if plan.budget.episodes is None else []


def _problems(plan: Train, samples: bool) -> list[str]:
    """Of a run that ends by tokens or seconds alone."""
    messages: list[str] = []
    if plan.budget.seconds is None and not samples:
        messages.append(
            f"train.budget.tokens={plan.budget.tokens} ends no run that samples nothing: its preference pairs are "
            "charged once. Set train.steps too, or a budget of episodes"
        )
    if plan.decay != "constant":
        messages.append(
            f"train.decay={plan.decay} ends with the last step, which a budget of tokens or seconds does not tell. Set "
            "train.steps too, or train.decay=constant"
        )
    return messages


def _samples(values: dict[str, Any]) -> bool:
    """Does the algorithm sample completions while it trains?"""
    algo = values["algo"]
    if registry.problems(registry.lookup("algo", algo["name"]), algo, "algo."):
        return True
    component: Algorithm = registry.build("algo", algo)
    return component.needs.samples
