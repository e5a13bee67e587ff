"""TRL's online DPO."""

from __future__ import annotations

from typing import Any

import probes
import torch
from datasets import Dataset
from torch import Tensor
from trl_record import COMMON, TEMPERATURE, Folder, Kept, config_and_trainer


def online_dpo(case: dict[str, Any], folder: Folder, out: str) -> probes.Quantities:
    """A training step of online DPO on the first two samples of each prompt; the gradient shows which is chosen."""
    config, trainer_class = config_and_trainer("OnlineDPO")
    record, group = folder.record, folder.record["group_size"]
    prompts = record["prompts"]
    order = [prompt * group + sample for sample in range(2) for prompt in range(len(prompts))]  # TRL's: by sample
    scores = [case["scores"][prompt * 2 + sample] for sample in range(2) for prompt in range(len(prompts))]
    completions = [record["completions"][number] for number in order]
    options = {"max_new_tokens": record["longest"], "temperature": TEMPERATURE} | case["theirs"]
    trainer = trainer_class(
        model=folder.model("policy"),
        ref_model=folder.model("reference"),
        args=config(out, **COMMON, **options),
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
