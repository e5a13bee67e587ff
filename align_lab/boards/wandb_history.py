"""Runs of a W&B project through its API: every row that was logged, never the subsample of `run.history()`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align_lab.base.errors import ConfigError

API_SECONDS = 30  # timeout of one request


@dataclass(frozen=True, kw_only=True)
class History:
    """One run of the project, with its rows if it has finished."""

    name: str
    state: str  # finished, running, crashed, failed, killed
    config: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


def read(path: str) -> list[History]:
    """Read ENTITY/PROJECT, or the single run ENTITY/PROJECT/RUN. Raises ConfigError without wandb, key or project."""
    try:
        import wandb
    except ImportError:
        raise ConfigError(
            f"there is no {path} on disk, and reading it from W&B needs: pip install 'align_lab[wandb]'"
        ) from None
    try:
        api = wandb.Api()
        runs = [api.run(path)] if path.count("/") == 2 else list(api.runs(path))
        return [_history(run) for run in runs]
    except (wandb.Error, ValueError, OSError) as error:
        raise ConfigError(
            f"there is no {path} on disk, and W&B did not return it ({error}). Check ENTITY/PROJECT and the key "
            "(WANDB_API_KEY, or: wandb login)"
        ) from error


def logged_rows(path: str) -> list[dict[str, Any]]:
    """Every row of the run ENTITY/PROJECT/RUN that has a step and an episode, in the order of the server."""
    import wandb

    scan = wandb.Api(timeout=API_SECONDS).run(path).scan_history(use_cache=False)
    return [row for row in scan if {"step", "episode"} <= row.keys()]


def _history(run: Any) -> History:
    """The rows of a finished run only: an unfinished one cannot be compared at its end."""
    rows = list(run.scan_history()) if run.state == "finished" else []
    return History(name=run.name, state=run.state, config=dict(run.config), rows=rows)
