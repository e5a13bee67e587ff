"""Does sampling one step off hide the time of sampling? The same run with and without it, vLLM in its own process.

    .venv-vllm/bin/python -m benchmarks.overlap [--rounds 3] [--steps 12] [algo=rloo ...]

In each round one run samples before each update and one samples the next step's completions while the update runs
(`sampling.staleness=1`). Medians are of all steps but the first three, ratios are of medians. What a step still waits
for is `time/rollout`; hidden is the share of sampling that nothing waits for. It needs a core for each of the two.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

FIRST = 3  # steps in which caches fill and, one step off, nothing is asked for in advance
FIELDS = (
    "hardware.numerics.sampler=vllm",
    "hardware.vllm.own_process=true",
    "hardware.vllm.cpu_cache_gib=0.5",
    "hardware.numerics.threads=1",
    "sampling.importance_cap=2",
    "evaluation.every=100000",
    "evaluation.prompts=8",
    "record.checkpoint_every=100000",
)
WAYS = {"one after the other": 0, "one step off": 1}
PARTS = {"step": "time/step", "waits for sampling": "time/rollout", "weights": "time/sync", "update": "time/update"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlap")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    given, overrides = parser.parse_known_args()
    seconds: dict[str, dict[str, list[float]]] = {way: defaultdict(list) for way in WAYS}
    with TemporaryDirectory(prefix="align_lab-") as folder:
        for number in range(given.rounds):
            for way, staleness in WAYS.items():
                fields = [f"train.steps={given.steps}", f"sampling.staleness={staleness}", *overrides]
                for row in rows_of(Path(folder), f"round{number}_{staleness}", fields):
                    for part, key in PARTS.items():
                        seconds[way][part].append(row.get(key, 0.0))
    print(table({way: {part: statistics.median(parts[part]) for part in PARTS} for way, parts in seconds.items()}))
    return 0


def rows_of(place: Path, study: str, fields: Sequence[str]) -> list[dict[str, float]]:
    """The rows of the steps of a new run that count. Raises CalledProcessError if it fails."""
    code = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "align_lab", f"study={study}", *FIELDS, *fields]
    environment = {**os.environ, "PYTHONPATH": code, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
    (file,) = (place / "runs" / study).glob("*/metrics.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["step"] > FIRST]


def table(medians: dict[str, dict[str, float]]) -> str:
    """Median seconds of a step and of its parts, in Markdown, and what was gained."""
    lines = [f"| sampling | {' | '.join(PARTS)} |", f"|---|{'---:|' * len(PARTS)}"]
    lines += [f"| {way} | {' | '.join(f'{parts[p]:.3f} s' for p in PARTS)} |" for way, parts in medians.items()]
    before, off = medians.values()
    hidden = 1 - off["waits for sampling"] / before["waits for sampling"]
    gained = before["step"] / off["step"]
    longer = off["update"] / before["update"]
    return "\n".join(
        [*lines, "", f"hidden: {hidden:.0%} of sampling; steps {gained:.2f} x as fast; updates {longer:.2f} x as long"]
    )


if __name__ == "__main__":
    sys.exit(main())
