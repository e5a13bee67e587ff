"""The verdict of a study whose seeds came in steps: the looks of its plan, and nothing between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from align_lab.base.errors import ConfigError
from align_lab.base.files import read_lines
from align_lab.base.seed_plan import SeedPlan
from align_lab.compare import headline
from align_lab.compare.asked import Asked
from align_lab.compare.document import Verdict
from align_lab.compare.gaps import Measure
from align_lab.compare.runs import Run, Unfinished
from align_lab.compare.sequential import divergence
from align_lab.compare.sequential.looks import Looks, PairLook, take
from align_lab.compare.sequential.plan_file import WrittenPlan
from align_lab.compare.statistics import Interval
from align_lab.compare.summary import pair
from align_lab.compare.values import listed
from align_lab.compare.verdict import EQUAL, NOT_ENOUGH, Comparison, ranked
from align_lab.record.layout import RunLayout

TOGETHER = (
    "Seeds of a study here came in steps: compared together with other studies, its looks do not count, and intervals "
    "that ignore them are too narrow. Compare it by itself for the verdict that it planned."
)
Groups = Mapping[str, Sequence[Run]]


def looks_of(written: WrittenPlan, folder: Path, runs: Iterable[Run], unfinished: Iterable[Unfinished]) -> Looks:
    """The looks that the runs of the plan allow. Runs that are not part of it do not count."""
    finals = {Path(run.place).name: run.final for run in runs}
    values = {
        arm: {
            seed: finals[name][written.metric]
            for seed, name in enumerate(names)
            if name in finals and written.metric in finals[name]
        }
        for arm, names in written.runs.items()
    }
    return take(
        values,
        written.plan,
        written.levels,
        control=written.control,
        contrasts=written.contrasts,
        starts=_starts(written, folder, unfinished),
        rules=written.rules,
    )


def _starts(written: WrittenPlan, folder: Path, unfinished: Iterable[Unfinished]) -> dict[str, dict[int, float]]:
    """What the runs of each arm that diverged scored before they were trained; nan where that is not recorded."""
    diverged = {run.name for run in unfinished if run.state == "diverged"}
    return {
        arm: {seed: _start(folder / name, written.metric) for seed, name in enumerate(names) if name in diverged}
        for arm, names in written.runs.items()
    }


def _start(run: Path, metric: str) -> float:
    value = next((row.get(metric) for row in read_lines(RunLayout(run).metrics)), None)
    return float(value) if isinstance(value, int | float) else float("nan")


def refuse(written: WrittenPlan, *, asked: Asked) -> None:
    """Raises ConfigError for another test than the plan's: chosen after the results, it would promise nothing."""
    contrasts = f"contrasts={[list(pair) for pair in written.contrasts]}" if written.contrasts else ""
    planned = contrasts or (f"control={written.control}" if written.control else "every pair")
    paired = written.plan.paired
    other = [] if asked.paired in (None, paired) else ["--no-paired" if paired else "--paired"]
    if asked.control not in ("", written.control):
        other.append(f"--control={asked.control}")
    if asked.smallest not in (None, written.plan.smallest):
        other.append(f"--smallest={asked.smallest:g}")
    if other:
        raise ConfigError(
            f"{', '.join(other)}: this study planned its looks for {planned}, "
            f"{'paired by seed' if paired else 'unpaired'}, and for a smallest gap of {written.plan.smallest:g}, "
            f"before its first run. Leave {' and '.join(other)} out"
        )


