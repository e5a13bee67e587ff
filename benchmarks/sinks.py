"""Overhead of W&B and Trackio logging for the training thread, relative to the run folder alone.

    python benchmarks/sinks.py [--steps 200] [--rounds 3] [--work 0.02]

The kinds of record take turns in one process; W&B is measured offline and with a server that hangs. A step is `--work`
seconds of arithmetic on one thread, then one row (with an evaluation and its completions at every tenth step) into the
journal of a run. Printed for each kind, over all rounds: the time of the journal per step, that of the arithmetic
(which shares the cores with the uploading process), and the wait at the end of the run.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import tempfile
import time
from contextlib import chdir
from pathlib import Path

import numpy as np
from rich.console import Console

from align_lab.base import registry
from align_lab.config.composition import compose
from align_lab.record.console import Screen
from align_lab.record.folder import RunFolder
from align_lab.run.journal import Journal

KINDS = {
    "local": (["record=local"], {}),
    "wandb offline": (["record=wandb", "record.mode=offline"], {}),
    "wandb, hanging server": (
        ["record=wandb", "record.mode=online", "record.finish_seconds=5"],
        {"WANDB_API_KEY": "0" * 40},
    ),
    "trackio": (["record=trackio"], {}),
}
METRICS = (
    "objective/kl",
    "objective/scores",
    "objective/entropy",
    "policy/approxkl_avg",
    "policy/clipfrac_avg",
    "loss/policy_avg",
    "lr",
)
EVALUATED = (
    "eval/score",
    "eval/gold_score",
    "eval/vader",
    "eval/kl",
    "eval/win_rate",
    "eval/length",
    "eval/entropy",
    "eval/distinct_2",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=float, default=0.02)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, socket.socket() as server, chdir(place):
        server.bind(("127.0.0.1", 0))
        server.listen()  # accepts connections and never answers
        os.environ |= {
            "WANDB_BASE_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
            "TRACKIO_DIR": f"{place}/trackio",
        }
        os.environ |= {"ALIGN_LAB_CACHE": f"{place}/cache", "WANDB_ERROR_REPORTING": "false"}
        kinds = {
            kind: setup
            for kind, setup in KINDS.items()
            if kind == "local" or registry.installed(kind.split()[0].strip(","))
        }
        size = calibrate(options.work)
        results = {kind: [] for kind in kinds}
        for turn in range(options.rounds):
            for kind, (overrides, extra) in kinds.items():
                os.environ |= extra
                results[kind].append(measure(overrides, turn, options.steps, size))
                for name in extra:
                    del os.environ[name]
    report(results)


def measure(overrides: list[str], turn: int, steps: int, size: int) -> tuple[list[float], list[float], float]:
    """Seconds of the journal for each step, of the arithmetic for each step, and of the end of the run."""
    cfg = compose([*overrides, f"seed={turn}", f"train.steps={steps}", f"study={overrides[-1].replace('=', '-')}"])
    folder = RunFolder.create(Path("runs") / cfg["study"] / cfg.name, cfg.values)
    journal = Journal(folder, registry.build("record", cfg["record"]), Screen(console=Console(quiet=True)), steps=steps)
    journal.screen.start(step=0, steps=steps)
    manifest = {"signature": cfg.signature, "seed": turn, "choices": dict(cfg.choices), "hashes": {}, "artefacts": {}}
    journal.manifest(lambda: {**manifest, "code": {}, "versions": {}, "machine": {}, "best_step": 0})
    logging, working = [], []
    for step in range(steps + 1):
        began = time.perf_counter()
        arithmetic(size)
        done = time.perf_counter()
        if step % 10 == 0:
            journal.log_samples(
                [
                    {"step": step, "index": i, "prompt": "The film", "completion": "is " * 20, "score": 0.1}
                    for i in range(384)
                ]
            )
        journal.log(
            {
                "step": step,
                "episode": 64 * step,
                **dict.fromkeys(METRICS, 0.5),
                **(dict.fromkeys(EVALUATED, 0.5) if step % 10 == 0 else {}),
            }
        )
        logging.append(time.perf_counter() - done)
        working.append(done - began)
    journal.done()
    began = time.perf_counter()
    journal.sink.close()
    return logging, working, time.perf_counter() - began


def arithmetic(size: int) -> None:
    matrix = np.ones((200, 200))
    for _ in range(size):
        matrix = matrix @ matrix / 200


def calibrate(seconds: float) -> int:
    """The number of products that take this long."""
    size = 1
    while True:
        began = time.perf_counter()
        arithmetic(size)
        if time.perf_counter() - began >= seconds:
            return size
        size *= 2


def report(results: dict[str, list[tuple[list[float], list[float], float]]]) -> None:
    base = statistics.median(seconds for logging, _, _ in results["local"] for seconds in logging)
    print(f"{'':<22}{'journal per step':>18}{'over local':>15}{'arithmetic':>13}{'end':>9}")
    for kind, rounds in results.items():
        logging = statistics.median(seconds for logging, _, _ in rounds for seconds in logging)
        working = statistics.median(seconds for _, working, _ in rounds for seconds in working)
        end = statistics.mean(end for _, _, end in rounds)
        print(
            f"{kind:<22}{1e3 * logging:>15.3f} ms{1e3 * (logging - base):>+12.3f} ms"
            f"{1e3 * working:>10.2f} ms{end:>7.2f} s"
        )


if __name__ == "__main__":
    main()
