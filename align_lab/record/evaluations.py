"""Evaluations of a run's checkpoints that were made without training: `RUN/evaluations/NAME.json`, with completions.

They are beside the run's own record, which no evaluation changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from align_lab.base import shapes
from align_lab.base.errors import ConfigError
from align_lab.base.files import read_json, write_json, write_text
from align_lab.record.layout import EVALUATIONS, RunLayout

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Measured(TypedDict):
    """A metric after training, with its 95 % interval over prompts, and its change from the start policy with its own.

    None: not measured, or no interval: a single prompt, or no mean over prompts.
    """

    value: float | None
    low: float | None
    high: float | None
    start: float | None
    change: float | None
    change_low: float | None
    change_high: float | None


class StoredEvaluation(TypedDict):
    """What NAME.json holds. `key`: a hash of all that determines the result; `labels`: how each metric is called."""

    name: str
    key: str
    step: int
    settings: dict[str, Any]
    about: dict[str, Any]
    metrics: dict[str, Measured]
    labels: dict[str, dict[str, str]]


def read_all(run: Path | str) -> list[StoredEvaluation]:
    """The evaluations of a run, by name; those that cannot be read are left out."""
    files = sorted((Path(run) / EVALUATIONS).glob("[!.]*.json"))
    return [stored for file in files if (stored := _read(file))]


def _read(file: Path) -> StoredEvaluation | None:
    content: Any = read_json(file)
    return content if shapes.fits(content, StoredEvaluation) else None


def stored(run: Path, key: str, name: str | None) -> StoredEvaluation | None:
    """The evaluation with this key, whatever its name.

    Raises ConfigError for a name that cannot be a file's, or that another evaluation has.
    """
    if name is not None and not NAME.fullmatch(name):
        raise ConfigError(f"name={name}: the name becomes a file's. Use letters, digits, '.', '_' and '-'")
    by_key = {one["key"]: one for one in read_all(run)}
    if key in by_key:
        return by_key[key]
    if name is not None and RunLayout(run).evaluation(name).exists():
        raise ConfigError(
            f"{RunLayout(run).evaluation(name)} holds an evaluation with other settings. Choose another name=..., or "
            "remove it"
        )
    return None


def write(run: Path, result: StoredEvaluation, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write the completions, then the result, which makes the evaluation known."""
    layout = RunLayout(run)
    layout.evaluations.mkdir(exist_ok=True)
    write_text(layout.evaluation_samples(result["name"]), "".join(json.dumps(row) + "\n" for row in rows))
    write_json(layout.evaluation(result["name"]), result)
    return layout.evaluation(result["name"])
