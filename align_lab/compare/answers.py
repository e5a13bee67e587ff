"""What a run answered in its last evaluation, read from the end of its samples.jsonl: a long file is not read whole."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from align_lab.compare.evaluations import COLUMN, Floats
from align_lab.compare.runs import Run
from align_lab.record.layout import RunLayout

BLOCK = 1 << 16

Prompt = tuple[int, str]
Row = Mapping[str, Any]


class Answers(Mapping[Prompt, Row]):
    """Prompt -> row of a run's last evaluation, in the order of the prompts; their gold scores [P] once more as an array."""

    def __init__(self, prompts: Sequence[Prompt], gold: Floats, rows: Sequence[Row] | str) -> None:
        """`rows` may be their JSON: of most runs no row is ever looked at."""
        self.prompts, self.gold, self._rows = prompts, gold, rows

    @classmethod
    def of(cls, rows: Mapping[Prompt, Row]) -> Answers:
        prompts = sorted(rows)
        gold = np.array([rows[prompt]["gold_score"] for prompt in prompts], dtype=float)
        return cls(prompts, gold, [rows[prompt] for prompt in prompts])

    @cached_property
    def rows(self) -> Sequence[Row]:
        return json.loads(self._rows) if isinstance(self._rows, str) else self._rows

    @cached_property
    def places(self) -> dict[Prompt, int]:
        return {prompt: i for i, prompt in enumerate(self.prompts)}

    def __getitem__(self, prompt: Prompt) -> Row:
        return self.rows[self.places[prompt]]

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def __len__(self) -> int:
        return len(self.prompts)


def last(run: Run) -> Answers:
    """Empty where the run has kept none of the step of its last evaluation."""
    try:
        rows = of_step(RunLayout(run.path).samples, int(run.rows[-1, COLUMN["step"]]))
        return Answers.of({(int(row["index"]), str(row["prompt"])): row for row in rows if _is_scored(row)})
    except (OSError, ValueError, KeyError, TypeError):
        return Answers.of({})


def _is_scored(row: Row) -> bool:
    return math.isfinite(row["gold_score"])


def of_step(path: Path, step: int) -> list[Row]:
    """The rows of the last step of a JSON-lines file, if it is this one. A torn last line is not a row."""
    mine = re.compile(rb'"step":\s*%d(\.0)?\s*[,}]' % step)
    lines = _backwards(path)
    newest = [line for line in islice(lines, 1) if _is_whole(line)]
    return json.loads(b"[%s]" % b",".join(takewhile(mine.search, chain(newest, lines))))


def _is_whole(line: bytes) -> bool:
    try:
        return bool(json.loads(line))
    except ValueError:
        return False


def _backwards(path: Path) -> Iterator[bytes]:
    """Lines that hold something, the last first, from blocks."""
    with path.open("rb") as file:
        position, rest = file.seek(0, 2), b""
        while position:
            size = min(BLOCK, position)
            position -= size
            file.seek(position)
            rest, *lines = (file.read(size) + rest).split(b"\n")
            yield from (line for line in reversed(lines) if line)
        if rest:
            yield rest
