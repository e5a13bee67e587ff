"""The memory estimate against the available memory: the largest micro-batch that fits, or an error with remedies."""

from __future__ import annotations

import copy
import functools
import json
import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from align_lab.base.errors import ConfigError
from align_lab.base.run_config import RunConfig
from align_lab.preflight import available_memory, main_memory
from align_lab.preflight.available_memory import AvailableMemory
from align_lab.preflight.estimate import Estimate, estimate
from align_lab.preflight.workload import BYTES, SHARDS_ALL, Workload, workload_of
from align_lab.train.micro_batch import sizes

LORA_RANK = 16  # the rank that a remedy proposes
FILL = 0.85  # fraction of the available memory that an automatic micro-batch may fill, as a margin of error
AnyConfig = RunConfig | Mapping[str, Any]
NONE: Mapping[str, int | None] = {}


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The sizes of a run's batches in completions, and its memory estimate.

    If the model's shape is unknown there is no estimate, and None means as many as there are at most.
    """

    micro_batch: int | None
    scoring_batch: int | None = None  # of a forward pass without gradient
    evaluation_batch: int | None = None  # sampled together in an evaluation
    estimate: Estimate | None = None
    available: AvailableMemory | None = None
    background: bool = False  # beside a GPU, a copy of the state fits, from which a checkpoint is written meanwhile

    def apply_to(self, cfg: RunConfig) -> RunConfig:
        """The config with these sizes of batches."""
        train = {**cfg["train"], "micro_batch": self.micro_batch, "scoring_batch": self.scoring_batch}
        return RunConfig({**cfg.values, "train": train}, cfg.choices)

    def start_message(self) -> str:
        """The line at the start of a run."""
        if self.estimate is None or self.available is None:
            return "memory: no estimate, because the model's shape is unknown"
        return (
            f"memory: about {self.estimate.sentence()} at the peak, in phase {self.estimate.phase}, of "
            f"{self.available} in micro-batches of {self.micro_batch} completions"
        )

    def end_message(self, peak: float) -> str:
        """The line at the end of a run; `peak` is the measured peak in GiB."""
        estimated = f"estimated {self.estimate.sentence()}, " if self.estimate else ""
        return f"memory: {estimated}peak {peak:.2f} GiB"

    def record(self, peak: float, batches: Mapping[str, int | None]) -> dict[str, Any]:
        """The manifest's entry. `batches`: the sizes in use, which are smaller after an out-of-memory error."""
        entry: dict[str, Any] = {**batches, "peak_gib": peak}
        if self.estimate is not None and self.available is not None:
            terms = {name: round(value, 4) for name, value in self.estimate.terms.items()}
            entry |= {"estimate_gib": round(self.estimate.total, 3), "terms": terms, "phase": self.estimate.phase}
            entry |= {"available_gib": round(self.available.gib, 3)}
            if self.estimate.main:
                entry["main_memory"] = {name: round(value, 4) for name, value in self.estimate.main.items()}
        return entry


class ProcessGroup(Protocol):
    """The processes of one run: `base.world.World`."""

    @property
    def size(self) -> int:
        """The number of processes (world size)."""
        ...

    def broadcast(self, value: Any) -> Any:
        """The first process's value, in all processes."""
        ...

    def max(self, value: float) -> float:
        """The largest value of all processes."""
        ...


def check_memory(
    cfg: RunConfig, world: ProcessGroup, *, gpu: bool, previous: Mapping[str, int | None] = NONE
) -> Memory:
    """The memory of a run that starts on this machine, equal in all its processes.

    The process with the least available memory decides. `previous`: the sizes of batches of an interrupted run.
    """

    def least(*, gpu: bool) -> AvailableMemory:
        own = available_memory.measured(cfg["hardware"]["placement"], gpu=gpu)
        return replace(own, gib=-world.max(-own.gib))

    available, main = least(gpu=gpu), least(gpu=False) if gpu else None
    return fit(cfg, gpu=gpu, processes=world.size, available=available, main=main, previous=world.broadcast(previous))


