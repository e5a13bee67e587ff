"""The metrics of a loss, against plain loops over the counted tokens, and added up over micro-batches."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.base.types import Advantage, PolicyOutput
from align_lab.equations.surrogates import Clipped
from align_lab.testing.random_experience import batch, experience, rollout

W = experience(3, P=3, G=2, T=5, holes=True)
LABEL = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
LABELED = Advantage(advantage=LABEL.unsqueeze(-1) * W["mask"])
COUNTED = [tuple(at) for at in W["mask"].nonzero().tolist()]


def now() -> PolicyOutput:
    return PolicyOutput(logp=W["logp"], value=W["new_value"], entropy=W["entropy"])


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def test_the_policys_metrics_are_means_over_counted_tokens() -> None:
    """Approximate KL is half the squared log-ratio, the ratio is π/π_old."""
    x, active = batch(W, LABELED), W["value"] > 0
    metrics = eq.policy_metrics(torch.tensor(1.5), now(), x, Clipped(W["value"], active))
    gaps = [float(W["logp"][at] - W["logp_old"][at]) for at in COUNTED]
    assert float(metrics["loss/policy_avg"]) == 1.5
    assert float(metrics["policy/approxkl_avg"]) == pytest.approx(mean([gap**2 / 2 for gap in gaps]))
    assert float(metrics["val/ratio"]) == pytest.approx(mean([math.exp(gap) for gap in gaps]))
    assert float(metrics["policy/clipfrac_avg"]) == pytest.approx(mean([float(active[at]) for at in COUNTED]))
    assert float(metrics["policy/entropy_avg"]) == pytest.approx(mean([float(W["entropy"][at]) for at in COUNTED]))


def test_what_is_not_there_is_not_logged() -> None:
    """No entropy and no clip: neither has a metric."""
    metrics = eq.policy_metrics(torch.tensor(1.0), replace(now(), entropy=None), batch(W, LABELED))
    assert set(metrics) == {"loss/policy_avg", "policy/approxkl_avg", "val/ratio"}


def test_the_critics_metrics_are_its_loss_and_the_share_of_clipped_tokens() -> None:
    """Of the counted ones."""
    active = W["value"] > 0
    metrics = eq.value_metrics(torch.tensor(2.5), batch(W, LABELED), Clipped(W["value"], active & W["mask"]))
    assert float(metrics["loss/value_avg"]) == 2.5
    assert float(metrics["val/clipfrac_avg"]) == pytest.approx(mean([float(active[at]) for at in COUNTED]))


def sums(values: Tensor) -> list[list[float]]:
    """Σ over the counted tokens of each completion."""
    return [[float(values[p, g][W["mask"][p, g]].sum()) for g in range(2)] for p in range(3)]


@pytest.mark.parametrize("given", [False, True])
def test_a_pairs_metrics_are_means_over_pairs_with_chosen_and_rejected_by_label(given: bool) -> None:
    """A tie has neither, and counts in the mean. A label that is given wins over that of the advantages."""
    label = -LABEL if given else LABEL
    implicit, logps = W["value"].sum(-1), sums(W["logp"])
    metrics = eq.preference_metrics(
        torch.tensor(0.5), now(), batch(W, LABELED), implicit=implicit, label=label if given else None
    )
    sides = {
        side: [[g for g in range(2) if label[p, g] == value] for p in range(3)] for side, value in ((1, 1), (-1, -1))
    }

    def of(values: list[list[float]], side: int) -> list[float]:
        return [values[p][sides[side][p][0]] if sides[side][p] else 0.0 for p in range(3)]

    chosen, rejected = of(implicit.tolist(), 1), of(implicit.tolist(), -1)
    expected = {
        "loss/policy_avg": 0.5,
        "rewards/chosen": mean(chosen),
        "rewards/rejected": mean(rejected),
        "rewards/margins": mean(chosen) - mean(rejected),
        "rewards/accuracies": mean([float(a > b) for a, b in zip(chosen, rejected, strict=True)]),
        "logps/chosen": mean(of(logps, 1)),
        "logps/rejected": mean(of(logps, -1)),
    }
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(expected)


@pytest.mark.parametrize("desirable", [0, 2])
def test_metrics_of_single_completions_are_means_over_those_with_the_label(desirable: int) -> None:
    """Where none is desirable, their mean is 0."""
    label = torch.tensor([[1.0], [-1.0], [1.0], [-1.0], [-1.0]], dtype=torch.float64)
    label = label if desirable else -label.abs()
    one = experience(4, P=5, G=1, T=4)
    advantage = Advantage(advantage=label.unsqueeze(-1) * one["mask"])
    x = replace(batch(one, advantage), statistics={"desirable": torch.tensor(float(desirable))})
    implicit = one["value"].sum(-1)
    metrics = eq.unpaired_metrics(torch.tensor(0.5), PolicyOutput(logp=one["logp"]), x, implicit=implicit)
    logps = (one["logp"] * one["mask"]).sum(-1)[:, 0].tolist()
    up = [i for i in range(5) if label[i] == 1]
    down = [i for i in range(5) if label[i] == -1]
    chosen = mean([float(implicit[i]) for i in up]) if up else 0.0
    rejected = mean([float(implicit[i]) for i in down])
    expected = {
        "loss/policy_avg": 0.5,
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "logps/chosen": mean([logps[i] for i in up]) if up else 0.0,
        "logps/rejected": mean([logps[i] for i in down]),
    }
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(expected)


def test_the_optimized_reward_is_the_score_minus_beta_times_the_log_ratio() -> None:
    """Both metrics are means over sequences."""
    metrics = eq.reward_metrics(rollout(W), 0.3)
    ratios = sums(W["logp_old"] - W["logp_ref"])
    penalty = mean([-0.3 * one for row in ratios for one in row])
    assert float(metrics["objective/non_score_reward"]) == pytest.approx(penalty)
    assert float(metrics["objective/rlhf_reward"]) == pytest.approx(penalty + float(W["score"].mean()))
