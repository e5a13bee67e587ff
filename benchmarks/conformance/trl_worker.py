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
import trl_online
import trl_pairs
from datasets import Dataset
from torch import Tensor
from trl_record import COMMON, TEMPERATURE, Folder, Kept, config_and_trainer


def rollout_case(case: dict[str, Any], folder: Folder, out: str) -> probes.Quantities:
    """GRPO or RLOO: TRL computes advantages and all log-probabilities; then its loss is probed."""
    record, name = folder.record, case["trainer"]
    config_class, trainer_class = config_and_trainer(name)
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
        result = logps(trainer.model)
        trainer.model.load_state_dict(now)
        return result

    policy, reference = logps(trainer.model), logps_of("reference")
    old = batch.get("old_per_token_logps", logps_of("old")) * mask  # RLOO keeps their sums alone
    advantage = batch["advantages"].to(policy)[:, None].expand_as(mask)
    result = probes.of_rollout(loss, advantage=advantage, logp=policy, old=old, reference=reference, mask=mask)
    return {"logp": policy, "logp_old": old, "logp_ref": reference} | result


KINDS = {
    "GRPO": rollout_case,
    "RLOO": rollout_case,
    "DPO": trl_pairs.dpo,
    "KTO": trl_pairs.kto,
    "CPO": trl_pairs.without_reference,
    "ORPO": trl_pairs.without_reference,
    "OnlineDPO": trl_online.online_dpo,
}
CALLED = {  # the functions that compute, for the provenance of the values
    "GRPO": "_generate_and_score_completions, _compute_loss",
    "RLOO": "_generate_and_score_completions, _compute_loss",
    "DPO": "data_collator, _compute_loss",
    "KTO": "data_collator, _compute_loss",
    "CPO": "data_collator, get_batch_loss_metrics",
    "ORPO": "data_collator, get_batch_loss_metrics",
    "OnlineDPO": "training_step, _forward",
}


def main(path: Path) -> None:
    transformers.utils.logging.disable_progress_bar()
    folder = Folder(path)
    results = {}
    for number, case in enumerate(folder.job["cases"]):
        result = KINDS[case["trainer"]](case, folder, str(path / f"out-{number}"))
        results[case["name"]] = {key: value.double().tolist() for key, value in result.items()}
        print(case["name"], file=sys.stderr)
    used = sorted({case["trainer"] for case in folder.job["cases"]})
    sources = {name: f"{config_and_trainer(name)[1].__module__}.{name}Trainer: {CALLED[name]}" for name in used}
    versions = {package.__name__: package.__version__ for package in (trl, transformers, torch)}
    content = {"versions": versions, "functions": sources, "results": results}
    (path / "trl.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