def fit(
    cfg: RunConfig,
    *,
    gpu: bool,
    processes: int = 1,
    available: AvailableMemory,
    main: AvailableMemory | None = None,
    previous: Mapping[str, int | None] = NONE,
) -> Memory:
    """The memory of a run and the sizes of its batches: as configured, else the previous ones, else as many as fit.

    `main`: the main memory beside a GPU. Raises ConfigError with remedies if the run does not fit.
    """
    x = workload_of(cfg, processes=processes, gpu=gpu)
    if x is None:
        known = {name: cfg["train"][name] for name in ("micro_batch", "scoring_batch") if cfg["train"][name]}
        sizes_of_batches = {"micro_batch": None, **previous, **known}
        return Memory(**sizes_of_batches, available=available)
    x = replace(x, **{name: size for name, size in previous.items() if size and getattr(x, name) is None})
    x = x if x.micro_batch is not None else largest(x, available)
    need = estimate(x, device_gib=available.device_gib)
    if need.total > available.gib:
        raise ConfigError(out_of_memory_message(cfg, x, need, available))
    if main is not None:
        main_memory.check(need.main, main, offload=x.offload)
    copied = estimate(replace(x, background=True), device_gib=available.device_gib)
    background = main is not None and sum(copied.main.values()) <= FILL * main.gib
    need = copied if background else need
    return Memory(
        micro_batch=x.micro_rows,
        scoring_batch=need.scoring_batch,
        evaluation_batch=need.evaluation_batch,
        estimate=need,
        available=available,
        background=background,
    )


def largest(x: Workload, available: AvailableMemory) -> Workload:
    """The workload with the largest even micro-batch that fits; if none does, with the one of least memory."""
    candidates = [replace(x, micro_batch=groups * x.group) for groups in sizes(x.groups)]
    needs = [estimate(candidate, device_gib=available.device_gib).total for candidate in candidates]
    return next(
        (candidate for candidate, need in zip(candidates, needs, strict=True) if need <= FILL * available.gib),
        candidates[min(range(len(candidates)), key=lambda i: needs[i])],
    )


def planned(cfg: AnyConfig) -> tuple[Workload, Estimate, AvailableMemory | None] | None:
    """Workload, estimate and requested memory by the config alone; None if the model's shape is unknown."""
    x = workload_of(cfg)
    if x is None:
        return None
    device_is_known = x.gpu or cfg["hardware"]["numerics"]["device"] != "auto"
    placement = cfg["hardware"]["placement"]
    available = available_memory.requested(placement, gpu=x.gpu) if device_is_known else None
    x = largest(x, available) if x.micro_batch is None and available else x
    return x, estimate(x, device_gib=available.device_gib if available else 0.0), available


def problems(cfg: Mapping[str, Any]) -> list[str]:
    """The error of a Slurm job whose estimate exceeds the memory that it requests, before it is queued."""
    if cfg["hardware"]["placement"]["executor"] != "slurm" or (plan := planned(cfg)) is None:
        return []
    x, need, available = plan
    if available is None or need.total <= available.gib:
        return []
    return [out_of_memory_message(cfg, x, need, available)]


def out_of_memory_message(cfg: AnyConfig, x: Workload, need: Estimate, available: AvailableMemory) -> str:
    """The estimate, its largest term, and changes of the config whose own estimates fit."""
    values = cfg.values if isinstance(cfg, RunConfig) else cfg
    fitting = [remedy for remedy in remedies(values, x, available) if remedy.need <= available.gib]
    if fitting:
        advice = f"Set one of: {', '.join(f'{remedy.text} ({remedy.need:.1f} GiB)' for remedy in fitting)}"
    else:
        advice = _combined_advice(*combined_remedy(values, x, available), available)
    name, value = next(iter(need.terms.items()))
    return (
        f"the run needs about {need.sentence()} per process in phase {need.phase}, with micro-batches of "
        f"{x.micro_rows} completions, and {available} is available. The largest term is {name} with {value:.1f} GiB. "
        f"{advice}"
    )


