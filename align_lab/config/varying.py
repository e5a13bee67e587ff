"""Whether a run has what its `vary` says that its seed moves, and whether what depends on it is named too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from align_lab.base import registry, vary
from align_lab.base.contracts import Model, Reward
from align_lab.base.types import Needs


def problems(cfg: Mapping[str, Any], needs: Needs | None) -> list[str]:
    """One sentence each. The list is the study's: `pairs` is allowed where this run's algorithm has none."""
    if wrong := vary.problems(cfg.get("vary") or vary.USUAL):
        return wrong
    varied = vary.of(cfg)
    return [*_nothing_to_move(cfg, varied), *_follows(cfg, needs, varied)]


def _nothing_to_move(cfg: Mapping[str, Any], varied: tuple[str, ...]) -> list[str]:
    """A page that says that intervals are over start policies must not be wrong."""
    messages: list[str] = []
    model: Model = registry.build("model", cfg["model"])
    lora: Mapping[str, Any] | None = cfg["model"].get("lora")
    if vary.POLICY in varied and model.fine_tuning() is None and not (lora and lora["rank"]):
        messages.append(
            f"vary names policy, but model={cfg['model']['name']} starts as it was released, the same for every seed. "
            f"{_without(varied, vary.POLICY)}, or fine-tune it: model.sft.epochs=1"
        )
    if vary.REWARD in varied and not vary.trains_with_seed(cfg["reward"]):
        messages.append(
            f"vary names reward, but reward={cfg['reward']['name']} is not trained with a seed, it is the same for "
            f"every seed. {_without(varied, vary.REWARD)}"
        )
    return messages


def _follows(cfg: Mapping[str, Any], needs: Needs | None, varied: tuple[str, ...]) -> list[str]:
    """What is built from a stage that varies does vary: then it has to be named."""
    reward: Reward = registry.build("reward", cfg["reward"])
    missing: dict[str, str] = {}
    if vary.POLICY in varied and reward.trained and reward.starts_from(cfg["model"]) == cfg["model"]:
        missing[vary.REWARD] = f"reward={cfg['reward']['name']} is trained from the start policy"
    sampled = needs is not None and needs.pairs > 0 and cfg["preferences"]["source"] == "reward"
    if sampled and {vary.POLICY, vary.REWARD} & {*varied, *missing}:
        missing[vary.PAIRS] = "the pairs are sampled by the start policy and labeled by the reward"
    whole = ",".join(vary.ordered([*varied, *missing]))
    return [
        f"vary=[{','.join(varied)}] lacks {name}: {why}, so it varies too. Type vary=[{whole}]"
        for name, why in missing.items()
        if name not in varied
    ]


def _without(varied: tuple[str, ...], name: str) -> str:
    return f"Type vary=[{','.join(one for one in varied if one != name)}]"
