"""Where processes run, their numerics, and the resources that a job requests."""

from __future__ import annotations

import os
from dataclasses import dataclass

from align_lab.base.component import Component
from align_lab.base.registry import checked, param, register, section

SHARED = "ALIGN_LAB_SHARED_BY"  # the number of runs that share the cores of this machine, or one of its GPUs
CHECKED_ROWS = 8  # completions in one pass of the check of vLLM's log-probabilities, beside an engine that is awake
SLURM_NAME = r"[\w.,:@%+/=&|*()\[\]-]+"  # of partitions, features and the like: no space, so no further flag or line


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
        "attention kernel; sdpa: torch chooses the fastest available one; flash: where rows are not padded and in "
        "bfloat16, elsewhere efficient",
        choices=("sdpa", "eager", "flash", "efficient"),
    )
    packing: str = param(
        "auto",
        "rows of unequal length behind each other, without padding, in training and scoring of a Llama; auto: where "
        "the device has a kernel for that, a GPU in bfloat16",
        choices=("auto", "on", "off"),
    )
    gradient_checkpointing: bool = param(False, "recompute activations in the backward pass: less memory, more time")
    compile: bool = param(False, "compile the transformer blocks for training (torch.compile)")
    deterministic: bool = param(
        False, "two equal runs on a GPU give equal bits, where slower algorithms can do that; on a CPU they always do"
    )
    engine: str = param(
        "torch",
        "torch: data parallelism, every process has all weights; fsdp: PyTorch's fully_shard, every process has a part "
        "of weights, gradients and optimizer state; deepspeed: shards by zero_stage",
        choices=("torch", "fsdp", "deepspeed"),
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
    collective_minutes: float | None = param(
        None,
        "time limit of one collective operation of GPUs (NCCL), after which the processes that wait for another end; "
        "null: twice hang_minutes",
        above=0,
    )
    minutes: int = param(24 * 60, "time limit of a job; a run that reaches it saves, requeues and continues", low=1)
    cluster: str | None = param(
        None, "cluster that the jobs go to (sbatch --clusters); null: that of this machine", pattern=SLURM_NAME
    )
    partition: str | None = param(None, "Slurm partition; null: the cluster's default", pattern=SLURM_NAME)
    account: str | None = param(None, "account that is charged; null: the user's default", pattern=SLURM_NAME)
    qos: str | None = param(None, "quality of service", pattern=SLURM_NAME)
    constraint: str | None = param(None, "features that a node must have", pattern=SLURM_NAME)
    reservation: str | None = param(None, "reservation that the jobs use", pattern=SLURM_NAME)
    exclude: list[str] = param([], "nodes that the jobs keep away from", pattern=SLURM_NAME)
    mail: str | None = param(None, "address that Slurm writes to; null: to nobody", pattern=r"[\w.+@-]+")
    mail_on: list[str] = param(
        ["END", "FAIL"], "what Slurm writes about: BEGIN, END, FAIL, REQUEUE, TIME_LIMIT_80, ALL", pattern=r"[A-Z_0-9]+"
    )
    python: str | None = param(
        None,
        "interpreter of the jobs, for example inside the container; null: this one",
        trust="the jobs are run by this program",
    )
    container: str | None = param(
        None,
        "image that the job's processes run in: a name or a file of Pyxis, a file .sif of Apptainer",
        trust="the jobs are run inside this image",
    )
    container_runtime: str = param(
        "auto",
        "pyxis: srun --container-image; apptainer, singularity: this program, started by srun; auto: apptainer for an "
        "image whose name ends in .sif, else pyxis",
        choices=("auto", "pyxis", "apptainer", "singularity"),
    )
    container_mounts: list[str] = param(
        [],
        "folders that the container sees, SOURCE:TARGET or SOURCE:TARGET:ro",
        trust="the jobs get to see and to change these folders",
    )
    setup: list[str] = param(
        [], "shell lines before the job, for example module load cuda", trust="the jobs run these shell lines"
    )
    script: str | None = param(
        None,
        "file with a job's script of your own: shell lines around a line {program}, and #SBATCH lines; null: none",
        trust="the jobs run this script",
    )
    sbatch: list[str] = param(
        [],
        "further sbatch flags, quoted: 'hardware.placement.sbatch=[\"--exclusive\"]'",
        trust="sbatch gets these flags",
    )
    max_parallel: int | None = param(
        None,
        "maximum number of runs of the study that run at the same time; where arms differ, the smallest",
        low=1,
    )
    signal_seconds: int = param(120, "seconds before its time limit at which a job is signaled to save", low=0)
    max_requeues: int = param(
        20, "maximum number of requeues in a row that brought no step of progress; 0: none at all", low=0
    )
    look_job: bool = param(
        True,
        "seeds in steps: a small job takes each look and submits the next seeds; false: no such job, for clusters "
        "where jobs may not submit jobs; type the same command after each look",
    )
    look_minutes: int = param(15, "time limit of such a job", low=1)
    look_mem_gb: float = param(2.0, "its memory, GiB", above=0)
    look_partition: str | None = param(None, "its partition; null: that of the runs")


@register("hardware", "machine")
@dataclass(frozen=True, kw_only=True)
class Hardware(Component):
    """Processes on this machine, or jobs on a cluster."""

    numerics: Numerics = section(Numerics, "device, precision, threads, engine, sampler")
    vllm: Vllm = section(Vllm, "settings of the vLLM sampler")
    placement: Placement = section(Placement, "resources of a job")
