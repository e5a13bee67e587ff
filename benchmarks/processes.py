"""One update by two processes: plain torch and DeepSpeed's stages here, PyTorch's own DDP, and one process alone, interleaved.

    python benchmarks/processes.py [--rounds 7] [--json FILE]

Needs pip install "align_lab[deepspeed]". Each process has one thread; every round asks each contender for one step, in turn,
of which the update of 32 sequences counts. All run the same loop: only what adds the gradients up and steps is another.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import shape
from trainers import Contender

WAYS = ("alone", "torch", "ddp", "zero0", "zero1", "zero2", "zero3")
MOST = 1.0  # times DDP


def measure(rounds: int) -> dict[str, float]:
    """way -> median seconds of an update."""
    with tempfile.TemporaryDirectory() as work:
        shape.write(Path(work))
        contenders = [Contender(way, "update", [sys.executable, "process_worker.py", way, work], 1) for way in WAYS]
        for number in range(rounds + 2):  # the first two warm up
            for contender in contenders:
                contender.step(record=number > 1)
        for contender in contenders:
            contender.close()
    return {c.name: statistics.median(row["update"] for row in c.rows) for c in contenders}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    asked = parser.parse_args()
    found = measure(asked.rounds)
    print(f"{'way':8s}{'ms':>8s}{'x DDP':>8s}")
    for way, seconds in found.items():
        print(f"{way:8s}{1000 * seconds:8.0f}{seconds / found['ddp']:8.2f}")
    for way in ("torch", "zero0", "zero1", "zero2", "zero3"):
        ratio = found[way] / found["ddp"]
        print(f"{'yes' if ratio <= MOST else 'NO':4s}{way}: {ratio:.2f} x DDP, at most {MOST}")
    if asked.json:
        asked.json.write_text(json.dumps({"rounds": asked.rounds, "seconds": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
