"""The process that feeds a board: it follows a run's folder and hands on each row once.

    python -P -m align_lab.boards.feed RUN

Which rows a board has, it says itself; the folder remembers what was handed on. So a run that was killed and goes on
continues the same entry of the board: a row is never sent again, and what did not arrive is.
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
from align_lab.base.paths import cache_folder
from align_lab.base.signals import SIGNALS
from align_lab.boards import run_view
from align_lab.boards.sinks import Board, Boarded

POLL_SECONDS = 0.5


def main(argv: Sequence[str]) -> int:
    """Feed the board of one run until standard input ends and its last row is handed on."""
    folder = Path(argv[0])
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # signals are for the run; the board's own processes inherit this
    os.nice(10)
    from align_lab.base import registry
    from align_lab.record.folder import read_config

    values = read_config(folder)
    registry.scan(tuple(values["plugins"]))
    record: Boarded = registry.build("record", values["record"])
    ended = threading.Event()
    threading.Thread(target=_end_in_time, args=(record, folder, ended), daemon=True).start()
    try:
        with held(folder, record.board_name):
            feed(folder, record.board(folder), record.table_rows, running=lambda: not ended.wait(POLL_SECONDS))
    except Exception as error:
        traceback.print_exc()
        _warn(record, folder, f"{type(error).__name__}: {error}".split("\n")[0])
        return 1
    return 0


def feed(folder: Path, board: Board, table_rows: int, *, running: Callable[[], bool]) -> None:
    """Show the run in `folder` from the first row that the board lacks, for as long as the run goes on.

    Raises whatever the board raises, and ConnectionError when rows have not arrived.
    """
    run, sent = run_view.run(folder), Sent(folder, board.name)
    if sent.whole(board.identity(run), board.mode):
        return
    there = board.open(run)
    sent.save(**board.about(), arrived=len(there))
    _say(f"{board.name}: {board.place()}" + (f" has {len(there)} rows" if there else ""))
    beside = threading.Thread(target=_show_stages, args=(folder, board), daemon=True)
    beside.start()
    rows = Rows(folder, run.steps, table_rows)
    hand_on(rows, board, sent, there, running)
    state = read_json(folder / "status.json").get("state", "new")
    best = read_json(folder / "manifest.json").get("best_step")
    board.close(run_view.summary(rows.seen, best, state), state)
    arrived = board.arrived()
    sent.save(arrived=arrived, state=state)
    if arrived < len(rows.seen):
        raise ConnectionError(f"{arrived} of {len(rows.seen)} rows have arrived")
    beside.join()


def hand_on(rows: Rows, board: Board, sent: Sent, there: Set[int], running: Callable[[], bool]) -> None:
    """Every row that is not there; returns when the run has ended and its last row is handed on."""
    go_on = True
    while go_on:
        go_on = running()  # asked before reading: what was written before the end is read after it
        last = None
        for row, table in rows.new():
            if row["step"] not in there:
                board.log(row, table)
                last = row
        if last is not None:
            sent.save(sent={key: last[key] for key in ("step", "episode")})


def _show_stages(folder: Path, board: Board) -> None:
    """Beside the rows, which must not wait for them. What fails is in the log, and `wandb push` shows it later."""
    try:
        show_stages(folder, board)
    except Exception:
        traceback.print_exc()


def show_stages(folder: Path, board: Board) -> None:
    """The stages that the run started from, each once in a project: other runs share them."""
    marks = cache_folder() / "boards" / hashlib.sha256(board.project_place().encode()).hexdigest()[:12]
    for stage in run_view.stages(folder) if board.shows_stages else []:
        mark = marks / stage.id
        try:
            marks.mkdir(parents=True, exist_ok=True)
            mark.touch(exist_ok=False)
        except FileExistsError:
            continue
        try:
            board.stage(stage)
        except BaseException:
            mark.unlink(missing_ok=True)
            raise


class Rows:
    """The rows of a run as they are written, each with its table where it was judged."""

    def __init__(self, folder: Path, steps: int, limit: int) -> None:
        self._metrics, self._samples = Tail(folder / "metrics.jsonl"), Tail(folder / "samples.jsonl")
        self._steps, self._limit = steps, limit
        self._judged: int | None = None
        self._waiting: dict[int, list[dict[str, Any]]] = {}  # samples whose row has not come yet
        self.seen: list[dict[str, Any]] = []

    def new(self) -> Iterator[tuple[dict[str, Any], list[list[Any]] | None]]:
        for row in self._metrics.new():
            self.seen.append(row)
            yield row, self._table(row["step"]) if "eval/score" in row else None

    def _table(self, step: int) -> list[list[Any]] | None:
        for sample in self._samples.new():  # written before the row
            kept = self._waiting.setdefault(sample["step"], [])
            kept += [sample] if len(kept) < self._limit else []
        before, self._judged = self._judged, step
        samples = self._waiting.pop(step, [])
        return run_view.table(samples, self._limit) if samples and run_view.tabled(step, before, self._steps) else None


class Tail:
    """New whole lines of a file that grows. It stays with the file that it opened: a continued run replaces it by another."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def new(self) -> Iterator[dict[str, Any]]:
        if self._file is None and self._path.exists():
            self._file = self._path.open(encoding="utf-8")
        while self._file is not None:
            place, line = self._file.tell(), self._file.readline()
            if not line.endswith("\n"):
                self._file.seek(place)
                return
            yield json.loads(line)


class Sent:
    """What the run's folder remembers of its board, `wandb.json` for example: the last episode handed on, what has arrived."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._path = folder, folder / f"{name}.json"
        self.known = read_json(self._path)

    def save(self, **news: Any) -> None:
        self.known |= news
        write_json(self._path, self.known)

    def whole(self, identity: str, mode: str) -> bool:
        """Is the run finished, and all of it there?"""
        state = read_json(self._folder / "status.json").get("state")
        known = tuple(self.known.get(key) for key in ("id", "mode", "state"))
        if (*known, state) != (identity, mode, "done", "done"):
            return False
        return self.known.get("arrived") == len(read_lines(self._folder / "metrics.jsonl"))


@contextmanager
def held(folder: Path, name: str, on_wait: Callable[[str], None] = lambda owner: None) -> Iterator[None]:
    """One feeder of a run's board at a time: one of an earlier attempt may still be at its last rows."""
    while True:
        with lease(folder / f".{name}.lease", on_wait=on_wait) as mine:
            if mine:
                yield
                return


def _end_in_time(record: Boarded, folder: Path, ended: threading.Event) -> None:
    """Wait for the end of the run, then for the last rows, but not longer than a run may be kept waiting."""
    while sys.stdin.buffer.read(1):
        continue
    ended.set()
    time.sleep(record.finish_seconds)
    _warn(record, folder, f"the last rows were not taken within {record.finish_seconds:g} s")
    os._exit(1)  # its own processes end with it


def _warn(record: Boarded, folder: Path, problem: str) -> None:
    later = record.later.format(study=folder.resolve().parent.name)
    _say(f"warning: {record.board_name}: {problem}. The run goes on, its folder has every row. {later}".rstrip())


def _say(text: str) -> None:
    """To the run, which shows it. It may be gone."""
    with suppress(OSError):
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
