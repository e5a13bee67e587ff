"""The first run on a machine: the time of each stage, with all instructions of the CPU and with AVX2 alone.

    python benchmarks/first_run.py --rounds 3

Each run is a whole process with an empty cache except for the downloaded data; the two kinds take turns. Reported are
medians of wall time and of CPU time, which other work on the machine distorts less.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from align_lab.base.download import fetch
from align_lab.stages.store import CARD
from align_lab.tasks.movie_reviews.reviews import VADER

KINDS = {
    "all instructions": {},
    "AVX2 alone": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
REST = "training, evaluation, start-up"
TOTAL = "the first run"
Times = dict[str, tuple[float, float]]  # name of a part -> wall seconds, CPU seconds


def first_run(instructions: dict[str, str], downloads: Path) -> Times:
    """Run once from an empty cache, and take the times of its stages from what it built."""
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "cache"
        cache.mkdir()
        (cache / "downloads").symlink_to(downloads)
        env = {**os.environ, **instructions, "ALIGN_LAB_CACHE": str(cache)}
        began, processor = time.perf_counter(), cpu_seconds()
        command = [sys.executable, "-m", "align_lab", "algo=reinforce_pp"]
        subprocess.run(command, cwd=scratch, env=env, check=True, stdout=subprocess.DEVNULL)
        total = time.perf_counter() - began, cpu_seconds() - processor
        cards = [json.loads(card.read_text()) for card in (cache / "artefacts").glob(f"*/{CARD}")]
    stages = {card["label"]: (card["seconds"], card["cpu_seconds"]) for card in cards}
    built = tuple(sum(times[i] for times in stages.values()) for i in (0, 1))
    return {**stages, REST: (total[0] - built[0], total[1] - built[1]), TOTAL: total}


def cpu_seconds() -> float:
    """User and system time of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    downloads = fetch(VADER).parent.resolve()
    runs: dict[str, list[Times]] = {kind: [] for kind in KINDS}
    for number in range(1, rounds + 1):
        for kind, instructions in KINDS.items():
            runs[kind].append(first_run(instructions, downloads))
            wall, processor = runs[kind][-1][TOTAL]
            print(f"round {number}, {kind}: {wall:.0f} s, {processor:.0f} s of CPU time", file=sys.stderr)
    full, avx2 = (
        {part: [statistics.median(run[part][i] for run in runs[kind]) for i in (0, 1)] for part in runs[kind][0]}
        for kind in KINDS
    )
    print("| | all instructions: wall; CPU, s | AVX2 alone: wall; CPU, s | ratio of CPU times |")
    print("|---|---|---|---|")
    for part in sorted(full, key=lambda part: full[part][1]):
        times = [f"{side[part][0]:.0f}; {side[part][1]:.0f}" for side in (full, avx2)]
        print(f"| {part} | {times[0]} | {times[1]} | {avx2[part][1] / full[part][1]:.2f} |")


if __name__ == "__main__":
    main()
