"""A study's index, `runs/STUDY/.compare/runs.parquet`: what a comparison reads of each finished run, one row a run.

It is what a comparison needs, no copy of all rows: the evaluations (a twentieth of the rows), and beside them
`answers_index`. A row counts only while the run's files are those it was made of (`stamp`), so the index is never
stale; it may be removed at any time, and a study that cannot be written to is compared without one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from align_lab.base.files import replacing
from align_lab.compare.comparability import SPENT
from align_lab.compare.evaluations import Columns, Table, united
from align_lab.compare.runs import Run
from align_lab.compare.values import number
from align_lab.record import layout
from align_lab.record.seal import SEALED

NOTHING = "- - "  # how the stamp of a folder begins that holds neither status nor manifest
FILES = (layout.STATUS, *SEALED)
VERSION = 9
SETTLED = 1_000_000_000  # ns: a file that changed later than that may change again without a new time
NEW = "new"  # in the stamp of a file that has only just changed: no row counts for it
ABOUT = ("algo", "seed", "arm", "machine", "stages", "code")
OWN = (
    "name",
    "stamp",
    "shared",
    "fields",
    "hashes",
    "metrics",
    *ABOUT,
    *SPENT,
    "version",
)  # the rest are evaluations


def path(folder: Path) -> Path:
    """Where a study's index lies."""
    return folder / ".compare" / "runs.parquet"


def stamp(run: str, files: Sequence[str] = FILES) -> str:
    """Times of the last changes (ns) and size of each of these files of a run: by default those that a comparison
    reads.

    The second time is that of the file system itself, which stays true where a copy or an editor sets the first one
    back.
    """
    text, newest = "", 0
    for name in files:
        try:
            file = os.stat(f"{run}/{name}")
        except OSError:
            text += "- "
        else:
            newest = max(newest, file.st_mtime_ns)
            text += f"{file.st_mtime_ns}:{file.st_ctime_ns}:{file.st_size} "
    return text if time.time_ns() - newest >= SETTLED else f"{text}{NEW} "


def aligned(runs: Sequence[Run]) -> list[Run]:
    """The runs with the columns of all of them."""
    every = dict.fromkeys(run.rows.columns for run in runs)
    if len(every) < 2:
        return list(runs)
    columns = united(every)
    return [replace(run, rows=run.rows.under(columns)) for run in runs]


def save(folder: Path, runs: Sequence[Run], stamps: Mapping[str, str]) -> None:
    """Write the index; nothing where the folder takes no files, or a record holds what a table cannot."""
    import polars as pl

    with suppress(OSError, ValueError, TypeError, OverflowError, pl.exceptions.PolarsError):
        frame = _frame(runs, stamps)
        path(folder).parent.mkdir(exist_ok=True)
        with replacing(path(folder)) as partial:
            frame.write_parquet(partial)


def _frame(runs: Sequence[Run], stamps: Mapping[str, str]) -> Any:
    import polars as pl

    texts = {id(each): json.dumps(each) for run in runs for each in (run.hashes, run.labels)}
    shared, fields = _shared(runs)
    return pl.DataFrame(
        {
            "name": [run.name for run in runs],
            "stamp": [stamps[run.name] for run in runs],
            "shared": shared,
            "fields": fields,
            "hashes": [texts[id(run.hashes)] for run in runs],
            "metrics": [texts[id(run.labels)] for run in runs],
            **{name: [getattr(run, name) for run in runs] for name in ABOUT},
            **{name: [number(run.spent.get(name)) for run in runs] for name in SPENT},
            "version": [VERSION] * len(runs),
        }
    ).hstack(_lists(runs))


def _shared(runs: Sequence[Run]) -> tuple[list[int], list[str | None]]:
    """A number for the fields that runs share, and their text with the first of these runs."""
    numbers: dict[int, int] = {}
    texts = [None if id(run.fields) in numbers else _numbered(run, numbers) for run in runs]
    return [numbers[id(run.fields)] for run in runs], texts


def _numbered(run: Run, numbers: dict[int, int]) -> str:
    numbers[id(run.fields)] = len(numbers)
    return json.dumps(run.fields)


def _lists(runs: Sequence[Run]) -> Any:
    """The evaluations as a frame: a row a run, a list a column. All runs have the same columns."""
    import polars as pl

    names = list(runs[0].rows.columns.names)
    flat = pl.DataFrame(np.concatenate([run.rows.values for run in runs]), schema=names)
    of = np.repeat(np.arange(len(runs)), [len(run.rows) for run in runs])
    return flat.group_by(pl.Series("of", of), maintain_order=True).agg(pl.all()).drop("of")


@contextmanager
def opened(folder: Path) -> Iterator[Callable[[Mapping[str, str]], dict[str, Run]]]:
    """`runs_of`, while the index is being read in the background: looking at the times of all files takes as long."""
    if not path(folder).exists():
        yield lambda stamps: {}
        return
    import polars as pl

    with ThreadPoolExecutor(1) as beside:
        frame = beside.submit(pl.read_parquet, path(folder))
        yield lambda stamps: _known(folder, frame, stamps)


def _known(folder: Path, frame: Future[Any], stamps: Mapping[str, str]) -> dict[str, Run]:
    """Name -> run, for the runs whose files have not changed since. Empty where the index is damaged."""
    import polars as pl

    try:
        return _runs(folder, frame.result(), stamps)
    except (pl.exceptions.PolarsError, OSError, ValueError, KeyError, TypeError):
        return {}


def _runs(folder: Path, frame: Any, stamps: Mapping[str, str]) -> dict[str, Run]:
    columns = Columns(tuple(name for name in frame.columns if name not in OWN))
    values = frame.select(columns.names).explode(columns.names).to_numpy(order="c")
    ends = np.cumsum(frame["step"].list.len().to_numpy()).tolist()
    fields = {
        number: json.loads(text)
        for number, text in zip(frame["shared"], frame["fields"], strict=True)
        if text is not None
    }
    texts = {text: json.loads(text) for name in ("hashes", "metrics") for text in frame[name].unique()}
    runs, begin = {}, 0
    own = [
        frame[name].to_list() for name in ("name", "stamp", "version", "shared", "hashes", "metrics", *ABOUT, *SPENT)
    ]
    for name, known, version, shape, hashes, labels, *about, end in zip(*own, ends, strict=True):
        if stamps.get(name) == known and NEW not in known and version == VERSION:
            runs[name] = Run(
                name=name,
                fields=fields[shape],
                hashes=texts[hashes],
                labels=texts[labels],
                spent=dict(zip(SPENT, about[len(ABOUT) :], strict=True)),
                rows=Table(columns, values[begin:end]),
                place=f"{folder}/{name}",
                **dict(zip(ABOUT, about, strict=False)),
            )
        begin = end
    return runs
