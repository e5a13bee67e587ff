"""What processes and engine ask of the other groups, said before anything starts."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from align_lab.base.types import Needs

DEEPSPEED = (0, 19)  # the series whose names we use; pyproject.toml has the bounds


def problems(cfg: Mapping[str, Any], needs: Needs | None) -> list[str]:
    """A sentence each. `needs`: of the algorithm, None where it is itself wrong."""
    numerics, place = cfg["hardware"]["numerics"], cfg["hardware"]["placement"]
    count = place["nodes"] * place["tasks_per_node"]
    found = _started(place) + _engine(numerics, cfg["model"])
    if numerics["engine"] == "deepspeed" and not (place["python"] or place["container"]):
        found += _installed()
    if needs is not None and count > 1:
        found += _shares(cfg["train"], needs, count, even=numerics["engine"] == "deepspeed")
    return found


def _started(place: Mapping[str, Any]) -> list[str]:
    if place["executor"] == "local" and place["nodes"] > 1:
        return [
            f"hardware.placement.nodes={place['nodes']} needs a cluster, and the executor is local. Set "
            "hardware.placement.executor=slurm, or hardware.placement.tasks_per_node for processes of this machine"
        ]
    if place["executor"] == "debug" and place["nodes"] * place["tasks_per_node"] > 1:
        return [
            "hardware.placement.executor=debug runs in this process, which several processes cannot. "
            "Set hardware.placement.tasks_per_node=1 or hardware.placement.executor=local"
        ]
    return []


def _engine(numerics: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
    engine, stage, found = numerics["engine"], numerics["zero_stage"], []
    if engine != "deepspeed" and (stage or numerics["offload_optimizer"]):
        field = "zero_stage" if stage else "offload_optimizer"
        found.append(
            f"hardware.numerics.{field}={str(numerics[field]).lower()} belongs to DeepSpeed. Add "
            f"hardware.numerics.engine=deepspeed, or drop it"
        )
    if engine == "deepspeed" and numerics["offload_optimizer"] and not stage:
        found.append(
            "hardware.numerics.offload_optimizer needs ZeRO, which spreads the optimiser first. Set "
            "hardware.numerics.zero_stage to 1, 2 or 3"
        )
    if engine == "deepspeed" and numerics["dtype"] == "float64":
        found.append(
            "hardware.numerics.dtype=float64: DeepSpeed keeps its weights in float32. Set hardware.numerics.dtype to "
            "float32 or bfloat16, or hardware.numerics.engine=torch"
        )
    if engine == "deepspeed" and numerics["dtype"] == "bfloat16" and not stage:
        found.append(
            "hardware.numerics.zero_stage=0 in bfloat16 would add gradients up in bfloat16. Set "
            "hardware.numerics.zero_stage=1, or hardware.numerics.engine=torch, which keeps float32 weights"
        )
    if stage == 3 and (model.get("lora") or {}).get("rank"):
        found.append(
            "hardware.numerics.zero_stage=3 takes the weights apart that the reference of an adapted model shares with it. "
            "Set hardware.numerics.zero_stage to 1 or 2 (adapters have little to spread), or model.lora.rank=0"
        )
    if stage == 3 and numerics["compile"]:
        found.append(
            "hardware.numerics.compile=true does not see weights that come and go with zero_stage=3. Set one of the two off"
        )
    return found


def _installed() -> list[str]:
    how = 'pip install "align_lab[deepspeed]", or set hardware.numerics.engine=torch'
    try:
        version = importlib.metadata.version("deepspeed")
    except importlib.metadata.PackageNotFoundError:
        return [f"hardware.numerics.engine=deepspeed needs DeepSpeed, which is not installed: {how}"]
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) != DEEPSPEED:
        allowed = ".".join(map(str, DEEPSPEED))
        return [f"hardware.numerics.engine=deepspeed needs DeepSpeed {allowed}, and {version} is installed: {how}"]
    return []


def _shares(train: Mapping[str, Any], needs: Needs, count: int, *, even: bool) -> list[str]:
    """Each process takes its share of every update's groups: prompts, or pairs."""
    pairs = needs.experience == "pairs"
    total = train["prompts_per_step"] * (train["group_size"] // 2 if pairs else 1)
    each = total // max(1, train["minibatches"])
    what = f"{each} {'pairs' if pairs else 'prompts'} of an update"
    how = "Set hardware.placement.tasks_per_node, or train.prompts_per_step and train.minibatches"
    if each < count:
        return [
            f"{count} processes (hardware.placement) are more than the {what}: some would have nothing to do. {how}"
        ]
    if even and (total % max(1, train["minibatches"]) or each % count):
        divisors = ", ".join(str(n) for n in range(1, each + 1) if each % n == 0)
        return [
            f"{count} processes (hardware.placement) cannot share the {what} equally, and DeepSpeed's must call their models "
            f"equally often: {divisors} can. {how}, or hardware.numerics.engine=torch"
        ]
    return []
