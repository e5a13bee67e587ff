"""The process that uploads a run to its experiment tracker: it follows the run folder and logs each row once.

    python -P -m align_lab.boards.feed RUN

The tracker itself reports which rows it has, and the folder stores what was sent. A run that was killed and resumed
therefore continues the same run of the tracker: no row is sent twice, and rows that did not arrive are sent again.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from align_lab.base.files import read_json, read_lines, write_json
from align_lab.base.lease import lease
from align_lab.base.metrics import is_evaluation
from align_lab.base.paths import cache_folder
from align_lab.base.signals import SIGNALS
from align_lab.boards import run_view
from align_lab.boards.sinks import TrackedRecord, Tracker
from align_lab.record.layout import RunLayout

POLL_SECONDS = 0.5


def main(argv: Sequence[str]) -> int:
    """Upload one run until standard input has ended and the last row is logged. Returns an exit status."""
    folder = Path(argv[0])
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # signals are for the run; child processes inherit the mask
    os.nice(10)
    from align_lab.base import registry
    from align_lab.record.folder import read_config

    values = read_config(folder)
    registry.scan(tuple(values["plugins"]))
    record: TrackedRecord = registry.build("record", values["record"])
    run_ended = threading.Event()
    threading.Thread(target=_exit_in_time, args=(record, folder, run_ended), daemon=True).start()
    try:
        with exclusive(folder, record.tracker_name):
            upload(folder, record.tracker(folder), record.table_rows, running=lambda: not run_ended.wait(POLL_SECONDS))
    except Exception as error:
        traceback.print_exc()
        _warn(record, folder, f"{type(error).__name__}: {error}".split("\n")[0])
        return 1
    return 0


def upload(folder: Path, tracker: Tracker, table_rows: int, *, running: Callable[[], bool]) -> None:
    """Log the run in `folder` from the first row that the tracker is missing, for as long as the run goes on.

    Raises whatever the tracker raises, and ConnectionError when rows have not arrived.
    """
    run, state = run_view.run(folder), UploadState(folder, tracker.name)
    if state.is_complete(tracker.run_id(run), tracker.mode):
        return
    steps = tracker.open(run)
    state.save(**tracker.description(), arrived=len(steps))
    _notify(f"{tracker.name}: {tracker.location()}" + (f" has {len(steps)} rows" if steps else ""))
    stages = threading.Thread(target=_try_stages, args=(folder, tracker), daemon=True)
    stages.start()
    rows = Rows(folder, run.steps, table_rows)
    log_new_rows(rows, tracker, state, steps, running)
    status = read_json(RunLayout(folder).status).get("state", "new")
    best = read_json(RunLayout(folder).manifest).get("best_step")
    tracker.close(run_view.summary(rows.seen, best, status), status)
    arrived = tracker.count_rows()
    state.save(arrived=arrived, state=status)
    if arrived < len(rows.seen):
        raise ConnectionError(f"{arrived} of {len(rows.seen)} rows have arrived")
    stages.join()


def log_new_rows(
    rows: Rows, tracker: Tracker, state: UploadState, steps: Set[int], running: Callable[[], bool]
) -> None:
    """Log every row whose step is not among `steps`. Returns when the run has ended and its last row is logged."""
    more = True
    while more:
        more = running()  # asked before reading: what was written before the end is then read after it
        last = None
        for row, table in rows.new():
            if row["step"] not in steps:
                tracker.log(row, table)
                last = row
        if last is not None:
            state.save(sent={key: last[key] for key in ("step", "episode")})


def _try_stages(folder: Path, tracker: Tracker) -> None:
    """Log the stages beside the rows, which must not wait for them. An error is in the log; `wandb push` retries."""
    try:
        log_stages(folder, tracker)
    except Exception:
        traceback.print_exc()


def log_stages(folder: Path, tracker: Tracker) -> None:
    """The stages that the run started from, each once per project, because other runs share them."""
    marks = cache_folder() / "boards" / hashlib.sha256(tracker.project_location().encode()).hexdigest()[:12]
    for stage in run_view.stages(folder) if tracker.logs_stages else []:
        mark = marks / stage.id
        with exclusive(marks, stage.id):  # a process that is killed here leaves no mark
            if not mark.exists():
                tracker.log_stage(stage)
                mark.touch()


class Rows:
    """The rows of a run as they are written, those with an evaluation with their table of completions."""

    def __init__(self, folder: Path, steps: int, limit: int) -> None:
        self._metrics, self._samples = Tail(RunLayout(folder).metrics), Tail(RunLayout(folder).samples)
        self._steps, self._limit = steps, limit
        self._evaluated_step: int | None = None
        self._samples_by_step: dict[int, list[dict[str, Any]]] = {}  # of evaluations whose row has not been read
        self.seen: list[dict[str, Any]] = []

    def new(self) -> Iterator[tuple[dict[str, Any], run_view.CompletionTable | None]]:
        """Rows that were written since the last call."""
        for row in self._metrics.new():
            self.seen.append(row)
            yield row, self._table(row["step"]) if is_evaluation(row) else None

    def _table(self, step: int) -> run_view.CompletionTable | None:
        for sample in self._samples.new():  # samples are written before the row of their evaluation
            samples = self._samples_by_step.setdefault(sample["step"], [])
            if len(samples) < self._limit:
                samples.append(sample)
        before, self._evaluated_step = self._evaluated_step, step
        samples = self._samples_by_step.pop(step, [])
        return run_view.table(samples, self._limit) if samples and run_view.tabled(step, before, self._steps) else None


class Tail:
    """New complete lines of a growing file.

    It stays with the file that it opened: a resumed run replaces the file instead of truncating it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def new(self) -> Iterator[dict[str, Any]]:
        """Lines that were completed since the last call, parsed."""
        if self._file is None and self._path.exists():
            self._file = self._path.open(encoding="utf-8")
        while self._file is not None:
            offset, line = self._file.tell(), self._file.readline()
            if not line.endswith("\n"):
                self._file.seek(offset)
                return
            yield json.loads(line)


