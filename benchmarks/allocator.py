"""Time and memory of a training step with the settings of `align_lab.run.allocator`, and with the system's defaults.

    python benchmarks/allocator.py --rounds 8 --threads 2

Medians of one interleaved run of the steps of `trainers.py`. Each contender is a separate process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import shape
from trainers import Contender

KINDS = {"grpo": "RL step", "dpo": "DPO step"}
SETTINGS = {"align_lab": [], "system defaults": ["system"]}  # name -> arguments of our_worker.py


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        shape.write(Path(work))
        contenders = [
            Contender(name, kind, [sys.executable, "our_worker.py", work, kind, *arguments], options.threads)
            for kind in KINDS
            for name, arguments in SETTINGS.items()
        ]
        for number in range(options.rounds + 1):  # the first round warms up
            for contender in contenders:
                contender.step(record=number > 0)
        for contender in contenders:
            baseline = next(other for other in contenders if other.kind == contender.kind).summary()
            result = contender.summary()
            time, memory = (result[key] / baseline[key] for key in ("seconds", "peak_mb"))
            print(
                f"{KINDS[contender.kind]:10s}{contender.name:20s}{result['seconds']:6.2f} s ({time:4.2f} x)"
                f"{result['peak_mb']:7.0f} MB ({memory:4.2f} x)"
            )
            contender.close()


if __name__ == "__main__":
    main()
