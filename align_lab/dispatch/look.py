"""A small job that goes on with a study once its runs have ended: nothing has to stay logged in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from align_lab.base.hardware import Placement
from align_lab.base.run_config import RunConfig
from align_lab.dispatch import slurm
from align_lab.dispatch.launch import current_states
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.plan import JobArray, Task, placement_of
from align_lab.dispatch.slurm_commands import on
from align_lab.dispatch.snapshot import of_runs
from align_lab.dispatch.state_rules import ACTIVE
from align_lab.dispatch.submit import submit_slurm


def possible(runs: Sequence[RunConfig]) -> bool:
    """Do all these runs go to a cluster, with looks that are jobs? A job of the cluster starts nothing elsewhere."""
    places = [placement_of(run) for run in runs]
    return all(place.executor == "slurm" and place.look_job for place in places)


def placement(place: Placement) -> Placement:
    """One process on one core, where the command itself would run: outside a container, with this interpreter."""
    return replace(
        place,
        nodes=1,
        tasks_per_node=1,
        cpus_per_task=1,
        gpus_per_node=0,
        mem_gb=place.look_mem_gb,
        minutes=place.look_minutes,
        partition=place.look_partition or place.partition,
        constraint=None,
        container=None,
        python=None,
        max_parallel=None,
    )


def jobs_of(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Run -> its job, of those that are queued or running on the cluster."""
    return {
        task.name: task.job
        for task in current_states(folder)
        if task.kind == "run" and task.name in names and task.state in ACTIVE and task.job
    }


def submit(
    folder: Path,
    name: str,
    runs: Sequence[RunConfig],
    *,
    after: Mapping[str, str],
    program: str,
    more: Mapping[str, Any],
) -> str:
    """The id of the job that takes the next look when the jobs `after` (run -> job) have ended, however they end.

    `runs`: one of each arm, whose code and plug-ins it gets. `more`: what else it receives. Where one is pending
    already, that one: it starts too early at worst, and then another follows it. The caller holds the lease of the
    looks. Raises SlurmError.
    """
    ledger = Ledger.of(folder)
    place = placement(placement_of(runs[0]))
    with on(place.cluster):
        looks = [one for one in slurm.adopt_unconfirmed(ledger, ledger.submissions()) if one.kind == "look"]
        if pending := _pending(looks):
            return pending
        task = Task(
            name=name, kind="look", cfg=runs[0], placement=place, needs=tuple(after), more=more, program=program
        )
        batch, (code, digest) = JobArray(tasks=(task,)), of_runs(runs)
        submission = ledger.record(folder.name, batch, code=code, digest=digest)
        jobs = sorted({job.partition("_")[0] for job in after.values()})
        return str(submit_slurm(ledger, submission, batch, after=jobs, condition="afterany").job_id)


def _pending(looks: Sequence[Submission]) -> str:
    """The id of a look that waits in the queue; empty where there is none."""
    jobs = slurm.query(slurm.names_of(looks))
    return next((job for job, info in jobs.items() if info.pending), "")
