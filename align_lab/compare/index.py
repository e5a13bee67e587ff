"""A study's index, `runs/STUDY/.compare/runs.parquet`: what a comparison reads of each finished run, one row a run.

It is what a comparison needs, no copy of all rows: the evaluations (a twentieth of the rows), and beside them `answers_index`.
A row counts only while the run's files are those it was made of (`stamp`), so the index is never stale; it may be
removed at any time, and a study that cannot be written to is compared without one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from align_lab.base.files import replacing
from align_lab.compare.comparability import CHARGED
from align_lab.compare.evaluations import COLUMNS
from align_lab.compare.runs import Run
from align_lab.compare.values import number

NOTHING = "- - "  # how the stamp of a folder begins that holds neither status nor manifest
FILES = ("status.json", "manifest.json", "metrics.jsonl", "metrics.parquet")
VERSION = 3
ABOUT = ("algo", "seed", "arm", "machine")


def path(folder: Path) -> Path:
    return folder / ".compare" / "runs.parquet"


def stamp(run: str, files: Sequence[str] = FILES) -> str:
    """Times of the last changes (ns) and size of each of these files of a run: by default those that a comparison reads.

    The second time is that of the file system itself, which stays true where a copy or an editor sets the first one back.
    """
    found = ""
    for name in files:
        try:
            seen = os.stat(f"{run}/{name}")
        except OSError:
            found += "- "
        else:
            found += f"{seen.st_mtime_ns}:{seen.st_ctime_ns}:{seen.st_size} "
    return found


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

    numbers: dict[int, int] = {}  # the fields that runs share are written with the first of them
    shared = [numbers.setdefault(id(run.fields), len(numbers)) for run in runs]
    first = {shape: i for i, shape in reversed(list(enumerate(shared)))}
    return pl.DataFrame(
        {
            "name": [run.name for run in runs],
            "stamp": [stamps[run.name] for run in runs],
            "shared": shared,
            "fields": [json.dumps(run.fields) if first[shared[i]] == i else None for i, run in enumerate(runs)],
            "hashes": [json.dumps(run.hashes) for run in runs],
            **{name: [getattr(run, name) for run in runs] for name in ABOUT},
            **{name: [number(run.spent.get(name)) for run in runs] for name in CHARGED},
            "version": [VERSION] * len(runs),
        }
    ).hstack(_lists(runs))


def _lists(runs: Sequence[Run]) -> Any:
    """The evaluations as a frame: a row a run, a list a column."""
    import polars as pl

    flat = pl.DataFrame(np.concatenate([run.rows for run in runs]), schema=list(COLUMNS))
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
    rows = frame.select(COLUMNS).explode(COLUMNS).to_numpy(order="c")
    ends = np.cumsum(frame["step"].list.len().to_numpy()).tolist()
    fields = {
        number: json.loads(text)
        for number, text in zip(frame["shared"], frame["fields"], strict=True)
        if text is not None
    }
    hashes = {text: json.loads(text) for text in frame["hashes"].unique()}
    found, begin = {}, 0
    columns = [frame[name].to_list() for name in ("name", "stamp", "version", "shared", "hashes", *ABOUT, *CHARGED)]
    for name, known, version, shape, texts, *about, end in zip(*columns, ends, strict=True):
        if stamps.get(name) == known and version == VERSION:
            found[name] = Run(
                name=name,
                fields=fields[shape],
                hashes=hashes[texts],
                spent=dict(zip(CHARGED, about[len(ABOUT) :], strict=True)),
                rows=rows[begin:end],
                place=f"{folder}/{name}",
                **dict(zip(ABOUT, about, strict=False)),
            )
        begin = end
    return found
