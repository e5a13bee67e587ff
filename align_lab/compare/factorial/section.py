"""The factors of a study as the comparison document has them: tests, effects of levels, and what the cells mix."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from align_lab.base.design import Design
from align_lab.compare import verdict
from align_lab.compare.document import Combination, Factorial, Level, Source
from align_lab.compare.factorial import effects, words
from align_lab.compare.factorial.effects import Cells, Contrast
from align_lab.compare.factorial.model import Model, Pair
from align_lab.compare.factorial.words import TIMES, Standing
from align_lab.compare.gaps import Measure
from align_lab.compare.statistics import Floats
from align_lab.compare.summary import ArmRuns
from align_lab.compare.values import listed, number

CONFIDENCE = 0.95
KINDS = ("factor", "interaction", "cells", "seeds")  # in the order of the table; of a kind, the largest share first
BY_ITSELF = "What factors do is shown where their study is compared by itself."
UNPAIRED = (
    "Choices are not paired by seed, although pairs of these arms would be: where the runs of a seed are high or low "
    "together, intervals of effects are too wide, and those of the means of levels too narrow."
)
Scores = Mapping[str, Sequence[float]]


def of_arms(design: Design, arms: Sequence[ArmRuns], measure: Measure) -> tuple[Factorial, str]:
    """What the arms say of the factors, and the first sentence. measure: what effects are in, and what gap matters."""
    return of_scores(design, {arm.name: arm.scores for arm in arms}, measure)


def of_scores(design: Design, scores: Scores, measure: Measure) -> tuple[Factorial, str]:
    """arm -> the score of each of its runs; a cell or more has to be among them."""
    study = _Study(design, scores, measure)
    sources = sorted(_sources(study), key=lambda one: (KINDS.index(one["kind"]), -(one["share"] or 0.0)))
    order = [one["source"] for one in sources]
    levels = sorted(_levels(study), key=lambda one: order.index(one["factor"]))
    return {
        "design": design.words,
        "cells": len(study.names),
        "planned": len(design.cells),
        "method": words.method(effects=study.effects, tests=study.tests),
        "sources": sources,
        "levels": levels,
        "combinations": list(_combinations(study)),
        "aliases": _aliases(study),
    }, _sentence(study, sources, levels)


def _aliases(study: _Study) -> list[str]:
    if not study.model.is_estimable:
        return [words.NOT_ESTIMABLE]
    return words.aliases(study.mixed, list(study.interactions), list(study.model.pairs))


@dataclass(frozen=True)
class _Study:
    """The cells that are used: those of two runs or more, and all that have run where no cell has two."""

    design: Design
    scores: Scores
    measure: Measure

    @property
    def smallest(self) -> float | None:
        """The gap that matters."""
        return self.measure.smallest

    @cached_property
    def names(self) -> list[str]:
        begun = [name for name in self.design.cells if self.scores.get(name)]
        return [name for name in begun if len(self.scores[name]) > 1] or begun

    @cached_property
    def cells(self) -> Cells:
        return Cells.of([self.scores[name] for name in self.names])

    @cached_property
    def model(self) -> Model:
        return Model(levels=self.design.levels, cells=[self.design.cells[name] for name in self.names])

    @cached_property
    def planned(self) -> Model:
        return Model(levels=self.design.levels, cells=list(self.design.cells.values()))

    @cached_property
    def interactions(self) -> Mapping[Pair, Floats]:
        return self.model.interactions()

    @cached_property
    def mixed(self) -> dict[str, list[Pair]]:
        return {factor: self.model.mixed_with(factor) for factor in self.design.levels}

    @cached_property
    def rest(self) -> Floats:
        return self.model.rest(self.interactions)

    @property
    def effects(self) -> int:
        """Levels that are compared with the first of their factor."""
        return sum(len(levels) - 1 for levels in self.design.levels.values())

    @property
    def tests(self) -> int:
        """Factors, interactions that can be told, and what is left between the cells."""
        left = round(float(np.trace(self.rest))) > 0
        return len(self.design.levels) + len(self.interactions) + left

    @property
    def each(self) -> float:
        """Confidence of one effect, so that all of them hold together."""
        return 1 - (1 - CONFIDENCE) / self.effects

    def has(self, place: int, level: str) -> list[int]:
        """Places of the cells in which the factor at this place has this level."""
        return [i for i, name in enumerate(self.names) if self.design.cells[name][place] == level]


def _levels(study: _Study) -> Iterator[Level]:
    for place, (factor, levels) in enumerate(study.design.levels.items()):
        for level in levels:
            yield _level(study, place, factor, level)


def _level(study: _Study, place: int, factor: str, level: str) -> Level:
    here = study.has(place, level)
    mean, effect = _mean(study, place, level), _effect(study, factor, level)
    text, needed = _in_words(study, factor, level, effect)
    return {
        "factor": factor,
        "level": level,
        "cells": len(here),
        "runs": int(study.cells.runs[here].sum()),
        "mean": number(mean.gap.mean) if mean else None,
        "low": number(mean.gap.low) if mean else None,
        "high": number(mean.gap.high) if mean else None,
        "effect": number(effect[0].gap.mean) if effect else None,
        "effect_low": number(effect[0].gap.low) if effect else None,
        "effect_high": number(effect[0].gap.high) if effect else None,
        "p": number(min(1.0, study.effects * effect[0].p)) if effect and not math.isnan(effect[0].p) else None,
        "words": text,
        "needed": needed,
    }


def _mean(study: _Study, place: int, level: str) -> Contrast | None:
    """The mean over the planned cells with this level: where some are missing, as main effects foretell them."""
    rows = [cell[place] == level for cell in study.planned.cells]
    weights = study.model.weights(study.planned.columns[rows].mean(0))
    return None if weights is None else effects.contrast(study.cells, weights, confidence=CONFIDENCE)


def _effect(study: _Study, factor: str, level: str) -> tuple[Contrast, Floats] | None:
    """A level against the first; None for the first itself, and where the cells do not tell."""
    if level == study.design.levels[factor][0]:
        return None
    weights = study.model.weights(study.model.row(factor, level))
    return None if weights is None else (effects.contrast(study.cells, weights, confidence=study.each), weights)


def _in_words(study: _Study, factor: str, level: str, effect: tuple[Contrast, Floats] | None) -> tuple[str, int | None]:
    first = study.design.levels[factor][0]
    if effect is None:
        return ("" if level == first else "no finished runs tell"), None
    found, weights = effect
    n = int(study.cells.runs.min())
    if math.isnan(found.p):
        return f"{verdict.NOT_ENOUGH}one seed gives no interval", verdict.FEWEST - n

    def more() -> int:
        assert study.smallest is not None
        return verdict.further_seeds(
            n,
            effects.spread(study.cells, weights),
            smallest=study.smallest,
            confidence=study.each,
            ratio=found.freedom / (n - 1),
        )

    return verdict.in_words(level, first, found.gap, study.smallest, more, each="a cell")


def _sources(study: _Study) -> Iterator[Source]:
    """Factors in the order of the file, interactions, what is left between the cells, and seeds."""
    parts = {("factor", factor): study.model.main(factor) for factor in study.design.levels}
    parts |= {("interaction", TIMES.join(pair)): each for pair, each in study.interactions.items()}
    if study.tests > len(parts):
        parts["cells", "other interactions" if study.interactions else "interactions (mixed)"] = study.rest
    known = effects.shares(study.cells, list(parts.values()))
    for ((kind, name), projector), share in zip(parts.items(), known, strict=True):
        found = effects.test(study.cells, projector)
        p = number(min(1.0, study.tests * found.p)) if not math.isnan(found.p) else None
        yield {
            "source": name,
            "kind": kind,
            "f": number(found.f),
            "freedom": number(found.first),
            "freedom_within": number(found.second),
            "p": p,
            "share": number(share.value),
            "share_low": number(share.low),
            "share_high": number(share.high),
            "words": "" if p is None else _outcome(kind, p),
        }
    yield _seeds(1 - sum(share.value for share in known))


def _outcome(kind: str, p: float) -> str:
    shown = p < 1 - CONFIDENCE
    if kind == "factor":
        return "matters" if shown else verdict.NO_DIFFERENCE
    return "act together" if shown else verdict.NO_DIFFERENCE


def _seeds(share: float) -> Source:
    return {
        "source": "seeds",
        "kind": "seeds",
        "f": None,
        "freedom": None,
        "freedom_within": None,
        "p": None,
        "share": number(share),
        "share_low": None,
        "share_high": None,
        "words": "",
    }


def _combinations(study: _Study) -> Iterator[Combination]:
    """Means of the cells by the levels of two factors; none where cells are missing, which would shift them."""
    if len(study.names) < len(study.design.cells):
        return
    places = {factor: place for place, factor in enumerate(study.design.levels)}
    for a, b in study.interactions:
        for level in study.design.levels[a]:
            for other in study.design.levels[b]:
                here = sorted({*study.has(places[a], level)} & {*study.has(places[b], other)})
                weights = np.zeros(len(study.names))
                weights[here] = 1 / len(here)
                mean = effects.contrast(study.cells, weights, confidence=CONFIDENCE).gap
                yield {
                    "factor": a,
                    "level": level,
                    "other": b,
                    "other_level": other,
                    "runs": int(study.cells.runs[here].sum()),
                    "mean": mean.mean,
                    "low": number(mean.low),
                    "high": number(mean.high),
                }


def notes(design: Design, arms: Sequence[ArmRuns], *, paired: bool) -> Iterator[str]:
    """Which cells are not used, and which arms are no cells. paired: are pairs of arms compared seed by seed here?"""
    study = _Study(design, {arm.name: arm.scores for arm in arms}, Measure())
    if unused := [name for name in design.cells if name not in study.names]:
        yield (
            f"{len(unused)} of {len(design.cells)} cells have fewer than two finished runs and are left out of the "
            f"effects ({listed(unused)}): main effects are least squares over the others, as if there were no "
            "interaction."
        )
    if paired:
        yield UNPAIRED
    if others := [arm.name for arm in arms if arm.name not in design.cells]:
        yield f"No part of the effects, because they are no cells of the design: {listed(others)}."


def _sentence(study: _Study, sources: Sequence[Source], levels: Sequence[Level]) -> str:
    if (most := int(study.cells.runs.max())) < 2:
        return words.too_few(most)
    standings = [_standing(study, one, levels) for one in sources if one["kind"] == "factor"]
    shown = sorted((one for one in sources if one["words"] == "act together"), key=lambda one: -(one["share"] or 0.0))
    return words.sentence(
        standings,
        study.measure,
        tests=study.tests,
        together=[one["source"] for one in shown if one["kind"] == "interaction"],
        unresolved=any(one["kind"] == "cells" for one in shown),
    )


def _standing(study: _Study, source: Source, levels: Sequence[Level]) -> Standing:
    own = [one for one in levels if one["factor"] == source["source"]][1:]
    bounds = [bound for one in own for bound in (one["effect_low"], one["effect_high"]) if bound is not None]
    possible = max(map(abs, bounds)) if len(bounds) == 2 * len(own) else None
    return Standing(
        name=source["source"],
        shown=source["words"] == "matters",
        share=source["share"] or 0.0,
        largest=max(
            (one for one in own if " > " in one["words"]), key=lambda one: abs(one["effect"] or 0.0), default=None
        ),
        possible=possible,
        equal=possible is not None and study.smallest is not None and possible <= study.smallest,
        needed=max((one["needed"] or 0 for one in own), default=None),
    )
