"""Instrument audit: where the judges of an arm disagree, and on which completions they could say nothing.

A comparison is only as good as what it measures with. Each finding is a sentence about one arm; where there is none,
one line says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from align_lab.compare.document import SCORE, Arm, Finding, Label
from align_lab.compare.evaluations import Floats, Table
from align_lab.compare.labels import usual
from align_lab.compare.runs import Run
from align_lab.compare.statistics import Interval, t_interval
from align_lab.compare.values import listed, number

NOTHING_FOUND = (
    "Instrument audit: nothing was found. No score rose while another fell beyond the spread of the seeds, no answer "
    "was unreadable, and no judge abstained, failed or depended on the order of two answers."
)
OF_ONE_SEED = (
    "Instrument audit: no answer was unreadable, and no judge abstained, failed or depended on the order of two "
    "answers. One seed does not say whether a score rose while another fell."
)
SHARES = {  # ending of a metric -> the least share that is worth a sentence, and the sentence
    "_unread": (0.01, "{share} of the completions have no answer that can be read for {label}{before}"),
    "_abstained": (0.0, "on {share} of the completions there is no opinion: {label}{before}"),
    "_failed": (0.0, "{share} of the completions could not be scored: {label}{before}"),
    "_order_bias": (0.05, "the verdicts of {label} move by {value} of 1 when the two answers change places{before}"),
}
LOGGED_WHERE_ANY = ("_abstained", "_failed")  # a missing value of these is 0
COSTS = ("_judge_tokens", "_judge_cost")  # parts that are no opinion


def nothing_found(arms: Sequence[Arm]) -> str:
    """What may be said where no arm has a finding: one seed shows no rise and no fall."""
    return NOTHING_FOUND if any(arm["n"] > 1 for arm in arms) else OF_ONE_SEED


def audited(arm: str, runs: Sequence[Run], rows: Table, labels: Mapping[str, Label]) -> list[Finding]:
    """The findings on an arm with evaluations [R, E, C]."""
    start, end = rows.values[:, 0], _last(rows)
    values = {
        name: (start[:, place], end[:, place])
        for name, place in rows.columns.places.items()
        if name.startswith("eval/") and name.count("/") == 1
    }
    scores = _scores(runs[0], values)
    return [*_disagreements(arm, scores, values, labels), *_shares(arm, values, labels)]


def _last(rows: Table) -> Floats:
    """The last evaluation [R, C] of each run: behind it, everything is nan."""
    known = np.isfinite(rows["step"])
    return rows.values[np.arange(len(rows)), known.shape[1] - 1 - known[:, ::-1].argmax(axis=1)]


def _scores(run: Run, names: Mapping[str, object]) -> list[str]:
    """The metrics that say how good completions are: the score that is optimized, its parts, and the judges."""
    judges = {key.split(".")[2] for key in run.fields if key.startswith("evaluation.judges.")}
    opinions = [SCORE, run.metric, *(f"eval/{judge}" for judge in sorted(judges))]
    parts = [name for name in names if name.startswith(f"{SCORE}_") and not name.endswith((*SHARES, *COSTS, "_se"))]
    return [name for name in dict.fromkeys([*opinions, *parts]) if name in names]


def _disagreements(
    arm: str, scores: Sequence[str], values: Mapping[str, tuple[Floats, Floats]], labels: Mapping[str, Label]
) -> Iterator[Finding]:
    """A score that fell from the first evaluation to the last while others rose, by 95 % t intervals over seeds."""
    changes = {name: _over_seeds(values[name][1] - values[name][0]) for name in scores}
    rose = [name for name, change in changes.items() if change is not None and change.low > 0]
    for name, change in changes.items():
        if rose and change is not None and change.high < 0:
            others = listed([f"the {_label(other, labels)} rose by {_by(changes[other])}" for other in rose])
            words = f"{arm}: the {_label(name, labels)} fell by {_by(change)} while {others}"
            yield _finding(arm, "disagreement", name, change, f"{words}: they disagree on what became better")


def _over_seeds(values: Floats) -> Interval | None:
    known = values[np.isfinite(values)]
    return t_interval(known) if len(known) else None


def _by(change: Interval | None) -> str:
    """`0.12 (0.05 to 0.19)`, without its sign."""
    assert change is not None
    low, high = sorted((abs(change.low), abs(change.high)))
    return f"{abs(change.mean):.2g} ({low:.2g} to {high:.2g})"


def _shares(arm: str, values: Mapping[str, tuple[Floats, Floats]], labels: Mapping[str, Label]) -> Iterator[Finding]:
    """What no judge could read, score or decide, at the end of training; beside it, before training."""
    for name, (start, end) in values.items():
        ending = next((each for each in SHARES if name.endswith(each)), None)
        if ending is None:
            continue
        before, after = (_filled(each, ending) for each in (start, end))
        least, sentence = SHARES[ending]
        share = _over_seeds(after)
        if share is None or share.mean <= least:
            continue
        first = _over_seeds(before)
        words = sentence.format(
            share=_percent(share),
            value=f"{share.mean:.2f}",
            label=_label(name.removesuffix(ending), labels),
            before=f" (before training {first.mean:.3g})" if first is not None else "",
        )
        yield _finding(arm, ending.removeprefix("_"), name, share, f"{arm}: {words}")


def _filled(values: Floats, ending: str) -> Floats:
    return np.nan_to_num(values) if ending in LOGGED_WHERE_ANY else values


def _percent(share: Interval) -> str:
    """`12 % (8 to 16 %)`; without an interval where there is one seed."""
    low, high = (100 * min(1.0, max(0.0, end)) for end in (share.low, share.high))
    between = f" ({low:.2g} to {high:.2g} %)" if np.isfinite(share.low) else ""
    return f"{100 * share.mean:.2g} %{between}"


def _label(name: str, labels: Mapping[str, Label]) -> str:
    return (labels.get(name) or usual(name))["label"]


def _finding(arm: str, kind: str, metric: str, value: Interval, words: str) -> Finding:
    return {
        "arm": arm, "kind": kind, "metric": metric,
        "value": value.mean, "low": number(value.low), "high": number(value.high),
        "words": words,
    }  # fmt: skip
