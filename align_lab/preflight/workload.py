"""What a run asks of one process' memory, read from its config alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from align_lab.base import registry
from align_lab.base.contracts import Data
from align_lab.base.run_config import RunConfig
from align_lab.models.shape import Shape

BYTES = {"bfloat16": 2, "float32": 4, "float64": 8}
OPENING, TEXT = 3, 2  # tokens a word of the longest opening, and of the longest text; plain English has 1.4
TEMPLATE = 36  # tokens that a chat template adds
PROMPT_WORDS = 100  # where the data does not tell
EVALUATED = 128  # completions that an evaluation samples at a time


@dataclass(frozen=True, kw_only=True)
class Load:
    """Sizes of one process, and the fields of the hardware that decide what it holds."""

    shape: Shape
    rows: int  # completions that this process samples in a step
    groups: int  # of one update, this process' share
    group: int  # completions of a group
    micro_batch: int | None  # completions of one forward pass; None: all of an update
    prompt: int  # S
    new: int  # T
    critic: bool = False
    reference: bool = False
    entropy: bool = False
    samples: bool = True  # in the loop; False: learns from a set of pairs
    human_rows: int = 0  # rows of the pre-training term,
    human_length: int = 0  # and tokens of its longest text
    evaluated: int = EVALUATED
    dtype: str = "float32"
    checkpointing: bool = False
    eager: bool = False
    nucleus: bool = False
    processes: int = 1
    zero_stage: int = 0
    offload: bool = False
    gpu: bool = False
    vllm: Mapping[str, Any] | None = None  # the section hardware.vllm, where vLLM samples

    @property
    def bytes(self) -> int:
        """Of one number of a weight or an activation."""
        return BYTES[self.dtype]

    @property
    def micro_rows(self) -> int:
        """Completions of one forward pass: whole groups, one at least."""
        groups = self.groups if self.micro_batch is None else min(self.groups, max(1, self.micro_batch // self.group))
        return groups * self.group


def load(cfg: RunConfig | Mapping[str, Any], *, processes: int | None = None, gpu: bool | None = None) -> Load | None:
    """The load of a composed run; None where the model does not tell its shape (a plug-in's, or weights not here yet).

    `processes` and `gpu`: as they are, where the run has begun; else as the config says.
    """
    shape = shape_of(cfg["model"])
    if shape is None:
        return None
    needs, train, sampling = registry.build("algo", cfg["algo"]).needs, cfg["train"], cfg["sampling"]
    numerics, place = cfg["hardware"]["numerics"], cfg["hardware"]["placement"]
    world = processes or place["nodes"] * place["tasks_per_node"]
    pairs = needs.experience == "pairs"
    group = 2 if pairs else train["group_size"]
    step = train["prompts_per_step"] * train["group_size"] // group  # groups
    new = sampling["max_new_tokens"]
    return Load(
        shape=shape,
        rows=math.ceil(step / world) * group,
        groups=math.ceil(math.ceil(step / train["minibatches"]) / world),
        group=group,
        micro_batch=train["micro_batch"],
        prompt=max(1, min(shape.context - new, prompt_tokens(cfg))),
        new=new,
        critic=needs.critic is not None,
        reference=needs.reference and not pairs,
        entropy=needs.entropy,
        samples=not pairs,
        human_rows=math.ceil(train["prompts_per_step"] / world) if needs.pretrain_batch else 0,
        human_length=min(shape.context, human_tokens(cfg["data"])),
        evaluated=min(EVALUATED, cfg["evaluation"]["prompts"]),
        dtype=numerics["dtype"],
        checkpointing=numerics["gradient_checkpointing"],
        eager=numerics["attention"] == "eager",
        nucleus=sampling["top_p"] < 1,
        processes=world,
        zero_stage=numerics["zero_stage"] if numerics["engine"] == "deepspeed" else 0,
        offload=numerics["offload_optimizer"] and numerics["engine"] == "deepspeed",
        gpu=on_gpu(cfg) if gpu is None else gpu,
        vllm=cfg["hardware"]["vllm"] if numerics["sampler"] == "vllm" else None,
    )


def prompt_tokens(cfg: RunConfig | Mapping[str, Any]) -> int:
    """Tokens of the longest prompt, about; with what a chat model is asked around it."""
    data: Data = registry.build("data", cfg["data"])
    longest = data.longest_prompt()
    opening = OPENING * (PROMPT_WORDS if longest is None else longest)
    if cfg["model"]["name"] == "tiny" or not cfg["model"].get("chat", True):
        return opening
    return opening + TEMPLATE + round(1.5 * len(data.instruction.split()))


def human_tokens(data: Mapping[str, Any]) -> int:
    """Tokens of the longest human text, about; more than a context holds where the data does not tell."""
    longest = registry.build("data", data).longest_text()
    return TEXT * (1 << 20 if longest is None else longest)


def shape_of(model: Mapping[str, Any]) -> Shape | None:
    """The shape that a model's component tells, with the adapters that its config asks for."""
    return registry.build("model", model).shape()


def on_gpu(cfg: RunConfig | Mapping[str, Any]) -> bool:
    """Does the config alone say that the run computes on a GPU? `auto` does where it asks for one."""
    device = cfg["hardware"]["numerics"]["device"]
    return device == "cuda" or (device == "auto" and cfg["hardware"]["placement"]["gpus_per_node"] > 0)