def _combined_advice(texts: list[str], need: float, available: AvailableMemory) -> str:
    if not texts:
        return "Use a smaller model, or a larger machine"
    changes = f"{' '.join(texts)} ({need:.1f} GiB)"
    if need <= available.gib:
        return f"Set all of: {changes}"
    return f"A smaller model or a larger machine is needed: it does not fit even with {changes}"


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A change of the config: the overrides to type, the changed config, and the GiB that the run then needs."""

    text: str
    values: Mapping[str, Any]
    need: float


def combined_remedy(values: Mapping[str, Any], x: Workload, available: AvailableMemory) -> tuple[list[str], float]:
    """The most effective changes, one after the other until the run fits, and the GiB that it then needs."""
    texts, need = list[str](), math.inf
    while need > available.gib:
        best = min(remedies(values, x, available), key=lambda remedy: remedy.need, default=None)
        if best is None or best.need > 0.98 * need:
            break
        texts, need, values = [*texts, best.text], best.need, best.values
    return texts, need


def remedies(values: Mapping[str, Any], x: Workload, available: AvailableMemory) -> list[Remedy]:
    """Every applicable change, each evaluated on its own."""
    current = workload_of(values, processes=x.processes, gpu=x.gpu)
    return [_remedy(values, changes, x, available) for changes in _changes(values, current)] if current else []


def _remedy(values: Mapping[str, Any], changes: Mapping[str, Any], x: Workload, available: AvailableMemory) -> Remedy:
    changed = copy.deepcopy(dict(values))
    for key, value in changes.items():
        *path, last = key.split(".")
        functools.reduce(operator.getitem, path, changed)[last] = value
    workload = workload_of(changed, processes=x.processes, gpu=x.gpu)
    assert workload is not None
    workload = workload if workload.micro_batch is not None else largest(workload, available)
    text = " ".join(f"{key}={json.dumps(value).strip(chr(34))}" for key, value in changes.items())
    return Remedy(text=text, values=changed, need=estimate(workload, device_gib=available.device_gib).total)


def _changes(cfg: Mapping[str, Any], x: Workload) -> Iterator[dict[str, Any]]:
    """Overrides that reduce memory, those that change no result first."""
    yield from _numerics_changes(cfg, x)
    yield from _experience_changes(cfg, x)


def _numerics_changes(cfg: Mapping[str, Any], x: Workload) -> Iterator[dict[str, Any]]:
    train = cfg["train"]
    if train["micro_batch"] is not None and train["micro_batch"] > x.group:
        yield {"train.micro_batch": None}
    if train["scoring_batch"] is not None and train["scoring_batch"] > 1:
        yield {"train.scoring_batch": None}
    if not x.checkpointing:
        yield {"hardware.numerics.gradient_checkpointing": True}
    engine = cfg["hardware"]["numerics"]["engine"]
    if x.processes > 1 and x.zero_stage < SHARDS_ALL:
        yield {"hardware.numerics.zero_stage": 3} if engine == "deepspeed" else {"hardware.numerics.engine": "fsdp"}
    if x.gpu and x.zero_stage and not x.offload and engine == "deepspeed":
        yield {"hardware.numerics.offload_optimizer": True}
    if "lora" in cfg["model"] and not x.shape.lora_rank:
        yield {"model.lora.rank": LORA_RANK}
    if BYTES[cfg["hardware"]["numerics"]["dtype"]] > 2:
        yield {"hardware.numerics.dtype": "bfloat16"}


def _experience_changes(cfg: Mapping[str, Any], x: Workload) -> Iterator[dict[str, Any]]:
    train, new = cfg["train"], cfg["sampling"]["max_new_tokens"]
    if x.vllm is not None and x.gpu and cfg["hardware"]["vllm"]["memory"] > 0.2:
        yield {"hardware.vllm.memory": 0.2}
    if x.samples and train["group_size"] > 2:
        yield {"train.group_size": 2}
    if x.samples and (fewer := train["prompts_per_step"] // train["minibatches"] // 4):
        yield {"train.prompts_per_step": train["minibatches"] * fewer}
    if new > 64:
        yield {"sampling.max_new_tokens": new // 2}
