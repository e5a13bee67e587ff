"""TRL's trainers and ours on the same task, start policy, prompts, reward and budget, judged by the same evaluation.

    python -m benchmarks.trl_study --seeds 5                     resumable: finished seeds are not computed again
    python -m benchmarks.trl_study --seeds 1 --steps 4 --arm dpo --folder /tmp/try     a try

The default task (movie reviews, model=tiny). Writes FOLDER/study.json and FOLDER/study.md. TRL is installed in an
environment of its own at the first run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from align_lab.base.files import write_json
from benchmarks.trl_study.arms import ARMS
from benchmarks.trl_study.report import compared, markdown
from benchmarks.trl_study.running import result


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trl_study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ...")
    parser.add_argument("--steps", type=int, help="steps of a run (default: those of the task)")
    parser.add_argument("--arm", choices=list(ARMS), action="append", help="default: all")
    parser.add_argument("--folder", type=Path, default=Path("runs") / "beside_trl", help="for results and our runs")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = {}
    for seed in range(options.seeds):
        for name in options.arm or ARMS:
            results.setdefault(name, []).append(result(ARMS[name], seed, options.steps, options.folder))
            print(f"{name}, seed {seed}: done", file=sys.stderr)
            write_json(options.folder / "study.json", {"results": results, "compared": compared(results)})
            (options.folder / "study.md").write_text(markdown(results), encoding="utf-8")
    print(markdown(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
