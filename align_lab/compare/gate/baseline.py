"""A baseline in a file: the scores and learning curves of an arm's runs, with all that must be equal in a candidate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align_lab.base.errors import ConfigError
from align_lab.base.files import write_json
from align_lab.compare.evaluations import Columns, Table
from align_lab.compare.runs import Run

VERSION = 1


def write(path: Path, *, study: str, arm: str, metric: str, runs: Sequence[Run]) -> None:
    """Keep the runs of an arm."""
    columns = ("step", "episode", metric)
    content = {
        "version": VERSION,
        "study": study,
        "arm": arm,
        "metric": metric,
        "fields": dict(runs[0].fields),
        "hashes": dict(runs[0].hashes),
        "runs": [
            {"name": run.name, "seed": run.seed, "curve": run.rows.select(columns).tolist(), "spent": dict(run.spent)}
            for run in runs
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def read(path: Path) -> tuple[str, str, list[Run]]:
    """The arm's name, the metric, and the runs that `write` kept. Raises ConfigError for a file that is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise ValueError(f"it is of version {content['version']}, and this is version {VERSION}")
        metric = str(content["metric"])
        columns = Columns(("step", "episode", metric))
        runs = [
            Run(
                name=f"{one['name']} (baseline)",
                algo=str(content["fields"].get("algo.name", "")),
                seed=int(one["seed"]),
                fields=content["fields"],
                hashes=content["hashes"],
                labels={},
                spent=one["spent"],
                rows=Table(columns, np.array(one["curve"], dtype=float)),
                arm=content["arm"],
            )
            for one in content["runs"]
        ]
        if not runs:
            raise ValueError("it holds no run")
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {path}. Write it once: python -m align_lab gate STUDY --arm ARM --store {path}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is not a baseline ({error}). Write it again: gate STUDY --arm ARM --store {path}"
        ) from None
    return str(content["arm"]), metric, runs
