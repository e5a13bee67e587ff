"""A Bradley-Terry reward model from individual human ratings.

A pair of reviews i, j and one rater of each make a preference. The loss is the mean over all pairs of a batch and over all raters:

    L = mean_{i<j} p_ij · -log σ(r_i - r_j) + p_ji · -log σ(r_j - r_i),   p_ij = P(a rating of i > one of j) + ½ P(they are equal)

With p_ij in {0, 1} this is the usual loss (arXiv 2307.04964, eq. 1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.data.movie_reviews import Review
from align_lab.errors import DivergedError
from align_lab.models.policy import Policy
from align_lab.models.tokenizer import encode
from align_lab.rewards.human_ratings import HumanRatings
from align_lab.rewards.learned import LearnedReward, RewardModel, hashed_grams, save_reward
from align_lab.train.sft import collate, trapezoid

LOWEST, HIGHEST = -4, 4
HUMAN_CEILING, VADER_ACCURACY = 0.90, 0.64  # one rater's order against the order of the means; the VADER lexicon


def build_reward(folder: Path, settings: HumanRatings, policy: Policy, *, train: Sequence[Review], held_out: Sequence[Review]) -> None:
    """Train on pairs of `train`; write the model, and its accuracy on pairs of `held_out`, into `folder`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        reward = LearnedReward(fit(policy, train, settings), policy.tokenizer)
    raw = reward.rate([review.text for review in train])
    reward.model.centre.fill_(raw.mean())
    reward.model.scale.fill_(raw.std())
    save_reward(reward, folder)
    scores = reward.rate([review.text for review in held_out])
    means = torch.tensor([review.mean for review in held_out], dtype=torch.float64)
    (folder / "metrics.json").write_text(json.dumps({
        "accuracy": pair_accuracy(scores, means), "accuracy_1_apart": pair_accuracy(scores, means, gap=1.0),
        "human_ceiling": HUMAN_CEILING, "vader": VADER_ACCURACY}))


def fit(policy: Policy, reviews: Sequence[Review], plan: HumanRatings) -> RewardModel:
    """A reward model after the plan's epochs: the average of its weights over the last steps. Raises DivergedError."""
    model = RewardModel(policy.model, dropout=plan.dropout).train()
    tokens = encode(policy.tokenizer, [review.text for review in reviews], longest=policy.model.config.context)
    grams = [hashed_grams(review.text) for review in reviews]
    ratings = histograms(reviews)
    optimiser = torch.optim.AdamW([
        {"params": [*model.body.parameters(), *model.head.parameters()], "lr": plan.body_lr, "weight_decay": plan.body_decay},
        {"params": model.words.parameters(), "lr": plan.words_lr, "weight_decay": plan.words_decay}], fused=True)
    peaks = [group["lr"] for group in optimiser.param_groups]
    batches = torch.cat([torch.randperm(len(reviews)) for _ in range(math.ceil(plan.epochs))])
    steps = batches[: round(plan.epochs * len(reviews))].split(plan.batch)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    for step, rows in enumerate(steps):
        score = model(*collate([tokens[row] for row in rows]), [grams[row] for row in rows])
        loss = all_pairs(score, ratings[rows])
        if not math.isfinite(loss.item()):
            raise DivergedError(f"the loss of step {step} of {len(steps)} of the reward model is {loss.item()}: set reward.body_lr lower")
        optimiser.zero_grad()
        loss.backward()
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * trapezoid(step, len(steps), warmup=0.05, decay=0.7)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step >= (1 - plan.average) * len(steps):
            averaged.update_parameters(model)
    return averaged.module


def histograms(reviews: Sequence[Review]) -> Tensor:
    """Share of a review's raters that gave each rating, [N 9]."""
    rows = torch.tensor([[review.ratings.count(rating) for rating in range(LOWEST, HIGHEST + 1)] for review in reviews])
    return rows / rows.sum(1, keepdim=True)


def preferred(ratings: Tensor) -> Tensor:
    """p_ij = P(a rating of i > one of j) + ½ P(equal), from histograms [N K]: [N N]."""
    below = ratings.cumsum(1) - ratings / 2
    return ratings @ below.t()


def all_pairs(score: Tensor, ratings: Tensor) -> Tensor:
    """The Bradley-Terry loss over all pairs of a batch and all their raters: score [N], histograms [N K] -> scalar."""
    i, j = torch.triu_indices(len(score), len(score), offset=1)
    p = preferred(ratings)[i, j]
    return (p * eq.bradley_terry(score[i], score[j]) + (1 - p) * eq.bradley_terry(score[j], score[i])).mean()


def pair_accuracy(scores: Tensor, means: Tensor, *, gap: float = 0.0) -> float:
    """Share of the pairs of mean ratings that differ by at least `gap` that scores order alike; equal scores count half."""
    i, j = torch.triu_indices(len(means), len(means), offset=1)
    rated = means[i] - means[j]
    keep = (rated != 0) & (rated.abs() >= gap)
    agreed = (torch.sign(scores[i] - scores[j]) * torch.sign(rated))[keep]
    return float((agreed.double() + 1).mean() / 2)
