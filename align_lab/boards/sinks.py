"""Logging a run to an experiment tracker (W&B, Trackio), by a separate process that follows the run folder.

The folder is the authoritative record, and the tracker is a view of it. Training writes its rows as always and calls
nothing of the tracker: a server that is slow, dead or rejects the key cannot fail the run, nor slow it down, except for
a bounded wait at its end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from align_lab.base.paths import PACKAGE
from align_lab.base.record import Record
from align_lab.base.registry import param
from align_lab.boards.run_view import CompletionTable, Shown

Notice = Callable[[str], None]

GIVE_UP_SECONDS = 2.0  # beyond `finish_seconds`: the uploading process exits by itself before that, and says why
READER_SECONDS = 5.0  # for the last messages of a process that has exited


class Tracker(Protocol):
    """One run in an experiment tracker.

    Every method may fail or block. Only the uploading process and `wandb push` call them.
    """

    name: str
    logs_stages: bool

    @property
    def mode(self) -> str:
        """Where rows go, such as online or offline: rows that were logged in one mode are missing in the others."""
        ...

    def run_id(self, run: Shown) -> str:
        """The id of the run in the tracker, known before it is opened."""
        ...

    def open(self, run: Shown) -> Set[int]:
        """Create or resume the run. Returns the steps whose rows it has already."""
        ...

    def description(self) -> dict[str, Any]:
        """What the run folder stores about it: `id`, `mode`, and how to locate it."""
        ...

    def location(self) -> str:
        """Where a person finds the run: an address, a folder or a command."""
        ...

    def log(self, row: Mapping[str, float], table: CompletionTable | None) -> None:
        """Log one row of metrics, with the table of completions of its evaluation."""
        ...

    def close(self, summary: Mapping[str, Any], state: str) -> None:
        """Finish the run with the state of its folder."""
        ...

    def count_rows(self) -> int:
        """The number of rows that the tracker has, read back after `close`."""
        ...

    def project_location(self) -> str:
        """Identifies the project that `log_stage` writes to."""
        ...

    def log_stage(self, stage: Shown) -> None:
        """Log a stage. Logging the same stage again changes nothing."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrackedRecord(Record):
    """The record of a run that is also logged to an experiment tracker."""

    tracker_name: ClassVar[str] = ""
    package: ClassVar[str] = ""  # the Python package that must be installed
    retry_hint: ClassVar[str] = ""  # how to upload missing rows later

    project: str = param("align_lab", "project that the runs are logged to")
    table_rows: int = param(64, "completions of an evaluation that are logged as a table", low=0)
    finish_seconds: float = param(20.0, "longest wait for the last rows when a run ends", above=0)

    def enabled(self) -> bool:
        """Is anything to be logged?"""
        return True

    def tracker(self, folder: Path) -> Tracker:
        """The tracker of the run in this folder. Imports the tracker's library."""
        raise NotImplementedError


class Sink(Protocol):
    """What a run knows of its tracker."""

    def follow(self) -> None:
        """Start to log the run folder, which now has a manifest. Further calls do nothing."""
        ...

    def close(self) -> None:
        """Log the last rows of the run, whose status is final, within a bounded time."""
        ...


class NoSink:
    """The run folder is the only record."""

    def follow(self) -> None:
        """Nothing is logged elsewhere."""

    def close(self) -> None:
        """Nothing is logged elsewhere."""


def sink(record: Record, folder: Path, notice: Notice) -> Sink:
    """The sink that a run's record configures. `notice` receives messages for the user, from another thread."""
    if isinstance(record, TrackedRecord) and record.enabled():
        return Uploader(folder, record, notice)
    return NoSink()


def show_finished(record: Record, folder: Path, notice: Notice) -> None:
    """Upload the rows of a finished run that its tracker is missing, if any."""
    uploader = sink(record, folder, notice)
    uploader.follow()
    uploader.close()


class Uploader:
    """Starts `align_lab.boards.feed`, which follows the run folder until its standard input ends."""

    def __init__(self, folder: Path, record: TrackedRecord, notice: Notice) -> None:
        self.folder, self.record, self.notice = folder, record, notice
        self.log = folder / f"{record.tracker_name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._warned = False

    def follow(self) -> None:
        """Start the process. A folder or machine that does not allow it costs one warning."""
        if self._process is not None:
            return
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "align_lab.boards.feed", str(self.folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": _python_path()},
                    start_new_session=True,  # Ctrl-C is for the run, which then closes the process' standard input
                )
        except OSError as error:
            self.notice(f"warning: {self.record.tracker_name}: uploading cannot start: {error}. The run continues")
            return
        self._reader = threading.Thread(target=self._forward, args=(self._process,), daemon=True)
        self._reader.start()

    def _forward(self, process: subprocess.Popen[bytes]) -> None:
        """Pass the process' messages on to the user."""
        assert process.stdout
        for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            self._warned |= text.startswith("warning")
            self.notice(text)

    def close(self) -> None:
        """End the process' standard input and wait for it, at most `finish_seconds` and a little."""
        process, self._process = self._process, None
        if process is None or self._reader is None:
            return
        assert process.stdin and process.stdout
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(self.record.finish_seconds + GIVE_UP_SECONDS)
        except subprocess.TimeoutExpired:
            self._warned = False
        finally:
            if process.poll() is None:  # also after a second Ctrl-C
                process.kill()
                process.wait()
            self._reader.join(READER_SECONDS)
            process.stdout.close()
        if process.returncode and not self._warned:
            self.notice(
                f"warning: {self.record.tracker_name}: not all rows were uploaded, see {self.log}. "
                "The run folder is complete"
            )


def _python_path() -> str:
    """The code that this process runs, such as a snapshot, and plug-ins from where this process has them."""
    return os.pathsep.join(dict.fromkeys([str(PACKAGE.parent), *(path for path in sys.path if path)]))
