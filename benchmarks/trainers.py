"""One RL step and one DPO step of this project, of TRL 1.16 and of a bare loop, in one interleaved run.

    python benchmarks/trainers.py [--rounds 5] [--threads 2] [--quick] [--json FILE]

Each contender is a process that stays alive; every round takes one step from each in turn, so that all run under the
same conditions. Ratios are of medians. With one thread the verdicts use CPU time, which other work on the machine
distorts less. TRL is installed in an environment of its own at the first run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import shape
import torch
from trl_environment import trl_python

HERE = Path(__file__).parent
TRUSTED = {"grpo": 1.6, "dpo": 3.0}  # the bare loop is a fair baseline if TRL takes this many times as long
MOST = 1.1  # target, relative to the bare loop, in time and in memory


class Contender:
    """A worker process and its measurements."""

    def __init__(self, name: str, kind: str, command: list[str], threads: int) -> None:
        self.name, self.kind, self.rows = name, kind, []
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_VERBOSITY": "error",
            "PYTHONPATH": str(HERE.parent),
        }
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
            cwd=HERE,
        )
        self._read()

    def step(self, *, record: bool) -> None:
        assert self.process.stdin is not None
        print("go", file=self.process.stdin, flush=True)
        row = self._read()
        if record:
            self.rows.append(row)

    def _read(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            sys.exit(f"{self.name} {self.kind} exited:\n{self.log.read().decode()[-4000:]}")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(timeout=60)

    def summary(self) -> dict[str, float]:
        median = {key: statistics.median(row[key] for row in self.rows) for key in ("seconds", "cpu_seconds")}
        peak = {key: max(row[key] for row in self.rows) for key in ("peak_mb", "work_mb")}
        return median | peak | {"samples_per_second": shape.ROWS / median["seconds"]}


def measure(kinds: list[str], rounds: int, threads: int) -> dict[str, dict[str, dict[str, float]]]:
    """kind -> contender -> medians."""
    theirs = str(trl_python())
    with tempfile.TemporaryDirectory() as work:
        shape.write(Path(work))
        commands = {
            "align_lab": [sys.executable, "our_worker.py"],
            "trl": [theirs, "trl_worker.py"],
            "bare": [theirs, "bare_loop.py"],
        }
        contenders = [
            Contender(name, kind, [*command, work, kind], threads)
            for kind in kinds
            for name, command in commands.items()
        ]
        for number in range(rounds + 1):  # the first round warms up
            for contender in contenders:
                contender.step(record=number > 0)
            print(f"round {number} of {rounds}", file=sys.stderr)
        for contender in contenders:
            contender.close()
    return {kind: {c.name: c.summary() for c in contenders if c.kind == kind} for kind in kinds}


def verdicts(results: dict[str, dict[str, dict[str, float]]], clock: str) -> dict[str, bool]:
    """Each claim about time (`clock`) and memory, and whether this run confirms it."""
    claims = {}
    for kind, by in results.items():
        ours, trl, bare = by["align_lab"], by["trl"], by["bare"]
        if kind in TRUSTED:
            ratio, least = trl[clock] / bare[clock], TRUSTED[kind]
            text = f"{kind}: the bare loop is a fair baseline (TRL takes {ratio:.2f} x its time, at least {least})"
            claims[text] = ratio >= least
        claims[f"{kind}: faster than TRL"] = ours[clock] < trl[clock]
        claims[f"{kind}: at most {MOST} x the bare loop's time"] = ours[clock] <= MOST * bare[clock]
        claims[f"{kind}: at most {MOST} x the bare loop's peak memory"] = ours["peak_mb"] <= MOST * bare["peak_mb"]
    return claims


COLUMNS = {
    "seconds": ("s", ".2f"),
    "cpu_seconds": ("CPU s", ".2f"),
    "peak_mb": ("peak MB", ".0f"),
    "work_mb": ("net MB", ".0f"),
}


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Every column is followed by its ratio to that of this project. net MB: the peak without the memory of imports."""
    names = [text for title, _ in COLUMNS.values() for text in (title, "x ours")]
    lines = [_line("step", "contender", [*names, "samples/s"])]
    for kind, by in results.items():
        for name, x in by.items():
            pairs = [
                (format(x[key], form), f"{x[key] / by['align_lab'][key]:.2f}") for key, (_, form) in COLUMNS.items()
            ]
            cells = [text for pair in pairs for text in pair]
            lines.append(_line(shape.CONTENDERS[kind], name, [*cells, f"{x['samples_per_second']:.1f}"]))
    return "\n".join(lines)


def _line(step: str, contender: str, cells: list[str]) -> str:
    return f"{step:17s}{contender:11s}" + "".join(f"{cell:>10}" for cell in cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--only", choices=list(shape.CONTENDERS), action="append")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    results = measure(options.only or list(shape.CONTENDERS), rounds, options.threads)
    claims = verdicts(results, "cpu_seconds" if options.threads == 1 else "seconds")
    print(table(results), *(f"{'yes' if holds else 'NO':4s}{claim}" for claim, holds in claims.items()), sep="\n")
    report = json.dumps(
        {
            "rounds": rounds,
            "threads": options.threads,
            "torch": torch.__version__,
            "results": results,
            "claims": claims,
        },
        indent=2,
    )
    print(report)
    if options.json:
        options.json.write_text(report + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
