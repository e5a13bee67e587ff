"""Runs of a W&B project through its API: every row that was logged, never the sample that `run.history()` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align_lab.base.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class History:
    name: str
    state: str  # finished, running, crashed, failed, killed
    config: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


def read(path: str) -> list[History]:
    """`path`: ENTITY/PROJECT, or ENTITY/PROJECT/RUN for one run. Raises ConfigError without wandb, key or project."""
    try:
        import wandb
    except ImportError:
        raise ConfigError(
            f"there is no {path} on disk, and to ask W&B for it needs: pip install 'align_lab[wandb]'"
        ) from None
    try:
        api = wandb.Api()
        found = [api.run(path)] if path.count("/") == 2 else list(api.runs(path))
        return [_history(run) for run in found]
    except (wandb.Error, ValueError, OSError) as error:
        raise ConfigError(
            f"there is no {path} on disk, and W&B does not give it ({error}). Check ENTITY/PROJECT and the key "
            "(WANDB_API_KEY, or: wandb login)"
        ) from error


def _history(run: Any) -> History:
    """Rows of a finished run only: what others have logged so far does not count."""
    rows = list(run.scan_history()) if run.state == "finished" else []
    return History(name=run.name, state=run.state, config=dict(run.config), rows=rows)
