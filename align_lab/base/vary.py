"""What a run's seed moves: RL alone, or also the stages that the run starts from.

A stage that varies is built with its own seed plus the run's, so that runs with seed 0 share what a stage that does not
vary would be, and all arms with one seed share one build. Judges never vary: they are the instrument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from align_lab.base import registry
from align_lab.base.errors import near, short

RL, PAIRS, REWARD, POLICY = WHAT = ("rl", "pairs", "reward", "policy")
USUAL = (RL,)
MEANING = {
    RL: "sampling and the order of prompts in training",
    PAIRS: "the preference pairs that are drawn",
    REWARD: "the training of the reward",
    POLICY: "the fine-tuning of the start policy, and the first weights of its adapters",
}


def of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """What the seed of a run with this config moves, in the order of WHAT. Records of older versions name nothing."""
    return ordered(values.get("vary") or USUAL)


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Known names once each, in the order of WHAT."""
    given = set(names)
    return tuple(name for name in WHAT if name in given)


def shared(names: Iterable[str]) -> bool:
    """Does a seed move more than RL, so that the runs of a seed share builds, and seeds are blocks?"""
    return ordered(names) not in ((), USUAL)


def problems(names: Any) -> list[str]:
    """What is wrong with a list as it was written, one sentence each."""
    if not isinstance(names, list | tuple):
        return [f"vary={short(str(names))}: it must be a list of {', '.join(WHAT)}, for example vary=[rl,reward]"]
    given = [str(name) for name in cast("list[Any]", names)]
    typed = f"vary=[{','.join(given)}]"
    if unknown := [name for name in given if name not in WHAT]:
        return [f"{typed}: {name} is not known: {near(name, WHAT)}" for name in unknown]
    if RL not in given:
        return [f"{typed}: a seed always moves RL. Type vary=[{','.join(ordered([RL, *given]))}]"]
    return []


def moved(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config whose stages a run with this config starts from: seeds of the stages that vary are moved by its own.

    Call it after `registry.scan`.
    """
    by, varied, result = int(values["seed"]), of(values), dict(values)
    if POLICY in varied:
        model: dict[str, Any] = values["model"]
        seeded = [name for name in ("sft", "lora") if model.get(name) and "seed" in model[name]]
        result["model"] = {**model, **{name: {**model[name], "seed": model[name]["seed"] + by} for name in seeded}}
    if REWARD in varied:
        result["reward"] = _reward(values["reward"], by)
    if PAIRS in varied:
        result["preferences"] = {**values["preferences"], "seed": values["preferences"]["seed"] + by}
    return result


def trains_with_seed(reward: Mapping[str, Any]) -> bool:
    """Is this reward, or one that it holds, trained with a seed?"""
    return _reward(reward, 1) != reward


def _reward(values: Mapping[str, Any], by: int) -> dict[str, Any]:
    """Its seed moved where it is trained, and so those of the rewards that it holds."""
    component = registry.lookup("reward", str(values["name"]))
    result = dict(values)
    if component.trained and "seed" in values:
        result["seed"] = values["seed"] + by
    held = values.get(component.holds) if component.holds else None
    if isinstance(held, Mapping):
        inner = cast("Mapping[str, Any]", held)
        result[component.holds] = (
            _reward(inner, by) if "name" in inner else {name: _reward(one, by) for name, one in inner.items()}
        )
    return result
