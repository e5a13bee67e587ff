"""A Bradley-Terry reward model from individual human ratings.

A pair of reviews i, j and one rater of each make a preference. The loss is the mean over pairs and raters:

    L = mean_{i<j} p_ij · -log σ(r_i - r_j) + p_ji · -log σ(r_j - r_i)
    p_ij = P(a rating of i > one of j) + ½ P(they are equal)

With p_ij in {0, 1} this is the usual loss (arXiv 2307.04964, eq. 1). Each of the model's two experts has this loss of
its own: trained on their sum, the words, which learn fast, would leave the body little to learn.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.base.errors import DivergedError
from align_lab.base.progress import track
from align_lab.models.fitting import collate, follow, trapezoid
from align_lab.models.llama import Llama
from align_lab.models.policy import Policy
from align_lab.models.precision import running_sum
from align_lab.models.tokenizer import encode
from align_lab.tasks.movie_reviews.agreement import pair_accuracy
from align_lab.tasks.movie_reviews.reviews import Review
from align_lab.tasks.movie_reviews.reward_settings import RewardTraining
from align_lab.tasks.movie_reviews.two_experts import GRAMS, LearnedReward, RewardModel, hashed_grams, save_reward

LOWEST, HIGHEST = -4, 4
CALIBRATION = 1000  # reviews that say what 0 and 1 mean
HUMAN_CEILING, VADER_ACCURACY = 0.90, 0.64  # one rater's order against the order of the means; the VADER lexicon


def build_reward(
    folder: Path, settings: RewardTraining, policy: Policy, *, train: Sequence[Review], held_out: Sequence[Review]
) -> None:
    """Train on pairs of `train`; write the model, and its accuracy on pairs of `held_out`, into `folder`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        reward = LearnedReward(fit(policy, train, settings), policy.tokenizer)
    reward.model.standardize(reward.rate([review.text for review in train[:CALIBRATION]]))
    save_reward(reward, folder)
    scores = reward.rate([review.text for review in held_out]).cpu().numpy()
    means = np.array([review.mean for review in held_out])
    (folder / "metrics.json").write_text(
        json.dumps(
            {
                "accuracy": pair_accuracy(scores, means),
                "accuracy_1_apart": pair_accuracy(scores, means, gap=1.0),
                "human_ceiling": HUMAN_CEILING,
                "vader": VADER_ACCURACY,
            }
        )
    )


def fit(policy: Policy, reviews: Sequence[Review], plan: RewardTraining) -> RewardModel:
    """A reward model after the plan's epochs: the average of its weights over the last steps. Raises DivergedError."""
    assert isinstance(policy.model, Llama)
    model = RewardModel(policy.model, dropout=plan.dropout).train()
    tokens = encode(policy.tokenizer, [review.text for review in reviews], longest=policy.model.context)
    grams = [hashed_grams(review.text) for review in reviews]
    model.idf.copy_(inverse_frequency(grams))
    ratings = histograms(reviews)
    body = [*model.body.parameters(), *model.head.parameters()]
    optimizers = [
        torch.optim.AdamW([{"params": body, "peak": plan.body_lr}], weight_decay=plan.body_decay, fused=True),
        torch.optim.SGD([{"params": [model.words], "peak": plan.words_lr}], momentum=0.9),
    ]
    order = torch.cat([torch.randperm(len(reviews)) for _ in range(math.ceil(plan.epochs))])
    steps = order[: round(plan.epochs * len(reviews))].split(plan.batch)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    for step, rows in enumerate(track(steps)):
        experts = model.experts(*collate([tokens[row] for row in rows]), [grams[row] for row in rows])
        loss = torch.stack([all_pairs(score, ratings[rows]) for score in experts]).sum()
        if not math.isfinite(loss.item()):
            raise DivergedError(
                f"the loss of step {step} of {len(steps)} of the reward model is {loss.item()}: "
                "set reward.body_lr and reward.words_lr lower"
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(body, 1.0)
        follow(optimizers, trapezoid(step, len(steps), warmup=0.05, decay=0.8))
        if step >= (1 - plan.average) * len(steps):
            averaged.update_parameters(model)
    assert isinstance(averaged.module, RewardModel)
    return averaged.module


def inverse_frequency(grams: Sequence[Sequence[int]]) -> Tensor:
    """log((1+N)/(1+df)) + 1 of every gram of N texts, 0 for those in none, [GRAMS]."""
    df = torch.bincount(torch.tensor([gram for text in grams for gram in text]), minlength=GRAMS)
    return torch.where(df > 0, torch.log((1 + len(grams)) / (1 + df)) + 1, 0)


def histograms(reviews: Sequence[Review]) -> Tensor:
    """Share of a review's raters that gave each rating, [N 9]."""
    rows = torch.tensor([[review.ratings.count(rating) for rating in range(LOWEST, HIGHEST + 1)] for review in reviews])
    return rows / rows.sum(1, keepdim=True)


def preferred(ratings: Tensor) -> Tensor:
    """p_ij = P(a rating of i > one of j) + ½ P(equal), from histograms [N K]: [N N]."""
    below = running_sum(ratings) - ratings / 2
    return ratings @ below.t()


def all_pairs(score: Tensor, ratings: Tensor) -> Tensor:
    """The Bradley-Terry loss over all pairs of a batch and all their raters: score [N], histograms [N K] -> scalar."""
    i, j = torch.triu_indices(len(score), len(score), offset=1)
    p = preferred(ratings)[i, j]
    return (p * eq.bradley_terry(score[i], score[j]) + (1 - p) * eq.bradley_terry(score[j], score[i])).mean()
