"""Generation with the torch sampler, with vLLM and with transformers.generate; and the cost of transferring weights.

    .venv-vllm/bin/python benchmarks/engines.py [--rounds 5] [--threads 2] [--only tiny] [--json FILE]

It runs in the environment of vLLM (make vllm-env): prompts of 32 tokens, 32 new tokens, float32, no end-of-sequence
token. Each contender is a process that stays alive; every round takes one batch from each in turn. vLLM gets new
weights before every batch. With one thread, tokens per second are computed from CPU time, which other work on the
machine distorts less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import shape
from shape import NEW
from trainers import Contender

from align_lab.base.paths import cache_folder
from align_lab.models.convert import to_hf
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.smollm2 import SmolLM2
from align_lab.models.tiny import Tiny

ROWS = {"tiny": 64, "15m": 32, "smollm2_135m": 16}
THREADS = {"tiny": 1}  # as in a run of this model
TARGETS = {  # least speed relative to transformers.generate
    "tiny": {"torch": 1.5},  # a token takes less time than vLLM needs to schedule the next
    "15m": {"torch": 1.0, "vllm": 1.9},
    "smollm2_135m": {"torch": 1.0, "vllm": 1.9},
}
SYNC = 0.05  # target: the largest share of a step for transferring weights
METHODS = ("torch", "vllm", "generate", "step")
Numbers = dict[str, dict[str, float]]


def folder_of(model: str, work: Path) -> Path:
    """A Hugging Face folder: random weights with the sizes of `tiny` or of `shape.py`; or SmolLM2, converted once."""
    if model == "15m":
        shape.write(work / model)
        return work / model
    if model == "tiny":
        sizes = {name: getattr(Tiny(), name) for name in LlamaConfig.__dataclass_fields__ if hasattr(Tiny(), name)}
        to_hf(Llama(LlamaConfig(**sizes)), work / "tiny")
        return work / "tiny"
    folder = cache_folder() / "benchmarks" / model
    if not (folder / "config.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        SmolLM2().build(folder, None)
    return folder


def measure(model: str, rounds: int, threads: int) -> Numbers:
    """method -> medians, tokens per second, and the share of the weight transfer, by wall time or CPU time."""
    with tempfile.TemporaryDirectory() as work:
        folder, rows = folder_of(model, Path(work)), ROWS[model]
        contenders = [
            Contender(method, model, [sys.executable, "sampler_worker.py", method, str(folder), str(rows)], threads)
            for method in METHODS
        ]
        for number in range(rounds + 1):  # the first round warms up
            for contender in contenders:
                contender.step(record=number > 0)
            print(f"{model}: round {number} of {rounds}", file=sys.stderr)
        for contender in contenders:
            contender.close()
    clock = "cpu_seconds" if threads == 1 else "seconds"
    return {contender.name: medians(contender.rows, rows, clock) for contender in contenders}


def medians(rows: list[dict[str, float]], count: int, clock: str) -> dict[str, float]:
    def median(key: str) -> float:
        return statistics.median(row.get(key, 0.0) for row in rows)

    shares = [row.get(f"sync_{clock}", 0.0) / row[clock] for row in rows]
    return {
        **{key: median(key) for key in ("seconds", "cpu_seconds", f"sync_{clock}")},
        "tokens_per_second": count * NEW / (median(clock) - median(f"sync_{clock}")),
        "sync_share": statistics.median(shares),
    }


def claims(model: str, by: Numbers) -> dict[str, bool]:
    """Each target, and whether this run reaches it."""
    results = {}
    for method, least in TARGETS[model].items():
        ratio = by[method]["tokens_per_second"] / by["generate"]["tokens_per_second"]
        results[f"{model}: {method} generates {ratio:.2f} x as fast as transformers.generate, at least {least}"] = (
            ratio >= least
        )
    share = by["step"]["sync_share"]
    results[f"{model}: transferring the weights takes {share:.1%} of a step, at most {SYNC:.0%}"] = share <= SYNC
    return results


def table(results: dict[str, Numbers]) -> str:
    lines = [f"{'model':14s}{'method':10s}{'s':>8s}{'CPU s':>8s}{'sync %':>8s}{'tok/s':>9s}{'x gen.':>8s}"]
    for model, by in results.items():
        base = by["generate"]["tokens_per_second"]
        for method, x in by.items():
            rate = f"{x['tokens_per_second']:9.0f}{x['tokens_per_second'] / base:8.2f}" if method != "step" else ""
            lines.append(
                f"{model:14s}{method:10s}{x['seconds']:8.3f}{x['cpu_seconds']:8.3f}{100 * x['sync_share']:8.1f}{rate}"
            )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of the larger models; the tiny one has one thread")
    parser.add_argument("--only", choices=list(ROWS), action="append")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    models = options.only or list(ROWS)
    results = {model: measure(model, options.rounds, THREADS.get(model, options.threads)) for model in models}
    print(table(results))
    for model, by in results.items():
        print(*(f"{'yes' if holds else 'NO':4s}{claim}" for claim, holds in claims(model, by).items()), sep="\n")
    if options.json:
        options.json.write_text(
            json.dumps({"rounds": options.rounds, "threads": options.threads, "results": results}, indent=1)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
