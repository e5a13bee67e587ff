"""The memory of supervised fine-tuning, which happens before a run and trains all weights in float32, without LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from align_lab.base import registry
from align_lab.base.contracts import Model
from align_lab.base.errors import ConfigError
from align_lab.base.run_config import RunConfig
from align_lab.models.shape import Shape
from align_lab.preflight import available_memory, terms
from align_lab.preflight.available_memory import AvailableMemory
from align_lab.preflight.estimate import GIB, Estimate
from align_lab.preflight.workload import Workload, human_tokens

AnyConfig = RunConfig | Mapping[str, Any]


def fine_tuning(cfg: AnyConfig, *, gpu: bool) -> Estimate | None:
    """The estimate; None where nothing is fine-tuned, or where the model's shape is not known yet."""
    model: Model = registry.build("model", cfg["model"])
    plan, shape = model.fine_tuning(), model.shape()
    if plan is None or shape is None:
        return None
    longest = min(shape.context, human_tokens(cfg["data"]))
    return of_shape(shape, batch_tokens=plan.batch_tokens, longest=longest, gpu=gpu)


def of_shape(shape: Shape, *, batch_tokens: int, longest: int, gpu: bool) -> Estimate:
    """Of steps of `batch_tokens` tokens, in sequences of at most `longest`: one sequence at least."""
    length, rows = longest, max(1, batch_tokens // longest)
    x = Workload(
        shape=replace(shape, lora_rank=0), rows=rows, groups=1, group=rows, micro_batch=None, prompt=0, new=length,
        samples=False, gpu=gpu,
    )  # fmt: skip
    persistent = {
        "weights": terms.weights(x),
        "gradients": terms.gradients(x),
        "optimizer state": terms.optimizer(x),
        **({} if gpu else {"libraries and data": terms.LIBRARIES}),
    }
    logits, backward = terms.logits(x, rows, length), terms.backward(x, rows, length)
    step = {
        "activations": terms.activations(x, rows, length),
        **({"logits": logits} if logits > backward else {"backward": backward}),
    }
    return Estimate(
        persistent={name: value / GIB for name, value in persistent.items()},
        phases={"fine-tuning": {name: value / GIB for name, value in step.items()}},
        main={},
        micro_batch=rows,
    )


def check_fine_tuning(cfg: AnyConfig, *, gpu: bool) -> None:
    """Raises ConfigError where the memory of this machine is too little."""
    _refuse(cfg, available_memory.measured(cfg["hardware"]["placement"], gpu=gpu), gpu=gpu)


def check_requested(cfg: AnyConfig, *, gpu: bool) -> None:
    """Raises ConfigError where the memory that a job requests is too little; it need not say how much it requests."""
    single = {**cfg["hardware"]["placement"], "tasks_per_node": 1}  # a stage has one process
    if available := available_memory.requested(single, gpu=gpu):
        _refuse(cfg, available, gpu=gpu)


def _refuse(cfg: AnyConfig, available: AvailableMemory, *, gpu: bool) -> None:
    need = fine_tuning(cfg, gpu=gpu)
    if need is None or need.total <= available.gib:
        return
    model: Model = registry.build("model", cfg["model"])
    leave_out = ", or model.sft.epochs=0 to start from the model as it was released" if model.pretrained else ""
    raise ConfigError(
        f"supervised fine-tuning of the start policy needs about {need.sentence()}, and {available} is available. It "
        f"trains all weights in float32, also where the run itself trains adapters or other numbers. "
        f"{_smaller_batch(cfg, available, gpu=gpu) or 'Use a smaller model or a larger machine'}{leave_out}"
    )


def _smaller_batch(cfg: AnyConfig, available: AvailableMemory, *, gpu: bool) -> str:
    """The largest of the halves of the batch that fits; "" where none does."""
    values = cfg.values if isinstance(cfg, RunConfig) else cfg
    tokens = int(values["model"]["sft"]["batch_tokens"]) // 2
    while tokens >= 64:
        sft = {**values["model"]["sft"], "batch_tokens": tokens}
        need = fine_tuning({**values, "model": {**values["model"], "sft": sft}}, gpu=gpu)
        if need is not None and need.total <= available.gib:
            return f"Set model.sft.batch_tokens={tokens} ({need.total:.1f} GiB)"
        tokens //= 2
    return ""
