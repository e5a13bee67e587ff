"""Files of other programs -> rows of numbers, a run a table."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align_lab.base.errors import ConfigError
from align_lab.base.files import read_lines
from align_lab.compare.foreign.sources import MetricMap

STATE = "trainer_state.json"  # of a run, and of each of its checkpoints
CHECKPOINT = re.compile(r"checkpoint-\d+")
CHART = re.compile(r"(?P<run>.+) - (?P<metric>.+)")  # a column of a chart that W&B exports
BOUNDS = ("__MIN", "__MAX")
RUN_COLUMN = "Name"  # of the runs table that W&B exports: a row a run
READABLE = (".json", ".jsonl", ".csv", ".parquet")

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ForeignTable:
    """A run's rows. `parts`: names that may tell arm and seed, the innermost last; `config`: fields known of it."""

    name: str
    parts: Sequence[str]
    rows: Sequence[Row]
    file: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    sampled: bool = False  # a chart, which W&B thins out

    @property
    def columns(self) -> list[str]:
        """Those that hold a number anywhere."""
        return list(dict.fromkeys(key for row in self.rows for key, value in row.items() if number(value) is not None))


def number(value: Any) -> float | None:
    """A float, nan and inf included, also where text says so; None for what is no number."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def read(source: MetricMap, path: Path) -> list[ForeignTable]:
    """Every run in a file, or in the files of a folder that the source knows.

    Raises ConfigError where there is none.
    """
    if path.is_dir():
        files = _newest(sorted(file for pattern in source.files for file in path.rglob(pattern)))
        if not files:
            raise ConfigError(f"{path} holds no {' or '.join(source.files)}, the files of {source.title}")
    elif path.is_file():
        files = [path]
    else:
        raise ConfigError(
            f"there is no {path}. Give a file of {source.title} ({', '.join(source.files)}), or its folder"
        )
    return _merged(table for file in files for table in _tables(file, path, source.silent))


def _newest(files: Sequence[Path]) -> list[Path]:
    """Of a run that left its state in checkpoints too, the one that has come furthest."""
    of_run: dict[Path, list[Path]] = {}
    for file in files:
        run = file.parent.parent if CHECKPOINT.fullmatch(file.parent.name) else file.parent
        of_run.setdefault(run if file.name == STATE else file, []).append(file)
    return [max(states, key=_steps) if states[1:] else states[0] for states in of_run.values()]


def _steps(state: Path) -> float:
    try:
        return float(json.loads(state.read_text(encoding="utf-8")).get("global_step", 0))
    except (OSError, ValueError, AttributeError):
        return -1.0


def _tables(file: Path, root: Path, silent: Sequence[str]) -> Iterable[ForeignTable]:
    """The runs of a file below `root`: each of a chart's, each row of a table of runs, else one."""
    try:
        rows = _rows(file)
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    columns = list(dict.fromkeys(key for row in rows for key in row))
    charts = [match for name in columns if (match := CHART.fullmatch(name))]
    if charts:
        return _charts(rows, columns[0], charts, file)
    if RUN_COLUMN in columns and "Step" not in columns:
        names = [str(row[RUN_COLUMN]) for row in rows]
        return [
            ForeignTable(name=name, parts=[name], rows=[row], file=file, config=row)
            for name, row in zip(names, rows, strict=True)
        ]
    parts = _parts(file, root, silent)
    return [ForeignTable(name=parts[-1], parts=parts, rows=rows, file=file)]


def _parts(file: Path, root: Path, silent: Sequence[str]) -> list[str]:
    """Names of folders and file that may tell arm and seed, the innermost last."""
    place = file.parent.parent if CHECKPOINT.fullmatch(file.parent.name) else file.parent
    stem = "" if file.name == STATE else file.stem
    if not root.is_dir():
        outer = next((one.name for one in (place.resolve(), *place.resolve().parents) if one.name not in silent), "")
        return _telling((outer, stem), silent)
    inside = place.resolve().relative_to(root.resolve()).parts
    return _telling((root.resolve().name, *inside, stem), silent)


