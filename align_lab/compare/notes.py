"""Sentences worth reading beside the numbers: what the comparison leaves out, what it allows, and what it found odd."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from align_lab.compare.comparability import CODE, NOT_RECORDED
from align_lab.compare.evaluations import COLUMN, GOLD
from align_lab.compare.samples import Kept, most
from align_lab.compare.summary import Arm
from align_lab.compare.values import listed


def about_runs(arms: Sequence[Arm], comparability: Mapping[str, Any], left: Sequence[str]) -> Iterator[str]:
    """Numbers of seeds, settings that were allowed to differ, records that are not whole, machines that differ."""
    yield from _seeds(arms)
    yield from _allowed(comparability["differing"])
    yield from _other_versions(comparability["differing"])
    yield from _gaps(arms)
    yield from _machines(arms)
    if left:
        yield f"{_runs(len(left))} no longer in the study's sweep file, but counted: {listed(left)}."


def _seeds(arms: Sequence[Arm]) -> Iterator[str]:
    counts = {arm.name: len(arm.runs) for arm in arms}
    if len(set(counts.values())) > 1:
        shown = listed([f"{name} {n}" for name, n in counts.items()], most=12)
        yield f"The arms have different numbers of seeds: {shown}."
    alone = [name for name, n in counts.items() if n == 1]
    if alone:
        yield f"{listed(alone)} {'has' if len(alone) == 1 else 'have'} one seed only: nothing is known of the spread over seeds."


def _allowed(differing: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for one in differing:
        if one["allowed"]:
            values = "; ".join(f"{value} in {_runs(len(names), verb='')}" for value, names in one["values"].items())
            code = ", so the runs were computed by different code" if one["field"] in CODE else ""
            yield f"{one['field']} differs and was allowed to{code}: {values}."


def _other_versions(differing: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One sentence for each set of runs that lack the same fields."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for one in differing:
        if NOT_RECORDED in one["values"]:
            lacking.setdefault(tuple(one["values"][NOT_RECORDED]), []).append(one["field"])
    for names, fields in lacking.items():
        verb = "does" if len(names) == 1 else "do"
        yield f"{listed(names)} {verb} not record {listed(fields, most=8)}, which others do: another version of align_lab wrote them."


def _gaps(arms: Sequence[Arm]) -> Iterator[str]:
    gold = COLUMN[GOLD]
    names = [run.name for arm in arms for run in arm.runs if not all(map(math.isfinite, run.rows[:, gold].tolist()))]
    if names:
        yield f"The gold score is not a number in some evaluations of {listed(names)}: those are left out of the curves."


def _machines(arms: Sequence[Arm]) -> Iterator[str]:
    machines = sorted({run.machine for arm in arms for run in arm.runs if run.machine})
    if len(machines) > 1:
        yield f"Runs were made on different machines ({listed(machines)}): their seconds do not compare."


def about_results(document: Mapping[str, Any]) -> Iterator[str]:
    """Ranking flips, over-optimisation and unhealthy text."""
    for axis in document["axes"]:
        if axis["flips"]:
            yield axis["words"]
    yield from _by_arm(document["overoptimisation"])
    for arm in document["health"]:
        if arm["words"]:
            yield f"{arm['arm']}: {arm['words']}."


def _by_arm(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    total: dict[str, int] = {}
    for run in runs:
        total[run["arm"]] = total.get(run["arm"], 0) + 1
    for arm, n in total.items():
        fallen = [run for run in runs if run["arm"] == arm and run["keep"] is not None]
        marked = [run for run in fallen if run["marked"]]
        for found, what in (
            (marked, f"{'was' if len(marked) == 1 else 'were'} over-optimised: gold peaked while the proxy score rose"),
            (
                [run for run in fallen if not run["marked"]],
                "lost gold score after its peak, without a rise of the proxy score",
            ),
        ):
            if found:
                steps = listed([f"step {run['keep']} of {run['run']}" for run in found])
                yield f"{arm}: {len(found)} of {n} runs {what}. Keep {steps}."


def about_samples(arms: Sequence[Arm], kept: Kept) -> Iterator[str]:
    """Runs without completions, and prompts that not all have answered."""
    without = [run.name for arm in arms for run in arm.runs[: most(len(arms))] if run.seed not in kept[arm.name]]
    if without:
        yield f"No completions of the last evaluation are kept of {listed(without)}: win rates and samples are without them."
    answered = {len(rows) for runs in kept.values() for rows in runs.values()}
    if len(answered) > 1:
        yield f"Some runs have answered {max(answered)} prompts, others {min(answered)}: win rates are over those that all answered."


def bounded(arms: int, shown: int, sampled: int, drawn: int) -> Iterator[str]:
    """What a large study does not show. `sampled`, `drawn`: the fewest seeds of an arm whose samples and curves are shown."""
    if shown < arms:
        yield (
            f"Pairs, curves, win rates and bootstrap intervals are of the best {shown} of {arms} arms, corrected for the pairs of all."
        )
    if drawn:
        yield f"Single curves, frontier and samples are of the first {drawn} seeds of an arm; means and bands are of all."
    if sampled:
        yield f"Win rates are of the first {sampled} seeds of an arm."


def _runs(n: int, *, verb: str = " is") -> str:
    if verb:
        return "1 run is" if n == 1 else f"{n} runs are"
    return "1 run" if n == 1 else f"{n} runs"
