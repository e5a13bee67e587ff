"""The memory of training a reward model before a run, on all weights of its backbone in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from align_lab.base import registry
from align_lab.base.contracts import Data, Reward
from align_lab.base.errors import ConfigError
from align_lab.base.run_config import RunConfig
from align_lab.models.shape import TrainedBody
from align_lab.preflight import available_memory, terms
from align_lab.preflight.available_memory import AvailableMemory
from align_lab.preflight.estimate import GIB, Estimate
from align_lab.preflight.workload import TEMPLATE, TEXT, Workload

AnyConfig = RunConfig | Mapping[str, Any]


def of_body(body: TrainedBody, *, gpu: bool) -> Estimate:
    """Of steps of `body.batch` entries, all padded to the longest sequence: one may hold the longest of the data."""
    rows = body.batch * body.rows
    shape = replace(body.shape, tied=True)  # an output head of its own is in the weights alone
    x = Workload(
        shape=shape, rows=rows, groups=1, group=rows, micro_batch=None, prompt=0, new=body.longest, samples=False,
        gpu=gpu,
    )  # fmt: skip
    persistent = {
        "weights": terms.weights(replace(x, shape=body.shape)),
        "gradients": terms.gradients(x),
        "optimizer state": terms.optimizer(x),
        **({} if gpu else {"libraries and data": terms.LIBRARIES}),
    }
    fragments = 1.0 if gpu else terms.FRAGMENTATION  # steps have different lengths
    step = {
        "activations": fragments * terms.activations(x, rows, body.longest),
        "backward": fragments * terms.backward(x, rows, body.longest),
        "gradient of the embedding": shape.vocab * shape.width * 4.0,  # before it is accumulated
    }
    return Estimate(
        persistent={name: value / GIB for name, value in persistent.items()},
        phases={"training": {name: value / GIB for name, value in step.items()}},
        main={},
        micro_batch=rows,
    )


def reward_training(cfg: AnyConfig, stage: str) -> TrainedBody | None:
    """What the stage of a reward trains on this data: `reward`, `judges.NAME`, `reward.NAME`.

    None where that, or the length of the data's pairs, is not known: a guess would refuse runs that fit.
    """
    located = _located(cfg, stage)
    if located is None:
        return None
    reward: Reward = registry.build("reward", located[1])
    body: TrainedBody | None = reward.trained_body(cfg["model"])
    data: Data = registry.build("data", cfg["data"])
    words = data.longest_pair()
    if body is None or words is None:
        return None
    return replace(body, longest=max(1, min(body.longest, TEXT * words + TEMPLATE)))


def check_reward_training(cfg: AnyConfig, stage: str, *, gpu: bool) -> None:
    """Raises ConfigError where the memory of this machine is too little."""
    _refuse(cfg, stage, available_memory.measured(cfg["hardware"]["placement"], gpu=gpu), gpu=gpu)


def check_reward_training_requested(cfg: AnyConfig, stage: str, *, gpu: bool) -> None:
    """Raises ConfigError where the memory that a job requests is too little; it need not say how much it requests."""
    single = {**cfg["hardware"]["placement"], "tasks_per_node": 1}  # a stage has one process
    if available := available_memory.requested(single, gpu=gpu):
        _refuse(cfg, stage, available, gpu=gpu)


def _refuse(cfg: AnyConfig, stage: str, available: AvailableMemory, *, gpu: bool) -> None:
    body, located = reward_training(cfg, stage), _located(cfg, stage)
    if body is None or located is None or (need := of_body(body, gpu=gpu)).total <= available.gib:
        return
    smaller = _smaller_batch(body, available, field=f"{located[0]}.batch", gpu=gpu)
    raise ConfigError(
        f"training the reward model ({located[0]}) needs about {need.sentence()}, and {available} is available. It "
        f"trains all weights in float32 on {body.batch} pairs of up to {body.longest} tokens. "
        f"{smaller or f'Use a smaller {located[0]}.backbone or a larger machine'}"
    )


def _smaller_batch(body: TrainedBody, available: AvailableMemory, *, field: str, gpu: bool) -> str:
    """The largest of the halves of the batch that fits; "" where none does."""
    while body.batch > 1:
        body = replace(body, batch=body.batch // 2)
        need = of_body(body, gpu=gpu)
        if need.total <= available.gib:
            return f"Set {field}={body.batch} ({need.total:.1f} GiB)"
    return ""


def _located(cfg: AnyConfig, stage: str) -> tuple[str, Mapping[str, Any]] | None:
    """(the field of the config, the values) of the reward of a stage; None for a stage of something else."""
    first, *inside = stage.split(".")
    if first == "judges":
        name = inside.pop(0)
        field, values = f"evaluation.judges.{name}", cfg["evaluation"]["judges"][name]
    elif first == "reward":
        field, values = first, cfg["reward"]
    else:
        return None
    for name in inside:
        reward: Reward = registry.build("reward", values)
        single = "name" in values[reward.holds]
        field, values = f"{field}.{reward.holds}{'' if single else f'.{name}'}", reward.inner()[name]
    return field, values
