"""A run folder as training writes it, row by row, with the stages that the run started from. Nothing is trained."""

from __future__ import annotations

import json
import os
from pathlib import Path

from align_lab.base import registry
from align_lab.config.composition import compose
from align_lab.record.folder import RunFolder

KEY = "0123456789abcdef0123456789abcdef01234567"  # planted: no file may contain it
ARTEFACTS = {"data": "data-0b", "policy": "sft-0c", "gold": "gold-0d", "reward": "reward_model-0e"}
STEPS = 20
PER_STEP = 64


def new(root: Path, record: str, *overrides: str) -> tuple[RunFolder, object]:
    """Returns an empty run folder whose training is about to start, and its record, which waits for a slow machine."""
    fields = ["algo=rloo", "study=boards", f"train.steps={STEPS}", f"record={record}", "record.finish_seconds=600"]
    cfg = compose([*fields, *overrides])
    folder = RunFolder.create(root / "runs" / "boards" / cfg.name, cfg.values)
    folder.write_manifest(
        {
            "signature": cfg.signature,
            "seed": cfg["seed"],
            "choices": dict(cfg.choices),
            "hashes": {"source": "s", "data": "d"},
            "artefacts": ARTEFACTS,
            "code": {"commit": None},
            "versions": {"torch": "2"},
            "machine": {"host": "h"},
            "best_step": 4,
        }
    )
    for name in ARTEFACTS.values():
        _artefact(Path(os.environ["ALIGN_LAB_CACHE"]) / "artefacts" / name)
    return folder, registry.build("record", cfg["record"])


def _artefact(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    kind, key = path.name.rsplit("-", 1)
    inputs = [] if kind == "data" else ["data-0b"]
    card = {"kind": kind, "key": key, "settings": {"seed": 0}, "seconds": 1.5, "inputs": inputs, "content": "c"}
    (path / "artefact.json").write_text(json.dumps({**card, "files": {}}))
    (path / "metrics.json").write_text(json.dumps({"accuracy": 0.75}))


def row(step: int) -> dict[str, float]:
    evaluation = {"eval/score": 0.1 * step, "eval/gold_score": 0.3 - 0.01 * step} if step % 2 == 0 else {}
    counts = {"step": step, "episode": PER_STEP * step, "lr": 1e-4, "time/step": 0.25}
    return {**counts, "objective/kl": step / 3, "completions/mean_length": 20.5, **evaluation}


def write(folder: RunFolder, first: int, last: int) -> None:
    """Write rows `first` to `last`, with 100 completions at each evaluation."""
    for step in range(first, last + 1):
        if step % 2 == 0:
            folder.log_samples(
                {"step": step, "index": i, "prompt": "The film", "completion": f"is {i}"} for i in range(100)
            )
        folder.log(row(step))
    folder.set_status("running", step=last)


def finish(folder: RunFolder) -> None:
    folder.set_status("done", step=STEPS)
