"""TRL's own methods on the recorded experience, in TRL's environment.

python trl_worker.py FOLDER     FOLDER/job.json holds the record and the cases; FOLDER/trl.json is written

Trainers are constructed with a model and a data set. Two things are replaced: sampling, which returns the recorded
tokens, and the reward function, which returns the recorded scores. Everything else is TRL's code; the log-probabilities
that it computes are kept on their way, to read the gradient.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import probes
import torch
import transformers
import trl
from datasets import Dataset
from torch import Tensor
from transformers import AutoTokenizer, LlamaForCausalLM

COMMON = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "max_steps": 1,
}
TEMPERATURE = 0.7


class Kept:
    """Wraps a method so that the log-probabilities of its last call with gradient remain at hand."""

    def __init__(self, owner: Any, name: str) -> None:
        self.original, self.logp = getattr(owner, name), torch.zeros(0)
        setattr(owner, name, self)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        out = self.original(*inputs, **options)
        logp = out[0] if isinstance(out, tuple) else out
        if logp.requires_grad:
            logp.retain_grad()
            self.logp = logp
        return out


class Folder:
    """The record: models by name, the tokenizer, prompts and completions as text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.job = json.loads((path / "job.json").read_text())
        self.record = self.job["record"]
        self.tokenizer = AutoTokenizer.from_pretrained(path / "policy")

    def model(self, name: str) -> LlamaForCausalLM:
        return LlamaForCausalLM.from_pretrained(self.path / name, dtype=torch.float64)

    def load(self, model: torch.nn.Module, name: str) -> None:
        model.to(torch.float64).load_state_dict(self.model(name).state_dict())

    def text(self, ids: list[int]) -> str:
        return " ".join("</s>" if token == self.tokenizer.eos_token_id else f"w{token}" for token in ids)

    @property
    def rows(self) -> list[list[int]]:
        """The prompt of each completion."""
        return [prompt for prompt in self.record["prompts"] for _ in range(self.record["group_size"])]


def left_aligned(x: Tensor, mask: Tensor, width: int) -> Tensor:
    """The counted entries of each row [N L] at its beginning, zeros behind: [N width]."""
    out = x.new_zeros(len(x), width)
    for row, (values, counts) in enumerate(zip(x, mask.bool(), strict=True)):
        kept = values[counts]
        out[row, : len(kept)] = kept
    return out


def rollout_case(case: dict[str, Any], folder: Folder, out: str) -> probes.Quantities:
    """GRPO or RLOO: TRL computes advantages and all log-probabilities; then its loss is probed."""
    record, name = folder.record, case["trainer"]
    config_class, trainer_class = getattr(trl, f"{name}Config"), getattr(trl, f"{name}Trainer")
    scores = list(record["scores"])
    options = {
        "num_generations": record["group_size"],
        "max_completion_length": record["longest"],
        "per_device_train_batch_size": len(scores),
        "temperature": TEMPERATURE,
        "num_iterations": 2,  # so that the old log-probabilities are computed, and not taken to be the current ones
    }
    trainer = trainer_class(
        model=folder.model("old"),
        args=config_class(out, **(COMMON | options | case["theirs"])),
        processing_class=folder.tokenizer,
        reward_funcs=lambda completions, **_: scores,
        train_dataset=Dataset.from_list([{"prompt": folder.text(prompt)} for prompt in record["prompts"]]),
    )
    trainer.current_gradient_accumulation_steps = 1
    if trainer.ref_model is not None:
        folder.load(trainer.ref_model, "reference")
    tokens = folder.rows, record["completions"], [folder.text(ids) for ids in record["completions"]]
    sampled = {"GRPO": (*tokens[:2], None, tokens[2], None, {}, None, None), "RLOO": tokens}[name]
    trainer._generate = lambda prompts: sampled
    trainer.model.train()
    batch = trainer._generate_and_score_completions([{"prompt": folder.text(prompt)} for prompt in folder.rows])
    if case["state"] == "changed":
        folder.load(trainer.model, "policy")
    return _probe_rollout(trainer, folder, batch, name)


