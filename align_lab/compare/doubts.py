"""A judge that is hardly better than chance, where it decides: its verdict says so before anything else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from align_lab.compare.runs import Run

KEY = "doubt"  # of a metric in a run's manifest


def warnings(runs: Sequence[Run], metric: str, label: str) -> Iterator[str]:
    """A sentence for every doubt that the runs have recorded of what gives the metric, called `label`."""
    doubts = dict.fromkeys(run.labels.get(metric, {}).get(KEY, "") for run in runs)
    for doubt in filter(None, doubts):
        yield f"The {label}, which decides here, is {doubt}."
