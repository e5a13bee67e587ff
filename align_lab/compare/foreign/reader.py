"""--from SOURCE PATH -> runs: each with its arm, its seed, and what it logged under our names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from align_lab.base.errors import ConfigError
from align_lab.compare.foreign import naming, sources, table_files
from align_lab.compare.foreign.settings import finding, translation
from align_lab.compare.foreign.settings.translation import TheirSettings
from align_lab.compare.foreign.sources import SCORES, MetricMap
from align_lab.compare.foreign.table_files import ForeignTable
from align_lab.compare.runs import Unfinished

PROJECT = re.compile(r"[\w-]+/[\w.-]+(?<!\.csv)(?<!\.json)(?<!\.jsonl)(?<!\.parquet)(/[\w-]+)?")
SHARE = 0.1  # of a run's training steps, the last ones: their mean is its final training score
DECIDES = ("evaluation.metric", "run.evaluation.metric")  # in the config of a run that this program made


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignRun:
    """`series`: our metric -> its steps and values; `columns`: our metric -> what the file calls it.

    metric: the one that decides, where its config names one; settings: what its config says, where there is one; asked:
    the name of its --from; reward: what the command calls its reward.
    """

    name: str
    source: str
    arm: str
    seed: int
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    columns: Mapping[str, str]
    metric: str = ""
    sampled: bool = False
    settings: TheirSettings | None = None
    asked: str = ""
    reward: str = ""

    @property
    def label(self) -> str:
        """Its arm, told from an arm of ours of the same name."""
        return f"{self.arm} ({self.source})"

    def last(self, metric: str) -> float:
        """nan where it was not logged.

        Held-out scores: the last; others, one batch each: the mean of the last tenth.
        """
        values = self.series.get(metric, ([], []))[1]
        if not values:
            return math.nan
        return values[-1] if metric.startswith("eval/") else final_mean(values)

    def first(self, metric: str) -> float:
        """Its value before training; nan where it was not logged."""
        values = self.series.get(metric, ([], []))[1]
        return values[0] if values else math.nan


def final_mean(values: Sequence[float]) -> float:
    """The mean of the last tenth."""
    last = values[-max(1, round(SHARE * len(values))) :]
    return sum(last) / len(last)


@dataclass(kw_only=True)
class ForeignRuns:
    """The runs that count, those that do not, and what was read, for the name of a comparison that has no study."""

    runs: list[ForeignRun] = field(default_factory=list)
    left_out: list[Unfinished] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    alone: bool = False  # without a study of ours


def read(typed: Iterable[Sequence[str]], *, alone: bool = False) -> ForeignRuns:
    """The runs of every --from, `alone` where no study of ours is compared.

    Raises ConfigError for a file that cannot be read, and for a run that holds no score.
    """
    foreign = ForeignRuns(alone=alone)
    for words in typed:
        name, path, given = naming.typed(words)
        source = sources.named(name, given.get("map"))
        foreign.names.append(f"{source.title}: {Path(path).name}")
        for table in _scored(_tables(source, path, foreign), source, foreign):
            _sort(_run(table, source, given), foreign)
    return foreign


def _tables(source: MetricMap, path: str, foreign: ForeignRuns) -> list[ForeignTable]:
    """From disk; a W&B project that is no path is asked for through the API."""
    if source.name != "wandb" or Path(path).exists() or not PROJECT.fullmatch(path):
        return table_files.read(source, Path(path))
    from align_lab.boards import wandb_history

    histories = wandb_history.read(path)
    foreign.left_out += [
        Unfinished(one.name, f"W&B says that it is {one.state}", one.state)
        for one in histories
        if one.state != "finished"
    ]
    return [
        ForeignTable(name=one.name, parts=[one.name], rows=one.rows, config=one.config)
        for one in histories
        if one.state == "finished"
    ]


def _scored(tables: Sequence[ForeignTable], source: MetricMap, foreign: ForeignRuns) -> list[ForeignTable]:
    """Those that hold a score; others beside them are left out. Raises ConfigError where none holds one."""
    scored = [table for table in tables if any(score in source.columns(table.columns) for score in SCORES)]
    if tables and not scored:
        raise ConfigError(_no_score(tables[0], source))
    silent = [table for table in tables if table not in scored]
    foreign.left_out += [Unfinished(one.name, f"{one.file or 'it'} holds no score", "unscored") for one in silent]
    return scored


def _run(table: ForeignTable, source: MetricMap, given: Mapping[str, str]) -> ForeignRun:
    columns = source.columns(table.columns)
    arm, seed = naming.identify(table, source, given)
    config, theirs = naming.configured(table), finding.find(table, source.name, given)
    return ForeignRun(
        name=table.name,
        source=source.title,
        arm=arm,
        seed=seed,
        series={ours: table_files.series(table, column, source.step) for ours, column in columns.items()},
        columns=columns,
        metric=next((str(config[key]) for key in DECIDES if config.get(key)), ""),
        sampled=table.sampled,
        settings=translation.translate(theirs) if theirs else None,
        asked=source.name,
        reward=given.get("reward", ""),
    )


def _no_score(table: ForeignTable, source: MetricMap) -> str:
    known = [name for score in SCORES for name in source.metrics.get(score, [])]
    held = ", ".join(table.columns) or "none that holds a number"
    return (
        f"{table.file or table.name} holds no score that --from {source.name} knows ({', '.join(known)}).\n"
        f"Its columns: {held}.\nName the one that is a score in a file, and give it as map=FILE:\n"
        "metrics:\n  eval/score: [COLUMN]        # on held-out prompts\n  objective/scores: [COLUMN]  # or of "
        "the training batches"
    )


def _sort(run: ForeignRun, foreign: ForeignRuns) -> None:
    """Among those that count, or those that do not, with the reason."""
    first = next((other for other in foreign.runs if (other.label, other.seed) == (run.label, run.seed)), None)
    decided = (run.metric, *SCORES)
    bad = next((metric for metric in decided if metric in run.series and not math.isfinite(run.last(metric))), None)
    if bad:
        why = f"its {run.columns[bad]} ends with {run.last(bad)}"
        foreign.left_out.append(Unfinished(run.name, why, "diverged", run.label, run.seed))
    elif first:
        why = f"seed {run.seed} of {run.label} was run more than once: {first.name} is used. Or type arm=NAME or seed=N"
        foreign.left_out.append(Unfinished(run.name, why, "duplicate", run.label, run.seed, first.name))
    else:
        foreign.runs.append(run)
