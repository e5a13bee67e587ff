"""The evaluations of runs as arrays: one row an evaluation, one column an axis or a metric, nan where it was not recorded.

Few runs are read from `metrics.jsonl`, the truth; many from the `metrics.parquet` beside it, as long as it is not older.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align_lab.base.metrics import METRICS

Floats = NDArray[np.float64]

GOLD, PROXY = "eval/gold_score", "eval/score"
AXES = {
    "episode": "episode",
    "tokens": "budget/tokens",
    "seconds": "time/elapsed",
    "flops": "budget/flops",
    "kl": "eval/kl",
}
JUDGED = tuple(name for name in METRICS if name.startswith("eval/"))
COLUMNS = tuple(dict.fromkeys(["step", *AXES.values(), *JUDGED]))
COLUMN = {name: i for i, name in enumerate(COLUMNS)}

MANY_BYTES = 32 << 20  # of metrics.jsonl: reading less takes no longer than importing polars
FILES = 500  # read at a time: what bounds the memory


def from_lines(path: Path) -> tuple[Floats, float]:
    """Evaluations [E, C] of a metrics.jsonl, and the step of its last whole row. A torn last line is not a row."""
    lines = [line for line in path.read_bytes().split(b"\n") if line]
    return _array(list(_judged(lines))), _last_step(lines)


def _judged(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Rows that hold an evaluation, up to the first that cannot be read. The others are not even parsed."""
    for line in lines:
        if b'"eval/gold_score"' in line:
            try:
                row = json.loads(line)
            except ValueError:
                return
            if row[GOLD] is not None:
                yield row


def _last_step(lines: Sequence[bytes]) -> float:
    for line in reversed(lines[-2:]):
        with suppress(ValueError):
            return float(json.loads(line).get("step", "nan"))
    return float("nan")


def _array(rows: Sequence[dict[str, Any]]) -> Floats:
    values = np.array([[row.get(name) for name in COLUMNS] for row in rows], dtype=float).reshape(-1, len(COLUMNS))
    return _begun(values)


def _begun(rows: Floats) -> Floats:
    """No clock has run at step 0, and its row does not say so."""
    clock = COLUMN["time/elapsed"]
    rows[(rows[:, COLUMN["step"]] == 0) & np.isnan(rows[:, clock]), clock] = 0.0
    return rows


def from_parquet(files: Sequence[str]) -> list[Floats]:
    """Evaluations [E, C] of each file, in their order. Columns that a file lacks are nan. Raises when one cannot be read."""
    import polars as pl

    frame = (
        pl.scan_parquet(
            list(files),
            glob=False,
            schema=pl.Schema(dict.fromkeys(COLUMNS, pl.Float64)),
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=pl.ScanCastOptions(integer_cast="allow-float"),
            include_file_paths="path",
        )
        .filter(pl.col(GOLD).is_not_null())
        .collect()
    )
    counts = dict(frame.group_by("path", maintain_order=True).len().iter_rows())
    rows = _begun(frame.select(COLUMNS).to_numpy(order="c", writable=True))
    ends = np.cumsum([counts.get(file, 0) for file in files])
    return np.split(rows, ends[:-1])


def of_many(runs: Sequence[str]) -> dict[str, Floats]:
    """Run folder -> its evaluations, for as many as can be read at once; empty where there are few. In bounded memory."""
    compacted = {run: size for run in runs if (size := _compacted(run))}
    if sum(compacted.values()) < MANY_BYTES:
        return {}
    import polars as pl

    found: dict[str, Floats] = {}
    for part in _batched(list(compacted), FILES):
        try:
            found |= zip(part, from_parquet([f"{run}/metrics.parquet" for run in part]), strict=True)
        except (pl.exceptions.PolarsError, OSError):
            continue  # one of them is damaged: each is read alone, and the damage gets a name
    return found


def of_one(run: Path) -> tuple[Floats, float]:
    """Evaluations of one run, and the step of its last row (nan where unknown). Raises OSError or ValueError."""
    lines, compacted = run / "metrics.jsonl", run / "metrics.parquet"
    if lines.exists() or not compacted.exists():
        return from_lines(lines)
    import polars as pl

    try:
        return from_parquet([str(compacted)])[0], float("nan")
    except pl.exceptions.PolarsError as damaged:
        raise ValueError(f"metrics.parquet: {damaged}") from damaged


def _batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _compacted(run: str) -> int:
    """Bytes that reading metrics.parquet spares; 0 where there is none, or one that is older than metrics.jsonl."""
    try:
        compacted = os.stat(f"{run}/metrics.parquet")
    except OSError:
        return 0
    try:
        lines = os.stat(f"{run}/metrics.jsonl")
    except OSError:
        return compacted.st_size
    return lines.st_size if compacted.st_mtime_ns >= lines.st_mtime_ns else 0
