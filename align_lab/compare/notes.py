"""Sentences worth reading beside the numbers: what the comparison leaves out, what it allows, and what is odd in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from align_lab.compare.answers import Answers
from align_lab.compare.comparability import CODE, NOT_RECORDED
from align_lab.compare.document import Comparability, Differing, Document, Overoptimization
from align_lab.compare.overoptimization import NOTHING_BESIDE, Scores
from align_lab.compare.runs import Run
from align_lab.compare.samples import agreement, most
from align_lab.compare.summary import ArmRuns
from align_lab.compare.values import figure, listed

FEW = 1 / 4  # share of an arm's runs that may lose score without a word: one of four


def about_runs(arms: Sequence[ArmRuns], comparability: Comparability, label: str, left: Sequence[str]) -> Iterator[str]:
    """Numbers of seeds, settings that were allowed to differ, records that are not whole, machines that differ.

    label: of the metric that decides; left: runs that the sweep file no longer names.
    """
    yield from _seeds(arms)
    yield from information(arms)
    yield from _allowed(comparability["differing"])
    yield from _other_versions(comparability["differing"])
    yield from _truncated(arms)
    yield from _gaps(arms, label)
    yield from _machines(arms)
    yield from _without_development(arms)
    if left:
        yield f"{_runs_are(len(left))} no longer in the study's sweep file, but counted: {listed(left)}."


def _without_development(arms: Sequence[ArmRuns]) -> Iterator[str]:
    """Arms whose best checkpoint is chosen by the set that decides."""
    names = [arm.name for arm in arms if any(_chooses_by_evaluation(run.fields) for run in arm.runs)]
    if names:
        yield (
            f"{listed(names, most=12)}: no development set, so the evaluation set also says which checkpoint is the "
            "best. Scores of best checkpoints on it are too good; those of the last ones, which decide unless an "
            "evaluation of others is named, are not chosen."
        )


def _chooses_by_evaluation(fields: Mapping[str, Any]) -> bool:
    """Is nothing held out for the choice of the best checkpoint?"""
    shares = [fields.get(name) for name in ("evaluation.development", "data.development", "data.development_share")]
    named = any(name.startswith("data.evaluation.development") for name in fields)
    return shares[0] == 0 or (0 in shares[1:] and not named)


def _seeds(arms: Sequence[ArmRuns]) -> Iterator[str]:
    counts = {arm.name: len(arm.runs) for arm in arms}
    if len(set(counts.values())) > 1:
        numbers = listed([f"{name} {n}" for name, n in counts.items()], most=12)
        yield f"The arms have different numbers of seeds: {numbers}."
    alone = [name for name, n in counts.items() if n == 1]
    if alone:
        yield f"{listed(alone)} {_has(alone)} one seed only: nothing is known of the spread over seeds."


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def information(arms: Sequence[ArmRuns]) -> Iterator[str]:
    """Arms that learned from preferences of the data, whose labels are not the reward's."""
    pairs = {arm.name: max(_pairs_used(run) for run in arm.runs) for arm in arms if arm.runs}
    given = {name: number for name, number in pairs.items() if number}
    if not given:
        return
    learned = listed([f"{name} from {number:,.0f}" for name, number in given.items()], most=8)
    yield (
        f"Learned from preferences that came with the data: {learned} labels, one for each pair or single "
        "completion, and no completions of its own."
    )
    others = [name for name, number in pairs.items() if not number]
    if others:
        yield (
            f"{listed(others)} learned from the reward: the arms did not get the same information, and such a label "
            "is not the same as one score of the reward."
        )


def _pairs_used(run: Run) -> float:
    return run.spent.get("preference_pairs") or 0


def _allowed(differing: Sequence[Differing]) -> Iterator[str]:
    for one in differing:
        if one["allowed"]:
            values = "; ".join(f"{value} in {_runs(len(names))}" for value, names in one["values"].items())
            code = ", so the runs were computed by different code" if one["field"] in CODE else ""
            yield f"{one['field']} differs and was allowed to{code}: {values}."


