"""Where processes run, their numerics, and the resources that a job requests."""

from __future__ import annotations

import os
from dataclasses import dataclass

from align_lab.base.component import Component
from align_lab.base.registry import checked, param, register, section

SHARED = "ALIGN_LAB_SHARED_BY"  # the number of runs that share the cores of this machine, or one of its GPUs


def sharing() -> int:
    """The number of runs that share this machine's cores or this GPU, including this run."""
    return max(1, int(os.environ.get(SHARED, 1)))


@checked
@dataclass(frozen=True, kw_only=True)
class Numerics:
    """Settings that can change results: two runs are comparable only if these are equal."""

    device: str = param("cpu", "device of tensors; auto: cuda if available, else cpu", choices=("cpu", "cuda", "auto"))
    dtype: str = param("float32", "precision of weights and activations", choices=("float32", "bfloat16", "float64"))
    threads: int | None = param(
        None,
        "threads per process; null: 1 for a tiny model (2 for its stages if it is large), else its share of the cores",
        low=1,
    )
    attention: str = param(
        "sdpa",
        "attention kernel; sdpa: torch chooses the fastest available one",
        choices=("sdpa", "eager", "flash", "efficient"),
    )
    gradient_checkpointing: bool = param(False, "recompute activations in the backward pass: less memory, more time")
    compile: bool = param(False, "compile the transformer blocks for training (torch.compile)")
    engine: str = param(
        "torch",
        "torch: data parallelism, every process has all weights; deepspeed: shards by zero_stage",
        choices=("torch", "deepspeed"),
    )
    zero_stage: int = param(
        0, "what DeepSpeed shards: 1 optimizer state, 2 also gradients, 3 also parameters", low=0, high=3
    )
    offload_optimizer: bool = param(False, "DeepSpeed stores the optimizer state in main memory")
    sampler: str = param(
        "torch", "engine that samples: torch, the trained model itself; vllm", choices=("torch", "vllm")
    )


@checked
@dataclass(frozen=True, kw_only=True)
class Vllm:
    """Settings of the vLLM sampler (`numerics.sampler=vllm`)."""

    gpus: int = param(
        0, "GPUs per node reserved for vLLM; 0: it shares the trainer's device and sleeps during updates", low=0
    )
    own_process: bool = param(
        False,
        "run vLLM in a process of its own on a shared device too; with reserved GPUs or several processes it always is",
    )
    tensor_parallel: int = param(1, "tensor parallelism: GPUs per copy of the model", low=1)
    memory: float = param(0.4, "fraction of a GPU's memory for weights and KV cache", above=0, high=1)
    cpu_cache_gib: float = param(1.0, "size of the KV cache on the CPU, GiB", above=0)
    eager: bool = param(False, "no CUDA graphs: starts faster, generates slower")
    tolerance: float | None = param(
        None,
        "largest allowed mean |log p of vLLM - log p of the trainer| per token; above it the run stops. "
        "null: 0.001 in float32, 0.1 in bfloat16",
        above=0,
    )


@checked
@dataclass(frozen=True, kw_only=True)
class Placement:
    """The resources of a job. They do not change results, so they are not part of a run's signature."""

    executor: str = param(
        "local",
        "local: processes of this machine; slurm: jobs of a cluster; debug: in this process, one after the other",
        choices=("local", "slurm", "debug"),
    )
    nodes: int = param(1, "nodes per job", low=1)
    tasks_per_node: int = param(1, "processes per node; all processes of a job train one model", low=1)
    cpus_per_task: int = param(1, "CPU cores per process", low=1)
    gpus_per_node: int = param(0, "GPUs per node", low=0)
    mem_gb: float | None = param(None, "memory per node, GiB; null: the cluster's default", above=0)
    gpu_memory_gib: float | None = param(
        None, "memory per GPU, GiB, with which validation rejects what cannot fit; null: unknown", above=0
    )
    minutes: int = param(24 * 60, "time limit of a job; a run that reaches it saves, requeues and continues", low=1)
    partition: str | None = param(None, "Slurm partition; null: the cluster's default")
    account: str | None = param(None, "account that is charged; null: the user's default")
    qos: str | None = param(None, "quality of service")
    constraint: str | None = param(None, "features that a node must have")
    python: str | None = param(None, "interpreter of the jobs, for example inside the container; null: this one")
    container: str | None = param(None, "image of the job's processes (srun --container-image)")
    setup: list[str] = param([], "shell lines before the job, for example module load cuda")
    sbatch: list[str] = param([], "further sbatch flags, quoted: 'hardware.placement.sbatch=[\"--reservation=mine\"]'")
    max_parallel: int | None = param(None, "maximum number of jobs of one array that run at the same time", low=1)
    signal_seconds: int = param(120, "seconds before its time limit at which a job is signaled to save", low=0)
    max_requeues: int = param(20, "maximum number of requeues after preemption or the time limit", low=0)


@register("hardware", "machine")
@dataclass(frozen=True, kw_only=True)
class Hardware(Component):
    """Processes on this machine, or jobs on a cluster."""

    numerics: Numerics = section(Numerics, "device, precision, threads, engine, sampler")
    vllm: Vllm = section(Vllm, "settings of the vLLM sampler")
    placement: Placement = section(Placement, "resources of a job")