def _telling(parts: Sequence[str], silent: Sequence[str]) -> list[str]:
    """Without those that every run has, unless there is no other."""
    return [part for part in parts if part and part not in silent] or [part for part in parts if part]


def _charts(rows: Sequence[Row], axis: str, charts: Sequence[re.Match[str]], file: Path) -> Iterable[ForeignTable]:
    """A chart's columns are `Step` and, of every run, `RUN - METRIC` with its bounds."""
    by_run: dict[str, dict[str, str]] = {}
    for column in charts:
        if not column["metric"].endswith(BOUNDS) and column["metric"] != "_step":
            by_run.setdefault(column["run"], {})[column[0]] = column["metric"]
    for run, names in by_run.items():
        of_run = [
            {axis: row[axis]} | {metric: row[name] for name, metric in names.items() if row.get(name) not in (None, "")}
            for row in rows
        ]
        yield ForeignTable(name=run, parts=[run], rows=[row for row in of_run if len(row) > 1], file=file, sampled=True)


def _merged(tables: Iterable[ForeignTable]) -> list[ForeignTable]:
    """Charts hold one metric each: those of one run belong together. Other tables are runs of their own."""
    merged: dict[str | int, ForeignTable] = {}
    for place, table in enumerate(tables):
        key = table.name if table.sampled else place
        before = merged.get(key)
        merged[key] = table if before is None else _joined(before, table)
    return list(merged.values())


def _joined(a: ForeignTable, b: ForeignTable) -> ForeignTable:
    return ForeignTable(name=a.name, parts=a.parts, rows=[*a.rows, *b.rows], file=a.file, config=a.config, sampled=True)


def _rows(file: Path) -> Sequence[Row]:
    if file.suffix == ".csv":
        with file.open(encoding="utf-8-sig", newline="") as text:
            return list(csv.DictReader(text))
    if file.suffix == ".jsonl":
        return [_flat(row) for row in read_lines(file)]
    if file.suffix == ".parquet":
        import polars as pl

        try:
            return pl.read_parquet(file).to_dicts()
        except pl.exceptions.PolarsError as error:
            raise ValueError(error) from error
    if file.suffix == ".json":
        return _from_json(json.loads(file.read_text(encoding="utf-8")))
    raise ValueError(f"{file.suffix or 'a file without an ending'} is none of {', '.join(READABLE)}")


def _from_json(content: Any) -> list[Row]:
    """A trainer's state, a list of rows, or columns as pandas writes them: {column: {row: value}}."""
    rows = _from_object(content) if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it holds no rows: a list of objects, or a log_history")
    return [_flat(row) for row in rows]


def _from_object(content: Mapping[str, Any]) -> Any:
    if isinstance(content.get("log_history"), list):
        return content["log_history"]
    if not content or not all(isinstance(column, dict) for column in content.values()):
        return None
    places = list(dict.fromkeys(place for column in content.values() for place in column))
    return [{name: column.get(place) for name, column in content.items()} for place in places]


def _flat(row: Any) -> Row:
    """verl's rows keep their numbers in `data`."""
    if not isinstance(row, dict):
        raise ValueError(f"a line holds {str(row)[:40]}, not an object")
    data = row.get("data")
    return {**row, **data} if isinstance(data, dict) else row


def series(table: ForeignTable, column: str, steps: Sequence[str]) -> tuple[list[float], list[float]]:
    """Steps and values of a column, in the order of the steps; rows that do not hold it are left out."""
    values: dict[float, float] = {}
    for place, row in enumerate(table.rows):
        value = number(row.get(column))
        if value is not None:
            at = next((at for name in steps if (at := number(row.get(name))) is not None), float(place))
            values[at if math.isfinite(at) else float(place)] = value
    ordered = sorted(values)
    return ordered, [values[at] for at in ordered]
