"""The record as TRL's trainers take it, for the workers in TRL's environment."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
import trl
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


def config_and_trainer(name: str) -> tuple[Any, Any]:
    """TRL's classes of this prefix; some are experimental."""
    module: Any = trl
    if name in ("CPO", "ORPO", "OnlineDPO"):
        module = importlib.import_module(f"trl.experimental.{'online_dpo' if name == 'OnlineDPO' else name.lower()}")
    return getattr(module, f"{name}Config"), getattr(module, f"{name}Trainer")


def left_aligned(x: Tensor, mask: Tensor, width: int) -> Tensor:
    """The counted entries of each row [N L] at its beginning, zeros behind: [N width]."""
    out = x.new_zeros(len(x), width)
    for row, (values, counts) in enumerate(zip(x, mask.bool(), strict=True)):
        kept = values[counts]
        out[row, : len(kept)] = kept
    return out
