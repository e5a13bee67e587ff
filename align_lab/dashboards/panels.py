"""The charts of workspace and report, by theme. An arm is a group of runs: mean and standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from wandb_workspaces.reports.v2 import interface as wr

from align_lab.compare.document import SCORE
from align_lab.compare.report import words
from align_lab.dashboards.study_document import StudyDocument

LEARNING = ("eval/win_rate", "eval/kl", "objective/scores")  # behind the scores of all judges
FINAL = ("eval/win_rate", "eval/kl", "eval/length")
TRAINING = {
    "objective/kl": "KL in training",
    "objective/rlhf_reward": "Score and penalties in training",
    "policy/entropy_avg": "Entropy in training",
    "policy/approxkl_avg": "KL of an update, approximate",
    "policy/clipfrac_avg": "Share of clipped tokens",
    "loss/policy_avg": "Policy loss",
    "loss/value_avg": "Value loss",
    "optim/policy_grad_norm": "Norm of the gradient",
    "rewards/margins": "Margin between chosen and rejected",
    "rewards/accuracies": "Accuracy on pairs in training",
    "lr": "Learning rate",
}
TEXT = ("eval/length", "eval/entropy", "eval/distinct_2", "eval/repetition", "eval/ended")
TIME = {
    "time/step": "Seconds of a step",
    "time/rollout": "Seconds of sampling",
    "time/score": "Seconds of scoring",
    "time/update": "Seconds of updates",
    "time/samples_per_second": "Completions per second",
    "time/elapsed": "Seconds so far",
    "budget/tokens": "Tokens so far",
    "budget/flops": "FLOPs so far",
}
TITLES = {**TRAINING, **TIME, "objective/scores": "Score of training batches"}
MEMORY = ("system/proc.memory.rssMB", "system/gpu.0.memoryAllocatedBytes")  # measured by W&B itself, of live runs
ARM = wr.Config("arm")  # of every run: its arm, or its algorithm if no sweep file names one
TABLE = "completions"  # the table that a run logs at its evaluations
WIDE, TALL = 24, 10  # columns of a report, and rows of a panel that needs room


def identified(thing: Any, *names: str) -> Any:
    """Set an id that depends on these names alone: the same study gives the same spec, while W&B's ids are random."""
    digits = int.from_bytes(sha256("/".join(names).encode()).digest()[:9], "big")
    thing._id = "".join("0123456789abcdefghijklmnopqrstuvwxyz"[digits // 36**place % 36] for place in range(12))
    return thing


@dataclass(frozen=True)
class Panels:
    """Makes the panels of a study. `view` (workspace or report) is part of their ids."""

    view: str
    study: StudyDocument

    def curve(self, *metrics: str, x: str = "episode", title: str = "") -> wr.LinePlot:
        """Means over seeds with a band of one standard deviation."""
        name = title or self._title(metrics[0])
        plot = wr.LinePlot(
            title=name,
            x=x,
            y=list(metrics),
            title_x=words.with_unit(self.study.document, x),
            title_y=words.unit(self.study.document, metrics[0]) or None,
            groupby=ARM,
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            smoothing_type="none",
            max_runs_to_show=self.study.panel_runs,
        )
        return identified(plot, self.view, "curve", name, x)

    def bar(self, metric: str) -> wr.BarPlot:
        """The last value: mean over seeds with an error bar of one standard error."""
        plot = wr.BarPlot(
            title=f"{self._title(metric)} at the end",
            metrics=[metric],
            title_y=words.unit(self.study.document, metric) or None,
            orientation="v",
            groupby=ARM,
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
            max_runs_to_show=self.study.panel_runs,
            max_bars_to_show=self.study.panel_runs,
        )
        return identified(plot, self.view, "bar", metric)

    def scatter(self, x: str, y: str) -> wr.ScatterPlot:
        """Every run at its end."""
        plot = wr.ScatterPlot(
            title=f"{self._title(y)} against {words.metric(self.study.document, x)}, every run at its end",
            x=wr.SummaryMetric(x),
            y=wr.SummaryMetric(y),
            regression=False,
        )
        return identified(plot, self.view, "scatter", x, y)

    def curves(self, metrics: Iterable[str]) -> list[Any]:
        """One curve for each metric that any arm logs: metrics of a critic, or of pairs, are not in every study."""
        return [self.curve(metric) for metric in self._logged(metrics)]

    def learning(self) -> list[Any]:
        """Curves of the scores of all judges, and of what should stand beside them."""
        return self.curves([*self.study.judged, *LEARNING])

    def final(self) -> list[Any]:
        """The same at the end."""
        return [self.bar(metric) for metric in self._logged([*self.study.judged, *FINAL])]

    def _logged(self, metrics: Iterable[str]) -> list[str]:
        return [metric for metric in metrics if not self.study.logged or metric in self.study.logged]

    def frontier(self) -> list[Any]:
        """What a score costs in KL, and whether the score that decides follows the one that is optimized."""
        decides = self.study.metric
        scores = dict.fromkeys((decides, SCORE))
        over_kl = [self.curve(score, x="eval/kl", title=f"{self._title(score)} over KL") for score in scores]
        at_end = [self.scatter("eval/kl", score) for score in scores]
        if decides == SCORE:
            return [*over_kl, *at_end]
        label, optimized = (words.metric(self.study.document, name) for name in (decides, SCORE))
        both = f"{words.capitalized(optimized).removesuffix(' score')} and {label}"
        return [self.curve(SCORE, decides, title=both), *over_kl, *at_end, self.scatter(SCORE, decides)]

    def cost(self) -> list[Any]:
        """Time, tokens and memory."""
        return [*self.curves(TIME), self.memory()]

    def memory(self) -> wr.LinePlot:
        """What W&B measures of live runs."""
        plot = wr.LinePlot(
            title="Memory while running, of runs that logged live",
            x="RelativeTime(Wall)",
            y=list(MEMORY),
            groupby=ARM,
            groupby_aggfunc="max",
            groupby_rangefunc="minmax",
            max_runs_to_show=self.study.panel_runs,
        )
        return identified(plot, self.view, "memory")

    def recipes(self) -> list[Any]:
        """Which fields differ between runs, and what goes with the score that decides."""
        wide, decides = wr.Layout(w=WIDE, h=TALL), self.study.metric
        keys = (ARM, wr.Config("seed"), *map(wr.SummaryMetric, dict.fromkeys(("eval/kl", SCORE, decides))))
        named = ["arm", "seed", *(self._title(key.name) for key in keys[2:])]
        columns = [
            wr.ParallelCoordinatesPlotColumn(metric=key, display_name=name)
            for key, name in zip(keys, named, strict=True)
        ]
        return [
            identified(wr.RunComparer(diff_only="split", layout=wide), self.view, "comparer"),
            identified(wr.ParallelCoordinatesPlot(columns=columns, layout=wide), self.view, "parallel"),
            identified(wr.ParameterImportancePlot(with_respect_to=decides, layout=wide), self.view, "importance"),
        ]

    def samples(self) -> list[Any]:
        """Completions of the evaluations."""
        panel = wr.WeavePanelSummaryTable(table_name=TABLE, layout=wr.Layout(w=WIDE, h=TALL))
        return [identified(panel, self.view, "samples")]

    def _title(self, metric: str) -> str:
        """`Win rate`, `Policy loss`."""
        return TITLES.get(metric) or words.capitalized(words.metric(self.study.document, metric))
