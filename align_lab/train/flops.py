"""FLOPs of a step: 2 per parameter and token of a forward pass, 6 of forward and backward (arXiv 2001.08361)."""

from __future__ import annotations

import torch

from align_lab.base.types import Needs
from align_lab.train.engines.engine import shape
from align_lab.train.experience import Collected
from align_lab.train.learner import Learner
from align_lab.train.minibatch import Pretrain


def of_experience(learner: Learner, needs: Needs, collected: Collected) -> float:
    """The generation that is charged, and the passes of trainer, reference and critic over all that was sampled.

    Generation reads the prompt of a group once, as every sampler does, and the tokens of all its completions. Of pairs
    that come with the data, the reference's pass is made before training and charged with them.
    """
    policy, critic = parameter_count(learner.policy), parameter_count(learner.critic)
    passes = int(needs.reference and not needs.resets_reference) + int(
        collected.experience.rollout.logp_sampler is not None
    )
    generated = policy * (collected.prompt_tokens + collected.tokens + collected.reference_tokens)
    return 2 * generated + 2 * (policy * passes + critic) * collected.scored_tokens


def of_updates(learner: Learner, needs: Needs, collected: Collected, pretrain: Pretrain | None) -> float:
    """All updates of a step, each of which reads the whole human text of a pre-training term once.

    What is computed before a minibatch's loss (`needs.statistics`) are forward passes of the policy, and of the
    reference for other prompts' completions.
    """
    plan, seen = learner.plan, collected.experience.seen_tokens()
    policy, critic = parameter_count(learner.policy), parameter_count(learner.critic)
    human = 0 if pretrain is None else pretrain.seen_tokens() * plan.minibatches
    before = (1 + 2 * needs.mismatched) * policy * seen if needs.statistics else 0
    return plan.epochs * (6 * (policy + critic) * seen + 6 * policy * human + 2 * before)


def parameter_count(model: torch.nn.Module | None) -> int:
    """Number of parameters of a model, over all processes that shard it; 0 without a model."""
    return 0 if model is None else sum(shape(p).numel() for p in model.parameters())