def _other_versions(differing: Sequence[Differing]) -> Iterator[str]:
    """One sentence for each set of runs that lack the same fields."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for one in differing:
        if NOT_RECORDED in one["values"]:
            lacking.setdefault(tuple(one["values"][NOT_RECORDED]), []).append(one["field"])
    for names, fields in lacking.items():
        verb = "does" if len(names) == 1 else "do"
        what = f"{listed(fields, most=8)}, which others do: another version of align_lab wrote them"
        yield f"{listed(names)} {verb} not record {what}."


def _truncated(arms: Sequence[ArmRuns]) -> Iterator[str]:
    """Arms that were trained on samples of a nucleus."""
    nuclei = {arm.name: {run.fields.get("sampling.top_p") or 1 for run in arm.runs} for arm in arms}
    named = [f"{name} ({', '.join(f'{p:g}' for p in sorted(own))})" for name, own in nuclei.items() if min(own) < 1]
    if named:
        yield (
            f"sampling.top_p is below 1 in {listed(named, most=12)}: completions were sampled from a truncated "
            "distribution, and log-probabilities are of the full one, so the gradients of arms that "
            "sample and every KL are biased."
        )


def _gaps(arms: Sequence[ArmRuns], label: str) -> Iterator[str]:
    names = [run.name for arm in arms for run in arm.runs if not all(map(math.isfinite, run.rows[arm.metric].tolist()))]
    if names:
        yield f"The {label} is not a number in some evaluations of {listed(names)}: those are left out of the curves."


def _machines(arms: Sequence[ArmRuns]) -> Iterator[str]:
    machines = sorted({run.machine for arm in arms for run in arm.runs if run.machine})
    if len(machines) > 1:
        yield f"Runs were made on different machines ({listed(machines)}): their seconds do not compare."


def about_results(document: Document) -> Iterator[str]:
    """Arms that change places by more than the seeds vary, over-optimization and unhealthy text."""
    for axis in document["axes"]:
        if any(flip["shown"] for flip in axis["flips"]):
            yield axis["words"]
    scores = Scores(document["metric"], document["metrics"])
    if document["arms"] and not scores.independent:
        yield NOTHING_BESIDE
    for arm in dict.fromkeys(run["arm"] for run in document["overoptimization"]):
        yield from _fallen([run for run in document["overoptimization"] if run["arm"] == arm], scores)
    for arm in document["health"]:
        if arm["words"]:
            yield f"{arm['arm']}: {arm['words']}."


def _fallen(runs: Sequence[Overoptimization], scores: Scores) -> Iterator[str]:
    """Runs of one arm whose score has fallen from its peak: those that were over-optimized, and the others.

    Few of many runs are no finding on an arm: they stand in the table of runs.
    """
    fell = [run for run in runs if run["keep"] is not None]
    groups = ([run for run in fell if run["marked"]], [run for run in fell if not run["marked"]])
    for fallen, over in zip(groups, (True, False), strict=True):
        if len(fallen) > FEW * len(runs):
            were = "was" if len(fallen) == 1 else "were"
            peaked = f"{were} over-optimized: {scores.decides} peaked while the {scores.optimized} rose"
            lost = f"lost {scores.label} after its peak, without a rise of the {scores.optimized}"
            arm = f"{runs[0]['arm']}: {len(fallen)} of {len(runs)} runs {peaked if over else lost}."
            yield f"{arm} {_to_keep(fallen, scores)}"


def _to_keep(fallen: Sequence[Overoptimization], scores: Scores) -> str:
    """The steps to keep; a run whose start was its best has none that was trained."""
    trained = [f"step {run['keep']} of {run['run']}" for run in fallen if run["keep"]]
    never = len(fallen) - len(trained)
    best = f"In {never} of them no {scores.label} was above that before training." if never else ""
    return " ".join(filter(None, (f"Keep {listed(trained)}." if trained else "", best)))


def about_judges(answers: Mapping[str, Mapping[int, Answers]], scores: Scores) -> Iterator[str]:
    """How far the score that decides is another than the one that is optimized."""
    correlation = agreement(answers) if scores.independent else None
    if correlation is not None:
        yield (
            f"Over completions of the last evaluation, the {scores.label} and the {scores.optimized} have a "
            f"correlation of {figure(correlation, 2)}: at 1 the judge that decides would be the reward itself."
        )


def about_samples(arms: Sequence[ArmRuns], answers: Mapping[str, Mapping[int, Answers]]) -> Iterator[str]:
    """Runs without completions, and prompts that not all have answered."""
    read = [(arm, run) for arm in arms for run in arm.runs[: most(len(arms))]]
    without = [run.name for arm, run in read if run.seed not in answers[arm.name]]
    if without:
        yield (
            f"No completions of the last evaluation are kept of {listed(without)}: win rates and samples are "
            "without them."
        )
    answered = {len(rows) for runs in answers.values() for rows in runs.values()}
    if len(answered) > 1:
        fewest, largest = min(answered), max(answered)
        yield f"Some runs have answered {largest} prompts, others {fewest}: win rates are over those that all answered."


def bounded(arms: int, shown: int, drawn: int) -> Iterator[str]:
    """What a large study does not show. `drawn`: the fewest seeds of an arm whose curves are shown."""
    if shown < arms:
        what = "Pairs, curves, win rates and bootstrap intervals"
        yield f"{what} are of the best {shown} of {arms} arms, corrected for the pairs of all."
    if drawn:
        yield (
            f"Single curves, frontier and samples are of the first {drawn} seeds of an arm; means and bands are of all."
        )


def _runs(n: int) -> str:
    return "1 run" if n == 1 else f"{n} runs"


def _runs_are(n: int) -> str:
    return f"{_runs(n)} {'is' if n == 1 else 'are'}"
