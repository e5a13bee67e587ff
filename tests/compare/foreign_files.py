"""Files as other programs leave them, written by hand: their formats and names, values of our own."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def trl_state(folder: Path, rewards: Sequence[float], *, evals: Sequence[float] = (), step: int = 0) -> Path:
    """trainer_state.json of a GRPO run: one row per step, an evaluation after every second one, and the summary."""
    history: list[dict[str, Any]] = []
    for i, reward in enumerate(rewards, 1):
        history.append(
            {
                "clip_ratio/high_max": 0.0,
                "completions/clipped_ratio": 0.25,
                "completions/max_length": 32.0,
                "completions/mean_length": 20.0 + i,
                "entropy": 1.5,
                "epoch": i / 10,
                "frac_reward_zero_std": 0.0,
                "grad_norm": 0.4,
                "kl": 0.01 * i,
                "learning_rate": 1e-06,
                "loss": 0.0,
                "num_tokens": 512.0 * i,
                "reward": reward,
                "reward_std": 0.3,
                "rewards/good_film/mean": reward,
                "step": i,
            }
        )
        if i % 2 == 0 and evals:
            history.append(
                {"epoch": i / 10, "eval_loss": 0.0, "eval_reward": evals[i // 2 - 1], "eval_runtime": 2.5, "step": i}
            )
    history.append({"epoch": 1.0, "step": len(rewards), "total_flos": 0.0, "train_loss": 0.1, "train_runtime": 60.0})
    state = {
        "best_global_step": None,
        "best_metric": None,
        "best_model_checkpoint": None,
        "epoch": 1.0,
        "eval_steps": 2,
        "global_step": step or len(rewards),
        "is_hyper_param_search": False,
        "log_history": history,
        "logging_steps": 1,
        "max_steps": len(rewards),
        "trial_params": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trainer_state.json").write_text(json.dumps(state, indent=2))
    return folder


def trl_ppo_state(folder: Path, scores: Sequence[float]) -> Path:
    """trainer_state.json of the older PPO trainer, whose names are ours."""
    history = [
        {"episode": 64 * i, "objective/kl": 0.5 * i, "objective/scores": score, "objective/rlhf_reward": score - 0.1,
         "policy/entropy_avg": 2.0, "val/ratio": 1.0, "lr": 1e-06, "epoch": i / 10, "step": i}
        for i, score in enumerate(scores, 1)
    ]  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": len(scores), "log_history": history}))
    return folder


def verl_log(path: Path, scores: Sequence[float], *, val: Sequence[float] = (), torn: str = "") -> Path:
    """PROJECT/EXPERIMENT.jsonl of verl's file logger; validation before training and behind every second step."""
    name = "val-core/openai/gsm8k/reward/mean@1"
    rows = [{"step": 0, "data": {name: val[0], "val-aux/num_turns/mean": 1.0}}] if val else []
    for i, score in enumerate(scores, 1):
        data = {
            "training/global_step": i,
            "training/epoch": 0,
            "critic/score/mean": score,
            "critic/score/max": 1.0,
            "critic/rewards/mean": score - 0.01,
            "actor/entropy": 0.3,
            "actor/kl_loss": 0.001 * i,
            "response_length/mean": 200.0,
            "timing_s/step": 30.5,
        }
        if val and i % 2 == 0:
            data[name] = val[i // 2]
        rows.append({"step": i, "data": data})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + torn)
    return path


def openrlhf_rows(path: Path, rewards: Sequence[float]) -> Path:
    """What OpenRLHF logs of each step, under the names that its W&B logger gives them."""
    rows = [
        {"train/global_step": i, "train/reward": reward, "train/return": reward, "train/kl": 0.01 * i,
         "train/response_length": 100.0, "train/total_length": 150.0, "train/policy_loss": 0.1, "train/actor_lr": 1e-6}
        for i, reward in enumerate(rewards, 1)
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def wandb_chart(path: Path, metric: str, runs: dict[str, Sequence[float]]) -> Path:
    """A chart as the web page of W&B exports it: of every run its values with bounds, empty where it has none."""
    names = [name for run in runs for name in (f"{run} - {metric}", f"{run} - {metric}__MIN", f"{run} - {metric}__MAX")]
    longest = max(map(len, runs.values()))
    with path.open("w", newline="") as file:
        table = csv.writer(file, quoting=csv.QUOTE_ALL)
        table.writerow(["Step", *names])
        for i in range(longest):
            cells = [str(values[i]) if i < len(values) else "" for values in runs.values() for _ in range(3)]
            table.writerow([str(10 * i), *cells])
    return path


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        table.writeheader()
        table.writerows(rows)
    return path
