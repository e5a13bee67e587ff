"""Where a run computes, in which numbers, and what it asks of a machine or a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.registry import checked, param, register, section


@checked
@dataclass(frozen=True, kw_only=True)
class Numerics:
    """What changes results: two runs are only comparable when these are equal."""

    device: str = param("cpu", "where tensors live; auto: cuda where there is one", choices=("cpu", "cuda", "auto"))
    dtype: str = param("float32", "precision of weights and activations", choices=("float32", "bfloat16", "float64"))
    threads: int = param(1, "threads of one process; one is fastest for tiny models, and repeats bit for bit", low=1)


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
class Hardware:
    """Processes on this machine, or jobs on a cluster."""

    numerics: Numerics = section(Numerics, "device, precision, threads")
    placement: Placement = section(Placement, "what a job asks for")
