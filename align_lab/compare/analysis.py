"""A study's runs -> one plain document: are they comparable, which arm is better, how sure is that, and what else
shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from align_lab.compare import (
    advice,
    axes,
    blocks,
    builds,
    claims,
    divergence,
    doubts,
    mixture,
    notes,
    precision,
    spending,
    summary,
    wins,
)
from align_lab.compare import asked as questions
from align_lab.compare.asked import EVERY_PAIR, Asked
from align_lab.compare.described import described
from align_lab.compare.document import Comparability, Document, Foreign, TuningDocument, Verdict
from align_lab.compare.factorial import section
from align_lab.compare.prepared import Prepared, prepare
from align_lab.compare.sequential import divergence as looked
from align_lab.compare.sequential import plan_file
from align_lab.compare.sequential import verdict as sequential
from align_lab.compare.tuning import record as tuning_record
from align_lab.compare.tuning import summary as tuning_summary
from align_lab.compare.values import listed, uncollected

if TYPE_CHECKING:
    from align_lab.compare.foreign.reader import ForeignRuns

NOTHING = "No run has finished yet: nothing to compare."


@uncollected
def analyze(
    folders: Sequence[Path],
    *,
    allow: Sequence[str] = (),
    asked: Asked = EVERY_PAIR,
    rng_seed: int = 0,
    foreign: ForeignRuns | None = None,
    evaluation: str = "",
) -> Document:
    """The comparison document of the studies in these folders, together.

    First it is proven, over every run that was read, that all settings are equal; only then runs of an arm that
    share a seed are set aside, and arms are compared. `allow`: settings (or groups of them) that may differ; runs
    with other values of one are arms of their own. Where a setting differs that may not, `comparability.fair` is
    False and nothing is compared: each arm is described by itself. `foreign`: runs of other programs, which have a
    verdict of their own; with them, `folders` may be empty. `evaluation`: the name of a stored evaluation of all
    runs (`align_lab evaluate`) that decides in place of that of the training. `asked`: a control, the gap that matters
    and whether seeds are paired, in place of what the studies declare. The same record and `rng_seed` give the same
    document, apart from `written`. Raises ConfigError for a folder without runs.
    """
    of = prepare(folders, allow=allow, asked=asked, evaluation=evaluation)
    fair = of.comparability["fair"]
    whole = described(of, rng_seed)
    if fair:
        _compare(whole, of, rng_seed)
        label = whole["metrics"][whole["metric"]]["label"]
        whole["verdict"]["warnings"][:0] = doubts.warnings(of.runs, whole["metric"], label)
    else:
        whole["verdict"] = _refusal(of.comparability)
    whole["notes"] += _notes(whole, of, folders)
    if len(folders) == 1 and (tuning := tuning_record.read(folders[0])):
        _add_tuning(whole, tuning_summary.summary(tuning, of.groups))
        whole["notes"] += tuning_summary.notes(tuning)
    if foreign:
        from align_lab.compare.foreign.section import compared

        arms = of.arms if fair else []
        whole["foreign"] = beside = compared(foreign, arms, rng_seed, of.asked.smallest)
        if foreign.alone and not arms:
            _alone(whole, foreign.names, beside)
    return whole


def _compare(whole: Document, of: Prepared, rng_seed: int) -> None:
    """What sets arms against each other: only where all settings are equal, or allowed to differ."""
    paired = bool(of.asked.paired)
    whole["factors"], answer = section.of_arms(of.design, of.arms, of.measure) if of.design else (None, "")
    if whole["factors"] and not of.asked.control:
        whole["verdict"] = summary.answered(answer, whole["factors"]["method"], of.asked.smallest)
    else:
        _compare_pairs(whole, of, paired=paired)
    whole["improvement"] = summary.improvements(of.shown, rng_seed)
    seeds = {arm.name: arm.seeds for arm in of.shown}
    whole["axes"] = axes.compared(of.rows, of.scores.metric, seeds, paired=paired)
    whole["wins"] = wins.wins(of.answers, rng_seed)
    whole["claims"] = claims.decided(of.study.claims, of.groups, of.scores.metric, of.asked.smallest, paired=paired)


def _compare_pairs(whole: Document, of: Prepared, *, paired: bool) -> None:
    """The verdict on the pairs that are asked for, and what each gap rests on."""
    pairs, smallest = of.asked.number(len(of.arms)), of.asked.smallest
    test = precision.PairTest(number=pairs, paired=paired, smallest=smallest)
    if of.plan and of.looks:
        decided = sequential.decided(of.plan, of.looks, of.groups, of.measure)
        ended = {frozenset((look.a, look.b)) for look in of.looks.pairs if look.outcome in advice.ENDED}
        planned = replace(test, ended=ended)
        answered = [pair for pair in decided["pairs"] if not {pair["a"], pair["b"]} & of.looks.counted.keys()]
        whole["precision"] = precision.of_pairs(answered, of.shown, of.answers, planned)
        decided["warnings"] += looked.warnings(of.looks)
        whole["notes"] += advice.advise_anew(decided, whole["precision"], of.measure)
    else:
        decided = summary.decided(of.shown, of.asked, pairs=pairs, measure=of.measure)
        whole["precision"] = precision.of_pairs(decided["pairs"], of.shown, of.answers, test)
        decided["warnings"] += divergence.warnings(of.groups, of.study.unfinished)
        whole["notes"] += advice.advise(decided, whole["precision"], of.measure)
    blocks.annotate(decided["pairs"], of.shown)
    scores = {arm.name: dict(zip(arm.seeds, arm.scores, strict=True)) for arm in of.shown}
    decided["warnings"] += mixture.warnings(scores, paired=paired)
    whole["verdict"] = decided


def _notes(whole: Document, of: Prepared, folders: Sequence[Path]) -> Iterator[str]:
    """What a reader has to know beside the verdict."""
    if names := sorted({run.evaluation for run in of.runs} - {""}):
        yield f"Decided by the evaluation {names[0]} of the last checkpoints, made after training."
    if over := builds.over(of.runs):
        yield over
    yield from blocks.notes(whole["verdict"]["pairs"], of.shown, paired=bool(of.asked.paired))
    if whole["comparability"]["fair"] and len(of.arms) > 1:
        decided = {frozenset((pair["a"], pair["b"])) for pair in whole["verdict"]["pairs"]}
        yield from questions.notes(of.asked, [one for one in of.asked.contrasts if frozenset(one) not in decided])
    if whole["factors"] and of.design:
        yield from section.notes(of.design, of.arms, paired=bool(of.asked.paired))
    elif of.study.designs and whole["comparability"]["fair"]:
        yield section.BY_ITSELF
    yield from precision.note(whole["verdict"]["pairs"], whole["precision"])
    yield from spending.budgets(whole["comparability"]["charged"])
    yield from spending.load(of.arms)
    yield from notes.about_runs(of.arms, of.comparability, of.scores.label, of.study.left)
    yield from notes.about_results(whole)
    yield from notes.about_samples(of.shown, of.answers)
    yield from notes.about_judges(of.answers, of.scores)
    yield from _bounded(of)
    if of.plan and of.looks:
        yield from sequential.notes(of.plan, of.looks, of.groups)
    if len(folders) > 1 and any(map(plan_file.read, folders)):
        yield sequential.TOGETHER


def _add_tuning(whole: Document, tuning: TuningDocument | None) -> None:
    """A leader that changes with the number of trials is said in the first sentence."""
    whole["tuning"] = tuning
    if tuning and tuning["sentence"] and whole["verdict"]["pairs"]:
        whole["verdict"]["sentence"] = f"{tuning['sentence']} {whole['verdict']['sentence']}"


def _refusal(comparability: Comparability) -> Verdict:
    fields = listed([one["field"] for one in comparability["differing"] if not one["allowed"]])
    return summary.undecided(f"Not comparable: the runs differ in {fields}." if fields else NOTHING)


def _bounded(of: Prepared) -> list[str]:
    """Sentences on what is left out because there is so much."""
    most = max((len(arm.runs) for arm in of.shown), default=0)
    drawn = max((len(runs) for runs in of.few.values()), default=0)
    return list(notes.bounded(len(of.arms), len(of.shown), drawn if drawn < most else 0))


def _alone(whole: Document, names: Sequence[str], beside: Foreign) -> None:
    """Where no run of ours is asked for, the sentence of the foreign ones is all there is to say."""
    whole["study"] = " + ".join(names)
    whole["metric"] = beside["metric"]
    whole["verdict"] = summary.undecided(beside["sentence"])
