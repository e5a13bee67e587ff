"""Where a run computes, in which numbers, and what it asks of a machine or a cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass

from align_lab.base.component import Component
from align_lab.base.registry import checked, param, register, section

SHARED = "ALIGN_LAB_SHARED_BY"  # runs that compute side by side: on the cores of this machine, or on one of its GPUs


def sharing() -> int:
    """How many they are, this one included."""
    return max(1, int(os.environ.get(SHARED, 1)))


@checked
@dataclass(frozen=True, kw_only=True)
class Numerics:
    """What changes results: two runs are only comparable when these are equal."""

    device: str = param("cpu", "where tensors live; auto: cuda where there is one", choices=("cpu", "cuda", "auto"))
    dtype: str = param("float32", "precision of weights and activations", choices=("float32", "bfloat16", "float64"))
    threads: int | None = param(
        None,
        "threads of one process; null: one for a tiny model (fastest, and it repeats bit for bit), for a larger one its share of the cores",
        low=1,
    )
    attention: str = param(
        "sdpa",
        "sdpa: the fastest kernel that torch has for the case; or one of them",
        choices=("sdpa", "eager", "flash", "efficient"),
    )
    gradient_checkpointing: bool = param(
        False, "compute activations again in the backward pass: less memory, more time"
    )
    compile: bool = param(False, "compile the blocks for training (torch.compile)")
    engine: str = param(
        "torch",
        "torch: every process holds all weights, gradients are summed; deepspeed: shards them (zero_stage)",
        choices=("torch", "deepspeed"),
    )
    zero_stage: int = param(
        0, "what DeepSpeed spreads over the processes: 1 optimiser, 2 and gradients, 3 and weights", low=0, high=3
    )
    offload_optimizer: bool = param(False, "DeepSpeed keeps the optimiser's state in main memory")
    sampler: str = param(
        "torch", "who generates: torch, the model that learns; vllm, beside it", choices=("torch", "vllm")
    )


@checked
@dataclass(frozen=True, kw_only=True)
class Vllm:
    """How vLLM generates, where `numerics.sampler=vllm`."""

    gpus: int = param(
        0, "GPUs of its own on each node; 0: it shares the trainer's device, and sleeps during updates", low=0
    )
    own_process: bool = param(
        False,
        "on a shared device too, run it in a process of its own; it always is where it has GPUs or the run has several processes",
    )
    tensor_parallel: int = param(1, "GPUs over which one copy of the model is spread", low=1)
    memory: float = param(0.4, "share of a GPU's memory for weights and KV cache", above=0, high=1)
    cpu_cache_gib: float = param(1.0, "KV cache where it runs on the processor, GiB", above=0)
    eager: bool = param(False, "no CUDA graphs: starts faster, generates slower")
    tolerance: float | None = param(
        None,
        "most mean |log p of vLLM - log p of the trainer| a token; beyond it the run stops. null: 0.001 in float32, 0.1 in bfloat16",
        above=0,
    )


@checked
@dataclass(frozen=True, kw_only=True)
class Placement:
    """What a job asks for. Nothing here changes a result, so nothing here is part of a run's signature."""

    executor: str = param(
        "local",
        "local: processes of this machine; slurm: jobs of a cluster; debug: in this process, one after the other",
        choices=("local", "slurm", "debug"),
    )
    nodes: int = param(1, "nodes of one job", low=1)
    tasks_per_node: int = param(1, "processes on each node; all processes of a job act as one", low=1)
    cpus_per_task: int = param(1, "processor cores of one process", low=1)
    gpus_per_node: int = param(0, "GPUs of each node", low=0)
    mem_gb: float | None = param(None, "memory of each node, GiB; null: the cluster's default", above=0)
    gpu_memory_gib: float | None = param(
        None, "memory of each GPU, GiB: what cannot fit is then refused before it is queued; null: not known", above=0
    )
    minutes: int = param(24 * 60, "time limit of one job; a run that reaches it saves, queues again and goes on", low=1)
    partition: str | None = param(None, "null: the cluster's default")
    account: str | None = param(None, "who is charged; null: the user's default")
    qos: str | None = param(None, "quality of service")
    constraint: str | None = param(None, "features that a node must have")
    python: str | None = param(None, "interpreter of the jobs, for example inside the container; null: this one")
    container: str | None = param(None, "image in which the job's processes run (srun --container-image)")
    setup: list[str] = param([], "shell lines before the job, for example module load cuda")
    sbatch: list[str] = param([], "further sbatch flags, quoted: 'hardware.placement.sbatch=[\"--reservation=mine\"]'")
    max_parallel: int | None = param(None, "most jobs of one array that run at the same time", low=1)
    signal_seconds: int = param(120, "how long before its time limit a job is told to save", low=0)
    max_requeues: int = param(20, "how often a job that was preempted or out of time queues again", low=0)


@register("hardware", "machine")
@dataclass(frozen=True, kw_only=True)
class Hardware(Component):
    """Processes on this machine, or jobs on a cluster."""

    numerics: Numerics = section(Numerics, "device, precision, threads, engine, sampler")
    vllm: Vllm = section(Vllm, "the sampler vllm")
    placement: Placement = section(Placement, "what a job asks for")
