"""What `align_lab.run.allocator` gives: a training step's time and memory, beside the same step with the system's own settings.

    python benchmarks/allocator.py --rounds 8 --threads 2

Medians of one interleaved run of the steps of `trainers.py`, each in a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import shape
from trainers import Contender

KINDS = {"grpo": "RL step", "dpo": "DPO step"}
WAYS = {"as a run has it": [], "the system's own": ["system"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        shape.write(Path(work))
        contenders = [
            Contender(way, kind, [sys.executable, "our_worker.py", work, kind, *words], asked.threads)
            for kind in KINDS
            for way, words in WAYS.items()
        ]
        for number in range(asked.rounds + 1):  # the first round warms up
            for contender in contenders:
                contender.step(record=number > 0)
        for one in contenders:
            first = next(other for other in contenders if other.kind == one.kind).summary()
            mine = one.summary()
            time, memory = mine["seconds"] / first["seconds"], mine["peak_mb"] / first["peak_mb"]
            print(
                f"{KINDS[one.kind]:10s}{one.name:20s}{mine['seconds']:6.2f} s ({time:4.2f} x){mine['peak_mb']:7.0f} MB ({memory:4.2f} x)"
            )
            one.close()


if __name__ == "__main__":
    main()
