"""Load against room: the largest micro-batch that fits, or a refusal that names the term and what makes it fit."""

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
from align_lab.preflight import available_memory as rooms
from align_lab.preflight.available_memory import Room
from align_lab.preflight.estimate import Estimate, estimate
from align_lab.preflight.workload import BYTES, Load, load
from align_lab.train.micro_batch import sizes

LORA_RANK = 16  # that is proposed
FILL = 0.85  # of the room that an automatic micro-batch may fill: an estimate is no measurement


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a run was found to need. `micro_batch` None: the model does not tell its shape, so a minibatch is one part."""

    micro_batch: int | None
    estimate: Estimate | None = None
    room: Room | None = None

    def used_by(self, cfg: RunConfig) -> RunConfig:
        """The config with the micro-batch that was found."""
        train = {**cfg["train"], "micro_batch": self.micro_batch}
        return RunConfig({**cfg.values, "train": train}, cfg.choices)

    def before(self) -> str:
        """The line at the start of a run."""
        if self.estimate is None or self.room is None:
            return "memory: no estimate, the model does not tell its shape"
        return (
            f"memory: about {self.estimate.sentence()} at its peak, the {self.estimate.phase}, of {self.room} in "
            f"micro-batches of {self.micro_batch} completions"
        )

    def after(self, peak: float) -> str:
        """The line at its end."""
        told = f"estimated {self.estimate.sentence()}, " if self.estimate else ""
        return f"memory: {told}peak {peak:.2f} GiB"

    def record(self, peak: float, micro_batch: int | None) -> dict[str, Any]:
        """What the manifest keeps; `micro_batch` is the one in use, which may have become smaller."""
        kept: dict[str, Any] = {"micro_batch": micro_batch, "peak_gib": peak}
        if self.estimate is not None and self.room is not None:
            terms = {name: round(value, 4) for name, value in self.estimate.terms.items()}
            kept |= {"estimate_gib": round(self.estimate.total, 3), "terms": terms, "phase": self.estimate.phase}
            kept |= {"room_gib": round(self.room.gib, 3)}
        return kept


class Group(Protocol):
    """Processes that act as one: `train.parallel.World`."""

    @property
    def size(self) -> int: ...
    def broadcast(self, value: Any) -> Any: ...
    def max(self, value: float) -> float: ...


def begin(cfg: RunConfig, world: Group, *, gpu: bool, known: int | None) -> Memory:
    """The memory of a run that begins here, the same in all its processes: the least room of any counts."""
    room = rooms.found(cfg["hardware"]["placement"], gpu=gpu)
    least = replace(room, gib=-world.max(-room.gib))
    return fit(cfg, gpu=gpu, processes=world.size, room=least, known=world.broadcast(known))


def fit(cfg: RunConfig, *, gpu: bool, processes: int = 1, room: Room, known: int | None = None) -> Memory:
    """The memory of a run in this room, with its micro-batch: as set, as `known` from before, or the largest that fits.

    Raises ConfigError where nothing does.
    """
    x = load(cfg, processes=processes, gpu=gpu)
    if x is None:
        return Memory(micro_batch=cfg["train"]["micro_batch"] or known, room=room)
    if known is not None and x.micro_batch is None:
        x = replace(x, micro_batch=known)
    x = x if x.micro_batch is not None else largest(x, room)
    found = estimate(x, device_gib=room.whole)
    if found.total > room.gib:
        raise ConfigError(refusal(cfg, x, found, room))
    return Memory(micro_batch=x.micro_rows, estimate=found, room=room)


def largest(x: Load, room: Room) -> Load:
    """The load with the largest even micro-batch that fits; with the one of least memory where none does."""
    tries = [replace(x, micro_batch=groups * x.group) for groups in sizes(x.groups)]
    needs = [estimate(each, device_gib=room.whole).total for each in tries]
    return next(
        (each for each, need in zip(tries, needs, strict=True) if need <= FILL * room.gib),
        tries[min(range(len(tries)), key=lambda i: needs[i])],
    )


def planned(cfg: RunConfig | Mapping[str, Any]) -> tuple[Load, Estimate, Room | None] | None:
    """What a run will need as far as its config tells, and the room that it asks for; None where the model does not tell."""
    x = load(cfg)
    if x is None:
        return None
    known = x.gpu or cfg["hardware"]["numerics"]["device"] != "auto"
    room = rooms.asked(cfg["hardware"]["placement"], gpu=x.gpu) if known else None
    x = largest(x, room) if x.micro_batch is None and room else x
    return x, estimate(x, device_gib=room.whole if room else 0.0), room


def problems(cfg: Mapping[str, Any]) -> list[str]:
    """What cannot fit into the memory that the config itself names, found before a job is queued."""
    if cfg["hardware"]["placement"]["executor"] != "slurm" or (found := planned(cfg)) is None:
        return []
    x, need, room = found
    return [refusal(cfg, x, need, room)] if room is not None and need.total > room.gib else []


def refusal(cfg: RunConfig | Mapping[str, Any], x: Load, found: Estimate, room: Room) -> str:
    """What it needs, which term is the largest, and what to type: changes that make it fit, each tried."""
    values = cfg.values if isinstance(cfg, RunConfig) else cfg
    tried = remedies(values, x, room)
    fitting = [f"{each.text} ({each.need:.1f} GiB)" for each in tried if each.need <= room.gib]
    if fitting:
        advice = f"Set one of: {', '.join(fitting)}"
    else:
        texts, need = together(values, x, room)
        enough = (
            "Set all of" if need <= room.gib else "A smaller model or a larger machine is needed: not enough even with"
        )
        advice = (
            f"{enough}: {' '.join(texts)} ({need:.1f} GiB)" if texts else "Use a smaller model, or a larger machine"
        )
    name, value = next(iter(found.terms.items()))
    return (
        f"the run needs about {found.sentence()} a process in its {found.phase}, with micro-batches of {x.micro_rows} "
        f"completions, and has {room}. The largest term is {name} with {value:.1f} GiB. {advice}"
    )


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What to type, the config with it, and the GiB that the run then needs."""

    text: str
    values: Mapping[str, Any]
    need: float


