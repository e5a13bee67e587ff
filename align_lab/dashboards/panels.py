"""The charts of workspace and report, by theme. Arms are groups of runs: the mean over seeds with a band of one standard deviation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from wandb_workspaces.reports.v2 import interface as wr

from align_lab.base.metrics import METRICS
from align_lab.compare.report import words

LEARNING = ("eval/gold_score", "eval/score", "eval/vader", "eval/win_rate", "eval/kl", "objective/scores")
FINAL = ("eval/gold_score", "eval/score", "eval/vader", "eval/win_rate", "eval/kl", "eval/length")
TRAINING = (
    "objective/kl", "objective/rlhf_reward", "policy/entropy_avg", "policy/approxkl_avg", "policy/clipfrac_avg", "loss/policy_avg",
    "loss/value_avg", "optim/policy_grad_norm", "rewards/margins", "rewards/accuracies", "lr",
)  # fmt: skip
TEXT = ("eval/length", "eval/entropy", "eval/distinct_2", "eval/repetition", "eval/ended")
TIME = (
    "time/step", "time/rollout", "time/score", "time/update", "time/samples_per_second", "time/elapsed", "budget/tokens",
    "budget/flops",
)  # fmt: skip
MEMORY = ("system/proc.memory.rssMB", "system/gpu.0.memoryAllocatedBytes")  # W&B measures these itself, of live runs
ARM = wr.Config("arm")  # the flat key that every run has: its arm, or its algorithm where no sweep file names one
TABLE = "completions"  # the table that a run logs at its evaluations
WIDE, TALL = 24, 10  # columns of a report, and rows of a panel that needs room


def identified(thing: Any, *names: str) -> Any:
    """With an id that depends on these names alone, where W&B would draw one at random: the same study gives the same spec."""
    digits = int.from_bytes(sha256("/".join(names).encode()).digest()[:9], "big")
    thing._id = "".join("0123456789abcdefghijklmnopqrstuvwxyz"[digits // 36**place % 36] for place in range(12))
    return thing


@dataclass(frozen=True)
class Panels:
    """view: what the panels are part of, for their ids."""

    view: str
    runs: int  # how many a panel shows
    logged: Collection[str]  # metrics that there are; none where that is not known yet

    def curve(self, *metrics: str, x: str = "episode", title: str = "") -> wr.LinePlot:
        """Means over seeds with a band of one standard deviation."""
        name = title or _title(metrics[0])
        plot = wr.LinePlot(
            title=name,
            x=x,
            y=list(metrics),
            title_x=words.with_unit(x),
            title_y=METRICS[metrics[0]].unit or None,
            groupby=ARM,
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            smoothing_type="none",
            max_runs_to_show=self.runs,
        )
        return identified(plot, self.view, "curve", name, x)

    def bar(self, metric: str) -> wr.BarPlot:
        """The last value: mean over seeds with a whisker of one standard error."""
        plot = wr.BarPlot(
            title=f"{_title(metric)} at the end",
            metrics=[metric],
            title_y=METRICS[metric].unit or None,
            orientation="v",
            groupby=ARM,
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
            max_runs_to_show=self.runs,
            max_bars_to_show=self.runs,
        )
        return identified(plot, self.view, "bar", metric)

    def scatter(self, x: str, y: str) -> wr.ScatterPlot:
        """Every run at its end."""
        plot = wr.ScatterPlot(
            title=f"{_title(y)} against {words.metric(x)}, every run at its end",
            x=wr.SummaryMetric(x),
            y=wr.SummaryMetric(y),
            regression=False,
        )
        return identified(plot, self.view, "scatter", x, y)

    def curves(self, metrics: Sequence[str]) -> list[Any]:
        """One of each metric that any arm logs: those of a critic, or of pairs, are not for every study."""
        return [self.curve(metric) for metric in metrics if not self.logged or metric in self.logged]

    def final(self) -> list[Any]:
        return [self.bar(metric) for metric in FINAL if not self.logged or metric in self.logged]

    def frontier(self) -> list[Any]:
        """What a score costs in KL, and whether the gold score follows the proxy that is optimised."""
        return [
            self.curve("eval/score", "eval/gold_score", title="Proxy and gold score"),
            self.curve("eval/gold_score", x="eval/kl", title="Gold score over KL"),
            self.curve("eval/score", x="eval/kl", title="Proxy score over KL"),
            self.scatter("eval/kl", "eval/gold_score"),
            self.scatter("eval/kl", "eval/score"),
            self.scatter("eval/score", "eval/gold_score"),
        ]

    def cost(self) -> list[Any]:
        return [*self.curves(TIME), self.memory()]

    def memory(self) -> wr.LinePlot:
        plot = wr.LinePlot(
            title="Memory while running, of runs that logged live",
            x="RelativeTime(Wall)",
            y=list(MEMORY),
            groupby=ARM,
            groupby_aggfunc="max",
            groupby_rangefunc="minmax",
            max_runs_to_show=self.runs,
        )
        return identified(plot, self.view, "memory")

    def recipes(self) -> list[Any]:
        """Which fields differ between runs, and what goes with the gold score."""
        wide = wr.Layout(w=WIDE, h=TALL)
        keys = (ARM, wr.Config("seed"), *map(wr.SummaryMetric, ("eval/kl", "eval/score", "eval/gold_score")))
        columns = [wr.ParallelCoordinatesPlotColumn(metric=key) for key in keys]
        return [
            identified(wr.RunComparer(diff_only="split", layout=wide), self.view, "comparer"),
            identified(wr.ParallelCoordinatesPlot(columns=columns, layout=wide), self.view, "parallel"),
            identified(
                wr.ParameterImportancePlot(with_respect_to="eval/gold_score", layout=wide), self.view, "importance"
            ),
        ]

    def samples(self) -> list[Any]:
        panel = wr.WeavePanelSummaryTable(table_name=TABLE, layout=wr.Layout(w=WIDE, h=TALL))
        return [identified(panel, self.view, "samples")]


def _title(metric: str) -> str:
    """`Gold score`; the metric's own name where it is not one of an evaluation."""
    shown = words.metric(metric)
    return shown if "/" in shown else shown[:1].upper() + shown[1:]
