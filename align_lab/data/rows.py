"""Rows of JSONL, CSV and Parquet files, one after the other, in bounded memory.

A line of JSON keeps its own types, and a broken one is named by its number, so JSONL is read line by line. CSV and
Parquet are streamed by polars in batches; the values of CSV are texts.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCH = 4096  # rows of CSV and Parquet that are held at a time


@dataclass(frozen=True)
class Row:
    """One row of a file."""

    file: Path
    number: int  # of the line in JSONL; else of the row, the header not counted; the first is 1
    values: dict[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, for a reason that other rows may share."""

    file: Path
    number: int
    reason: str


def read(file: Path) -> Iterator[Row | BadRow]:
    """The rows of a file. A file that cannot be read on ends with a BadRow."""
    number = 0
    try:
        for item in READERS[format_of(file)](file):
            number = item.number
            yield item
    except (OSError, EOFError) as error:
        yield BadRow(file, number + 1, f"it cannot be read ({getattr(error, 'strerror', None) or error})")


def format_of(file: Path) -> str:
    """The suffix that decides how a file is read; "" for one that is not read."""
    suffix = Path(file.stem).suffix.lower() if file.suffix.lower() == ".gz" else file.suffix.lower()
    return suffix if suffix in READERS and (file.suffix.lower() != ".gz" or suffix in JSON) else ""


def unit(file: Path) -> str:
    """What the numbers of a file's rows count."""
    return "line" if format_of(file) in JSON else "row"


def _lines(file: Path) -> Iterator[Row | BadRow]:
    with gzip.open(file, "rb") if file.suffix.lower() == ".gz" else file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield _parsed(file, number, line)


def _parsed(file: Path, number: int, line: bytes) -> Row | BadRow:
    try:
        values = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError:
        return BadRow(file, number, "it is not encoded as UTF-8")
    except RecursionError:
        return BadRow(file, number, "its JSON is nested too deeply")
    except ValueError as error:
        if number == 1 and line.lstrip().startswith(b"["):
            return BadRow(file, number, ARRAY)
        return BadRow(file, number, f"it is not valid JSON ({getattr(error, 'msg', error)})")
    if isinstance(values, dict):
        return Row(file, number, values)
    return BadRow(file, number, ARRAY if isinstance(values, list) else "it is not a JSON object")


ARRAY = "it is a JSON array, and each line must be one object (jq -c '.[]' FILE > FILE.jsonl writes that)"


def _table(file: Path) -> Iterator[Row | BadRow]:
    import polars as pl

    number = 0
    try:
        frame = pl.scan_parquet(file) if format_of(file) == ".parquet" else _csv(file)
        for batch in frame.collect_batches(chunk_size=BATCH, maintain_order=True):
            for values in batch.iter_rows(named=True):
                number += 1
                yield Row(file, number, values)
    except pl.exceptions.NoDataError:
        return
    except pl.exceptions.PolarsError as error:
        at = (format_of(file) != ".parquet" and _ragged(file)) or number + 1
        yield BadRow(file, at, f"it cannot be read on ({str(error).splitlines()[0]})")


def _csv(file: Path) -> Any:
    import polars as pl

    return pl.scan_csv(file, infer_schema=False, separator=_separator(file))


def _separator(file: Path) -> str:
    return "\t" if format_of(file) == ".tsv" else ","


def _ragged(file: Path) -> int | None:
    """The first row that has more fields than the header, which polars refuses without a number."""
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        rows = csv.reader(stream, delimiter=_separator(file))
        width = len(next(rows, ()))
        return next((number for number, row in enumerate(rows, start=1) if len(row) > width), None)


JSON = (".jsonl", ".ndjson", ".json")
READERS: dict[str, Callable[[Path], Iterator[Row | BadRow]]] = {
    **dict.fromkeys(JSON, _lines),
    **dict.fromkeys((".csv", ".tsv", ".parquet"), _table),
}