class UploadState:
    """What the run folder stores about its tracker, in `wandb.json` for example.

    `sent` is the last step and episode that were logged, `arrived` the number of rows that the tracker has confirmed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._path = folder, folder / f"{name}.json"
        self.values = read_json(self._path)

    def save(self, **changes: Any) -> None:
        """Update the stored values."""
        self.values |= changes
        write_json(self._path, self.values)

    def is_complete(self, run_id: str, mode: str) -> bool:
        """Is the run finished, and has every row arrived?"""
        status = read_json(RunLayout(self._folder).status).get("state")
        stored = tuple(self.values.get(key) for key in ("id", "mode", "state"))
        if (*stored, status) != (run_id, mode, "done", "done"):
            return False
        return self.values.get("arrived") == len(read_lines(RunLayout(self._folder).metrics))


@contextmanager
def exclusive(folder: Path, name: str, on_wait: Callable[[str], None] = lambda owner: None) -> Iterator[None]:
    """Hold the lease on the uploads of a run: the process of an earlier attempt may still be sending its last rows."""
    while True:
        with lease(folder / f".{name}.lease", on_wait=on_wait) as mine:
            if mine:
                yield
                return


def _exit_in_time(record: TrackedRecord, folder: Path, run_ended: threading.Event) -> None:
    """Wait for the end of the run, then for its last rows, but at most `finish_seconds`."""
    while os.read(sys.stdin.fileno(), 1):  # not its buffer, whose lock a thread may hold when the process exits
        continue
    run_ended.set()
    time.sleep(record.finish_seconds)
    _warn(record, folder, f"the last rows were not accepted within {record.finish_seconds:g} s")
    os._exit(1)  # the tracker's own processes exit with this one


def _warn(record: TrackedRecord, folder: Path, problem: str) -> None:
    hint = record.retry_hint.format(study=folder.resolve().parent.name)
    _notify(f"warning: {record.tracker_name}: {problem}. The run continues, and its folder has every row. {hint}")


def _notify(text: str) -> None:
    """Send a message to the run, which may have exited."""
    with suppress(OSError):
        print(text.rstrip(), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
