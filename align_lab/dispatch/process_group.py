"""The variables from which torch.distributed builds its process group, for processes that Slurm started."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

PORTS = range(15_000, 30_000)  # below the ephemeral ports


def export() -> None:
    """Set torchrun's variables in a job of several processes, and nothing elsewhere. MASTER_ADDR stays if it is set."""
    for key, value in variables(os.environ).items():
        os.environ.setdefault(key, value)


def variables(env: Mapping[str, str]) -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT from Slurm's; empty for a single process."""
    if int(env.get("SLURM_NTASKS", 1)) == 1:
        return {}
    job = int(env["SLURM_JOB_ID"]) + 7919 * int(
        env.get("SLURM_RESTART_COUNT", 0)
    )  # after a requeue the old port may be taken
    return {
        "RANK": env["SLURM_PROCID"],
        "WORLD_SIZE": env["SLURM_NTASKS"],
        "LOCAL_RANK": env["SLURM_LOCALID"],
        "MASTER_ADDR": env.get("MASTER_ADDR") or first_node(env["SLURM_JOB_NODELIST"]),
        "MASTER_PORT": str(PORTS[job % len(PORTS)]),
    }


def first_node(nodes: str) -> str:
    """`node[03-04,7],login` -> `node03`. Without Slurm's own commands: inside a container there are none."""
    first = re.match(r"(\[[^]]*\]|[^,[])*", nodes)
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", first[0] if first else nodes)
