"""The cluster of a study. Its jobs are all on one: they depend on each other, and their ids are unique only there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from align_lab.base.errors import ConfigError
from align_lab.base.run_config import RunConfig
from align_lab.dispatch import slurm
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.plan import placement_of
from align_lab.dispatch.slurm_commands import SlurmAway, SlurmError, on, run

FIELD = "hardware.placement.cluster"


def cluster_of(submissions: Iterable[Submission]) -> str | None:
    """Where these jobs of a study are; None: on the cluster of this machine."""
    return next((one.cluster for one in submissions if one.executor == "slurm"), None)


def cluster_to_use(study: Path, runs: Sequence[RunConfig]) -> str | None:
    """Where the runs are to go. Raises ConfigError where that is not one cluster, not that of the study's earlier jobs,
    or not known to Slurm.
    """
    named = dict.fromkeys(place.cluster for place in map(placement_of, runs) if place.executor == "slurm")
    if not named:
        return None
    if len(named) > 1:
        names = ", ".join(map(str, named)).replace("None", "that of this machine")
        raise ConfigError(f"the runs name several clusters ({names}), and a study is on one: give each its own study")
    (cluster,) = named
    earlier = [one for one in Ledger.of(study).submissions() if one.executor == "slurm"]
    if earlier and (before := cluster_of(earlier)) != cluster:
        raise ConfigError(
            f"the jobs of {study.name} are on {_called(before)}, and these are to go to {_called(cluster)}. "
            f"{f'Set {FIELD}={before}' if before else f'Drop {FIELD}'}, or give the study another name: study=NAME"
        )
    if cluster and slurm.available():
        _check(cluster)
    return cluster


def _called(cluster: str | None) -> str:
    return f"the cluster {cluster}" if cluster else "the cluster of this machine"


def _check(cluster: str) -> None:
    try:
        with on(cluster):
            run("scontrol", "ping")
    except SlurmAway:
        raise
    except SlurmError as error:
        words = " ".join(str(error).split())
        raise ConfigError(f"{FIELD}={cluster}: {words} To see their names: sacctmgr list cluster") from error
