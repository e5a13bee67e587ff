"""Why a job waits in Slurm's queue, and what its user can do about it."""

from __future__ import annotations

import re

from align_lab.dispatch.slurm_commands import flag_of_cluster

WHAT_TO_DO = (  # the beginning of Slurm's reason -> what it means and what to type
    (r"JobHeldUser", "it is held. Release it: scontrol release {job}"),
    (
        r"(user env retrieval|launch) failed requeued held",
        "it could not be started on a node, and Slurm holds it. `scontrol show job {job}` has the node. Keep it away "
        "from there with hardware.placement.exclude, or release it: scontrol release {job}",
    ),
    (r"JobHeldAdmin", "it is held by an administrator or by Slurm: ask them, or try scontrol release {job}"),
    (
        r"Partition(Down|Inactive)",
        "its partition takes no jobs now. Wait, or choose one that `sinfo` shows as up: hardware.placement.partition",
    ),
    (r"PartitionTimeLimit", "its partition allows less time: hardware.placement.minutes, or .partition"),
    (r"PartitionNodeLimit", "its partition allows fewer nodes: hardware.placement.nodes, or .partition"),
    (r"ReqNodeNotAvail", "nodes that it needs are down, drained or reserved. `sinfo --list-reasons` says why"),
    (r"NodeDown", "a node that it needs is down. `sinfo --list-reasons` says why"),
    (
        r"BadConstraints",
        "no node has what it asks for: hardware.placement.constraint, .gpus_per_node, .cpus_per_task, .mem_gb",
    ),
    (r"Reservation", "it waits for its reservation. `scontrol show reservation` lists them"),
    (r"JobArrayTaskLimit", "as many of the study's runs are running as hardware.placement.max_parallel allows"),
    (
        r"(QOS|Assoc)\w*Submit",
        "you have as many jobs in the queue as your account may have: it waits for others to end",
    ),
    (r"(QOS|Assoc)", "a limit of your account or QOS is reached: it waits for other jobs to end (`sacctmgr show qos`)"),
    (r"Invalid(QOS|Account)|Account\w*NotAllowed", "hardware.placement.account or .qos may not be used here"),
    (r"Licenses", "it waits for a licence. `scontrol show licenses` lists them"),
    (
        r"DependencyNeverSatisfied",
        "a job that it depends on has failed, and it will not start. Type the command that submitted it again",
    ),
)


def explained(reason: str, job: str) -> str:
    """Slurm's reason, and what to do where something can be done. Usual ones (Priority, Resources) stay as they are."""
    if reason in ("", "None", "(null)"):
        return ""
    words = reason.replace("_", " ")
    found = next((text for start, text in WHAT_TO_DO if re.match(start, words, re.IGNORECASE)), None)
    if found is None:
        return reason
    flags = " ".join(flag_of_cluster())
    typed = re.sub(r"\b(scontrol|sinfo) ", rf"\1 {flags} ", found) if flags else found
    return f"{reason}: {typed.format(job=job or 'JOB')}"
