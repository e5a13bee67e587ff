"""Supervised fine-tuning: the policy learns to write like the texts, and to end.

L = -Σ m log p / Σ m, over all tokens and the end token
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from align_lab.base.errors import DivergedError
from align_lab.base.progress import track
from align_lab.models.llama import Llama
from align_lab.models.logp import token_logps
from align_lab.models.policy import Policy, save_policy
from align_lab.models.sft_settings import Sft
from align_lab.models.tokenizer import encode
from align_lab.train.muon import Muon

POOL = 512  # sequences that are sorted by length together, so that a batch holds little padding


def build_sft(folder: Path, policy: Policy, plan: Sft, *, texts: Sequence[str], held_out: Sequence[str]) -> None:
    """Fine-tune `policy` on `texts`; write it, and its loss on `held_out`, into `folder`.

    Raises DivergedError when the loss is not finite.
    """
    model = policy.model
    assert isinstance(model, Llama)
    train(model, encode(policy.tokenizer, texts, longest=model.context), plan)
    save_policy(policy, folder)
    nats = total_loss(model, encode(policy.tokenizer, held_out, longest=model.context))
    words = sum(len(text.split()) for text in held_out)
    losses = {"loss_per_token": nats[0] / nats[1], "loss_per_word": nats[0] / words}
    (folder / "metrics.json").write_text(json.dumps(losses))


def train(model: Llama, sequences: Sequence[Sequence[int]], plan: Sft) -> None:
    """Take the steps of the plan. Raises DivergedError when the loss is not finite."""
    steps = schedule_batches(sequences, plan)
    optimizers = make_optimizers(model, plan)
    for step, rows in enumerate(track(steps)):
        ids, mask = collate([sequences[row] for row in rows])
        loss = -logps(model, ids, mask).mean()
        if not math.isfinite(loss.item()):
            raise DivergedError(
                f"the loss of step {step} of {len(steps)} of supervised fine-tuning is {loss.item()}: "
                "set model.sft.matrix_lr and model.sft.vector_lr lower"
            )
        loss.backward()
        follow(optimizers, trapezoid(step, len(steps), warmup=plan.warmup, decay=plan.decay))


def make_optimizers(model: Llama, plan: Sft) -> list[torch.optim.Optimizer]:
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


def follow(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Take one step of each optimizer at `factor` times its peak learning rate, and clear the gradients."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        optimizer.step()
        optimizer.zero_grad()


def trapezoid(step: int, steps: int, *, warmup: float, decay: float) -> float:
    """Learning rate over its peak: it rises, stays and falls to 0 in linear pieces."""
    return min(1.0, (step + 1) / max(1.0, warmup * steps), (steps - step) / (decay * steps))


def schedule_batches(sequences: Sequence[Sequence[int]], plan: Sft) -> list[list[int]]:
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


def by_length(sequences: Sequence[Sequence[int]], rows: Sequence[int], tokens: int) -> list[list[int]]:
    """Rows sorted by length, in batches of at most `tokens` tokens with their padding, and of one row at least."""
    batches: list[list[int]] = [[]]
    for row in sorted(rows, key=lambda row: len(sequences[row])):
        if batches[-1] and len(sequences[row]) * (len(batches[-1]) + 1) > tokens:
            batches.append([])
        batches[-1].append(row)
    return batches


def collate(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """ids [B L], padded on the right with 0, and mask [B L]."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.zeros(mask.shape, dtype=torch.long)
    ids[mask] = torch.tensor([token for sequence in sequences for token in sequence])
    return ids, mask


def logps(model: Llama, ids: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of every token after the first where mask [B L] is True, [N]."""
    keep = mask[:, 1:]
    return token_logps(model.hidden(ids[:, :-1])[keep], model.head, ids[:, 1:][keep])


@torch.no_grad()
def total_loss(model: Llama, sequences: Sequence[Sequence[int]]) -> tuple[float, int]:
    """-Σ log p in nats over the predicted tokens of all sequences, and the number of these tokens."""
    batches = by_length(sequences, range(len(sequences)), 4096)
    parts = [logps(model, *collate([sequences[row] for row in rows])) for rows in batches]
    return -sum(float(part.double().sum()) for part in parts), sum(map(len, parts))
