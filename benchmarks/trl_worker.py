"""TRL's trainers, one step at a time, in TRL's own environment, for `trainers.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from datasets import Dataset
from shape import BETA, GROUP, KL, LR, NEW, PROMPT, ROWS, pairs, prompts, reward
from transformers import AutoTokenizer, LlamaForCausalLM, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from worker import Gate

# Gradient checkpointing, which TRL enables by default, is off: it trades time for memory. All else is the default.
COMMON = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "learning_rate": LR,
    "per_device_train_batch_size": ROWS,
    "max_steps": 100_000,
    "disable_tqdm": True,
    "logging_steps": 10_000,
}
SAMPLING = {"num_generations": GROUP, "max_completion_length": NEW, "generation_kwargs": {"min_new_tokens": NEW}}


class OneStep(TrainerCallback):
    """Blocks the trainer before each step until the benchmark requests it."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def on_train_begin(self, args, state, control, **kwargs):
        self.gate.ready()

    def on_step_begin(self, args, state, control, **kwargs):
        if not self.gate.wait():
            sys.exit(0)

    def on_step_end(self, args, state, control, **kwargs):
        self.gate.done()


def trainer(folder: Path, kind: str):
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    shared = {"model": model, "processing_class": AutoTokenizer.from_pretrained(folder)}
    out = str(folder / kind)
    if kind == "dpo":
        options = COMMON | {"per_device_train_batch_size": ROWS // 2}
        return DPOTrainer(
            args=DPOConfig(out, beta=BETA, max_length=PROMPT + NEW, **options),
            train_dataset=Dataset.from_list(pairs()),
            **shared,
        )
    shared |= {
        "train_dataset": Dataset.from_list([{"prompt": text} for text in prompts()]),
        "reward_funcs": lambda completions, **_: reward(completions),
    }
    if kind == "rloo":
        return RLOOTrainer(args=RLOOConfig(out, beta=KL, **COMMON, **SAMPLING), **shared)
    return GRPOTrainer(args=GRPOConfig(out, beta=0.0, **COMMON, **SAMPLING), **shared)


if __name__ == "__main__":
    gate = Gate()
    training = trainer(Path(sys.argv[1]), sys.argv[2])
    training.add_callback(OneStep(gate))
    training.train()
