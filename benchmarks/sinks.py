"""What a board costs the training thread: steps with the folder alone, and shown on W&B (offline; a server that hangs) and Trackio.

    python benchmarks/sinks.py [--steps 200] [--rounds 3] [--work 0.02]

One process; the kinds take turns. A step is arithmetic of `--work` seconds on one thread, then one row (with an evaluation and its
completions at every tenth) into the journal of a run. Printed for each kind, over all rounds: the journal's time a step, the
arithmetic's (a feeding process takes turns with it where cores are few), and what the end of the run waited.
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
    "wandb, server hangs": (
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
JUDGED = (
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
    with tempfile.TemporaryDirectory() as place, socket.socket() as silent, chdir(place):
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes calls, says nothing
        os.environ |= {
            "WANDB_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "TRACKIO_DIR": f"{place}/trackio",
        }
        os.environ |= {"ALIGN_LAB_CACHE": f"{place}/cache", "WANDB_ERROR_REPORTING": "false"}
        kinds = {
            kind: how
            for kind, how in KINDS.items()
            if kind == "local" or registry.installed(kind.split()[0].strip(","))
        }
        size = calibrated(options.work)
        found = {kind: [] for kind in kinds}
        for turn in range(options.rounds):
            for kind, (overrides, extra) in kinds.items():
                os.environ |= extra
                found[kind].append(one(overrides, turn, options.steps, size))
                for name in extra:
                    del os.environ[name]
    report(found)


def one(overrides: list[str], turn: int, steps: int, size: int) -> tuple[list[float], list[float], float]:
    """(journal's seconds of each step, arithmetic's seconds of each step, seconds of the end)"""
    cfg = compose([*overrides, f"seed={turn}", f"train.steps={steps}", f"study={overrides[-1].replace('=', '-')}"])
    folder = RunFolder.create(Path("runs") / cfg["study"] / cfg.name, cfg.values)
    journal = Journal(folder, registry.build("record", cfg["record"]), Screen(console=Console(quiet=True)), steps=steps)
    journal.screen.start(step=0, steps=steps)
    about = {"signature": cfg.signature, "seed": turn, "choices": dict(cfg.choices), "hashes": {}, "artefacts": {}}
    journal.manifest(lambda: {**about, "code": {}, "versions": {}, "machine": {}, "best_step": 0})
    told, worked = [], []
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
                **(dict.fromkeys(JUDGED, 0.5) if step % 10 == 0 else {}),
            }
        )
        told.append(time.perf_counter() - done)
        worked.append(done - began)
    journal.done()
    began = time.perf_counter()
    journal.sink.close()
    return told, worked, time.perf_counter() - began


def arithmetic(size: int) -> None:
    matrix = np.ones((200, 200))
    for _ in range(size):
        matrix = matrix @ matrix / 200


def calibrated(seconds: float) -> int:
    size = 1
    while True:
        began = time.perf_counter()
        arithmetic(size)
        if time.perf_counter() - began >= seconds:
            return size
        size *= 2


def report(found: dict[str, list[tuple[list[float], list[float], float]]]) -> None:
    base = statistics.median(seconds for told, _, _ in found["local"] for seconds in told)
    print(f"{'':<22}{'journal a step':>16}{'more than local':>17}{'arithmetic':>13}{'end':>9}")
    for kind, rounds in found.items():
        told = statistics.median(seconds for told, _, _ in rounds for seconds in told)
        worked = statistics.median(seconds for _, worked, _ in rounds for seconds in worked)
        end = statistics.mean(end for _, _, end in rounds)
        print(f"{kind:<22}{1e3 * told:>13.3f} ms{1e3 * (told - base):>+14.3f} ms{1e3 * worked:>10.2f} ms{end:>7.2f} s")


if __name__ == "__main__":
    main()
