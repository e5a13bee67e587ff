"""A baseline in a file: the scores and learning curves of an arm's runs, with all that must be equal in a candidate.

Of runs of another program it keeps what their config says, which proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from align_lab.base.errors import ConfigError
from align_lab.base.files import write_json
from align_lab.compare.evaluations import Columns, Table
from align_lab.compare.foreign.reader import ForeignRun
from align_lab.compare.foreign.settings.translation import Known, TheirSettings, Unknown
from align_lab.compare.runs import Run

VERSION = 1
STORED = "baseline"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """An arm as it was stored: `runs` of ours, or `foreign` ones."""

    arm: str
    metric: str
    runs: Sequence[Run] = ()
    foreign: Sequence[ForeignRun] = ()


def write(path: Path, *, study: str, arm: str, metric: str, runs: Sequence[Run]) -> None:
    """Keep the runs of an arm of ours."""
    columns = ("step", "episode", metric)
    content = {
        "version": VERSION,
        "study": study,
        "arm": arm,
        "metric": metric,
        "fields": dict(runs[0].fields),
        "hashes": dict(runs[0].hashes),
        "runs": [
            {
                "name": run.name,
                "seed": run.seed,
                "curve": run.rows.select(columns).tolist(),
                "spent": dict(run.spent),
                "hashes": {name: value for name, value in run.hashes.items() if runs[0].hashes.get(name) != value},
            }
            for run in runs
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def write_foreign(path: Path, *, metric: str, runs: Sequence[ForeignRun]) -> None:
    """Keep the runs of an arm of another program."""
    first = runs[0]
    content = {
        "version": VERSION,
        "program": first.source,
        "asked": first.asked,
        "arm": first.arm,
        "metric": metric,
        "runs": [
            {
                "name": run.name,
                "seed": run.seed,
                "curve": list(zip(*run.series[metric], strict=True)),
                "settings": None if run.settings is None else asdict(run.settings),
            }
            for run in runs
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def read(path: Path) -> Baseline:
    """What was kept. Raises ConfigError for a file that is no baseline."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise ValueError(f"it is of version {content['version']}, and this is version {VERSION}")
        if not content["runs"]:
            raise ValueError("it holds no run")
        arm, metric = str(content["arm"]), str(content["metric"])
        if "program" in content:
            return Baseline(arm=arm, metric=metric, foreign=[_foreign(one, content) for one in content["runs"]])
        return Baseline(arm=arm, metric=metric, runs=[_own(one, content) for one in content["runs"]])
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}. Write it once: align_lab gate STUDY --arm ARM --store {path}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not a baseline ({error}). Write it again: gate STUDY --arm ARM --store {path}"
        ) from None


def _own(one: Mapping[str, Any], content: Mapping[str, Any]) -> Run:
    columns = Columns(("step", "episode", content["metric"]))
    return Run(
        name=f"{one['name']} ({STORED})",
        algo=str(content["fields"].get("algo.name", "")),
        seed=int(one["seed"]),
        fields=content["fields"],
        hashes={**content["hashes"], **one.get("hashes", {})},
        labels={},
        spent=one["spent"],
        rows=Table(columns, np.array(one["curve"], dtype=float)),
        arm=content["arm"],
    )


def _foreign(one: Mapping[str, Any], content: Mapping[str, Any]) -> ForeignRun:
    steps, values = zip(*one["curve"], strict=True)
    metric = str(content["metric"])
    return ForeignRun(
        name=f"{one['name']} ({STORED})",
        source=f"{content['program']}, {STORED}",
        arm=content["arm"],
        seed=int(one["seed"]),
        series={metric: (list(steps), list(values))},
        columns={metric: metric},
        settings=None if one["settings"] is None else _settings(one["settings"]),
        asked=content["asked"],
    )


def _settings(stored: Mapping[str, Any]) -> TheirSettings:
    fields = {name: Known(**one) if "value" in one else Unknown(**one) for name, one in stored["fields"].items()}
    return TheirSettings(**{**stored, "fields": fields})
