"""Metrics logged with a loss, under TRL's names.

They are detached and divided by the counts of the whole minibatch, so the values of micro-batches add up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from align_lab.base.types import Batch, PolicyOutput, Rollout
from align_lab.equations.divergences import k2, k3
from align_lab.equations.masks import masked, masked_mean, masked_sum
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
def preference_metrics(loss: Tensor, now: PolicyOutput, x: Batch, *, beta: float) -> Metrics:
    """Implicit rewards β log π/π_ref of chosen and rejected completions, means over pairs (arXiv 2305.18290, s. 4)."""
    label = masked_sum(x.advantage, x.mask).sign()  # [P G]: the advantage of every counted token is the label
    logp = masked_sum(now.logp, x.mask)
    implicit = beta * masked_sum(now.logp - x.logp_ref, x.mask)
    chosen, rejected = ((implicit * (label == side)).sum(-1) for side in (1, -1))
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
