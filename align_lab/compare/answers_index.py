"""The other table of a study's index, `runs/STUDY/.compare/answers.parquet`: what compared runs answered last, a row a
run.

As in `index`, a row counts only while the file is the one that it was made of, and a folder that takes no files has
none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from align_lab.base.files import replacing
from align_lab.compare import index
from align_lab.compare.answers import Answers, decided_by, last
from align_lab.compare.runs import Run
from align_lab.record.layout import SAMPLES

FROM = 60  # runs of a study: reading fewer files takes no longer than importing polars
VERSION = 3


def path(folder: Path) -> Path:
    """Where a study's table lies."""
    return index.path(folder).with_name("answers.parquet")


def of_runs(folder: Path, runs: Sequence[Run]) -> dict[str, Answers]:
    """Place -> last answers of these runs of one study."""
    if len(runs) < FROM or any(run.evaluation for run in runs):
        return {run.place: last(run) for run in runs}
    stamps = {run.place: _stamp(run) for run in runs}
    known = _load(folder, stamps)
    answers = {run.place: known.get(run.place) or last(run) for run in runs}
    if any(rows and place not in known for place, rows in answers.items()):
        _save(folder, answers, stamps)
    return answers


def _stamp(run: Run) -> str:
    """Of the file, of the step that it was read for, and of the score that decides."""
    return f"{index.stamp(run.place, (SAMPLES,))} {run.rows['step'][-1]:g} {decided_by(run)} {VERSION}"


def _save(folder: Path, answers: dict[str, Answers], stamps: dict[str, str]) -> None:
    import polars as pl

    with suppress(OSError, ValueError, TypeError, pl.exceptions.PolarsError):
        frame = _frame({place: rows for place, rows in answers.items() if rows}, stamps)
        path(folder).parent.mkdir(exist_ok=True)
        with replacing(path(folder)) as partial:
            frame.write_parquet(partial)


def _frame(answers: dict[str, Answers], stamps: dict[str, str]) -> Any:
    import polars as pl

    prompts = [json.dumps(list(one.prompts)) for one in answers.values()]
    first = {text: i for i, text in reversed(list(enumerate(prompts)))}  # prompts that runs share are written once
    return pl.DataFrame(
        {
            "name": [Path(place).name for place in answers],
            "stamp": [stamps[place] for place in answers],
            "shared": [first[text] for text in prompts],
            "prompts": [text if first[text] == i else None for i, text in enumerate(prompts)],
            "scores": pl.Series([one.scores.tolist() for one in answers.values()], dtype=pl.List(pl.Float64)),
            "rows": [json.dumps(one.rows) for one in answers.values()],
        }
    )


def _load(folder: Path, stamps: dict[str, str]) -> dict[str, Answers]:
    if not path(folder).exists():
        return {}
    import polars as pl

    try:
        return _answers(folder, pl.read_parquet(path(folder)), stamps)
    except (pl.exceptions.PolarsError, OSError, ValueError, KeyError, TypeError):
        return {}


def _answers(folder: Path, frame: Any, stamps: dict[str, str]) -> dict[str, Answers]:
    prompts = {
        i: [(number, text) for number, text in json.loads(texts)]
        for i, texts in enumerate(frame["prompts"])
        if texts is not None
    }
    answers = {}
    for name, known, shared, scores, rows in frame.select("name", "stamp", "shared", "scores", "rows").iter_rows():
        if stamps.get(f"{folder}/{name}") == known and index.NEW not in known:
            answers[f"{folder}/{name}"] = Answers(prompts[shared], np.array(scores, dtype=float), rows)
    return answers
