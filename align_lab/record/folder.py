"""The folder of a run, its authoritative record: config, manifest, metrics, samples, status, checkpoints.

Rows are appended and flushed one by one; all other files are replaced atomically. After an interruption, rows newer
than the checkpoint are dropped, so that a resumed run has the same rows as an uninterrupted one.
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
from align_lab.base.errors import ConfigError, DataError
from align_lab.base.files import read_json, read_lines, replacing, sweep, write_json, write_text
from align_lab.base.metrics import METRICS, Metric, check, of_run
from align_lab.base.roles import role
from align_lab.config.explained import problem_of_file
from align_lab.record import layout, records
from align_lab.record.layout import RunLayout

BATCHES = ("micro_batch", "scoring_batch", "evaluation_batch")  # of the manifest's `memory`


@dataclass(frozen=True)
class RunFolder:
    """A run's folder on disk. `declared`: the metrics that its rows may hold."""

    path: Path
    declared: Mapping[str, Metric] = field(default_factory=lambda: METRICS, compare=False)

    @property
    def at(self) -> RunLayout:
        """The paths of its files."""
        return RunLayout(self.path)

    @classmethod
    def create(cls, path: Path, values: Mapping[str, Any]) -> RunFolder:
        """Create or reopen the folder of a run with this config. Raises ConfigError if it holds another config."""
        file = RunLayout(path).config
        if file.exists():
            _check_same_config(path, read_config(path), values)
        path.mkdir(parents=True, exist_ok=True)
        write_text(file, OmegaConf.to_yaml(OmegaConf.create(dict(values))))
        return cls(path, of_run(values))

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of all steps so far."""
        return read_lines(self.at.metrics)

    def samples(self) -> list[dict[str, Any]]:
        """The rows of all evaluations so far, one per completion."""
        return read_lines(self.at.samples)

    def log(self, row: Mapping[str, float]) -> None:
        """Append the metrics of one step. Raises AlignLabError for an undeclared metric or a non-finite value."""
        check(row, self.declared)
        self._append(layout.METRICS, [row])

    def log_samples(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append the rows of one evaluation."""
        self._append(layout.SAMPLES, rows)

    def _append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def rewind(self, step: int) -> None:
        """Remove the rows after `step`, which the resumed run will write again."""
        for path in (self.at.metrics, self.at.samples):
            if path.exists():
                rows = [row for row in read_lines(path) if row.get("step", step + 1) <= step]
                write_text(path, "".join(json.dumps(row) + "\n" for row in rows))

    def status(self) -> dict[str, Any]:
        """The content of status.json; its `state` is `new` before the run has started, and where it is damaged."""
        return records.status(self.path)[0] or {"state": "new"}

    def set_status(self, state: str, **fields: Any) -> None:
        """`state`: running, done, stopped or failed. Other fields: phase, step, steps, episode, error, ..."""
        write_json(
            self.at.status,
            {"state": state, "heartbeat": time.time(), "pid": os.getpid(), "host": socket.gethostname(), **fields},
        )

    def batches(self) -> dict[str, int | None]:
        """The sizes of the batches of the steps so far, in completions; with other ones, rounding would differ."""
        if not any(row.get("step") for row in self.metrics()):
            return {}
        memory = read_json(self.at.manifest).get("memory")
        sizes = {name: memory.get(name) for name in BATCHES} if isinstance(memory, dict) else {}
        return {name: size for name, size in sizes.items() if size is None or type(size) is int}

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace manifest.json."""
        write_json(self.at.manifest, dict(manifest))

    def finish(self) -> None:
        """Write the rows of metrics.jsonl to metrics.parquet, which a comparison of many runs reads faster."""
        import polars

        with replacing(self.at.compacted) as partial:
            polars.DataFrame(self.metrics(), infer_schema_length=None).write_parquet(partial)

    def blame(self, cause: str, trace: str) -> None:
        """Record why the run fails, unless another process has: later failures are consequences of the first one."""
        with suppress(OSError), (self.at.errors).open("x", encoding="utf-8") as log:
            log.write(f"{cause}\n{trace}")

    def cause(self) -> str:
        """The recorded cause of the failure; empty if there is none."""
        with suppress(OSError):
            return (self.at.errors).read_text(encoding="utf-8").partition("\n")[0]
        return ""

    def sweep(self) -> None:
        """Remove what a killed process of this run left half-written. Hold the lease of the run."""
        for file in (self.at.config, self.at.manifest, self.at.status, *self._rows):
            sweep(self.path, file.name)
        sweep(self.at.checkpoints)

    @property
    def _rows(self) -> tuple[Path, ...]:
        return self.at.metrics, self.at.samples, self.at.compacted

    def forget(self) -> None:
        """Remove rows and checkpoints, so that the run starts at step 0."""
        for path in self._rows:
            path.unlink(missing_ok=True)
        for folder in (self.at.checkpoints, self.at.evaluations):  # evaluations of checkpoints that no longer exist
            shutil.rmtree(folder, ignore_errors=True)


def read_config(path: Path) -> dict[str, Any]:
    """The config of the run in this folder. Raises DataError for one that is missing or damaged."""
    file = RunLayout(path).config
    if wrong := problem_of_file(file, whole=True):
        raise DataError(f"{wrong}. Restore it, or remove {path} and run its command again")
    return run_config.plain(OmegaConf.load(file))


def _check_same_config(path: Path, existing: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raises ConfigError if two configs differ in a field that can change a result."""
    before, now = dict(run_config.leaves(existing)), dict(run_config.leaves(values))
    differing = [key for key in sorted({*before, *now}) if role(key) != "none" and before.get(key) != now.get(key)]
    if differing:
        key, others = differing[0], len(differing) - 1
        raise ConfigError(
            f"the run folder {path} holds another config: {key} is {before.get(key)} there and {now.get(key)} here"
            f"{f' ({others} more fields differ)' if others else ''}. Move it away, or choose another study=..."
        )