def decided(written: WrittenPlan, now: Looks, groups: Groups, measure: Measure) -> Verdict:
    """`verdict` of the document: each pair at its last look, the better mean first."""
    scores = {
        arm: [*(run.final[written.metric] for run in groups.get(arm, ())), *now.counted.get(arm, {}).values()]
        for arm in written.runs
        if groups.get(arm) or arm in now.counted
    }
    place = {name: position for position, name in enumerate(ranked(scores))}
    looks = [_turned(look) if place[look.a] > place[look.b] else look for look in now.pairs]
    comparisons = [_comparison(look, written) for look in sorted(looks, key=lambda one: (place[one.a], place[one.b]))]
    if not comparisons:
        sentence = f"The first look, at {written.plan.first} seeds an arm, is still to come."
    else:
        sentence = headline.sentence(written.asked, comparisons, scores, measure=measure)
    return {
        "sentence": sentence,
        "method": f"repeated {'paired t intervals by seed' if written.plan.paired else 'Welch t intervals'} at the "
        f"looks that were planned before the first run, at levels that are calibrated for {_pairs(written)}",
        "confidence": written.plan.confidence,
        "smallest": written.plan.smallest,
        "paired": written.plan.paired,
        "contrasts": [list(one) for one in written.contrasts],
        "warnings": [],
        "pairs": [pair(one) for one in comparisons],
    }


def _pairs(written: WrittenPlan) -> str:
    if written.contrasts:
        count = len(written.contrasts)
        return f"the {count} declared contrasts" if count > 1 else "one declared contrast"
    return f"{len(written.runs)} arms{f' against {written.control}' if written.control else ''}"


def _turned(look: PairLook) -> PairLook:
    gap = Interval(-look.gap.mean, -look.gap.high, -look.gap.low)
    return replace(look, a=look.b, b=look.a, gap=gap)


def _comparison(look: PairLook, written: WrittenPlan) -> Comparison:
    smallest, n = f"{written.plan.smallest:g}", look.seeds
    words = {
        "better": f"{look.better} > {look.worse}",
        "equal": f"{EQUAL}{smallest}",
        "hopeless": f"{NOT_ENOUGH}given up at {n}, with {look.power_left:.0%} power left to see "
        f"{_worth(look, written)}",
        "stopped": f"{NOT_ENOUGH}not followed beyond {n}, because another arm has beaten one of the two",
        "most": f"{NOT_ENOUGH}{n} are the most that were planned",
        "open": f"{NOT_ENOUGH}the study goes on",
    }
    return Comparison(look.a, look.b, look.gap, float("nan"), words[look.outcome], None)


def _worth(look: PairLook, written: WrittenPlan) -> str:
    """The gap that could hardly be seen any more."""
    smallest, present = written.plan.smallest, abs(look.gap.mean)
    return f"{present:.2g}" if written.rules > 1 and present > smallest else f"{smallest:g}"


def notes(written: WrittenPlan, now: Looks, groups: Groups) -> Iterator[str]:
    """Sentences on the plan, how far it has come, and what lies beside it."""
    plan, planned = written.plan, ", ".join(map(str, written.plan.looks))
    runs = sum(now.seeds(arm) for arm in written.runs)
    state = "It has ended" if now.ended else "It goes on"
    yield (
        f"Seeds came in steps: looks at {planned} seeds an arm were planned before the first run (plan "
        f"{written.digest}), with an error of {plan.error:.0%} for all looks and pairs together. {state}, after "
        f"{runs} runs of at most {written.longest}."
    )
    if plan.smallest == SeedPlan.smallest:
        yield f"The smallest gap that matters is {plan.smallest:g}, the default of a plan."
    if waiting := {arm: seeds for arm, seeds in now.missing.items() if now.taken}:
        runs_of = [
            f"{'one run' if len(seeds) == 1 else f'{len(seeds)} runs'} of {arm}" for arm, seeds in waiting.items()
        ]
        yield f"The next look waits for {listed(runs_of)}."
    if now.diverged:
        yield divergence.blocked(now, plan)
    beside = {
        arm: more
        for arm, runs_of in groups.items()
        if (more := sum(run.name not in written.runs.get(arm, ())[: now.seeds(arm)] for run in runs_of))
    }
    if beside and now.ended:
        total = sum(beside.values())
        yield (
            f"{total} finished runs are not part of any look and decide nothing: "
            f"{listed([f'{arm} ({count})' for arm, count in beside.items()])}."
        )