def _probe_rollout(trainer: Any, folder: Folder, batch: dict[str, Any], name: str) -> probes.Quantities:
    mask = batch["completion_mask"].bool()
    kept = Kept(trainer, "_get_per_token_logps_and_entropies")

    def loss(advantage: Tensor, old: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        past = {"old_per_token_logps": old} if name == "GRPO" else {"old_logps": (old * mask).sum(1)}
        if reference is not None:
            past["ref_per_token_logps"] = reference
        value = trainer._compute_loss(trainer.model, batch | past | {"advantages": advantage[:, 0]})
        value.backward()
        trainer.model.zero_grad()
        return value.detach(), kept.logp.grad * mask

    def logps(model: Any) -> Tensor:
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        with torch.no_grad():
            return kept.original(model, ids, seen, mask.shape[1])[0] * mask

    def logps_of(name: str) -> Tensor:
        now = {key: weight.clone() for key, weight in trainer.model.state_dict().items()}
        folder.load(trainer.model, name)
        found = logps(trainer.model)
        trainer.model.load_state_dict(now)
        return found

    policy, reference = logps(trainer.model), logps_of("reference")
    old = batch.get("old_per_token_logps", logps_of("old")) * mask  # RLOO keeps their sums alone
    advantage = batch["advantages"].to(policy)[:, None].expand_as(mask)
    found = probes.of_rollout(loss, advantage=advantage, logp=policy, old=old, reference=reference, mask=mask)
    return {"logp": policy, "logp_old": old, "logp_ref": reference} | found


def pair_case(case: dict[str, Any], folder: Folder, out: str) -> probes.Quantities:
    """DPO with any of its losses, on the collated batch of TRL's own data pipeline."""
    record = folder.record
    rows = [
        {key: ("" if key == "prompt" else " ") + folder.text(ids) for key, ids in pair.items()}
        for pair in record["pairs"]
    ]
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
    width, pairs = record["longest"], len(rows)

    def as_pairs(x: Tensor) -> Tensor:
        """[chosen and rejected, all tokens] -> [chosen, rejected, chosen, rejected, ...; completion tokens]."""
        aligned = left_aligned(x[:, -mask.shape[1] :], mask, width)
        return aligned.view(2, pairs, width).transpose(0, 1).reshape(-1, width)

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


def online_case(case: dict[str, Any], folder: Folder, out: str) -> probes.Quantities:
    """A training step of online DPO on the first two samples of each prompt; the gradient shows which is chosen."""
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    record, group = folder.record, folder.record["group_size"]
    prompts = record["prompts"]
    order = [prompt * group + sample for sample in range(2) for prompt in range(len(prompts))]  # TRL's: by sample
    scores = [case["scores"][prompt * 2 + sample] for sample in range(2) for prompt in range(len(prompts))]
    completions = [record["completions"][number] for number in order]
    options = {"max_new_tokens": record["longest"], "temperature": TEMPERATURE} | case["theirs"]
    trainer = OnlineDPOTrainer(
        model=folder.model("policy"),
        ref_model=folder.model("reference"),
        args=OnlineDPOConfig(out, **COMMON, **options),
        processing_class=folder.tokenizer,
        reward_funcs=lambda completions, **_: scores,
        train_dataset=Dataset.from_list([{"prompt": folder.text(prompt)} for prompt in prompts]),
    )
    ids, mask = _padded(completions, right=True)
    prompt_ids, prompt_mask = _padded(prompts * 2, right=False)
    trainer._generate = lambda model, prompts, images=None: (prompt_ids, prompt_mask, ids, mask, None)
    kept = Kept(trainer, "_forward")
    value = trainer.training_step(trainer.model, {"prompt": [folder.text(prompt) for prompt in prompts]})
    with torch.no_grad():
        logps = [
            kept.original(model, prompt_ids, prompt_mask, ids, mask) * mask
            for model in (trainer.model, trainer.ref_model)
        ]

    def by_prompt(x: Tensor) -> Tensor:
        return x.view(2, len(prompts), -1).transpose(0, 1).reshape(len(order), -1)

    gradient = by_prompt(kept.logp.grad * mask)
    return {
        "logp": by_prompt(logps[0]),
        "logp_ref": by_prompt(logps[1]),
        "mask": by_prompt(mask.to(gradient)),
        "advantage": -gradient.sign(),
        "loss": value,
        "gradient": gradient,
    }


def _padded(rows: list[list[int]], *, right: bool) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = [row + [0] * (width - len(row)) if right else [0] * (width - len(row)) + row for row in rows]
    mask = [
        [1] * len(row) + [0] * (width - len(row)) if right else [0] * (width - len(row)) + [1] * len(row)
        for row in rows
    ]
    return torch.tensor(ids), torch.tensor(mask)


KINDS = {"GRPO": rollout_case, "RLOO": rollout_case, "DPO": pair_case, "OnlineDPO": online_case}


def main(path: Path) -> None:
    transformers.utils.logging.disable_progress_bar()
    folder = Folder(path)
    results = {}
    for number, case in enumerate(folder.job["cases"]):
        found = KINDS[case["trainer"]](case, folder, str(path / f"out-{number}"))
        results[case["name"]] = {key: value.double().tolist() for key, value in found.items()}
        print(case["name"], file=sys.stderr)
    sources = {name: _source(name) for name in sorted({case["trainer"] for case in folder.job["cases"]})}
    versions = {package.__name__: package.__version__ for package in (trl, transformers, torch)}
    content = {"versions": versions, "functions": sources, "results": results}
    (path / "trl.json").write_text(json.dumps(content))


def _source(trainer: str) -> str:
    """The functions that were called, for the provenance of the values."""
    if trainer == "OnlineDPO":
        from trl.experimental.online_dpo import OnlineDPOTrainer

        return f"{OnlineDPOTrainer.__module__}.OnlineDPOTrainer: training_step, _forward"
    prepared = "_generate_and_score_completions" if trainer in ("GRPO", "RLOO") else "data_collator"
    return f"{getattr(trl, f'{trainer}Trainer').__module__}.{trainer}Trainer: {prepared}, _compute_loss"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
