"""The evaluations of runs as arrays: one row an evaluation, one column an axis or a metric, nan where it was not
recorded.

Few runs are read from `metrics.jsonl`, the truth; many from the `metrics.parquet` beside it, as long as it is not
older. Which columns there are beyond the fixed ones depends on the judges that the runs name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align_lab.compare.document import SCORE
from align_lab.record.layout import COMPACTED
from align_lab.record.layout import METRICS as METRICS_FILE

Floats = NDArray[np.float64]

AXES = {
    "episode": "episode",
    "tokens": "budget/tokens",
    "labels": "budget/labels",
    "seconds": "time/elapsed",
    "flops": "budget/flops",
    "kl": "eval/kl",
}
FIRST = ("step", "episode", "budget/tokens", "budget/labels", "time/elapsed", "budget/flops", SCORE)
TEXT = ("eval/length", "eval/entropy", "eval/distinct_2", "eval/repetition", "eval/ended")
LAST = ("eval/kl", "eval/win_rate", *TEXT)
ERROR = "_se"  # behind a metric's name: its standard error over prompts

MANY_BYTES = 32 << 20  # of metrics.jsonl: reading less takes no longer than importing polars
FILES = 500  # read at a time: what bounds the memory


@dataclass(frozen=True)
class Columns:
    """Names of the columns of evaluations, and where each lies."""

    names: tuple[str, ...]

    @cached_property
    def places(self) -> dict[str, int]:
        """Name -> place."""
        return {name: place for place, name in enumerate(self.names)}

    @property
    def evaluated(self) -> list[str]:
        """Metrics of the set that decides: the score, the judges', then what every evaluation has."""
        return [name for name in self.names if name.startswith("eval/") and name.count("/") == 1]


@lru_cache(maxsize=256)
def columns(judged: tuple[str, ...] = ()) -> Columns:
    """The fixed columns with those of these judges between them; standard errors stand last."""
    errors = tuple(name for name in judged if name.endswith(ERROR))
    scores = tuple(name for name in judged if name not in {*errors, *LAST})
    return Columns(tuple(dict.fromkeys((*FIRST, *scores, *LAST, *errors))))


def judged(metric: str, fields: Mapping[str, Any], labels: Iterable[str]) -> tuple[str, ...]:
    """Metrics that a run's judges add: of the judges in its config, those that it labels, and the one that decides, of
    further sets too."""
    names = [key.split(".")[2] for key in fields if key.startswith("evaluation.judges.")]
    labeled = [name for name in labels if name.startswith("eval/") and name.count("/") == 1]
    further = [name for name in labels if name.count("/") == 2 and name.endswith(f"/{metric.removeprefix('eval/')}")]
    return tuple(dict.fromkeys([*(f"eval/{name}" for name in names), *labeled, *further, metric, metric + ERROR]))


@dataclass(frozen=True, eq=False)
class Table:
    """Evaluations under their names: values [..., C]. `table[name]` is that column, nan where there is none [...]."""

    columns: Columns
    values: Floats

    def __getitem__(self, name: str) -> Floats:
        place = self.columns.places.get(name)
        return np.full(self.values.shape[:-1], np.nan) if place is None else self.values[..., place]

    def __len__(self) -> int:
        return len(self.values)

    def select(self, names: Sequence[str]) -> Floats:
        """These columns [..., len(names)]."""
        return np.stack([self[name] for name in names], axis=-1)

    def under(self, columns: Columns) -> Table:
        """The same values under other columns."""
        return self if columns == self.columns else Table(columns, self.select(columns.names))


def united(every: Iterable[Columns]) -> Columns:
    """Columns that hold all of those."""
    several = list(dict.fromkeys(every))
    if len(several) == 1:
        return several[0]
    fixed = {*FIRST, *LAST}
    return columns(tuple(dict.fromkeys(name for one in several for name in one.names if name not in fixed)))


