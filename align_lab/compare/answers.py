"""What a run answered in its last evaluation, read from the end of its samples.jsonl: a long file is not read whole."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from align_lab.compare.evaluations import Floats
from align_lab.compare.runs import Run
from align_lab.compare.values import number
from align_lab.record.layout import RunLayout

BLOCK = 1 << 16
COLUMNS = {"win_rate": "win"}  # metric -> its column in samples.jsonl, where that has another name

Prompt = tuple[int, str]


class Answer(TypedDict):
    """A completion with the score that is optimized and the one that decides.

    within: variance of `decides` as a mean over the prompt's samples; None where there is one sample.
    """

    completion: str
    decides: float
    within: float | None
    score: float | None
    ended: bool | None


class Answers(Mapping[Prompt, Answer]):
    """Prompt -> the last completion of a run, in the order of the prompts; and their deciding scores [P]."""

    def __init__(self, prompts: Sequence[Prompt], scores: Floats, rows: Sequence[Answer] | str) -> None:
        """`rows` may be their JSON: of most runs no row is ever looked at."""
        self.prompts, self.scores, self._rows = prompts, scores, rows

    @classmethod
    def of(cls, rows: Mapping[Prompt, Answer]) -> Answers:
        """Those of a mapping, in the order of its prompts."""
        prompts = sorted(rows)
        scores = np.array([rows[prompt]["decides"] for prompt in prompts], dtype=float)
        return cls(prompts, scores, [rows[prompt] for prompt in prompts])

    @cached_property
    def rows(self) -> Sequence[Answer]:
        """One a prompt."""
        return json.loads(self._rows) if isinstance(self._rows, str) else self._rows

    @cached_property
    def places(self) -> dict[Prompt, int]:
        """Prompt -> its place."""
        return {prompt: i for i, prompt in enumerate(self.prompts)}

    def __getitem__(self, prompt: Prompt) -> Answer:
        return self.rows[self.places[prompt]]

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def __len__(self) -> int:
        return len(self.prompts)


def last(run: Run) -> Answers:
    """Empty where the run has kept none of the step of its last evaluation, or none with a score that decides."""
    try:
        layout = RunLayout(run.path)
        file = layout.evaluation_samples(run.evaluation) if run.evaluation else layout.samples
        rows = of_step(file, int(run.rows["step"][-1]))
        return Answers.of(_answers(rows, run))
    except (OSError, ValueError, KeyError, TypeError):
        return Answers.of({})


def _answers(rows: Sequence[Mapping[str, Any]], run: Run) -> dict[Prompt, Answer]:
    """Of several samples of a prompt the first, with the mean of their scores; of several sets the one that decides."""
    column, of_set = decided_by(run)
    of_set = of_set or _first_set(rows)
    by_prompt: dict[Prompt, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("set", of_set) == of_set and number(row[column]) is not None:
            by_prompt.setdefault((int(row["index"]), str(row["prompt"])), []).append(row)
    return {prompt: _answer(samples, column) for prompt, samples in by_prompt.items()}


def _first_set(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The set that was evaluated first, which decides where the config names none; `rows` come last first."""
    return rows[-1].get("set") if rows else None


class Beginning(TypedDict):
    """What the start policy wrote, with the two scores of it where they are kept."""

    completion: str
    decides: float | None
    score: float | None


def beginning(run: Run) -> dict[Prompt, Beginning]:
    """What a run's start policy wrote: the completions of its evaluation before the first step, at the file's begin."""
    texts: dict[Prompt, Beginning] = {}
    column, _ = decided_by(run)
    try:
        with RunLayout(run.path).samples.open(encoding="utf-8") as file:
            for row in takewhile(lambda row: row["step"] == 0, map(json.loads, file)):
                first: Beginning = {
                    "completion": str(row["completion"]),
                    "decides": number(row.get(column)),
                    "score": number(row.get("score")),
                }
                texts.setdefault((int(row["index"]), str(row["prompt"])), first)
    except (OSError, ValueError, KeyError, TypeError):
        return texts
    return texts


def decided_by(run: Run) -> tuple[str, str | None]:
    """The column of samples.jsonl with the deciding metric, and the set whose prompts decide (None: the first)."""
    *path, name = run.metric.split("/")
    sets = run.fields.get("evaluation.sets")
    first = sets[0] if isinstance(sets, list) and sets else None
    return COLUMNS.get(name, name), path[1] if len(path) > 1 else first


def _answer(samples: Sequence[Mapping[str, Any]], column: str) -> Answer:
    first = min(samples, key=lambda row: row.get("sample") or 0)
    scores = [row["score"] for row in samples if row.get("score") is not None]
    decides = [float(row[column]) for row in samples]
    ended = first.get("ended")
    return {
        "completion": str(first.get("completion", "")),
        "decides": sum(decides) / len(decides),
        "within": statistics.variance(decides) / len(decides) if len(decides) > 1 else None,
        "score": number(sum(scores) / len(scores)) if scores else None,
        "ended": None if ended is None else bool(ended),
    }


def of_step(path: Path, step: int) -> list[dict[str, Any]]:
    """The rows of the last step of a JSON-lines file, last first, if it is this one. A torn last line is not a row."""
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
