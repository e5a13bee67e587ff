"""What a study is meant to hold and to decide, in `.dispatch/expected_runs.json`, as its command wrote it down."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from align_lab.base import shapes
from align_lab.base.errors import DataError
from align_lab.record.layout import StudyLayout


class ExpectedRun(TypedDict):
    """A run that is expected."""

    arm: NotRequired[str]
    seed: NotRequired[int]
    steps: NotRequired[int]
    vary: NotRequired[list[str]]
    apart: NotRequired[dict[str, Any]]  # fields that tell it from runs of the same arm and seed


class Expected(TypedDict):
    """What the file holds; one of an older version has not all of it."""

    sweep: NotRequired[str | None]
    question: NotRequired[str]
    control: NotRequired[str]
    claims: NotRequired[list[str]]
    metric: NotRequired[str]
    smallest: NotRequired[float | None]
    contrasts: NotRequired[list[list[str]]]
    factors: NotRequired[dict[str, list[str]]]  # factor -> its levels
    cells: NotRequired[dict[str, list[str]]]  # arm -> its level of each factor
    paired: NotRequired[bool | None]
    runs: dict[str, ExpectedRun]
    left: NotRequired[dict[str, ExpectedRun]]


def read(study: Path) -> dict[str, Any]:
    """`runs`: name -> arm, seed and steps; `left`: the same for runs that are no longer in the sweep file.

    Raises DataError for a file that is damaged.
    """
    file = StudyLayout(study).expected_runs
    instead = f"Remove it; the study's command writes it again: rm {file}"
    with suppress(FileNotFoundError, NotADirectoryError):
        content = shapes.read(file, Expected, instead=instead)
        for pair in content.get("contrasts", []):
            if len(pair) != 2:
                raise DataError(f"{file} is damaged: contrasts holds {pair}, which is no pair of arms. {instead}")
        factors = content.get("factors", {})
        for arm, levels in content.get("cells", {}).items():
            if len(levels) != len(factors) or any(
                one not in each for one, each in zip(levels, factors.values(), strict=True)
            ):
                raise DataError(
                    f"{file} is damaged: cells.{arm} holds {levels}, which are no levels of the factors. {instead}"
                )
        return {**_nothing(), **content}
    return _nothing()


def _nothing() -> dict[str, Any]:
    return {
        "sweep": None,
        "question": "",
        "control": "",
        "claims": [],
        "metric": "",
        "smallest": None,
        "contrasts": [],
        "factors": {},
        "cells": {},
        "paired": None,
        "runs": {},
        "left": {},
    }
