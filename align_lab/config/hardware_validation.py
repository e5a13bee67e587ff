"""What the number of processes and the engine require of the other groups."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Mapping
from typing import Any

from align_lab.base.types import Needs

DEEPSPEED = (0, 19)  # the series whose API we use; pyproject.toml has the bounds


def problems(cfg: Mapping[str, Any], needs: Needs | None) -> list[str]:
    """One sentence for each. `needs` are the algorithm's, None where its own fields are wrong."""
    numerics, place = cfg["hardware"]["numerics"], cfg["hardware"]["placement"]
    processes = place["nodes"] * place["tasks_per_node"]
    messages = _executor(place) + _deepspeed_options(numerics) + _zero_stage_3(numerics, cfg["model"])
    deepspeed = numerics["engine"] == "deepspeed"
    if deepspeed and not (place["python"] or place["container"]):
        messages += deepspeed_problems()
    if needs is not None and processes > 1:
        messages += _shares(cfg["train"], needs, processes, equal=deepspeed)
        messages += _sampled_shares(cfg["train"], needs, processes, equal=deepspeed)
    return messages


def _executor(place: Mapping[str, Any]) -> list[str]:
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


def _deepspeed_options(numerics: Mapping[str, Any]) -> list[str]:
    stage, offload, dtype = numerics["zero_stage"], numerics["offload_optimizer"], numerics["dtype"]
    if numerics["engine"] != "deepspeed":
        field = "zero_stage" if stage else "offload_optimizer"
        message = (
            f"hardware.numerics.{field}={str(numerics[field]).lower()} belongs to DeepSpeed. Add "
            "hardware.numerics.engine=deepspeed, or drop it"
        )
        return [message] if stage or offload else []
    messages: list[str] = []
    if offload and not stage:
        messages.append(
            "hardware.numerics.offload_optimizer needs ZeRO, which shards the optimizer state. Set "
            "hardware.numerics.zero_stage to 1, 2 or 3"
        )
    if dtype == "float64":
        messages.append(
            "hardware.numerics.dtype=float64: DeepSpeed keeps its weights in float32. Set hardware.numerics.dtype to "
            "float32 or bfloat16, or hardware.numerics.engine=torch"
        )
    if dtype == "bfloat16" and not stage:
        messages.append(
            "hardware.numerics.zero_stage=0 in bfloat16 would accumulate gradients in bfloat16. Set "
            "hardware.numerics.zero_stage=1, or hardware.numerics.engine=torch, which keeps float32 weights"
        )
    return messages


def _zero_stage_3(numerics: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
    if numerics["zero_stage"] != 3:
        return []
    messages: list[str] = []
    if model.get("lora") and model["lora"]["rank"]:
        messages.append(
            "hardware.numerics.zero_stage=3 shards the weights that an adapted model (LoRA) shares with its reference. "
            "Set hardware.numerics.zero_stage to 1 or 2 (adapters leave little to shard), or model.lora.rank=0"
        )
    if numerics["compile"]:
        messages.append(
            "hardware.numerics.compile=true cannot trace weights that zero_stage=3 gathers and releases. Set "
            "hardware.numerics.compile=false, or hardware.numerics.zero_stage to 1 or 2"
        )
    return messages


def deepspeed_problems() -> list[str]:
    """Why DeepSpeed cannot be used by this interpreter, with the remedy; empty where it can."""
    fix = 'pip install "align_lab[deepspeed]", or set hardware.numerics.engine=torch'
    try:
        version = importlib.metadata.version("deepspeed")
    except importlib.metadata.PackageNotFoundError:
        return [f"hardware.numerics.engine=deepspeed needs DeepSpeed, which is not installed: {fix}"]
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) != DEEPSPEED:
        allowed = ".".join(map(str, DEEPSPEED))
        return [f"hardware.numerics.engine=deepspeed needs DeepSpeed {allowed}, and {version} is installed: {fix}"]
    return []


def _sampled_shares(train: Mapping[str, Any], needs: Needs, processes: int, *, equal: bool) -> list[str]:
    """Of a mixture of pairs and samples, each process samples for its share of the prompts, in every step."""
    if processes == 1 or not 0 < needs.pairs < 1:
        return []
    share = 1 - needs.pairs
    prompts = round(share * train["prompts_per_step"], 9)
    if prompts < processes:
        return [
            f"{processes} processes (hardware.placement) are more than the prompts of a step that completions are "
            f"sampled for, {prompts:g}: some would be idle. Set train.prompts_per_step={math.ceil(processes / share)} "
            "or more, or increase algo.share"
        ]
    if equal and prompts % processes:
        return [
            f"{processes} processes (hardware.placement) cannot share the prompts of a step that completions are "
            f"sampled for, {prompts:g}, equally in every step, and DeepSpeed needs the same number of forward passes "
            "in each. Set train.prompts_per_step or algo.share, or hardware.numerics.engine=torch"
        ]
    return []


def _shares(train: Mapping[str, Any], needs: Needs, processes: int, *, equal: bool) -> list[str]:
    """Each process takes its share of the groups (prompts, or pairs) of every update; DeepSpeed needs equal shares."""
    pairs = not needs.samples
    completions = train["prompts_per_step"] * train["group_size"]
    total = completions // (2 if needs.paired else 1) if pairs else train["prompts_per_step"]
    minibatches = max(1, train["minibatches"])
    per_update = total // minibatches
    amount = f"{per_update} {('pairs' if needs.paired else 'completions') if pairs else 'prompts'} of an update"
    fix = "Set hardware.placement.tasks_per_node, or train.prompts_per_step and train.minibatches"
    if per_update < processes:
        return [f"{processes} processes (hardware.placement) are more than the {amount}: some would be idle. {fix}"]
    if equal and (total % minibatches or per_update % processes):
        divisors = ", ".join(str(n) for n in range(1, per_update + 1) if per_update % n == 0)
        return [
            f"{processes} processes (hardware.placement) cannot share the {amount} equally, and DeepSpeed needs the "
            f"same number of forward passes in each: {divisors} can. {fix}, or hardware.numerics.engine=torch"
        ]
    return []
