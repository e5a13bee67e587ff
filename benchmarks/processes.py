"""One update by two processes with engine=torch, DeepSpeed ZeRO 0 to 3 and PyTorch's DDP, and by a single process.

    python benchmarks/processes.py [--rounds 7] [--json FILE]

Needs pip install "align_lab[deepspeed]". Each process has one thread. Every round takes one step from each contender in
turn; the update of 32 sequences is what is measured. All run the same loop, and differ only in what sums gradients and
updates the weights.
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

METHODS = ("alone", "torch", "ddp", "zero0", "zero1", "zero2", "zero3")
MOST = 1.0  # target, relative to DDP


def measure(rounds: int) -> dict[str, float]:
    """method -> median seconds of an update."""
    with tempfile.TemporaryDirectory() as work:
        shape.write(Path(work))
        contenders = [
            Contender(method, "update", [sys.executable, "process_worker.py", method, work], 1) for method in METHODS
        ]
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
    options = parser.parse_args()
    results = measure(options.rounds)
    print(f"{'method':8s}{'ms':>8s}{'x DDP':>8s}")
    for method, seconds in results.items():
        print(f"{method:8s}{1000 * seconds:8.0f}{seconds / results['ddp']:8.2f}")
    for method in ("torch", "zero0", "zero1", "zero2", "zero3"):
        ratio = results[method] / results["ddp"]
        print(f"{'yes' if ratio <= MOST else 'NO':4s}{method}: {ratio:.2f} x DDP, at most {MOST}")
    if options.json:
        options.json.write_text(json.dumps({"rounds": options.rounds, "seconds": results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
