"""What the number of processes and the engine require of the other groups."""

from __future__ import annotations

import importlib.metadata
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from align_lab.base import job_script
from align_lab.base.errors import ConfigError
from align_lab.base.types import Needs

OWN_FLAGS = {  # of sbatch, which a job is found, numbered and logged by
    "array": "the sweep is the array: hardware.placement.max_parallel bounds it",
    "job-name": "a job is found in the queue by its name",
    "output": "status and logs read the log where it is now",
    "error": "status and logs read the log where it is now",
    "open-mode": "a requeued job continues its log",
    "chdir": "jobs run in the folder of the command",
    "signal": "hardware.placement.signal_seconds sets it",
    "parsable": "it changes what sbatch answers",
    "wait": "wait=true waits",
    "wrap": "the job has a script",
    "test-only": "dry_run=true prints the plan",
    "clusters": "hardware.placement.cluster names the cluster, so that the jobs are found again there",
    "nodes": "hardware.placement.nodes says how many processes train together",
    "ntasks": "hardware.placement.nodes and tasks_per_node say how many processes train together",
    "ntasks-per-node": "hardware.placement.tasks_per_node says how many processes train together",
    "cpus-per-task": "hardware.placement.cpus_per_task says how many cores a process has",
    "time": "hardware.placement.minutes is the time limit",
}
MOUNT = r"[^:,]+:[^:,]+(:[^:,]+)?"
TOGETHER = {"fsdp": "FSDP", "deepspeed": "DeepSpeed"}  # engines whose processes make each forward pass together
DEEPSPEED = (0, 19)  # the series whose API we use; pyproject.toml has the bounds


def problems(cfg: Mapping[str, Any], needs: Needs | None) -> list[str]:
    """One sentence for each. `needs` are the algorithm's, None where its own fields are wrong."""
    numerics, place = cfg["hardware"]["numerics"], cfg["hardware"]["placement"]
    processes = place["nodes"] * place["tasks_per_node"]
    messages = _executor(place) + _cluster(place) + _container(place) + _script(place) + _flags(place["sbatch"])
    messages += _fsdp_options(numerics) + _deepspeed_options(numerics)
    messages += _zero_stage_3(numerics, cfg["model"])
    if numerics["engine"] == "deepspeed" and not (place["python"] or place["container"]):
        messages += deepspeed_problems()
    if needs is not None and processes > 1:
        equal = TOGETHER.get(numerics["engine"])
        messages += _shares(cfg["train"], needs, processes, equal=equal)
        messages += _sampled_shares(cfg["train"], needs, processes, equal=equal)
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


def _cluster(place: Mapping[str, Any]) -> list[str]:
    names = (place["cluster"] or "").split(",")
    if len(names) < 2 and place["cluster"] != "all":
        return []
    example = "NAME" if place["cluster"] == "all" else names[0]
    return [
        f"hardware.placement.cluster={place['cluster']}: the jobs of a study are on one cluster, where they find each "
        f"other. Name it: hardware.placement.cluster={example} (`sacctmgr list cluster` names them all)"
    ]


def _container(place: Mapping[str, Any]) -> list[str]:
    """What would be without effect, or end each job at its start."""
    image, runtime, mounts = place["container"], place["container_runtime"], place["container_mounts"]
    if not image:
        field = "hardware.placement.container"
        return [f"{field}_mounts has no effect without {field}. Set it to an image, or drop the mounts"] * bool(mounts)
    messages: list[str] = []
    if place["executor"] != "slurm":
        messages.append(
            f"hardware.placement.container={image} is opened by jobs of a cluster, and the executor is "
            f"{place['executor']}. Set hardware.placement.executor=slurm, or drop the container"
        )
    if image.endswith(".sif") and runtime == "pyxis":
        messages.append(
            f"hardware.placement.container={image} is an image of Apptainer, which Pyxis cannot open. Set "
            "hardware.placement.container_runtime=apptainer, or name an image of Pyxis (a file .sqsh, or "
            "REGISTRY#IMAGE:TAG)"
        )
    return messages + [
        f"hardware.placement.container_mounts has {mount!r}, and a mount is written as SOURCE:TARGET or "
        "SOURCE:TARGET:ro, each as an element of its own"
        for mount in mounts
        if not re.fullmatch(MOUNT, mount)
    ]


def _script(place: Mapping[str, Any]) -> list[str]:
    """What is wrong with a job's script of the user's own."""
    if not place["script"]:
        return []
    try:
        messages = _flags(job_script.read(place["script"]).flags, job_script.FIELD)
    except ConfigError as error:
        return [str(error)]
    if place["executor"] != "slurm":
        messages.append(
            f"{job_script.FIELD}={place['script']} is the script of jobs of a cluster, and the executor is "
            f"{place['executor']}. Set hardware.placement.executor=slurm, or drop the script"
        )
    return messages


def _flags(lines: Sequence[str], field: str = "hardware.placement.sbatch") -> list[str]:
    """Flags of sbatch that would break what the jobs rely on, or that are not written as flags."""
    messages: list[str] = []
    for line in lines:
        flag = re.fullmatch(r"--([a-z-]+)(=.*)?", line)
        if flag is None:
            messages.append(
                f"{field} has {line!r}, and a flag is written as --name or --name=value, each as an element, or in "
                "a line, of its own"
            )
        elif flag[1] in OWN_FLAGS:
            messages.append(f"{field} may not have --{flag[1]}: {OWN_FLAGS[flag[1]]}")
        elif flag[1] == "dependency" and "?" in line:
            messages.append(f"{field} has {line!r}: a job depends on its stages too, so join conditions with a comma")
    return messages


def _fsdp_options(numerics: Mapping[str, Any]) -> list[str]:
    if numerics["engine"] != "fsdp" or not numerics["compile"]:
        return []
    return [
        "hardware.numerics.compile=true has not been tried with hardware.numerics.engine=fsdp, which gathers and "
        "releases the weights of each block. Set hardware.numerics.compile=false, or hardware.numerics.engine=torch"
    ]


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


def _sampled_shares(train: Mapping[str, Any], needs: Needs, processes: int, *, equal: str | None) -> list[str]:
    """Of a mixture of pairs and samples, each process samples for its share of the prompts, in every step.

    `equal`: the engine that needs equal shares.
    """
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
            f"sampled for, {prompts:g}, equally in every step, and {equal} needs the same number of forward passes "
            "in each. Set train.prompts_per_step or algo.share, or hardware.numerics.engine=torch"
        ]
    return []


def _shares(train: Mapping[str, Any], needs: Needs, processes: int, *, equal: str | None) -> list[str]:
    """Each process takes its share of the groups (prompts, or pairs) of every update.

    `equal`: the engine that needs equal shares.
    """
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
            f"{processes} processes (hardware.placement) cannot share the {amount} equally, and {equal} needs the "
            f"same number of forward passes in each: {divisors} can. {fix}, or hardware.numerics.engine=torch"
        ]
    return []
