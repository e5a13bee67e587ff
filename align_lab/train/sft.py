"""Supervised fine-tuning: the policy learns to write like the demonstrations, and to end.

L = -Σ m log p / Σ m, over the tokens of the completions and the end token (`loss_on`: or over all tokens)
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from align_lab.base.errors import DataError, DivergedError
from align_lab.base.progress import track
from align_lab.base.task import Demonstration, PromptForm
from align_lab.models.fitting import by_length, collate, follow, trapezoid
from align_lab.models.language_model import LanguageModel
from align_lab.models.llama import Llama
from align_lab.models.logp import token_logps
from align_lab.models.policy import Policy, save_policy
from align_lab.models.sft_settings import FineTuning, Sft
from align_lab.models.text import PLAIN
from align_lab.train.imitated import imitated
from align_lab.train.muon import Muon

POOL = 512  # sequences that are sorted by length together, so that a batch holds little padding


def build_sft(
    folder: Path,
    policy: Policy,
    plan: Sft | FineTuning,
    *,
    train_on: Sequence[Demonstration],
    held_out: Sequence[Demonstration],
    form: PromptForm = PLAIN,
) -> None:
    """Fine-tune all weights of `policy` on demonstrations, in float32; write it, and its loss on `held_out` if there
    are any, into `folder`.

    `form`: how a chat model is asked. Raises DataError without demonstrations,
    DivergedError when the loss is not finite.
    """
    if not train_on:
        raise DataError("the data set has no demonstrations to train on, though it says that there are some")
    policy = policy.to(torch.float32)
    rows = imitated(policy, train_on, loss_on=plan.loss_on, form=form)
    train(policy.model, rows.sequences, plan, starts=rows.starts)
    save_policy(policy, folder)
    if held_out:
        unseen = imitated(policy, held_out, loss_on=plan.loss_on, form=form)
        nats, tokens = total_loss(policy.model, unseen.sequences, unseen.starts)
        words = sum(len((one.completion if plan.loss_on == "completion" else one.text).split()) for one in held_out)
        losses = {"loss_per_token": nats / tokens, "loss_per_word": nats / max(1, words)}
        (folder / "metrics.json").write_text(json.dumps(losses))


def train(
    model: LanguageModel,
    sequences: Sequence[Sequence[int]],
    plan: Sft | FineTuning,
    *,
    starts: Sequence[int] | None = None,
) -> None:
    """Take the steps of the plan; the loss of each sequence begins at its start (None: at 0).

    Raises DivergedError when the loss is not finite.
    """
    steps = schedule_batches(sequences, plan)
    optimizers = make_optimizers(model, plan)
    released = isinstance(plan, FineTuning)
    longest = plan.max_grad_norm if released else math.inf
    fields = "model.sft.lr" if released else "model.sft.matrix_lr and model.sft.vector_lr"
    for step, rows in enumerate(track(steps)):
        ids, mask = collate([sequences[row] for row in rows], None if starts is None else [starts[row] for row in rows])
        loss = -logps(model, ids, mask).mean()
        if not math.isfinite(loss.item()):
            raise DivergedError(
                f"the loss of step {step} of {len(steps)} of supervised fine-tuning is {loss.item()}: "
                f"set {fields} lower"
            )
        loss.backward()
        if longest < math.inf:
            torch.nn.utils.clip_grad_norm_(model.parameters(), longest)
        follow(optimizers, trapezoid(step, len(steps), warmup=plan.warmup, decay=plan.decay))


def make_optimizers(model: LanguageModel, plan: Sft | FineTuning) -> list[torch.optim.Optimizer]:
    """AdamW for the weights of a released model; for random weights Muon and AdamW."""
    if isinstance(plan, Sft):
        assert isinstance(model, Llama)
        return _from_random_weights(model, plan)
    weights = [{"params": list(model.parameters()), "peak": plan.lr}]
    return [torch.optim.AdamW(weights, weight_decay=plan.weight_decay, fused=True)]


def _from_random_weights(model: Llama, plan: Sft) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for the embedding and the norms."""
    inner = [(weight, weight.dim() == 2) for weight in model.blocks.parameters()]
    matrices = [weight for weight, matrix in inner if matrix]
    vectors = [weight for weight, matrix in inner if not matrix]
    vectors += [weight for name, weight in model.named_parameters() if not name.startswith("blocks.")]
    muon = Muon([{"params": matrices, "peak": plan.matrix_lr}], weight_decay=plan.weight_decay)
    adam = torch.optim.AdamW(
        [{"params": vectors, "peak": plan.vector_lr}], betas=(0.9, 0.95), weight_decay=0, fused=True
    )
    return [muon, adam]


def schedule_batches(sequences: Sequence[Sequence[int]], plan: Sft | FineTuning) -> list[list[int]]:
    """The rows of each step: a new order in every epoch, batches of similar lengths, a part of the last epoch."""
    chooser = torch.Generator("cpu").manual_seed(plan.seed)
    steps: list[list[int]] = []
    for epoch in range(math.ceil(plan.epochs)):
        order = torch.randperm(len(sequences), generator=chooser, device="cpu").tolist()
        batches = [
            batch
            for start in range(0, len(order), POOL)
            for batch in by_length(sequences, order[start : start + POOL], plan.batch_tokens)
        ]
        batches = [batches[i] for i in torch.randperm(len(batches), generator=chooser, device="cpu").tolist()]
        steps += batches[: max(1, math.ceil(min(1.0, plan.epochs - epoch) * len(batches)))]
    return steps


def logps(model: LanguageModel, ids: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of every token after the first where mask [B L] is True, [N]."""
    keep = mask[:, 1:]
    return token_logps(model.hidden(ids[:, :-1])[keep], model.head, ids[:, 1:][keep])


@torch.no_grad()
def total_loss(
    model: LanguageModel, sequences: Sequence[Sequence[int]], starts: Sequence[int] | None = None
) -> tuple[float, int]:
    """-Σ log p in nats over the predicted tokens from each sequence's start (None: 0), and the number of these."""
    first = starts or [0] * len(sequences)
    batches = by_length(sequences, range(len(sequences)), 4096)
    parts = [logps(model, *collate([sequences[row] for row in rows], [first[row] for row in rows])) for rows in batches]
    return -sum(float(part.double().sum()) for part in parts), sum(map(len, parts))
