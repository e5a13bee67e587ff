"""Running Slurm's own commands: with the environment of a login shell, and again where the controller is away."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from align_lab.base.errors import AlignLabError

OF_A_JOB = re.compile(  # what Slurm and process launchers set for the processes of one job
    r"(?!SLURM_(CONF|CONF_SERVER|JWT|CLUSTER_NAME)$)(SLURM|SLURMD|SRUN|SUBMITIT|PMI|PMI2|PMIX)_"
    r"|(MASTER_ADDR|MASTER_PORT|RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE)$"
)
DEVICES_OF_A_JOB = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK")
FILTERS = re.compile(r"(SQUEUE|SACCT|SCANCEL|SINFO|SALLOC)_")  # a user's defaults would hide jobs from our queries
AWAY = re.compile(
    r"unable to (contact|connect|establish)|connection (refused|reset|timed out)|timed out|zero bytes|temporarily|"
    r"backup (slurm )?controller|problem talking|communication",
    re.IGNORECASE,
)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between attempts

OF_A_CLUSTER = re.compile(r"^CLUSTER: .*\n", re.MULTILINE)  # a line before the answers of a cluster that was named

_patience: ContextVar[float] = ContextVar("patience", default=0.0)
_cluster: ContextVar[str | None] = ContextVar("cluster", default=None)


class SlurmError(AlignLabError):
    """A Slurm command failed: the cluster does not answer, or refuses."""


class SlurmAway(SlurmError):
    """The controller or the database did not answer: the same question may be answered later."""


@contextmanager
def on(cluster: str | None) -> Generator[None]:
    """Inside the `with` block commands go to this cluster; None: to that of this machine."""
    token = _cluster.set(cluster)
    try:
        yield
    finally:
        _cluster.reset(token)


def flag_of_cluster() -> list[str]:
    """The flag that sends a command to another cluster than that of this machine, or of this job."""
    cluster = _cluster.get()
    return [f"--clusters={cluster}"] if cluster not in (None, os.environ.get("SLURM_CLUSTER_NAME")) else []


@contextmanager
def patient(seconds: float) -> Generator[None]:
    """Inside the `with` block a command that Slurm does not answer is repeated, with growing pauses, for so long."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


def run(*command: str, seconds: float = 60) -> str:
    """The output of a command of Slurm. Raises SlurmError, and SlurmAway after `seconds` or without a controller."""
    end, pause = time.monotonic() + _patience.get(), FIRST_PAUSE
    while True:
        try:
            return call(*command, seconds=seconds, env=environment(os.environ))
        except SlurmAway:
            if time.monotonic() + pause > end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def call(*command: str, seconds: float, env: Mapping[str, str]) -> str:
    """One attempt, in a session of its own, so that Ctrl-C does not end it between the request and the answer."""
    options = {"capture_output": True, "text": True, "check": True, "errors": "replace", "start_new_session": True}
    command = (command[0], *flag_of_cluster(), *command[1:])
    try:
        return OF_A_CLUSTER.sub("", subprocess.run(command, timeout=seconds, env=env, **options).stdout)
    except FileNotFoundError:
        raise SlurmError(f"{command[0]} is not on the PATH of this machine") from None
    except subprocess.CalledProcessError as error:
        text = error.stderr.strip() or error.stdout.strip() or f"status {error.returncode}"
        kind = SlurmAway if error.returncode < 0 or AWAY.search(text) else SlurmError
        raise kind(f"{' '.join(command)} failed: {text}") from None
    except subprocess.TimeoutExpired:
        raise SlurmAway(f"{command[0]} did not answer within {seconds:g} seconds") from None


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables as a login shell has them: without those of the job that this process is in, and without filters.

    A new job would inherit the resources of its submitter's, and its srun would ask for them.
    """
    devices = DEVICES_OF_A_JOB if "SLURM_JOB_ID" in env else ()
    return {
        key: value
        for key, value in env.items()
        if not OF_A_JOB.match(key) and not FILTERS.match(key) and key not in devices
    }


@contextmanager
def outside_of_job() -> Generator[None]:
    """Inside the `with` block this process is no job's: what it submits does not inherit the resources of its own."""
    kept = environment(os.environ)
    removed = {key: os.environ.pop(key) for key in set(os.environ) - kept.keys()}
    try:
        yield
    finally:
        os.environ.update(removed)
