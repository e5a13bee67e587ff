"""What the gap of each pair rests on: its interval over seeds and prompts, its parts, and what to buy next."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from align_lab.compare import crossed, purchase, wins
from align_lab.compare.answers import Answers
from align_lab.compare.crossed import Parts
from align_lab.compare.document import Bought, Pair, Precision, Shares
from align_lab.compare.evaluations import Floats
from align_lab.compare.gaps import half
from align_lab.compare.gaps import places as decimals
from align_lab.compare.purchase import Costs, Plan, Purchase
from align_lab.compare.samples import ByArm
from align_lab.compare.statistics import Interval
from align_lab.compare.summary import CONFIDENCE, ArmRuns
from align_lab.compare.values import figure, listed, number

TOLERANCE = 0.02  # sds of completions by which a run's score may differ from the mean over its prompts
NAMED = 3  # pairs that hold for these prompts alone, up to which each has a sentence
WIDER = 1.05  # times the width, from which the prompts are worth a column


@dataclass(frozen=True, kw_only=True)
class PairTest:
    """How the pairs are decided: the number of pairs for which intervals are corrected, and the gap that matters;
    without one there is nothing to buy.

    ended: of a study whose seeds came in steps, the pairs that are left undecided. They are told what a study of its
    own would cost, and the others nothing. None: further seeds of this study are bought.
    """

    number: int
    paired: bool
    smallest: float | None
    ended: Collection[frozenset[str]] | None = None

    @property
    def each(self) -> float:
        """Confidence of the interval of one pair."""
        return 1 - (1 - CONFIDENCE) / max(1, self.number)


def of_pairs(pairs: Sequence[Pair], arms: Sequence[ArmRuns], answers: ByArm, test: PairTest) -> list[Precision]:
    """Of each pair with an interval, or given up before it had one, whose arms kept what they scored on each prompt,
    two runs each or more.

    Only a score that is a mean over prompts has such parts.
    """
    by_arm, _ = wins.scores(answers)
    known = {arm.name: arm for arm in arms if _is_mean(arm, by_arm.get(arm.name, {}))}
    ended = test.ended or ()
    usable = [
        pair
        for pair in pairs
        if {pair["a"], pair["b"]} <= known.keys()
        and (pair["low"] is not None or frozenset((pair["a"], pair["b"])) in ended)
    ]
    return [_of_pair(pair, [known[pair[side]] for side in ("a", "b")], by_arm, answers, test) for pair in usable]


def _is_mean(arm: ArmRuns, scores: Mapping[int, Floats]) -> bool:
    """Is the score of each run the mean of its scores on two or more prompts?"""
    of_run = dict(zip(arm.seeds, arm.scores, strict=True))
    if len(scores) < 2 or len(next(iter(scores.values()))) < 2:
        return False
    spread = float(np.mean([each.std() for each in scores.values()]))
    return all(abs(each.mean() - of_run[seed]) <= TOLERANCE * spread + 1e-9 for seed, each in scores.items())


def _of_pair(
    pair: Pair, arms: Sequence[ArmRuns], by_arm: Mapping[str, wins.Scores], answers: ByArm, test: PairTest
) -> Precision:
    sides, scores, within = _sides(arms, by_arm, answers, paired=test.paired)
    low, high = (-math.inf, math.inf) if pair["low"] is None or pair["high"] is None else (pair["low"], pair["high"])
    gap = Interval(pair["gap"], low, high)
    wide = crossed.interval(gap, scores, sides, confidence=test.each)
    split = crossed.parts(scores, sides, within)
    plan = _plan(arms, split, test)
    charged = math.isfinite(plan.costs.run)
    left = test.ended is not None and {pair["a"], pair["b"]} in test.ended
    buys = charged and test.smallest is not None and (test.ended is None or left)
    return {
        "a": pair["a"],
        "b": pair["b"],
        "low": number(wide.low),
        "high": number(wide.high),
        "prompts": split.number,
        "samples": plan.samples,
        "shares": _shares(split, arms, plan.samples),
        "unknown": _unknown(split, arms),
        "anew": left,
        "seed_seconds": plan.costs.run if charged else None,
        "cheapest": _bought(purchase.cheapest(split, plan)) if buys else None,
        "seeds_alone": _bought(purchase.seeds_alone(split, plan)) if buys else None,
    }


def _sides(
    arms: Sequence[ArmRuns], by_arm: Mapping[str, wins.Scores], answers: ByArm, *, paired: bool
) -> tuple[list[Floats], list[Floats], list[float]]:
    """Tables [seeds, prompts], the score of every run, and the variance of a cell that is due to sampling."""
    within = [_within(answers[arm.name]) for arm in arms]
    if not paired:
        tables = [np.array([by_arm[arm.name][seed] for seed in sorted(by_arm[arm.name])]) for arm in arms]
        return tables, [np.array(arm.scores) for arm in arms], within
    first, second = (dict(zip(arm.seeds, arm.scores, strict=True)) for arm in arms)
    a, b = (by_arm[arm.name] for arm in arms)
    differences = np.array([first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())])
    return [np.array([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])], [differences], [sum(within)]


def _within(of_arm: Mapping[int, Answers]) -> float:
    """Mean over prompts and runs of the variance of a prompt's mean over its samples; nan where there is one sample."""
    values = [row["within"] for answers in of_arm.values() for row in answers.rows]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else math.nan


