"""Runs that diverged, of a study with a fixed number of seeds: they have no score, and its verdict leaves them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from align_lab.compare.runs import Run, Unfinished
from align_lab.compare.values import listed


def warnings(groups: Mapping[str, Sequence[Run]], unfinished: Sequence[Unfinished]) -> Iterator[str]:
    """A sentence beside the verdict: an arm with such runs is judged by those that went well."""
    if lost := left_out(groups, unfinished):
        parts = [share(arm, seeds, len(groups.get(arm, ())) + len(seeds)) for arm, seeds in lost.items()]
        verb = "is" if sum(map(len, lost.values())) == 1 else "are"
        yield (
            f"{listed(parts, most=12)} diverged and {verb} left out: means and intervals are of the runs that did not, "
            "which flatters an arm that diverges. Seeds in steps count such a run with the lowest score of its look "
            "(seeds.diverged): docs/seeds.md."
        )


def left_out(groups: Mapping[str, Sequence[Run]], unfinished: Sequence[Unfinished]) -> dict[str, list[int]]:
    """Arm -> the seeds of which it has a run that diverged, and none that ended."""
    lost: dict[str, set[int]] = {}
    for run in unfinished:
        if run.state == "diverged" and run.seed is not None:
            lost.setdefault(run.arm, set()).add(run.seed)
    left = {arm: seeds - {run.seed for run in groups.get(arm, ())} for arm, seeds in lost.items()}
    return {arm: sorted(seeds) for arm, seeds in sorted(left.items()) if seeds}


def share(arm: str, seeds: Sequence[int], of: int) -> str:
    """`1 of 6 runs of rloo (seed 3)`"""
    return f"{len(seeds)} of {of} runs of {arm} (seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))})"
