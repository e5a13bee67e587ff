"""What metrics are called: as the runs' manifests say where that depends on the task, else as the table of metrics
says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from align_lab.base.metrics import METRICS
from align_lab.compare.document import Label
from align_lab.compare.evaluations import ERROR, LAST
from align_lab.compare.runs import Run

NAMES = {"eval/kl": "KL", "eval/distinct_2": "distinct-2"}
ALWAYS = {name for name in LAST if name != "eval/win_rate"}  # metrics that mean the same in every task


def of_runs(runs: Sequence[Run], names: Iterable[str]) -> dict[str, Label]:
    """Metric -> how it is called. No two metrics of an evaluation have one label."""
    recorded: dict[str, Label] = {}
    for run in {id(run.labels): run for run in runs}.values():
        for name, texts in run.labels.items():
            recorded.setdefault(name, _label(name, texts))
    labels = {name: recorded.get(name) or usual(name) for name in dict.fromkeys([*names, *recorded])}
    often = Counter(label["label"] for name, label in labels.items() if name.startswith("eval/"))
    for name, label in labels.items():
        if often[label["label"]] > 1 and name.startswith("eval/"):
            labels[name] = _label(name, {**label, "label": f"{label['label']} ({name})"})
    return labels


def _label(name: str, texts: Mapping[str, Any]) -> Label:
    known: dict[str, Any] = {**usual(name), **{key: text for key, text in texts.items() if text}}
    return cast("Label", {key: known[key] for key in Label.__annotations__})


def usual(name: str) -> Label:
    """For a metric that no run describes: its name in words, and its meaning if that is the same in every task."""
    known = METRICS.get(name) if name in ALWAYS or not name.startswith("eval/") else None
    return {
        "label": NAMES.get(name) or _words(name),
        "meaning": known.meaning if known else "",
        "unit": known.unit if known else "",
        "better": known.better if known else "neither",
        "judge": "",
        "again": "",
    }


def _words(name: str) -> str:
    """`eval/true_score_se` -> `true score, standard error`."""
    text = name.rsplit("/", 1)[-1]
    of_error = ", standard error" if text.endswith(ERROR) else ""
    return f"{text.removesuffix(ERROR).replace('_', ' ')}{of_error}"


def short(label: str) -> str:
    """`exact score` -> `exact`, where a sentence or a narrow column says already that it is a score."""
    return label.removesuffix(" score")
