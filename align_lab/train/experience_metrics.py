"""What is logged of a step's experience, whatever the algorithm."""

from __future__ import annotations

from align_lab import equations as eq
from align_lab.base.types import Advantage
from align_lab.train.experience import Collected


def experience_metrics(collected: Collected, advantage: Advantage) -> dict[str, float]:
    """Metrics of a step's experience that do not depend on the algorithm. Scores and KL only of fresh completions:
    those of preference pairs were sampled and scored before training."""
    rollout = collected.experience.fresh().rollout
    if not len(rollout.score):
        return {name: float(value) for name, value in advantage.metrics.items()}
    lengths = rollout.mask.sum(-1).to(rollout.logp_old)
    row = {
        "objective/entropy": -(rollout.logp_old * rollout.mask).sum(-1).mean(),
        "completions/mean_length": lengths.mean(),
        "completions/min_length": lengths.min(),
        "completions/max_length": lengths.max(),
        **advantage.metrics,
    }
    if rollout.logp_sampler is not None:
        row |= eq.sampling_metrics(rollout)
    if collected.ended is not None:
        row |= {"objective/scores": rollout.score.mean(), "val/num_eos_tokens": collected.ended}
        if rollout.logp_ref is not None:
            row["objective/kl"] = ((rollout.logp_old - rollout.logp_ref) * rollout.mask).sum(-1).mean()
    return {name: float(value) for name, value in row.items()}
