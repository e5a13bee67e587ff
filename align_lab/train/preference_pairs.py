"""Preference pairs for algorithms that do not sample: completions of the start policy, labeled by the reward.

Of a few samples per prompt, the one with the highest score is chosen and the one with the lowest is rejected; a tie
gives no pair. The end-of-sequence rule is that of all algorithms, so DPO learns from the same reward as the others, and
it is charged for every completion.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from align_lab.base.errors import DataError
from align_lab.base.hyperparameters import Train
from align_lab.base.progress import report
from align_lab.base.settings import Preferences, Sampling
from align_lab.base.types import Needs
from align_lab.models.policy import Policy
from align_lab.rollout.prompts import Prompts
from align_lab.train.experience import Experience, join, left_padding
from align_lab.train.learner import Learner
from align_lab.train.pair_source import PairCost
from align_lab.train.rollouts import Rollouts
from align_lab.train.scoring import LimitedScorer

PROMPTS = 64  # per batch of completions


def build_pairs(
    folder: Path, plan: Preferences, *, policy: Policy, prompts: Prompts, reward: LimitedScorer, sampling: Sampling
) -> None:
    """Sample `plan.pairs` pairs [N 2 ...] and write them and their cost into `folder`.

    Raises DataError when nearly all prompts give ties.
    """
    assert plan.pairs is not None
    learner = Learner(
        Train(prompts_per_step=PROMPTS, group_size=plan.samples), policy.model, temperature=sampling.temperature
    )
    source = Rollouts(learner=learner, prompts=prompts, reward=reward, sampling=sampling, needs=Needs(), seed=plan.seed)
    parts: list[Experience] = []
    cost = {"episodes": 0, "tokens": 0, "prompt_tokens": 0}
    report(0, plan.pairs)
    while (pairs := sum(len(part.ids) for part in parts)) < plan.pairs:
        if cost["episodes"] > 20 * plan.samples * max(plan.pairs, PROMPTS):
            raise DataError(
                f"only {pairs} of {plan.pairs} pairs were made from {cost['episodes']} completions: nearly all "
                "completions of a prompt have equal scores. Increase sampling.temperature or decrease preferences.pairs"
            )
        step = cost["episodes"] // (PROMPTS * plan.samples)
        collected = source.collect(step, groups=PROMPTS)
        cost = {name: total + getattr(collected, name) for name, total in cost.items()}
        parts.append(_at(plan.temperature, learner, best_and_worst(collected.experience)))
        report(min(plan.pairs, pairs + len(parts[-1].ids)), plan.pairs)
    pair_set = join(parts, fill=prompts.eos).take(torch.arange(plan.pairs))
    save_pairs(folder, pair_set, PairCost(**cost, labels=cost["episodes"], scoring=dict(reward.meter.totals)))


@torch.no_grad()
def _at(temperature: float | None, learner: Learner, pairs: Experience) -> Experience:
    """The pairs with log-probabilities at this temperature; None: that of sampling, at which they are already."""
    if temperature is None or not len(pairs.ids):
        return pairs
    mask = pairs.rollout.mask
    ids, pad = pairs.ids.flatten(0, 1), left_padding(pairs.pad.flatten())
    logp, _ = learner.logps(ids, pad, mask.flatten(0, 1), temperature=temperature)
    return replace(pairs, rollout=replace(pairs.rollout, logp_old=logp.view(mask.shape)))


def save_pairs(folder: Path, pair_set: Experience, cost: PairCost) -> None:
    """Write `pairs.safetensors` [N 2 ...] and `cost.json`."""
    rollout = {name: getattr(pair_set.rollout, name).contiguous() for name in ("mask", "score", "logp_old")}
    save_file({"ids": pair_set.ids.contiguous(), "pad": pair_set.pad, **rollout}, folder / "pairs.safetensors")
    (folder / "cost.json").write_text(json.dumps(dataclasses.asdict(cost)))


def best_and_worst(experience: Experience) -> Experience:
    """Groups of any size -> groups of two, the best completion first; groups whose scores are all equal are dropped."""
    order = experience.rollout.score.sort(dim=-1, descending=True, stable=True)
    groups = (order.values[:, 0] > order.values[:, -1]).nonzero()
    return experience.take((groups, order.indices[groups.squeeze(1)][:, [0, -1]]))
