"""What a finished run prints: start against end, a few completions before and after, and the next command."""

from __future__ import annotations

from typing import Any

from align_lab.base.errors import DataError
from align_lab.base.files import read_json
from align_lab.base.metrics import is_evaluation, label_of
from align_lab.base.run_config import RunConfig
from align_lab.record.console import Screen
from align_lab.record.final_summary import FinalSummary
from align_lab.record.folder import RunFolder
from align_lab.record.terminal import escape
from align_lab.stages.judge_quality import JudgeQuality, of_stages
from align_lab.stages.store import shared

TINY = (
    "The tiny model is there to compare algorithms within minutes: it writes no fluent English, before training or "
    "after. For texts to read: model=smollm2_135m, or any other, model=hf model.path=OWNER/NAME"
)


def print_outcome(folder: RunFolder, cfg: RunConfig, screen: Screen) -> None:
    """Print the results of a finished run. Raises DataError when its record holds no evaluation."""
    judged = _judged(folder)
    summary = FinalSummary(
        folder.declared,
        decides=cfg.evaluation.metric,
        judges=list(cfg.judges),
        quality={key: quality.words for key, quality in judged.items()},
    )
    rows = [row for row in folder.metrics() if is_evaluation(row)]
    if not rows:
        raise DataError(f"{folder.at.metrics} holds no evaluation. Remove the folder to run again")
    screen.result(rows[0], rows[-1], summary)
    for key, quality in judged.items():
        if quality.near_chance:
            label = folder.declared[key].label or label_of(key)
            screen.console.print(f"[bold yellow]{escape(quality.warning(label))}[/]")
    samples, count = folder.samples(), cfg.record.samples
    before = [row for row in samples if row["step"] == rows[0]["step"]][:count]
    after = [row for row in samples if row["step"] == rows[-1]["step"]][:count]
    screen.samples(before[: len(after)], after[: len(before)], summary)
    if cfg.model.tiny:
        screen.console.print(f"\n{TINY}")
    study = folder.path.parent.name
    screen.console.print(f"\nEverything about this run: {folder.path}")
    screen.console.print(
        f"Compare with other algorithms: align_lab study={study} algo=..., then align_lab compare {study}"
    )


def _judged(folder: RunFolder) -> dict[str, JudgeQuality]:
    """Metric -> quality of the trained reward or judge that gives it, of those that this run has used."""
    names: dict[str, Any] = read_json(folder.at.manifest).get("artefacts", {})
    known = of_stages({stage: shared().root / str(name) for stage, name in names.items()})
    return {key: quality for key, quality in known.items() if key in folder.declared}
