"""TRL's trainers that read preference pairs: DPO with any of its losses, KTO, CPO with SimPO, ORPO."""

from __future__ import annotations

from typing import Any

import probes
import torch
import trl
from datasets import Dataset
from torch import Tensor
from trl_record import COMMON, Folder, config_and_trainer, left_aligned


def texts(case: dict[str, Any], folder: Folder) -> list[dict[str, str]]:
    """The pairs of the case as TRL reads them."""
    pairs = [folder.record["short_pair"]] if case["short"] else folder.record["pairs"]
    return [{key: ("" if key == "prompt" else " ") + folder.text(ids) for key, ids in pair.items()} for pair in pairs]


def chosen_then_rejected(x: Tensor, mask: Tensor, width: int) -> Tensor:
    """[all chosen, all rejected; all tokens] -> [chosen, rejected, chosen, rejected, ...; completion tokens]."""
    aligned = left_aligned(x, mask, width)
    return aligned.view(2, len(x) // 2, width).transpose(0, 1).reshape(-1, width)


def dpo(case: dict[str, Any], folder: Folder, out: str) -> probes.Quantities:
    """DPO with any of its losses, on the collated batch of TRL's own data pipeline."""
    record, rows = folder.record, texts(case, folder)
    trainer = trl.DPOTrainer(
        model=folder.model("policy"),
        ref_model=folder.model("reference"),
        args=trl.DPOConfig(out, **COMMON, per_device_train_batch_size=len(rows), **case["theirs"]),
        processing_class=folder.tokenizer,
        train_dataset=Dataset.from_list(rows),
    )
    batch = trainer.data_collator([trainer.train_dataset[row] for row in range(len(rows))])
    mask = batch["completion_mask"][:, 1:].bool()
    trainer.model.train()
    kept: list[Tensor] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        if output.log_probs.requires_grad:
            output.log_probs.retain_grad()
            kept.append(output.log_probs)

    trainer.model.register_forward_hook(keep)
    width = record["longest"]

    def as_pairs(x: Tensor) -> Tensor:
        return chosen_then_rejected(x[:, -mask.shape[1] :], mask, width)

    def logps(name: str) -> Tensor:
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        given = {key: batch[key] for key in ("input_ids", "attention_mask")}
        folder.load(trainer.ref_model, name)
        with torch.no_grad():
            out = trainer.ref_model(**given, labels=labels, fused_lm_head=True, use_cache=False)
        return as_pairs(out.log_probs)

    policy, reference = logps("policy"), logps("reference")

    def loss(advantage: Tensor, old: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        folder.load(trainer.ref_model, "policy" if given is policy else "reference")
        kept.clear()
        value = trainer._compute_loss(trainer.model, batch, False)
        value.backward()
        trainer.model.zero_grad()
        return value.detach(), as_pairs(kept[0].grad)

    inputs = {"logp": policy, "logp_ref": reference}
    counted = as_pairs(mask.to(policy)).bool()
    return inputs | probes.of_pairs(loss, logp=policy, reference=reference, mask=counted)


def kto(case: dict[str, Any], folder: Folder, out: str) -> probes.Quantities:
    """KTO on the completions of the pairs one by one, and what it estimates the KL from."""
    rows = [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for pair in texts(case, folder)
        for side in ("chosen", "rejected")
    ]
    trainer = trl.KTOTrainer(
        model=folder.model("policy"),
        ref_model=folder.model("reference"),
        args=trl.KTOConfig(out, **COMMON, per_device_train_batch_size=len(rows), **case["theirs"]),
        processing_class=folder.tokenizer,
        train_dataset=Dataset.from_list(rows),
    )
    batch = trainer.data_collator([trainer.train_dataset[row] for row in range(len(rows))])
    mask, width = batch["completion_mask"][:, 1:].bool(), folder.record["longest"]
    trainer.model.train()
    kept: list[Tensor] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        kept.append(output.log_probs)
        if output.log_probs.requires_grad:
            output.log_probs.retain_grad()

    trainer.model.register_forward_hook(keep)
    trainer.ref_model.register_forward_hook(keep)
    value = trainer._compute_loss(trainer.model, batch, False)
    value.backward()
    mismatched, policy, mismatched_reference, reference = kept  # in the order of TRL's calls

    def counted(x: Tensor) -> Tensor:
        return left_aligned(x.detach()[:, -mask.shape[1] :], mask, width)

    return {
        "mask": counted(mask.to(policy)),
        "logp": counted(policy),
        "logp_ref": counted(reference),
        "logp_mismatched": mismatched.sum(1),
        "logp_ref_mismatched": mismatched_reference.sum(1),
        "reference_point": torch.tensor(trainer._metrics["train"]["kl"][-1], dtype=torch.float64),
        "loss": value.detach(),
        "gradient": counted(policy.grad),
    }


def without_reference(case: dict[str, Any], folder: Folder, out: str) -> probes.Quantities:
    """CPO and SimPO, or ORPO: the gradient of a log-probability is read from that of the logits."""
    rows = texts(case, folder)
    config, trainer_class = config_and_trainer(case["trainer"])
    trainer = trainer_class(
        model=folder.model("policy"),
        args=config(out, **COMMON, per_device_train_batch_size=len(rows), **case["theirs"]),
        processing_class=folder.tokenizer,
        train_dataset=Dataset.from_list(rows),
    )
    batch = trainer.data_collator([trainer.train_dataset[row] for row in range(len(rows))])
    trainer.model.train()
    kept: list[Any] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        output.logits.retain_grad()
        kept.append((inputs[0], output.logits))

    trainer.model.register_forward_hook(keep)
    value, _ = trainer.get_batch_loss_metrics(trainer.model, batch)
    value.backward()
    (ids, logits), width = kept[0], folder.record["longest"]
    targets = ids[:, 1:, None]
    logp = logits.detach()[:, :-1].log_softmax(-1).gather(2, targets)[..., 0]
    gradient = logits.grad[:, :-1].gather(2, targets)[..., 0] / -torch.expm1(logp)  # dL/dz = g (1 - p) at the target
    labels = torch.cat([_padded_labels(batch[f"{side}_labels"], ids.shape[1]) for side in ("chosen", "rejected")])
    mask = labels[:, 1:] != -100
    return {
        "mask": chosen_then_rejected(mask.to(logp), mask, width),
        "prompt": chosen_then_rejected((gradient.abs() * ~mask).sum(1, keepdim=True), torch.ones(len(ids), 1), 1)[:, 0],
        "logp": chosen_then_rejected(logp, mask, width),
        "loss": value.detach(),
        "gradient": chosen_then_rejected(gradient, mask, width),
    }


def _padded_labels(labels: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(labels, (0, width - labels.shape[1]), value=-100)