def _plan(arms: Sequence[ArmRuns], split: Parts, test: PairTest) -> Plan:
    fields = arms[0].runs[0].fields
    held = fields.get("data.evaluation")
    most = held if isinstance(held, int) and not isinstance(held, bool) else None
    if split.number < int(fields.get("evaluation.prompts") or 0):
        most = split.number  # the set holds no more
    costs = [_costs(arm) for arm in arms]
    return Plan(
        smallest=test.smallest or 0.0,
        confidence=test.each,
        samples=int(fields.get("evaluation.samples") or 1),
        most_prompts=most,
        anew=test.ended is not None,
        costs=Costs(run=sum(run for run, _ in costs), completion=sum(each for _, each in costs)),
    )


def _costs(arm: ArmRuns) -> tuple[float, float]:
    """Device-seconds of a run, and of an evaluated completion: at most what a trained one takes. nan: not recorded."""
    seconds, episodes = (
        [float(run.spent[name]) for run in arm.runs if run.spent.get(name)] for name in ("device_seconds", "episodes")
    )
    if not seconds or not episodes:
        return math.nan, math.nan
    return float(np.mean(seconds)), float(np.mean(seconds) / np.mean(episodes))


def _shares(split: Parts, arms: Sequence[ArmRuns], samples: int) -> Shares:
    """Of the variance of the gap. What sampling, and a judge of known noise, add to `answers` is in it.

    A judge that scores a completion the same way another time adds nothing.
    """
    total = split.total
    if total <= 0:
        return {"seeds": None, "prompts": None, "answers": None, "samples": None, "judge": None}
    each = [1 / (n * split.number * total) for n in split.runs]
    within = sum(part * one for part, one in zip(split.within, each, strict=True))
    noise = [_noise(arm) for arm in arms]
    runs = [len(arm.runs) for arm in arms]
    judge = sum((sd or 0.0) ** 2 / samples / n for sd, n in zip(noise, runs, strict=True)) / split.number / total
    return {
        "seeds": split.of_seeds / total,
        "prompts": split.of_prompts / total,
        "answers": split.of_cells / total,
        "samples": number(within),
        "judge": judge if any(noise) else 0.0 if _again(arms) == "same" else None,
    }


def _unknown(split: Parts, arms: Sequence[ArmRuns]) -> dict[str, str]:
    """Part of the variance -> why it is not known."""
    reasons: dict[str, str] = {}
    if any(map(math.isnan, split.within)):
        reasons["samples"] = "each prompt was answered once; evaluation.samples=2 would tell"
    if not any(map(_noise, arms)) and (again := _again(arms)) != "same":
        reasons["judge"] = {
            "varies": "it judged each completion once, and may judge it otherwise another time",
            "": "nothing recorded says whether it judges a completion the same way another time",
        }[again]
    return reasons


def _again(arms: Sequence[ArmRuns]) -> str:
    """How what decides scores a completion another time: `same`, `varies`, or empty: not known."""
    every = {str(run.labels.get(arm.metric, {}).get("again", "")) for arm in arms for run in arm.runs}
    return "varies" if "varies" in every else "same" if every == {"same"} else ""


def _noise(arm: ArmRuns) -> float | None:
    """The standard deviation of what decides, where it is a reward or a judge with noise that is known."""
    name = arm.metric.removeprefix("eval/")
    where = "reward" if name == "score" else f"evaluation.judges.{name}"
    fields = arm.runs[0].fields
    return float(fields[f"{where}.sd"]) if fields.get(f"{where}.name") == "noise" else None


def _bought(one: Purchase | None) -> Bought | None:
    return None if one is None else Bought(**dataclasses.asdict(one))


def note(pairs: Sequence[Pair], precisions: Sequence[Precision]) -> Iterator[str]:
    """How much wider intervals over prompts are, and pairs that are only decided on these prompts."""
    gaps = {(pair["a"], pair["b"]): pair for pair in pairs}
    both = [(gaps[one["a"], one["b"]], one) for one in precisions]
    if (ratio := widest(pairs, precisions)) is None:
        return
    these = f"these {precisions[0]['prompts']} prompts"
    if ratio < WIDER:
        yield f"Intervals over seeds hold for other prompts than {these} as well: over both they are hardly wider."
    else:
        yield (
            f"Intervals over seeds are for {these}; those over seeds and prompts, up to {ratio:.2f} times as wide, "
            "hold for others of their kind as well."
        )
    yield from _for_these_alone([(pair, one) for pair, one in both if _excludes_0(pair) and not _excludes_0(one)])


def _for_these_alone(decided: Sequence[tuple[Pair, Precision]]) -> Iterator[str]:
    """Pairs that are decided on these prompts, and not shown for others."""
    if len(decided) > NAMED:
        names = listed([pair["words"] for pair, _ in decided], most=NAMED)
        yield (
            f"{len(decided)} of the decided pairs hold for these {decided[0][1]['prompts']} prompts, and are not shown "
            f"for others: {names}."
        )
        return
    for pair, one in decided:
        low, high = one["low"] or 0.0, one["high"] or 0.0
        places = decimals([half(low, high)])
        yield (
            f"{pair['words']} holds for these {one['prompts']} prompts; for others it is not shown: over seeds and "
            f"prompts the gap lies between {figure(low, places)} and {figure(high, places)}."
        )


def widest(pairs: Sequence[Pair], precisions: Sequence[Precision]) -> float | None:
    """How many times as wide an interval is over seeds and prompts, at most; None where there is none."""
    gaps = {(pair["a"], pair["b"]): _width(pair) for pair in pairs}
    ratios = [_width(one) / gaps[one["a"], one["b"]] for one in precisions if gaps[one["a"], one["b"]] > 0]
    return max(ratios, default=None)


def _width(one: Pair | Precision) -> float:
    return (one["high"] or 0.0) - (one["low"] or 0.0)


def _excludes_0(one: Pair | Precision) -> bool:
    low, high = one["low"], one["high"]
    return low is not None and high is not None and (low > 0 or high < 0)
