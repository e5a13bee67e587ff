"""How long the runs of a study are, before they begin: steps, what a step holds, and the budget that ends them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from align_lab.base.run_config import RunConfig

UNITS = {"episodes": "completions", "tokens": "generated tokens", "seconds": "seconds of training"}


def lines(runs: Sequence[RunConfig]) -> Iterator[str]:
    """One line where all arms are alike, else one for those that are; then what to know of single arms."""
    arms = len({_arm(run) for run in runs})
    by_text = _arms_by_text(runs, lambda run: [of_run(run)])
    for text, names in by_text.items():
        yield f"{'each run' if len(names) == arms and len(by_text) == 1 else ', '.join(names)}: {text}"
    for text, names in _arms_by_text(runs, lambda run: run.cautions).items():
        yield f"{', '.join(names)}: {text}"


def of_run(cfg: RunConfig) -> str:
    """`313 steps of 64 completions, or to its budget of 20,000 completions`."""
    plan, needs = cfg.train, cfg.algo.needs
    pairs = needs.paired and not needs.samples
    holds = f"{plan.completions // 2} pairs" if pairs else f"{plan.completions} completions"
    limits = [f"{limit:,} {UNITS[name]}" for name, limit in vars(plan.budget).items() if limit is not None]
    if plan.open_ended:
        return f"steps of {holds}, to its budget of {' or '.join(limits)}"
    steps = f"{plan.planned_steps:,} step{'' if plan.planned_steps == 1 else 's'} of {holds}"
    return f"{steps}, or to its budget of {' or '.join(limits)}" if limits else steps


def _arms_by_text(runs: Iterable[RunConfig], texts_of: Callable[[RunConfig], Iterable[str]]) -> dict[str, list[str]]:
    """Text -> the arms of whose runs it is true. Runs that differ in the seed alone share their other values."""
    different = {(_arm(run), id(run.values["train"])): run for run in runs}
    by_text: dict[str, dict[str, None]] = {}
    for (arm, _), run in different.items():
        for text in texts_of(run):
            by_text.setdefault(text, {})[arm] = None
    return {text: list(arms) for text, arms in by_text.items()}


def _arm(run: RunConfig) -> str:
    return run["arm"] or run.choices["algo"]
