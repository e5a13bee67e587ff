"""What is logged of a step's experience, whatever the algorithm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from align_lab import equations as eq
from align_lab.base.types import Advantage
from align_lab.base.world import World
from align_lab.rewards.scores import CheckedScores
from align_lab.train.experience import Collected
from align_lab.train.scoring import score_metrics

COUNTED = ("reward/failed", "reward/abstained")  # metrics that are sums over completions, not means


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


def scores_metrics(checked: CheckedScores, greedy: CheckedScores | None, world: World) -> dict[str, float]:
    """Of the scores; failures and abstentions are counted over all completions, the means over the sampled ones."""
    metrics = score_metrics(checked, world)
    counts = {} if greedy is None else score_metrics(greedy, world)
    return {name: value + (counts.get(name, 0.0) if name in COUNTED else 0.0) for name, value in metrics.items()}


def equal_groups(score: Tensor) -> dict[str, float]:
    """The share of groups [P G] whose scores are all equal, before any is rejected; nothing for single completions."""
    if score.shape[-1] < 2 or not len(score):
        return {}
    return {"frac_reward_zero_std": 1 - float(eq.differing_groups(score).double().mean())}


def sums(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The sum of each column; all rows have the same."""
    return {name: sum(row[name] for row in rows) for name in rows[0]}


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of counts of failed and abstained completions the sum, of all else the mean over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: sum(v) if name in COUNTED else sum(v) / len(v) for name, v in values.items()}
