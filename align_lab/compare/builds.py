"""Stages that vary with the seed: arms are compared with equal builds if runs of one seed started from one build."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from align_lab.base import vary
from align_lab.compare.runs import Run
from align_lab.compare.values import exact, listed

NAMES = {vary.RL: "RL", vary.PAIRS: "preference pairs", vary.REWARD: "reward model", vary.POLICY: "start policy"}
FIXED = {vary.PAIRS: "set of pairs", vary.REWARD: "reward model", vary.POLICY: "start policy"}
EACH = "one for each seed"  # stands for the hashes of a stage whose builds differ by the seed alone


def by_seed(runs: Sequence[Run]) -> list[Run]:
    """The runs, with EACH in place of the hash of each stage that varies, where the runs of a seed have one build.

    Where those of a seed have several, the hash names its seed.
    """
    if all(vary.of(run.fields) == vary.USUAL for run in runs):
        return list(runs)
    several = _several(runs)
    shared: dict[tuple[int, int, tuple[str, ...]], Mapping[str, Any]] = {}
    result: list[Run] = []
    for run in runs:
        varied = vary.of(run.fields)
        key = (id(run.hashes), run.seed, varied)
        if key not in shared:
            shared[key] = {
                name: value if not _varies(name, varied) else _named(value, run.seed, (name, run.seed) in several)
                for name, value in run.hashes.items()
            }
        result.append(replace(run, hashes=shared[key]) if varied != vary.USUAL else run)
    return result


def _named(value: Any, seed: int, conflict: bool) -> Any:
    return f"seed {seed}: {value}" if conflict else EACH


def _varies(name: str, varied: Sequence[str]) -> bool:
    """Is this the hash of a stage that the seed moves, or of a reward inside one?"""
    stage = name.partition(".")[0]
    return stage in (vary.POLICY, vary.REWARD) and stage in varied


def _several(runs: Sequence[Run]) -> set[tuple[str, int]]:
    """(hash, seed) of which runs of that seed have several values."""
    values: dict[tuple[str, int], set[str]] = defaultdict(set)
    for run in runs:
        for name, value in _of_stages(run):
            values[name, run.seed].add(exact(value))
    return {key for key, each in values.items() if len(each) > 1}


def _of_stages(run: Run) -> Iterator[tuple[str, Any]]:
    varied = vary.of(run.fields)
    return ((name, value) for name, value in run.hashes.items() if _varies(name, varied))


def seeded(artefacts: Mapping[str, str]) -> str:
    """Which of policy, reward and pairs a run started from were built with a seed, by its manifest."""
    kinds = {name.partition(".")[0]: artefact.rpartition("-")[0] for name, artefact in artefacts.items()}
    return " ".join(name for name in (vary.POLICY, vary.REWARD, vary.PAIRS) if kinds.get(name, "policy") != "policy")


def over(runs: Sequence[Run]) -> str:
    """Over what the intervals of these runs generalize, and over what they do not, in a sentence.

    Empty where there are no runs, or only those of older versions, which do not say it.
    """
    lists = {vary.of(run.fields) for run in runs}
    if not any(run.stages or "vary" in run.fields for run in runs):
        return ""
    if len(lists) > 1:
        return "Intervals are over seeds, which do not move the same in all arms (vary differs)."
    varied, used = lists.pop(), {name for run in runs for name in run.stages.split()}
    moved = [NAMES[name] for name in vary.WHAT if name in varied and (name in used or name == vary.RL)]
    fixed = [f"one {FIXED[name]}" for name in (vary.POLICY, vary.PAIRS, vary.REWARD) if name in used - {*varied}]
    if not fixed:
        alone = " alone" if moved == [NAMES[vary.RL]] else ""
        return f"Intervals are over seeds of {listed(moved)}{alone}."
    seeds = f"seeds of {listed(moved)}" if len(moved) > 1 else "RL seeds alone"
    return (
        f"Intervals are over {seeds}, at {listed(fixed)}: with {'another' if len(fixed) == 1 else 'others'} the arms "
        "may rank otherwise (a study's vary lets seeds move them too)."
    )