def from_lines(path: Path, names: Columns) -> tuple[Floats, float]:
    """Evaluations [E, C] of a metrics.jsonl, and the step of its last whole row. A torn last line is not a row."""
    lines = [line for line in path.read_bytes().split(b"\n") if line]
    return _array(list(_evaluated(lines)), names), _last_step(lines)


def _evaluated(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Rows that hold an evaluation, up to the first that cannot be read. The others are not even parsed.

    An evaluation may lack a score, where reward or judge had none for any completion.
    """
    for line in lines:
        if b'"eval/' in line:
            try:
                row = json.loads(line)
            except ValueError:
                return
            if any(value is not None for name, value in row.items() if name.startswith("eval/")):
                yield row


def _last_step(lines: Sequence[bytes]) -> float:
    for line in reversed(lines[-2:]):
        with suppress(ValueError):
            return float(json.loads(line).get("step", "nan"))
    return float("nan")


def _array(rows: Sequence[dict[str, Any]], names: Columns) -> Floats:
    values = [[row.get(name) for name in names.names] for row in rows]
    return _begun(np.array(values, dtype=float).reshape(-1, len(names.names)), names)


def _begun(rows: Floats, names: Columns) -> Floats:
    """No clock has run at step 0, and its row does not say so."""
    clock = names.places["time/elapsed"]
    rows[(rows[:, names.places["step"]] == 0) & np.isnan(rows[:, clock]), clock] = 0.0
    return rows


def from_parquet(files: Sequence[str], names: Columns) -> list[Floats]:
    """Evaluations [E, C] of each file, in their order. Columns that a file lacks are nan. Raises when one cannot be
    read.
    """
    import polars as pl

    frame = (
        pl.scan_parquet(
            list(files),
            glob=False,
            schema=pl.Schema(dict.fromkeys(names.names, pl.Float64)),
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=pl.ScanCastOptions(integer_cast="allow-float"),
            include_file_paths="path",
        )
        .filter(pl.any_horizontal(pl.col(name).is_not_null() for name in names.evaluated))
        .collect()
    )
    counts = dict(frame.group_by("path", maintain_order=True).len().iter_rows())
    rows = _begun(frame.select(names.names).to_numpy(order="c", writable=True), names)
    ends = np.cumsum([counts.get(file, 0) for file in files])
    return np.split(rows, ends[:-1])


def of_many(runs: Sequence[str], names: Columns) -> dict[str, Floats]:
    """Run folder -> its evaluations, for as many as can be read at once; empty where there are few.

    In bounded memory.
    """
    compacted = {run: size for run in runs if (size := _compacted(run))}
    if sum(compacted.values()) < MANY_BYTES:
        return {}
    import polars as pl

    result: dict[str, Floats] = {}
    for part in _batched(list(compacted), FILES):
        try:
            result |= zip(part, from_parquet([f"{run}/{COMPACTED}" for run in part], names), strict=True)
        except (pl.exceptions.PolarsError, OSError):
            continue  # one of them is damaged: each is read alone, and the damage gets a name
    return result


def of_one(run: Path, names: Columns) -> tuple[Floats, float]:
    """Evaluations of one run, and the step of its last row (nan where unknown). Raises OSError or ValueError."""
    lines, compacted = run / METRICS_FILE, run / COMPACTED
    if lines.exists() or not compacted.exists():
        return from_lines(lines, names)
    import polars as pl

    try:
        return from_parquet([str(compacted)], names)[0], float("nan")
    except pl.exceptions.PolarsError as damaged:
        raise ValueError(f"{COMPACTED}: {damaged}") from damaged


def _batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _compacted(run: str) -> int:
    """Bytes that reading metrics.parquet spares; 0 where there is none, or one that is older than metrics.jsonl."""
    try:
        compacted = os.stat(f"{run}/{COMPACTED}")
    except OSError:
        return 0
    try:
        lines = os.stat(f"{run}/{METRICS_FILE}")
    except OSError:
        return compacted.st_size
    return lines.st_size if compacted.st_mtime_ns >= lines.st_mtime_ns else 0
