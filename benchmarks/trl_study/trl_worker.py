"""Training with TRL, in TRL's environment. The reward is called through a pipe: it runs in this project's environment.

python trl_worker.py FOLDER     reads FOLDER/job.json and FOLDER/start, writes the trained policy to FOLDER/trained

Model, data, their order, optimizer, schedule and sampling are those of the job. What TRL does with them is TRL's: it
generates with transformers, and all of its losses, advantages and the training loop are its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import AutoTokenizer, LlamaForCausalLM


class Pipe:
    """Lines of JSON on the original standard output; what libraries print goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def send(self, message: dict[str, Any]) -> None:
        print(json.dumps(message), file=self._out, flush=True)

    def ask(self, message: dict[str, Any]) -> Any:
        self.send(message)
        return json.loads(sys.stdin.readline())


class InOrder(trl.DPOTrainer):
    """DPO on pairs that are tokens already, in the order of the data set."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def optimizer(model: torch.nn.Module, plan: dict[str, Any], factors: list[float]) -> tuple[Any, Any]:
    """AdamW and a schedule with these factors on the learning rate, one a step."""
    assert plan["weight_decay"] == 0, "weight decay would apply to other parameters"
    betas = (plan["beta1"], plan["beta2"])
    adam = torch.optim.AdamW(model.parameters(), lr=plan["lr"], betas=betas, eps=plan["adam_eps"], weight_decay=0.0)
    return adam, torch.optim.lr_scheduler.LambdaLR(adam, lambda step: factors[min(step, len(factors) - 1)])


def common(job: dict[str, Any], rows: int) -> dict[str, Any]:
    """Fields of every TRL config."""
    plan = job["train"]
    return {
        "output_dir": job["out"],
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
        "seed": job["seed"],
        "max_steps": plan["steps"],
        "per_device_train_batch_size": rows,
        "max_grad_norm": plan["max_grad_norm"],
        "learning_rate": plan["lr"],
    } | job["theirs"]


def sampling_trainer(job: dict[str, Any], model: Any, tokenizer: Any, pipe: Pipe) -> Any:
    """GRPO or RLOO; one update for each rollout, of all its completions."""
    plan, sampling, name = job["train"], job["sampling"], job["trainer"]
    group, prompts = plan["group_size"], plan["prompts_per_step"]
    assert plan["epochs"] == plan["minibatches"] == 1
    texts = tokenizer.batch_decode([row["ids"] for row in job["experience"]])
    for text, row in zip(texts, job["experience"], strict=True):
        assert tokenizer(text)["input_ids"] == row["ids"], f"TRL would read other tokens: {text!r}"

    def reward(completion_ids: list[list[int]], row: list[int], **_: Any) -> list[float | None]:
        return pipe.ask({"completions": completion_ids, "rows": row})

    config = getattr(trl, f"{name}Config")(
        **common(job, group * prompts),
        num_generations=group,
        max_completion_length=sampling["max_new_tokens"],
        temperature=sampling["temperature"],
        top_p=sampling["top_p"],
        shuffle_dataset=False,
    )
    return getattr(trl, f"{name}Trainer")(
        model=model,
        args=config,
        processing_class=tokenizer,
        reward_funcs=reward,
        train_dataset=Dataset.from_list(
            [{"prompt": text, "row": row["row"]} for text, row in zip(texts, job["experience"], strict=True)]
        ),
        optimizers=optimizer(model, plan, job["factors"]),
    )


def pair_trainer(job: dict[str, Any], model: Any, tokenizer: Any, start: Path) -> Any:
    """DPO; a step's pairs are as many completions as a step of the others."""
    plan = job["train"]
    return InOrder(
        model=model,
        ref_model=LlamaForCausalLM.from_pretrained(start, dtype=torch.float32),
        args=trl.DPOConfig(**common(job, plan["group_size"] * plan["prompts_per_step"] // 2), max_length=None),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(job["experience"]),
        optimizers=optimizer(model, plan, job["factors"]),
    )


def main(folder: Path) -> None:
    pipe = Pipe()
    job = json.loads((folder / "job.json").read_text()) | {"out": str(folder / "trl")}
    start = folder / "start"
    model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(start)
    if job["trainer"] == "DPO":
        trainer = pair_trainer(job, model, tokenizer, start)
    else:
        trainer = sampling_trainer(job, model, tokenizer, pipe)
    begin = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - begin
    model.save_pretrained(folder / "trained")
    versions = {package.__name__: package.__version__ for package in (trl, transformers, torch)}
    pipe.send({"seconds": seconds, "versions": versions, "log": trainer.state.log_history})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
