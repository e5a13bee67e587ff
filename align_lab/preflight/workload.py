"""The sizes of a run that determine the memory of one process, derived from its config alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from align_lab.base import registry
from align_lab.base.contracts import Data, Reward
from align_lab.base.run_config import RunConfig
from align_lab.base.task import ScorerMemory
from align_lab.models.shape import Shape

BYTES = {"bfloat16": 2, "float32": 4, "float64": 8}
OPENING, TEXT = 3, 2  # tokens per word of the longest opening and of the longest text; plain English has 1.4
TEMPLATE = 36  # tokens that a chat template adds
PROMPT_WORDS = 100  # if the data does not know its longest prompt
NO_SCORERS = ScorerMemory()
SHARDS_ALL = 3  # the stage of ZeRO that FSDP corresponds to
EVALUATED = 128  # completions in one batch of an evaluation


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The sizes of one process, and the hardware settings that determine its memory."""

    shape: Shape
    rows: int  # completions that this process samples per step
    groups: int  # groups of one update in this process
    group: int  # completions per group
    micro_batch: int | None  # completions of one forward pass; None: all of an update
    prompt: int  # S, tokens of a prompt
    new: int  # T, tokens of a completion
    critic: bool = False
    reference: bool = False
    entropy: bool = False
    samples: bool = True  # completions are sampled in the loop; False: a fixed set of pairs
    human_rows: int = 0  # rows of human text for the pre-training loss
    human_length: int = 0  # tokens of its longest text
    scoring_batch: int | None = None  # completions of one forward pass without gradient; None: see `passes`
    evaluated: int = EVALUATED  # completions that an evaluation samples together, at most
    evaluated_samples: int = 1  # completions of each of its prompts
    evaluation_batch: int | None = None  # completions that it does sample together; None: see `passes`
    evaluated_new: int = 0  # tokens of an evaluated completion; 0: as many as in training
    dtype: str = "float32"
    checkpointing: bool = False
    eager: bool = False
    nucleus: bool = False
    processes: int = 1
    per_node: int = 1  # processes that share a machine's main memory
    zero_stage: int = 0  # what is sharded: 1 optimizer state, 2 also gradients, 3 also weights, as FSDP does
    fsdp: bool = False  # FSDP, not DeepSpeed, shards
    offload: bool = False
    gpu: bool = False
    background: bool = False  # a GPU trains while checkpoints are written from a copy of the state
    scorers: ScorerMemory = NO_SCORERS  # weights of reward and judges, and the largest of their forward passes
    vllm: Mapping[str, Any] | None = None  # the section hardware.vllm, if vLLM samples

    @property
    def bytes(self) -> int:
        """Bytes of one number of weights and activations."""
        return BYTES[self.dtype]

    @property
    def shards_weights(self) -> bool:
        """Has no process all weights, from the start, nor those of the start policy?"""
        return self.processes > 1 and self.zero_stage == SHARDS_ALL

    @property
    def rests(self) -> bool:
        """Is what only an update needs away from the GPU otherwise? vLLM shares the GPU, and has that memory."""
        return self.gpu and self.vllm is not None and self.vllm["gpus"] == 0

    @property
    def micro_rows(self) -> int:
        """Completions of one forward pass: whole groups, at least one."""
        groups = self.groups if self.micro_batch is None else min(self.groups, max(1, self.micro_batch // self.group))
        return groups * self.group


def workload_of(
    cfg: RunConfig | Mapping[str, Any], *, processes: int | None = None, gpu: bool | None = None
) -> Workload | None:
    """The workload of a composed run; None if the model's shape is unknown (a plug-in, or weights not downloaded yet).

    `processes` and `gpu` are those of a run that has started; otherwise they follow from the config.
    """
    shape = shape_of(cfg["model"])
    if shape is None:
        return None
    needs, train, sampling = registry.build("algo", cfg["algo"]).needs, cfg["train"], cfg["sampling"]
    numerics, place = cfg["hardware"]["numerics"], cfg["hardware"]["placement"]
    world = processes or place["nodes"] * place["tasks_per_node"]
    pairs = not needs.samples
    group = train["group_size"] if not pairs else 2 if needs.paired else 1
    step = train["prompts_per_step"] * train["group_size"] // group  # groups
    new, plan = sampling["max_new_tokens"], cfg["evaluation"]
    return Workload(
        shape=shape,
        rows=math.ceil(step / world) * group,
        groups=math.ceil(math.ceil(step / train["minibatches"]) / world),
        group=group,
        micro_batch=train["micro_batch"],
        prompt=max(1, min(shape.context - new, prompt_tokens(cfg))),
        new=new,
        critic=needs.critic is not None,
        reference=needs.holds_reference,
        entropy=needs.entropy,
        samples=not pairs,
        human_rows=math.ceil(train["prompts_per_step"] / world) if needs.pretrain_batch else 0,
        human_length=min(shape.context, human_tokens(cfg["data"])),
        evaluated=min(max(EVALUATED, plan["samples"]), plan["prompts"] * plan["samples"]),
        evaluated_samples=plan["samples"],
        evaluated_new=plan["max_new_tokens"] or 0,
        scoring_batch=train["scoring_batch"],
        dtype=numerics["dtype"],
        checkpointing=numerics["gradient_checkpointing"],
        eager=numerics["attention"] == "eager",
        nucleus=sampling["top_p"] < 1,
        processes=world,
        per_node=min(world, cfg["hardware"]["placement"]["tasks_per_node"]),
        zero_stage=SHARDS_ALL if numerics["engine"] == "fsdp" else numerics["zero_stage"],
        fsdp=numerics["engine"] == "fsdp",
        offload=numerics["offload_optimizer"],
        gpu=on_gpu(cfg) if gpu is None else gpu,
        scorers=scorer_memory(cfg),
        vllm=cfg["hardware"]["vllm"] if numerics["sampler"] == "vllm" else None,
    )


def scorer_memory(cfg: RunConfig | Mapping[str, Any]) -> ScorerMemory:
    """The weights of reward and judges, also of those that they hold, and the largest of their forward passes."""
    every = list(_memories([cfg["reward"], *cfg["evaluation"]["judges"].values()], cfg["model"]))
    forward = max((one.forward for one in every), default=0.0)
    return ScorerMemory(weights=sum(one.weights for one in every), forward=forward)


def _memories(rewards: Iterable[Mapping[str, Any]], model: Mapping[str, Any]) -> Iterator[ScorerMemory]:
    for values in rewards:
        reward: Reward = registry.build("reward", values)
        yield reward.memory(model)
        yield from _memories(reward.inner().values(), model)


def prompt_tokens(cfg: RunConfig | Mapping[str, Any]) -> int:
    """An estimate of the tokens of the longest prompt, with the instruction and template of a chat model."""
    data: Data = registry.build("data", cfg["data"])
    longest = data.longest_prompt()
    words = PROMPT_WORDS if longest is None else longest
    opening = min(OPENING * words, TEMPLATE + TEXT * words)  # a few words may be rare ones, many are as in any text
    if cfg["model"]["name"] == "tiny" or not cfg["model"].get("chat", True):
        return opening
    repeated = opening if data.chat_form == "continuation" else 0  # the answer begins with the prompt
    return opening + repeated + TEMPLATE + round(1.5 * len(data.instruction.split()))


def human_tokens(data: Mapping[str, Any]) -> int:
    """An estimate of the tokens of the longest human text; larger than any context if the data does not declare it."""
    longest = registry.build("data", data).longest_text()
    return TEXT * (1 << 20 if longest is None else longest)


def shape_of(model: Mapping[str, Any]) -> Shape | None:
    """The shape of a model's component, with its adapters; None if it does not know it."""
    return registry.build("model", model).shape()


def on_gpu(cfg: RunConfig | Mapping[str, Any]) -> bool:
    """True if, by its config, the run computes on a GPU; with device=auto, if it requests one."""
    device = cfg["hardware"]["numerics"]["device"]
    return device == "cuda" or (device == "auto" and cfg["hardware"]["placement"]["gpus_per_node"] > 0)
