"""The main memory of a process that trains on a GPU: what rests there, and the copy of a state that is being saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from align_lab.base.errors import ConfigError
from align_lab.preflight import terms
from align_lab.preflight.available_memory import AvailableMemory
from align_lab.preflight.workload import Workload


def parts(x: Workload) -> dict[str, float]:
    """Bytes by term; nothing on a processor, where all memory is main memory.

    The first process reads the weights that are to be sharded, before anything else is there. The other processes of
    its machine need little then, so each of them counts an equal part of these weights.
    """
    if not x.gpu:
        return {}
    libraries = {"libraries and data": terms.LIBRARIES}
    read = x.shape.parameters * x.bytes * terms.trained_models(x) / x.per_node if x.shards_weights else 0.0
    reading = libraries | {"weights that are read": read}
    sizes = libraries | {
        "optimizer state": terms.optimizer(replace(x, offload=False)) if x.rests or x.offload else 0.0,
        "gradients": terms.gradients(x) if x.offload else 0.0,
        "start policy": 0.0 if x.reference or x.shards_weights else terms.start_policy(x),
        "checkpoint": terms.checkpoint(x) if x.background else 0.0,
    }
    largest = max(reading, sizes, key=lambda one: sum(one.values()))
    return {name: size for name, size in largest.items() if size}


def check(sizes: Mapping[str, float], available: AvailableMemory, *, offload: bool) -> None:
    """Raises ConfigError where the `sizes`, in GiB, are more than is available."""
    need = sum(sizes.values())
    if need <= available.gib:
        return
    listed = ", ".join(f"{name} {size:.1f}" for name, size in sizes.items())
    change = "Set hardware.numerics.offload_optimizer=false, or use" if offload else "Use"
    raise ConfigError(
        f"a process of the run needs about {need:.1f} GiB of main memory ({listed}), and {available} is available. "
        f"{change} a machine with more, or fewer processes a node"
    )
