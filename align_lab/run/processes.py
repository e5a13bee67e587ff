"""Several processes of this machine that are one run: started together, told to stop together, ended together.

They are torch.multiprocessing's. torchrun's agent, one layer above it, answers a signal and a dead worker alike: the
others are killed after 30 s, whether they have saved or not. Here a signal is handed on and waited for.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
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
from align_lab.base.run_config import RunConfig
from align_lab.base.signals import StopRequest, deaf_to_interrupts, stop_requests
from align_lab.base.world import lost
from align_lab.record.folder import RunFolder
from align_lab.record.layout import RunLayout

GRACE_SECONDS = 3.0  # for the others to end by themselves once one has failed; as long again after SIGTERM
TICK_SECONDS = 0.2

Work = Callable[[RunConfig], int]  # returns an exit status


def to_start(placement: Mapping[str, Any]) -> int:
    """How many processes a run has to start on this machine; 1 where it is one, or was started with the others."""
    together = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return 1 if together or placement["executor"] == "slurm" else placement["tasks_per_node"]


def run(work: Work, cfg: RunConfig, folder: Path, *, count: int) -> int:
    """The run in `folder` as `count` processes, each of which calls `work(cfg)`.

    Returns 0; raises what the first process raised, or what killed another. `work` is pickled by its name.
    SIGTERM, SIGUSR2 and Ctrl-C are handed on once; then saving gets all the time it takes.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # pyright: ignore[reportPrivateImportUsage]
    with TemporaryDirectory(prefix="align_lab-") as notes, stop_requests() as stop:
        stop.patient = True
        member = Member(count, store.port, Path(notes), work)
        with deaf_to_interrupts():
            group = start_processes(_live, (member, cfg), nprocs=count, join=False, start_method="spawn")
        assert isinstance(group, ProcessContext)
        try:
            ended = _watch(group, stop)
        finally:
            _send(group, signal.SIGKILL)
        return _conclude(member, ended, folder, stopping=stop.asked)


def _watch(group: ProcessContext, stop: StopRequest) -> dict[int, int]:
    """Until all have ended well, or one has failed and the others had time to end. Exit codes of those that failed first."""
    told, failed = False, dict[int, int]()
    while not failed and (alive := [process.sentinel for process in group.processes if process.exitcode is None]):
        wait(alive, timeout=TICK_SECONDS)
        if stop.asked and not told:
            told = True
            _send(group, signal.SIGTERM)
        failed = {rank: process.exitcode for rank, process in enumerate(group.processes) if process.exitcode}
    if failed:
        with suppress(ProcessRaisedException, ProcessExitedException):  # what they have to say is in their notes
            group.join(0, grace_period=GRACE_SECONDS)
    return failed


def _conclude(member: Member, ended: Mapping[int, int], folder: Path, *, stopping: bool) -> int:
    """`ended`: exit codes of the processes that had failed before the others were made to end."""
    said = {rank: note for rank in range(member.count) if (note := read_json(member.note(rank)))}
    killed = sorted(rank for rank, code in ended.items() if code < 0)
    if killed and stopping:
        raise Stopped("stopped before training began; nothing is lost. Run the same command again to continue")
    if killed:
        raise AlignLabError(_killed(member, killed[0], -ended[killed[0]], folder))
    causes = [note for _, note in sorted(said.items()) if not note["lost"]] or list(said.values())
    if causes:  # the first process knows best: it has read what others wrote down
        error = (Stopped if causes[0]["status"] == Stopped.status else AlignLabError)(causes[0]["message"])
        error.status = causes[0]["status"]
        raise error
    if ended:
        rank = min(ended)
        raise AlignLabError(f"process {rank} of {member.count} ended without a word (exit {ended[rank]})")
    return 0


def _killed(member: Member, rank: int, number: int, folder: Path) -> str:
    """What is said of a process that could say nothing itself; the record of the run says so too."""
    name = signal.Signals(number).name
    cause = f"process {rank} of {member.count} was killed by {name}" + (
        ": out of memory, if nobody did it on purpose" if number == signal.SIGKILL else ""
    )
    output = member.output(rank)
    last = output.read_text(errors="replace")[-4000:] if output.exists() else ""
    if folder.is_dir():
        record = RunFolder(folder)
        record.set_status(**{**record.status(), "state": "failed", "error": cause})
        RunLayout(folder).errors.write_text(f"{cause}\n{last}")
    return f"the run failed: {cause}. Run the same command again to go on from the last checkpoint"


@dataclass(frozen=True)
class Member:
    """What each of `count` processes is told."""

    count: int
    port: int  # of the store by which they find each other, held by the process that started them
    notes: Path  # how each of them ended
    work: Work

    def note(self, rank: int) -> Path:
        return self.notes / f"{rank}.json"

    def output(self, rank: int) -> Path:
        return self.notes / f"{rank}.log"

    def environment(self, rank: int) -> dict[str, str]:
        """torchrun's variables."""
        return {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self.count),
            "LOCAL_WORLD_SIZE": str(self.count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        } | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})


def _live(rank: int, member: Member, cfg: RunConfig) -> None:
    """One process, from its start to its exit status. Only the first has a screen."""
    os.setpgid(0, 0)  # Ctrl-C of a terminal reaches the process that started us, which hands it on
    os.environ |= member.environment(rank)
    if rank:
        with member.output(rank).open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
    try:
        registry.scan(tuple(cfg["plugins"]))
        sys.exit(member.work(cfg))
    except Exception as error:
        status = error.status if isinstance(error, AlignLabError) else 1
        if not isinstance(error, AlignLabError):
            traceback.print_exc()
        message = str(error) if isinstance(error, AlignLabError) else f"{type(error).__name__}: {error}"
        who = f"process {rank} of {member.count}: " if rank else ""
        write_json(member.note(rank), {"status": status, "message": f"{who}{message}", "lost": lost(error)})
        sys.exit(status)


def _send(group: ProcessContext, number: signal.Signals) -> None:
    for process in group.processes:
        if process.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