def together(values: Mapping[str, Any], x: Load, room: Room) -> tuple[list[str], float]:
    """Changes one after the other, each the one that helps most, until the run fits; and the GiB that it then needs."""
    texts, need = list[str](), math.inf
    while need > room.gib:
        best = min(remedies(values, x, room), key=lambda each: each.need, default=None)
        if best is None or best.need > 0.98 * need:
            break
        texts, need, values = [*texts, best.text], best.need, best.values
    return texts, need


def remedies(values: Mapping[str, Any], x: Load, room: Room) -> list[Remedy]:
    """Every change that applies, tried alone."""
    found = []
    now = load(values, processes=x.processes, gpu=x.gpu)
    for changes in _changes(values, now) if now else ():
        changed = copy.deepcopy(dict(values))
        for key, value in changes.items():
            *path, last = key.split(".")
            functools.reduce(operator.getitem, path, changed)[last] = value
        then = load(changed, processes=x.processes, gpu=x.gpu)
        assert then is not None
        then = then if then.micro_batch is not None else largest(then, room)
        text = " ".join(f"{key}={json.dumps(value).strip(chr(34))}" for key, value in changes.items())
        found.append(Remedy(text=text, values=changed, need=estimate(then, device_gib=room.whole).total))
    return found


def _changes(cfg: Mapping[str, Any], x: Load) -> Iterator[dict[str, Any]]:
    """Fields whose change takes memory away, those first that change no result."""
    numerics, train, new = cfg["hardware"]["numerics"], cfg["train"], cfg["sampling"]["max_new_tokens"]
    if train["micro_batch"] is not None and train["micro_batch"] > x.group:
        yield {"train.micro_batch": None}
    if not x.checkpointing:
        yield {"hardware.numerics.gradient_checkpointing": True}
    if x.processes > 1 and x.zero_stage < 3:
        yield {"hardware.numerics.engine": "deepspeed", "hardware.numerics.zero_stage": 3}
    if x.gpu and x.zero_stage and not x.offload:
        yield {"hardware.numerics.offload_optimizer": True}
    if "lora" in cfg["model"] and not x.shape.lora_rank:
        yield {"model.lora.rank": LORA_RANK}
    if BYTES[numerics["dtype"]] > 2:
        yield {"hardware.numerics.dtype": "bfloat16"}
    if x.vllm is not None and x.gpu and cfg["hardware"]["vllm"]["memory"] > 0.2:
        yield {"hardware.vllm.memory": 0.2}
    if x.samples and train["group_size"] > 2:
        yield {"train.group_size": 2}
    if x.samples and (fewer := train["prompts_per_step"] // train["minibatches"] // 4):
        yield {"train.prompts_per_step": train["minibatches"] * fewer}
    if new > 64:
        yield {"sampling.max_new_tokens": new // 2}
