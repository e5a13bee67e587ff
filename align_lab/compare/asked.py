"""What a comparison is to decide: which pairs of arms, and which gap matters. A study declares it before its runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from align_lab.base import vary
from align_lab.base.contrast import Contrast
from align_lab.base.design import Design
from align_lab.base.errors import ConfigError, near
from align_lab.compare.pool import StudyRuns
from align_lab.compare.runs import Run
from align_lab.compare.values import listed

UNDECLARED = (
    "The study declares no smallest gap that matters, so equality is not tested and no required number of seeds is "
    "given. Declare it in the study file (smallest: 0.1), in units of the metric that decides."
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Every pair of arms; with a `control` every pair with it; with `contrasts` these pairs alone; with a `design` its
    factors, and no pair but those with a control.

    smallest: the smallest gap that matters, in units of the metric that decides; None: nothing can be called equal.
    paired: are arms compared seed by seed? None: as the studies declare it.
    afterwards: what the command asked for, and no study had declared. several: sentences on declared pairs whose arms
    have several recipes here.
    """

    control: str = ""
    contrasts: tuple[Contrast, ...] = ()
    smallest: float | None = None
    paired: bool | None = None
    design: Design | None = None
    afterwards: tuple[str, ...] = ()
    several: tuple[str, ...] = ()

    @property
    def arms(self) -> set[str]:
        """Those that the question names."""
        return {name for pair in self.contrasts for name in pair} | ({self.control} - {""})

    def number(self, arms: int) -> int:
        """Of pairs for which everything is corrected; a contrast counts also where an arm of it has not finished."""
        return len(self.contrasts) or (arms - 1 if self.control else arms * (arms - 1) // 2)


EVERY_PAIR = Asked()


def pairs_of(names: Sequence[str], control: str = "", contrasts: Sequence[Contrast] = ()) -> list[Contrast]:
    """Every pair of these names in their order; with a control only those that it is part of; of contrasts those whose
    arms are both there.
    """
    wanted = {frozenset(pair) for pair in contrasts}
    every = [pair for pair in combinations(names, 2) if not control or control in pair]
    return [pair for pair in every if frozenset(pair) in wanted] if wanted else every


def of_command(asked: Asked, study: StudyRuns, arms: Mapping[str, Sequence[Run]]) -> Asked:
    """What the command asks for, and what it leaves open as the studies declare it. arms: name -> its runs.

    Raises ConfigError for a control that no arm has.
    """
    if asked.control and asked.control not in arms:
        raise ConfigError(f"--control={asked.control}: there is no such arm. {near(asked.control, arms)}")
    named = study.controls
    declared = next(iter(named)) if len(named) == 1 and named <= set(arms) else ""
    contrasts, several = ([], []) if asked.control else _resolved(study.contrasts, arms)
    smallest = next(iter(study.smallest)) if len(study.smallest) == 1 else None
    paired = paired_by_seed(study)
    return replace(
        asked,
        control=asked.control or ("" if contrasts else declared),
        contrasts=tuple(contrasts),
        several=tuple(several),
        smallest=smallest if asked.smallest is None else asked.smallest,
        paired=paired if asked.paired is None else asked.paired,
        design=study.designs[0] if len(study.designs) == len(study.folders) == 1 else None,
        afterwards=tuple(_afterwards(asked, study, declared, smallest, paired=paired)),
    )


def _resolved(contrasts: Sequence[Contrast], arms: Mapping[str, Sequence[Run]]) -> tuple[list[Contrast], list[str]]:
    """The declared pairs, by the names that the arms have here, and sentences where that is not theirs.

    Where studies are compared together, an arm may have several recipes, each an arm of its own, such as
    `dpo (train.steps=60)`. Those that differ in the same are paired.
    """
    pairs: list[Contrast] = []
    told: list[str] = []
    for a, b in contrasts:
        first, second = _recipes(a, arms), _recipes(b, arms)
        if not first or not second or (a in arms and b in arms):
            pairs.append((a, b))
            continue
        alike = [(first[what], second[what]) for what in first if what in second]
        if min(len(first), len(second)) == 1:
            alike = [(one, other) for one in first.values() for other in second.values()]
        pairs += alike
        named = listed([*first.values(), *second.values()], most=8)
        what = "those that are alike are compared" if alike else f"none are alike, so {a} against {b} is not decided"
        told.append(f"The study asks {a} against {b}, and there are several recipes of them here ({named}): {what}.")
    return pairs, told


def _recipes(name: str, arms: Mapping[str, Sequence[Run]]) -> dict[str, str]:
    """What tells the recipes of an arm apart -> the name of that arm."""
    return {label.removeprefix(name): label for label, runs in arms.items() if runs[0].base == name}


def paired_by_seed(study: StudyRuns) -> bool:
    """As the studies declare it; else where a seed also moves what the runs of a seed share."""
    if len(study.paired) == 1:
        return next(iter(study.paired))
    return any(vary.shared(vary.of(run.fields)) for run in study.runs)


def _afterwards(asked: Asked, study: StudyRuns, control: str, smallest: float | None, *, paired: bool) -> Iterator[str]:
    """Names of the options that ask for something else than what was declared."""
    if asked.control and (asked.control != control or study.contrasts or study.designs):
        yield f"--control={asked.control}"
    if asked.smallest not in (None, smallest):
        yield f"--smallest={asked.smallest:g}"
    if asked.paired not in (None, paired):
        yield "--paired" if asked.paired else "--no-paired"


def notes(asked: Asked, lacking: Sequence[Contrast]) -> list[str]:
    """Sentences on a question that nobody declared, or that was asked afterwards. `lacking`: undecided contrasts."""
    texts = [*([UNDECLARED] if asked.smallest is None else []), *asked.several]
    if asked.afterwards:
        texts.append(
            f"Asked for by the command, and not declared before the runs: {', '.join(asked.afterwards)}. The "
            "error rate is not controlled for questions that are chosen after the results were seen."
        )
    texts += [f"{a} against {b} is asked for, and has no finished run of both." for a, b in lacking]
    return texts
