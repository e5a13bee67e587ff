"""Preference pairs for algorithms that do not sample: completions of the start policy, labelled by the reward.

For every prompt a few samples; the best is chosen, the worst rejected, a tie is dropped. The end-of-sequence rule is the one
that all algorithms share, so DPO learns from the same reward as the others, and is charged for every completion.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from align_lab.base.errors import DataError
from align_lab.base.hyperparameters import Train
from align_lab.base.progress import report
from align_lab.base.settings import Preferences, Sampling
from align_lab.base.task import Scorer
from align_lab.base.types import Needs, Rollout
from align_lab.models.policy import Policy
from align_lab.rollout.prompts import Prompts
from align_lab.train.experience import Pairs, Rollouts
from align_lab.train.learner import Learner
from align_lab.train.update import Experience

PROMPTS = 64  # sampled at a time


def build_pairs(
    folder: Path, plan: Preferences, *, policy: Policy, prompts: Prompts, reward: Scorer, sampling: Sampling
) -> None:
    """Write `plan.pairs` pairs [N 2 ...] and what they cost into `folder`."""
    learner = Learner(
        Train(prompts_per_step=PROMPTS, group_size=plan.samples), policy.model, temperature=sampling.temperature
    )
    source = Rollouts(learner=learner, prompts=prompts, reward=reward, sampling=sampling, needs=Needs(), seed=plan.seed)
    parts: list[Experience] = []
    cost = {"episodes": 0, "tokens": 0}
    report(0, plan.pairs)
    while (pairs := sum(len(part.ids) for part in parts)) < plan.pairs:
        if cost["episodes"] > 20 * plan.samples * max(plan.pairs, PROMPTS):
            raise DataError(
                f"only {pairs} of {plan.pairs} pairs after {cost['episodes']} completions: "
                "the scores of a prompt are nearly all equal. Set sampling.temperature higher, or preferences.pairs lower"
            )
        step = cost["episodes"] // (PROMPTS * plan.samples)
        collected = source.collect(step)
        cost = {"episodes": cost["episodes"] + collected.episodes, "tokens": cost["tokens"] + collected.tokens}
        parts.append(best_and_worst(collected.experience))
        report(min(plan.pairs, pairs + len(parts[-1].ids)), plan.pairs)
    whole = join(parts, fill=prompts.eos).take(torch.arange(plan.pairs))
    save_file(
        {
            "ids": whole.ids,
            "pad": whole.pad,
            **{name: getattr(whole.rollout, name).contiguous() for name in ("mask", "score", "logp_old")},
        },
        folder / "pairs.safetensors",
    )
    (folder / "cost.json").write_text(json.dumps(cost))


def best_and_worst(experience: Experience) -> Experience:
    """Groups of any size -> groups of two, best first; groups without a preference are dropped."""
    order = experience.rollout.score.sort(dim=-1, descending=True, stable=True)
    told = (order.values[:, 0] > order.values[:, -1]).nonzero()
    return experience.take((told, order.indices[told.squeeze(1)][:, [0, -1]]))


def join(parts: list[Experience], *, fill: int) -> Experience:
    """One experience of all groups: prompts padded on the left and responses on the right to a common width."""
    T = max(part.rollout.mask.shape[-1] for part in parts)
    S = max(part.ids.shape[-1] - part.rollout.mask.shape[-1] for part in parts)

    def widen(part: Experience) -> Experience:
        right = T - part.rollout.mask.shape[-1]
        left = S + T - right - part.ids.shape[-1]
        return Experience(
            ids=F.pad(part.ids, (left, right), value=fill),
            pad=part.pad + left,
            rollout=Rollout(
                mask=F.pad(part.rollout.mask, (0, right)),
                score=part.rollout.score,
                logp_old=F.pad(part.rollout.logp_old, (0, right)),
            ),
        )

    wide = [widen(part) for part in parts]

    def cat(name: str) -> Tensor:
        return torch.cat([getattr(part.rollout, name) for part in wide])

    return Experience(
        ids=torch.cat([part.ids for part in wide]),
        pad=torch.cat([part.pad for part in wide]),
        rollout=Rollout(mask=cat("mask"), score=cat("score"), logp_old=cat("logp_old")),
    )


def load_pairs(folder: Path, *, pairs_per_step: int, seed: int) -> Pairs:
    """The set as a source of experience. Its samples came from the start policy, so logp_ref is logp_old."""
    found = load_file(folder / "pairs.safetensors")
    rollout = Rollout(mask=found["mask"], score=found["score"], logp_old=found["logp_old"], logp_ref=found["logp_old"])
    cost = json.loads((folder / "cost.json").read_text())
    return Pairs(
        experience=Experience(ids=found["ids"], pad=found["pad"], rollout=rollout),
        episodes=cost["episodes"],
        tokens=cost["tokens"],
        pairs_per_step=pairs_per_step,
        seed=seed,
    )
