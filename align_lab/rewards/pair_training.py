"""Training of a reward model on preference pairs, with its accuracy and calibration on pairs that it has not seen.

L = mean_pairs -log σ(r_c - r_r - m) + c (r_c + r_r)²
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.base.contracts import RewardInputs
from align_lab.base.errors import DataError, DivergedError
from align_lab.base.progress import notice, track
from align_lab.base.task import TRAIN, PreferencePair
from align_lab.models.fitting import collate, follow, trapezoid
from align_lab.rewards.pair_metrics import pair_metrics
from align_lab.rewards.pair_model import PairModel, PairScorer, Reading, save_scorer
from align_lab.rewards.pair_settings import PairTraining

CALIBRATION = 1000  # training pairs whose scores say what 0 and 1 mean


def build_pair_model(folder: Path, plan: PairTraining, given: RewardInputs) -> None:
    """Train on the data's pairs; write the model, and its measures on held-out pairs, into `folder`.

    Raises DataError without pairs, DivergedError when the loss is not finite.
    """
    assert given.start is not None
    policy = given.start.to(torch.float32)
    train, held_out = split(given, plan.held_out)
    model = PairModel(policy.model)
    longest = min(plan.max_tokens, policy.model.context)
    reading = Reading(text=policy.text, form=given.prompt_form, longest=longest)
    fit(model, train, plan, reading)
    scorer = PairScorer(model, reading)
    scale = model.standardize(torch.cat(scores(scorer, train[:CALIBRATION])))
    save_scorer(scorer, folder)
    measured: dict[str, float] = {"training_pairs": len(train), "sd": scale}
    if held_out:
        chosen, rejected = scores(scorer, held_out)
        measured |= pair_metrics((scale * (chosen - rejected)).double().cpu().numpy())
        notice(
            f"reward model: accuracy {measured['accuracy']:.3f}, log-loss {measured['log_loss']:.3f}, calibration "
            f"error {measured['calibration_error']:.3f} on {len(held_out)} held-out pairs"
        )
    (folder / "metrics.json").write_text(json.dumps(measured))


def split(given: RewardInputs, share: float) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """Pairs to train on and to measure on: those of the evaluation sets, else a share of the training pairs' prompts.

    Pairs of equal completions are left out and counted.
    """
    pairs = given.data.pairs(TRAIN)
    train = [pair for pair in pairs if pair.chosen != pair.rejected]
    if len(train) < len(pairs):
        notice(f"{len(pairs) - len(train)} of {len(pairs)} preference pairs are left out: their completions are equal")
    unseen = [pair for name in given.held_out for pair in given.data.pairs(name) if pair.chosen != pair.rejected]
    if not unseen:
        unseen = [pair for pair in train if _fraction(pair.example.key) < share]
        train = [pair for pair in train if _fraction(pair.example.key) >= share]
    if not train:
        raise DataError("the data has no preference pairs to train a reward model on")
    return train, unseen


def _fraction(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:12], 16) / 16**12


def fit(model: PairModel, pairs: Sequence[PreferencePair], plan: PairTraining, reading: Reading) -> None:
    """Take the plan's steps, in place. Raises DivergedError when the loss is not finite."""
    examples = [pair.example for pair in pairs]
    chosen = reading.sequences(examples, [pair.chosen for pair in pairs])
    rejected = reading.sequences(examples, [pair.rejected for pair in pairs])
    margins = torch.tensor([margin(pair, plan.margin) for pair in pairs])
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW([{"params": weights, "peak": plan.lr}], weight_decay=plan.weight_decay, fused=True)
    steps = batches(len(pairs), plan)
    for step, rows in enumerate(track(steps)):
        scored = model(*collate([chosen[row] for row in rows] + [rejected[row] for row in rows]))
        loss = pair_loss(*scored.chunk(2), margin=margins[rows], centering=plan.centering)
        if not math.isfinite(loss.item()):
            raise DivergedError(
                f"the loss of step {step} of {len(steps)} of the reward model is {loss.item()}: set reward.lr lower"
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, plan.max_grad_norm)
        follow([optimizer], trapezoid(step, len(steps), warmup=0.05, decay=0.8))


def pair_loss(chosen: Tensor, rejected: Tensor, *, margin: Tensor | float, centering: float) -> Tensor:
    """The mean over pairs [B] of the Bradley-Terry loss and the centering term, a scalar."""
    loss = eq.bradley_terry(chosen, rejected, margin=margin)
    return (loss + centering * eq.squared_sum(chosen, rejected)).mean()


def batches(count: int, plan: PairTraining) -> list[list[int]]:
    """The pairs of each step: a new order in every epoch, a part of the last one."""
    chooser = torch.Generator("cpu").manual_seed(plan.seed)
    orders = [torch.randperm(count, generator=chooser, device="cpu").tolist() for _ in range(math.ceil(plan.epochs))]
    rows = [row for order in orders for row in order][: max(1, round(plan.epochs * count))]
    return [rows[start : start + plan.batch] for start in range(0, len(rows), plan.batch)]


def margin(pair: PreferencePair, column: str) -> float:
    """The margin of a pair. Raises DataError that names the example where it is no finite number."""
    if not column:
        return 0.0
    try:
        value = float(pair.example.columns[column])
    except (KeyError, TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"reward.margin={column}: the pair with the key {pair.example.key!r} has no finite number there: "
            f"{pair.example.columns.get(column)!r}"
        )
    return value


@torch.no_grad()
def scores(scorer: PairScorer, pairs: Sequence[PreferencePair]) -> tuple[Tensor, Tensor]:
    """Scores of the chosen and of the rejected completions, [N] each."""
    examples = [pair.example for pair in pairs]
    chosen = scorer.reading.sequences(examples, [pair.chosen for pair in pairs])
    rejected = scorer.reading.sequences(examples, [pair.rejected for pair in pairs])
    return scorer.rate(chosen), scorer.rate(rejected)
