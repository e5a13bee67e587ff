"""The processes of one run on this machine: they start together, receive signals together and exit together.

They are started with torch.multiprocessing. torchrun's agent, one layer above it, treats a signal like a dead worker,
and kills the other processes after 30 s, whether they have saved or not. Here signals are forwarded, and saving has no
time limit.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.multiprocessing.spawn import (
    ProcessContext,
    ProcessExitedException,
    ProcessRaisedException,
    start_processes,
)

from align_lab.base import registry
from align_lab.base.errors import AlignLabError, Stopped
from align_lab.base.files import read_json, write_json
from align_lab.base.hardware import Placement
from align_lab.base.parent import end_with
from align_lab.base.run_config import RunConfig
from align_lab.base.scratch import scratch
from align_lab.base.signals import StopRequest, deaf_to_interrupts, stop_requests
from align_lab.base.world import lost
from align_lab.record.folder import RunFolder
from align_lab.record.layout import RunLayout
from align_lab.run.stopping import before_training
from align_lab.train.checkpoint import Checkpoints

GRACE_SECONDS = 3.0  # for the other processes to exit once one has failed; the same again after SIGTERM
POLL_SECONDS = 0.2

Work = Callable[[RunConfig], int]  # returns an exit status


def to_start(placement: Placement) -> int:
    """How many processes a run must start on this machine; 1 if this process is the run, or already one of several."""
    launched = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return 1 if launched or placement.executor == "slurm" else placement.tasks_per_node


def run(work: Work, cfg: RunConfig, folder: Path, *, count: int) -> int:
    """Train the run in `folder` with `count` processes, each of which calls `work(cfg)`, which is pickled by its name.

    Returns 0; raises the error of the process that failed first, or names the signal that killed one.
    SIGTERM, SIGUSR2 and Ctrl-C are forwarded once; there is no time limit for saving.
    """
    store = dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage]
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    with scratch() as notes, stop_requests() as stop:
        stop.patient = True
        member = Member(count, store.port, notes, work)
        with deaf_to_interrupts():
            group = start_processes(_work, (member, cfg), nprocs=count, join=False, start_method="spawn")
        assert isinstance(group, ProcessContext)
        try:
            exit_codes = _supervise(group, stop)
        finally:
            _send(group, signal.SIGKILL)
        return _outcome(member, exit_codes, folder, stopping=stop.asked)


def _supervise(group: ProcessContext, stop: StopRequest) -> dict[int, int]:
    """Wait until all processes have exited, or one has failed and the grace period of the others is over.

    Returns rank -> exit code of the processes that failed first; empty if none failed.
    """
    forwarded, failed = False, dict[int, int]()
    while not failed and (alive := [process.sentinel for process in group.processes if process.exitcode is None]):
        wait(alive, timeout=POLL_SECONDS)
        if stop.asked and not forwarded:
            forwarded = True
            _send(group, signal.SIGTERM)
        failed = {rank: process.exitcode for rank, process in enumerate(group.processes) if process.exitcode}
    if failed:
        with suppress(ProcessRaisedException, ProcessExitedException):  # their errors are in their notes
            group.join(0, grace_period=GRACE_SECONDS)
    return failed


def _outcome(member: Member, exit_codes: Mapping[int, int], folder: Path, *, stopping: bool) -> int:
    """0, or the error of the run. `exit_codes`: of the processes that failed first, by rank."""
    killed = sorted(rank for rank, code in exit_codes.items() if code < 0)
    if killed and stopping:
        raise before_training(Checkpoints(RunLayout(folder).checkpoints))
    if killed:
        raise AlignLabError(_record_killed(member, killed[0], -exit_codes[killed[0]], folder))
    if note := member.first_cause():
        error = (Stopped if note["status"] == Stopped.status else AlignLabError)(note["message"])
        error.status = note["status"]
        raise error
    if exit_codes:
        rank = min(exit_codes)
        raise AlignLabError(
            f"process {rank} of {member.count} exited without an error message (status {exit_codes[rank]})"
        )
    return 0


def _record_killed(member: Member, rank: int, number: int, folder: Path) -> str:
    """The message about a killed process, which could not report itself; it is also written into the run's record."""
    name = signal.Signals(number).name
    cause = f"process {rank} of {member.count} was killed by {name}" + (
        ": out of memory, unless somebody sent the signal" if number == signal.SIGKILL else ""
    )
    output = member.output(rank)
    tail = output.read_text(errors="replace")[-4000:] if output.exists() else ""
    if folder.is_dir():
        record = RunFolder(folder)
        record.set_status(**{**record.status(), "state": "failed", "error": cause})
        RunLayout(folder).errors.write_text(f"{cause}\n{tail}")
    return f"the run failed: {cause}. Run the same command again to continue from the last checkpoint"


@dataclass(frozen=True)
class Member:
    """What each of the `count` processes needs to know."""

    count: int
    port: int  # of the TCP store for the rendezvous, which the starting process serves
    notes: Path  # folder with the error and the output of each process
    work: Work
    parent: int = field(default_factory=os.getpid)  # the starting process

    def note(self, rank: int) -> Path:
        """The file with the error of a process, if it had one."""
        return self.notes / f"{rank}.json"

    def output(self, rank: int) -> Path:
        """The file with the output of a process other than the first."""
        return self.notes / f"{rank}.log"

    def first_cause(self) -> dict[str, Any] | None:
        """The note of the lowest rank whose error is not merely that it lost another process; None without any error.

        The first process has precedence, because it reports what the others have recorded.
        """
        notes = [note for rank in range(self.count) if (note := read_json(self.note(rank)))]
        return next((note for note in notes if not note["lost"]), notes[0] if notes else None)

    def environment(self, rank: int) -> dict[str, str]:
        """The environment variables that torchrun would set."""
        return {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self.count),
            "LOCAL_WORLD_SIZE": str(self.count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        } | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})


def _work(rank: int, member: Member, cfg: RunConfig) -> None:
    """The life of one process, to its exit status. Only the first one prints to the terminal."""
    end_with(member.parent, signal.SIGTERM)  # torch would send SIGINT, which is ignored until there is a handler
    os.setpgid(0, 0)  # Ctrl-C in a terminal reaches only the starting process, which forwards it
    os.environ |= member.environment(rank)
    if rank:
        with member.output(rank).open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
    try:
        registry.scan(cfg.plugins)
        sys.exit(member.work(cfg))
    except Exception as error:
        status = error.status if isinstance(error, AlignLabError) else 1
        if not isinstance(error, AlignLabError):
            traceback.print_exc()
        message = str(error) if isinstance(error, AlignLabError) else f"{type(error).__name__}: {error}"
        process = f"process {rank} of {member.count}: " if rank else ""
        with suppress(OSError):  # nobody reads it where the starting process was killed
            write_json(member.note(rank), {"status": status, "message": f"{process}{message}", "lost": lost(error)})
        sys.exit(status)


def _send(group: ProcessContext, number: signal.Signals) -> None:
    for process in group.processes:
        if process.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
