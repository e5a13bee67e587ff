"""Overhead of the child process of `reward=python`: a default step with the same function inside the run and outside.

    python benchmarks/reward_child.py [--steps 60] [--threads 1] [overrides ...]

Steps of the default run (`algo=reinforce_pp model=tiny`) take turns: one scored by a Python function in the process of
the run, the next by the same function of a file in its child process. Printed: the medians of the whole step and of the
call that scores it, and the ratio of the steps. The data and the start policy are built first, if they are missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from align_lab.base.task import Example, Score
from align_lab.base.world import World
from align_lab.config.composition import compose
from align_lab.record.console import Screen
from align_lab.rewards.python_file import PythonFile
from align_lab.run import assembly
from align_lab.run.experiment import build
from align_lab.stages.dependencies import stages
from align_lab.train.loop import Loop
from align_lab.train.scoring import LimitedScorer

FUNCTION = '''
import re


def reward(prompts, completions, **columns):
    """Distinct words, without those of the prompt."""
    return [
        float(len({*re.findall(r"\\w+", text.lower())} - {*prompt.lower().split()}))
        for prompt, text in zip(prompts, completions)
    ]
'''


class Inside:
    """The function in the process of the run."""

    def __init__(self, file: Path) -> None:
        spec = importlib.util.spec_from_file_location("benchmark_reward", file)
        assert spec is not None and spec.loader is not None
        self.module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        return Score(total=self.module.reward(prompts=[one.text for one in examples], completions=completions))


class Timed:
    """A scorer that adds up the time of its calls."""

    def __init__(self, scorer: Any) -> None:
        self.scorer, self.seconds = scorer, 0.0

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        start = time.perf_counter()
        result = self.scorer.score(examples, completions)
        self.seconds += time.perf_counter() - start
        return result


def default_loop(overrides: Sequence[str]) -> Loop:
    cfg = compose(
        ["algo=reinforce_pp", "reward=vader", "~evaluation.judges", "evaluation.metric=eval/score", *overrides]
    )
    unused: Any = None
    loop = assembly.assemble(cfg, build(stages(cfg), Screen()), journal=unused, should_stop=bool, world=World())
    loop.state = loop.algo.init_state()
    return loop


def measure(loop: Loop, scorers: dict[str, Timed], steps: int) -> dict[str, list[tuple[float, float]]]:
    """(seconds of a step, seconds of its scoring) of every scorer; the first two steps of each do not count."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in scorers}
    for step in range(2 * (steps + 2)):
        name = list(scorers)[step % 2]
        loop.source = replace(loop.source, reward=LimitedScorer(scorer=scorers[name]))  # type: ignore[type-var]
        before, start = scorers[name].seconds, time.perf_counter()
        loop.advance()
        times[name].append((time.perf_counter() - start, scorers[name].seconds - before))
    return {name: rows[2:] for name, rows in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="steps of each kind")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "my_reward.py"
        file.write_text(FUNCTION)
        scorers = {"inside": Timed(Inside(file)), "child": Timed(PythonFile(file=str(file)).load(None))}
        times = measure(default_loop(options.overrides), scorers, options.steps)
    for name, rows in times.items():
        whole, scoring = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:7} step {1000 * whole:8.2f} ms   scoring {1000 * scoring:6.2f} ms")
    whole = {name: statistics.median(step for step, _ in rows) for name, rows in times.items()}
    added = statistics.median(s for _, s in times["child"]) - statistics.median(s for _, s in times["inside"])
    print(f"ratio of the medians of the steps {whole['child'] / whole['inside']:.4f}")
    print(f"added by the child: {1000 * added:.2f} ms, {100 * added / whole['inside']:.2f} % of a step")


if __name__ == "__main__":
    main()
