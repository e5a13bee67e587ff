"""Where else a run is shown: a board (W&B, Trackio), which a process of its own feeds from the run's folder.

The folder is the truth and the board a view of it. The training writes its rows as ever and calls nothing of the board:
a server that is slow, dead or refuses the key cannot fail the run, nor slow it, except for a bounded wait at its end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from align_lab.base.paths import PACKAGE
from align_lab.base.registry import param
from align_lab.boards.run_view import Shown
from align_lab.record.local import Record

Notice = Callable[[str], None]


class Board(Protocol):
    """One run on a board. Every method may fail or block: only the feeding process and `wandb push` call them."""

    name: str
    shows_stages: bool

    @property
    def mode(self) -> str:
        """Which kind of place it is: what was shown in one is not in another."""
        ...

    def identity(self, run: Shown) -> str:
        """The id that the run has there, known before it is opened."""
        ...

    def open(self, run: Shown) -> Set[int]:
        """Begin the run, or go on with it. Returns the steps whose rows have arrived before."""
        ...

    def about(self) -> dict[str, Any]:
        """What the run's folder is to remember of it: `id`, `mode`, and how to find it."""
        ...

    def place(self) -> str:
        """Where a person finds the run: an address or a folder."""
        ...

    def log(self, row: Mapping[str, float], table: Sequence[Sequence[Any]] | None) -> None: ...

    def close(self, summary: Mapping[str, Any], state: str) -> None: ...

    def arrived(self) -> int:
        """Rows that are there, read back after `close`."""
        ...

    def project_place(self) -> str:
        """Names the project that `stage` writes to."""
        ...

    def stage(self, stage: Shown) -> None:
        """Show a stage. The same stage again changes nothing."""
        ...


@dataclass(frozen=True, kw_only=True)
class Boarded(Record):
    """The record of a run that is also shown on a board."""

    board_name: ClassVar[str] = ""
    package: ClassVar[str] = ""  # what must be installed
    later: ClassVar[str] = ""  # how rows that did not arrive can be shown later

    project: str = param("align_lab", "project that the runs are shown in")
    table_rows: int = param(64, "completions of an evaluation that are shown as a table", low=0)
    finish_seconds: float = param(20.0, "longest wait for the last rows when a run ends", above=0)

    def enabled(self) -> bool:
        return True

    def board(self, folder: Path) -> Board:
        """The board for the run in this folder; imports its library."""
        raise NotImplementedError


class Sink(Protocol):
    """What a run knows of a board."""

    def follow(self) -> None:
        """The folder describes a run now: begin to show it. Called again, it does nothing."""
        ...

    def close(self) -> None:
        """The run has ended, its status says how: show the last rows, within a bounded time."""
        ...


class NoSink:
    """The folder alone."""

    def follow(self) -> None: ...
    def close(self) -> None: ...


def sink(record: Record, folder: Path, notice: Notice) -> Sink:
    """The sink that a run's record asks for. `notice` is told what a person should know, from another thread."""
    if isinstance(record, Boarded) and record.enabled():
        return Feeder(folder, record, notice)
    return NoSink()


def show_finished(record: Record, folder: Path, notice: Notice) -> None:
    """A run that has ended before: show what its board lacks, if anything."""
    late = sink(record, folder, notice)
    late.follow()
    late.close()


class Feeder:
    """A process that follows the run's folder, see `align_lab.boards.feed`. It ends when its standard input does."""

    def __init__(self, folder: Path, record: Boarded, notice: Notice) -> None:
        self.folder, self.record, self.notice = folder, record, notice
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._warned = False

    def follow(self) -> None:
        if self._process is not None:
            return
        try:
            with (self.folder / f"{self.record.board_name}.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "align_lab.boards.feed", str(self.folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": _python_path()},
                    start_new_session=True,  # a Ctrl-C is for the run, which then tells it
                )
        except OSError as error:
            self.notice(f"warning: {self.record.board_name} is not fed: {error}. The run goes on")
            return
        self._reader = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._reader.start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            self._warned |= text.startswith("warning")
            self.notice(text)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None or self._reader is None:
            return
        assert process.stdin and process.stdout
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(self.record.finish_seconds + 2)  # it gives up by itself, and says so
        except subprocess.TimeoutExpired:
            self._warned = False
        finally:
            if process.poll() is None:  # also when a second Ctrl-C came
                process.kill()
                process.wait()
            self._reader.join(5)
            process.stdout.close()
        if process.returncode and not self._warned:
            log = self.folder / f"{self.record.board_name}.log"
            self.notice(f"warning: {self.record.board_name} was not fed to the end, see {log}. The run is whole")


def _python_path() -> str:
    """The same code as this process runs, a snapshot for example, and plug-ins from where this process has them."""
    return os.pathsep.join(dict.fromkeys([str(PACKAGE.parent), *(path for path in sys.path if path)]))
