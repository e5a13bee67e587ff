"""What a finished run prints: start against end, a few completions before and after, and the next command."""

from __future__ import annotations

from align_lab.base.errors import DataError
from align_lab.base.metrics import is_evaluation
from align_lab.base.run_config import RunConfig
from align_lab.record.console import Screen
from align_lab.record.final_summary import FinalSummary
from align_lab.record.folder import RunFolder


def print_outcome(folder: RunFolder, cfg: RunConfig, screen: Screen) -> None:
    """Print the results of a finished run. Raises DataError when its record holds no evaluation."""
    summary = FinalSummary(folder.declared, decides=cfg.evaluation.metric, judges=list(cfg.judges))
    rows = [row for row in folder.metrics() if is_evaluation(row)]
    if not rows:
        raise DataError(f"{folder.at.metrics} holds no evaluation. Remove the folder to run again")
    screen.result(rows[0], rows[-1], summary)
    samples, count = folder.samples(), cfg.record.samples
    before = [row for row in samples if row["step"] == rows[0]["step"]][:count]
    after = [row for row in samples if row["step"] == rows[-1]["step"]][:count]
    screen.samples(before[: len(after)], after[: len(before)], summary)
    study = folder.path.parent.name
    screen.console.print(f"\nEverything about this run: {folder.path}")
    screen.console.print(
        f"Compare with other algorithms: python -m align_lab study={study} algo=..., then "
        f"python -m align_lab compare {study}"
    )
