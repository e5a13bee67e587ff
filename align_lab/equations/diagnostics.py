"""Metrics logged with a loss, under TRL's names.

They are detached and divided by the counts of the whole minibatch, so the values of micro-batches add up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from align_lab.base.types import Batch, PolicyOutput, Rollout
from align_lab.equations.divergences import k2, k3
from align_lab.equations.masks import masked, masked_mean, masked_sum
from align_lab.equations.preference_losses import label_of, of_label
from align_lab.equations.reward_shaping import kl_penalty
from align_lab.equations.surrogates import Clipped

Metrics = dict[str, Tensor]


def reward_metrics(x: Rollout, kl_coef: float) -> Metrics:
    """The mean over sequences of the KL penalty, and of score plus penalty."""
    penalty = kl_penalty(x, kl_coef)
    return {"objective/non_score_reward": penalty.mean(), "objective/rlhf_reward": (x.score + penalty).mean()}


def sampling_metrics(x: Rollout) -> Metrics:
    """The difference between the sampler's probabilities and the trainer's for the same tokens, over counted tokens."""
    gap = (x.logp_old - x.logp_sampler)[x.mask]
    ratio = gap.exp()
    return {
        "sampling/importance_sampling_ratio/min": ratio.min(),
        "sampling/importance_sampling_ratio/mean": ratio.mean(),
        "sampling/importance_sampling_ratio/max": ratio.max(),
        "sampling/sampling_logp_difference/mean": gap.abs().mean(),
        "sampling/sampling_logp_difference/max": gap.abs().max(),
        "sampling/kl": k3(x.logp_sampler, x.logp_old)[x.mask].mean(),
    }


@torch.no_grad()
def policy_metrics(loss: Tensor, now: PolicyOutput, x: Batch, policy: Clipped | None = None) -> Metrics:
    """The policy loss, and how far the policy is from the one that sampled: approximate KL, ratio, clip fraction."""
    ratio = masked(now.logp - x.logp_old, x.mask).exp()
    per_token = {"policy/approxkl_avg": k2(now.logp, x.logp_old), "val/ratio": ratio}
    if policy is not None:
        per_token["policy/clipfrac_avg"] = policy.active.to(ratio)
    if now.entropy is not None:
        per_token["policy/entropy_avg"] = now.entropy
    means = {name: masked_mean(value, x.mask, over=x.tokens) for name, value in per_token.items()}
    return {"loss/policy_avg": loss.detach(), **means}


@torch.no_grad()
def value_metrics(loss: Tensor, x: Batch, value: Clipped) -> Metrics:
    """The critic's loss, and the fraction of tokens whose value is clipped."""
    active = value.active.to(loss)
    return {"loss/value_avg": loss.detach(), "val/clipfrac_avg": masked_mean(active, x.mask, over=x.tokens)}


@torch.no_grad()
def preference_metrics(
    loss: Tensor, now: PolicyOutput, x: Batch, *, implicit: Tensor, label: Tensor | None = None
) -> Metrics:
    """Means over pairs of the implicit rewards [P G] of chosen and rejected completions, and of log-probabilities.

    The implicit reward is β log π/π_ref where there is a reference (arXiv 2305.18290, section 4); without one, β log π
    or the mean over tokens of it, as TRL logs it. `label` [P G]: by default that of the advantages.
    """
    label = label_of(x.advantage, x.mask) if label is None else label
    logp = masked_sum(now.logp, x.mask)
    chosen, rejected = (of_label(implicit, label, side) for side in (1, -1))
    per_pair = {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).to(logp),
        "logps/chosen": logp * (label == 1),
        "logps/rejected": logp * (label == -1),
    }
    pairs = x.sequences / x.mask.shape[-2]
    return {"loss/policy_avg": loss.detach(), **{name: value.sum() / pairs for name, value in per_pair.items()}}


@torch.no_grad()
def unpaired_metrics(loss: Tensor, now: PolicyOutput, x: Batch, *, implicit: Tensor) -> Metrics:
    """The same of single completions, means over those with the label: `statistics` has the number of desirable ones.

    Where a minibatch holds none with a label, its mean is 0.
    """
    label, logp = label_of(x.advantage, x.mask), masked_sum(now.logp, x.mask)
    counts = {1: x.statistics["desirable"], -1: x.sequences - x.statistics["desirable"]}

    def mean(value: Tensor, side: int) -> Tensor:
        return of_label(value, label, side).sum() / counts[side].clamp(min=1).to(value)

    chosen, rejected = mean(implicit, 1), mean(implicit, -1)
    return {
        "loss/policy_avg": loss.detach(),
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "logps/chosen": mean(logp, 1),
        "logps/rejected": mean(logp, -1),
    }
