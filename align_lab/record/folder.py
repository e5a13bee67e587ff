"""A run's folder, the truth about it: config, manifest, metrics, samples, status, checkpoints.

Rows are appended and flushed one by one; everything else is replaced whole. After an interruption, rows newer than the
checkpoint are dropped, so a continued run leaves the same rows as one that was never interrupted.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from align_lab.base import run_config
from align_lab.base.errors import ConfigError
from align_lab.base.files import read_lines, replacing, write_json, write_text
from align_lab.base.metrics import METRICS, Metric, check, of_run
from align_lab.base.roles import role
from align_lab.record import layout
from align_lab.record.layout import RunLayout


@dataclass(frozen=True)
class RunFolder:
    """A run's folder on disk. `declared`: the metrics that its rows may hold."""

    path: Path
    declared: Mapping[str, Metric] = field(default_factory=lambda: METRICS, compare=False)

    @property
    def at(self) -> RunLayout:
        """Where each of its files lies."""
        return RunLayout(self.path)

    @classmethod
    def create(cls, path: Path, values: Mapping[str, Any]) -> RunFolder:
        """Open the folder of this config, new or to be continued. Raises ConfigError when it holds another config."""
        known = RunLayout(path).config
        if known.exists():
            _refuse_other(path, read_config(path), values)
        path.mkdir(parents=True, exist_ok=True)
        write_text(known, OmegaConf.to_yaml(OmegaConf.create(dict(values))))
        return cls(path, of_run(values))

    def metrics(self) -> list[dict[str, Any]]:
        return read_lines(self.at.metrics)

    def samples(self) -> list[dict[str, Any]]:
        return read_lines(self.at.samples)

    def log(self, row: Mapping[str, float]) -> None:
        check(row, self.declared)
        self._append(layout.METRICS, [row])

    def log_samples(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._append(layout.SAMPLES, rows)

    def _append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def rewind(self, step: int) -> None:
        """Forget the rows after `step`: the steps that come will write them again."""
        for path in (self.at.metrics, self.at.samples):
            if path.exists():
                kept = [row for row in read_lines(path) if row["step"] <= step]
                write_text(path, "".join(json.dumps(row) + "\n" for row in kept))

    def status(self) -> dict[str, Any]:
        path = self.at.status
        return json.loads(path.read_text()) if path.exists() else {"state": "new"}

    def set_status(self, state: str, **fields: Any) -> None:
        """`state`: running, done, stopped or failed. Other fields: phase, step, steps, episode, error, ..."""
        write_json(
            self.at.status,
            {"state": state, "heartbeat": time.time(), "pid": os.getpid(), "host": socket.gethostname(), **fields},
        )

    def micro_batch(self) -> int | None:
        """Completions of a forward pass in the steps that were done: those that follow then repeat bit for bit."""
        if not self.status().get("step"):
            return None
        with suppress(OSError, ValueError, KeyError):
            return json.loads((self.at.manifest).read_text())["memory"]["micro_batch"]
        return None

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        write_json(self.at.manifest, dict(manifest))

    def finish(self) -> None:
        """Compact the rows into metrics.parquet, which a comparison of many runs reads faster."""
        import polars

        with replacing(self.at.compacted) as partial:
            polars.DataFrame(self.metrics(), infer_schema_length=None).write_parquet(partial)

    def blame(self, cause: str, trace: str) -> None:
        """Write down why the run fails. Of several processes the first to do so is right: the others fail because of it."""
        with suppress(OSError), (self.at.errors).open("x", encoding="utf-8") as log:
            log.write(f"{cause}\n{trace}")

    def cause(self) -> str:
        """The first line of what was written down; empty where nothing was."""
        with suppress(OSError):
            return (self.at.errors).read_text(encoding="utf-8").partition("\n")[0]
        return ""

    def forget(self) -> None:
        """Remove what a start from nothing would write again."""
        for path in (self.at.metrics, self.at.samples, self.at.compacted):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.at.checkpoints, ignore_errors=True)


def read_config(path: Path) -> dict[str, Any]:
    return run_config.plain(OmegaConf.load(RunLayout(path).config))


def _refuse_other(path: Path, known: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    before, now = dict(run_config.leaves(known)), dict(run_config.leaves(values))
    other = [key for key in sorted({*before, *now}) if role(key) != "none" and before.get(key) != now.get(key)]
    if other:
        key = other[0]
        raise ConfigError(
            f"the run folder {path} holds another config: {key} is {before.get(key)} there and {now.get(key)} here"
            f"{f' ({len(other) - 1} more fields differ)' if other[1:] else ''}. Move it away, or choose another study=..."
        )
