"""How long a comparison takes: of a study of 25 runs, and of a large study from its run folders and from its index.

    python benchmarks/compare.py --runs 1000
    python benchmarks/compare.py --runs 10000 --rounds 2     # 2 GB in the temporary folder, two minutes

Each figure is the median over fresh processes, including start-up and imports; beside it are the time without them and
the peak memory. The large study consists of run folders as training writes them: metrics.parquet (500 rows x 30
metrics; in one run of a hundred only metrics.jsonl), manifest, status, and the completions of the last evaluation. The
baselines are bare polars scans of the same files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from align_lab.base.metrics import METRICS
from align_lab.base.roles import role
from align_lab.record.layout import COMPACTED, RunLayout

MEASURE = """
import json, resource, sys, time
from pathlib import Path
folder, index = Path(sys.argv[1]), Path(sys.argv[1]) / ".compare"
{imports}
began = time.perf_counter()
{work}
inside = time.perf_counter() - began
print(json.dumps([inside, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]))
"""
ANALYZE = ("from align_lab.compare.analysis import analyze", "analyze([folder])")
FILES = "files = sorted(folder.glob('*/metrics.parquet'))"
JUDGED = ("eval/gold_score", "eval/vader", "eval/gold_score_se")  # the columns of two judges
FRESH, INDEXED = "compare from folders, writing the index", "compare with the index"
WORK = {
    FRESH: ANALYZE,
    INDEXED: ANALYZE,
    "scan of all columns": ("import polars as pl", f"{FILES}; pl.scan_parquet(files).collect()"),
    "scan of the columns needed": (
        "import polars as pl; from align_lab.compare.evaluations import columns",
        f"{FILES}; pl.scan_parquet(files).select(columns({JUDGED}).names).collect()",
    ),
    "scan of the index": (
        "import polars as pl",
        "pl.collect_all([pl.scan_parquet(index / name) for name in ('runs.parquet', 'answers.parquet')])",
    ),
    "scan of all rows in one file": ("import polars as pl", "pl.scan_parquet(folder / '.all.parquet').collect()"),
}
BASELINES = {
    FRESH: ["scan of all columns", "scan of the columns needed"],
    INDEXED: ["scan of the index", "scan of all rows in one file"],
}
EVALS = list(dict.fromkeys([*JUDGED, *(name for name in METRICS if name.startswith("eval/"))]))
COUNTS = {"step": 1, "episode": 64, "budget/labels": 64}  # the same in every run
COSTS = {"budget/tokens": 1100, "budget/flops": 4.5e10, "time/elapsed": 1.1}  # differ a little between runs
TRAINING = [name for name in METRICS if name.startswith(("objective/", "policy/", "loss/", "val/", "completions/"))]
PROMPTS = 384


def rows(rng: np.random.Generator, steps: int, every: int, metrics: int) -> dict[str, np.ndarray]:
    """Columns of a metrics table [steps + 1], nan where nothing is recorded. Each run has a final score of its own."""
    step = np.arange(steps + 1)
    table: dict[str, np.ndarray] = {name: step * float(size) for name, size in COUNTS.items()}
    table |= {name: step * size * rng.normal(1, 0.03) for name, size in COSTS.items()}
    for name in TRAINING[: metrics - len(table) - len(EVALS)]:
        table[name] = rng.random(steps + 1)
    for name in EVALS:
        values = step / steps * rng.normal(1, 0.1) + 0.02 * rng.normal(size=steps + 1)
        table[name] = np.where(step % every == 0, values, np.nan)
    return table


def manifest(algo: str, seed: int) -> dict[str, Any]:
    config = {f"model.field_{i}": i for i in range(60)} | {f"train.field_{i}": 0.1 * i for i in range(20)}
    config |= {"study": "large", "seed": seed, "arm": algo, "algo.name": algo, "algo.kl_coef": 0.05, "train.steps": 500}
    config |= {"evaluation.metric": "eval/gold_score", "evaluation.judges.gold_score.name": "gold"}
    config |= {"evaluation.judges.vader.name": "vader"}
    assert all(role(key) for key in config)
    return {
        "seed": seed,
        "choices": {"algo": algo, "model": "tiny"},
        "config": config,
        "hashes": dict.fromkeys(
            ("data", "policy", "gold", "reward", "evaluation_prompts", "source", "torch"), "0123abcd"
        ),
        "machine": {"cpu": "one"},
        "spent": {"episodes": 32000, "tokens": 550000, "labels": 32000, "device_seconds": 550.0, "flops": 2.2e13},
    }


def write_run(path: Path, algo: str, seed: int, table: dict[str, np.ndarray], *, compacted: bool) -> None:
    import polars as pl

    path.mkdir(parents=True)
    RunLayout(path).config.write_text("study: large\n")
    RunLayout(path).manifest.write_text(json.dumps(manifest(algo, seed), indent=1))
    RunLayout(path).status.write_text(json.dumps({"state": "done", "step": int(table["step"][-1])}))
    if compacted:
        pl.DataFrame(table, nan_to_null=True).write_parquet(RunLayout(path).compacted)
        return
    lines = (zip(table, row, strict=True) for row in np.stack(list(table.values()), axis=1).tolist())
    text = "".join(json.dumps({name: value for name, value in line if value == value}) + "\n" for line in lines)
    RunLayout(path).metrics.write_text(text)


def samples(rng: np.random.Generator, steps: list[int]) -> str:
    text = " of the film is a wonderful and surprising story, and one of the very engaging movies of the year"
    return "".join(
        json.dumps(
            {"step": step, "index": i, "prompt": f"prompt {i}", "completion": text, "ended": True, "length": 20}
            | {name: rng.normal() for name in ("kl", "entropy_sum", "score", "gold_score", "vader")}
        )
        + "\n"
        for step in steps
        for i in range(PROMPTS)
    )


def large(folder: Path, runs: int, arms: int) -> None:
    """Run folders of `runs` runs in `arms` arms. Samples are links to a few files: their content does not matter."""
    rng = np.random.default_rng(0)
    files = [folder.parent / f"samples-{i}.jsonl" for i in range(20)]
    for file in files:
        file.write_text(samples(rng, [500]))
    for i in range(runs):
        algo, seed = f"algo_{i % arms}", i // arms
        path = folder / f"{algo}-tiny-s{seed}-{i:08x}"
        write_run(path, algo, seed, rows(rng, 500, 20, 30), compacted=i % 100 != 99)
        os.link(files[i % len(files)], RunLayout(path).samples)


def small(folder: Path) -> None:
    """25 runs of five arms as training writes them: 60 steps, evaluations and completions at 0, 20, 40 and 60."""
    rng = np.random.default_rng(0)
    for i in range(25):
        path = folder / f"algo_{i % 5}-tiny-s{i // 5}-{i:08x}"
        write_run(path, f"algo_{i % 5}", i // 5, rows(rng, 60, 20, 33), compacted=False)
        RunLayout(path).samples.write_text(samples(rng, [0, 20, 40, 60]))


def measure(work: str, folder: Path) -> tuple[float, float, float]:
    """Seconds of a fresh process, seconds without start-up and imports, peak memory in GiB."""
    imports, code = WORK[work]
    began = time.perf_counter()
    command = [sys.executable, "-c", MEASURE.format(imports=imports, work=code), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    inside, memory = json.loads(done.stdout)
    return time.perf_counter() - began, inside, memory


def medians(works: list[str], folder: Path, rounds: int) -> dict[str, tuple[float, float, float]]:
    """Medians of interleaved rounds after one for warm-up. FRESH removes the index before it compares."""
    results: dict[str, list[tuple[float, float, float]]] = {work: [] for work in works}
    for _ in range(rounds + 1):
        for work in works:
            if work == FRESH:
                shutil.rmtree(folder / ".compare", ignore_errors=True)
            results[work].append(measure(work, folder))
    return {work: tuple(map(statistics.median, zip(*values[1:], strict=True))) for work, values in results.items()}  # type: ignore[misc]


def show(name: str, result: tuple[float, float, float], baseline: tuple[float, float, float] | None = None) -> None:
    """Print one line, with the ratio to a baseline."""
    total, inside, memory = result
    ratio = f"  {total / baseline[0]:4.2f} x (inside {inside / baseline[1]:4.2f} x)" if baseline else ""
    print(f"{name:<68}{total:7.2f} s{inside:8.2f} s inside{memory:6.2f} GiB{ratio}", flush=True)


def write_all_rows(folder: Path) -> None:
    """All rows of all runs in one file, another baseline for the index."""
    import polars as pl

    pl.scan_parquet(sorted(folder.glob(f"*/{COMPACTED}"))).sink_parquet(folder / ".all.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--arms", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compare-") as temporary:
        few, many = Path(temporary) / "small", Path(temporary) / "large"
        small(few)
        show("25 runs, from metrics.jsonl", medians([INDEXED], few, options.rounds)[INDEXED])
        large(many, options.runs, options.arms)
        write_all_rows(many)
        print(f"\n{options.runs:,} runs of {options.arms} arms")
        for compare, scans in BASELINES.items():
            results = medians([*scans, compare], many, options.rounds)
            for scan in scans:
                show(scan, results[scan])
            for scan in scans:
                show(f"{compare} / {scan}", results[compare], results[scan])


if __name__ == "__main__":
    main()
