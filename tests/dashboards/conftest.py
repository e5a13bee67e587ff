"""A study of made-up runs, and W&B's library, which warns of its own use of pydantic when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.compare.folders import write_run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import wandb_workspaces.reports.v2
    import wandb_workspaces.workspaces  # noqa: F401

KEY = "k" * 40


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


LOGGED = (
    "eval_vader", "eval_win_rate", "eval_entropy", "eval_distinct_2", "eval_repetition", "eval_ended", "lr",
    "time_step",
    "time_rollout", "time_score", "time_update", "time_samples_per_second", "loss_policy_avg",
)  # fmt: skip
SAMPLED = ("objective_scores", "objective_kl", "objective_rlhf_reward", "policy_approxkl_avg", "policy_entropy_avg")
OF = {"rloo": SAMPLED, "ppo": (*SAMPLED, "loss_value_avg"), "dpo": ("rewards_margins", "rewards_accuracies")}


def write_study(folder: Path) -> Path:
    """Three arms of three seeds, one of them named by its sweep; one run that failed."""
    for place, (algo, arm) in enumerate((("rloo", "large"), ("ppo", ""), ("dpo", ""))):
        for seed in range(3):
            gold = (0.0, 0.2 + 0.1 * place + 0.01 * seed, 0.3 + 0.3 * place + 0.02 * seed * (place + 1))
            logged = dict.fromkeys([*LOGGED, *OF[algo]], (0.5, 0.6, 0.7))
            write_run(folder, algo, seed, gold, config={"arm": arm}, samples=(0.1, 0.5 * place, 0.3), **logged)
    write_run(folder, "ppo", 3, status={"state": "failed", "error": "out of memory"})
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of its own with runs/three, without any key but the environment's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    for name in [name for name in os.environ if name.startswith("WANDB_")] + ["NETRC"]:
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    write_study(tmp_path / "runs" / "three")
    return tmp_path


def dashboard(*args: str, url: str = "http://127.0.0.1:9", key: str = KEY, code: str = "", seconds: int = 30) -> Ended:
    """The command as a user gives it; without a key for key="". code: run by the interpreter before the command.

    seconds: how long a server is waited for.
    """
    given = {"WANDB_BASE_URL": url, "WANDB_HTTP_TIMEOUT": str(seconds), **({"WANDB_API_KEY": key} if key else {})}
    command = ["wandb", "dashboard", *args]
    start = ["-c", f"{code}\nimport sys; from align_lab.__main__ import main; sys.exit(main({command}))"]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        where = {"stdout": out, "stderr": err}  # files, not pipes: a process that stays behind would keep these open
        how = start if code else ["-m", "align_lab", *command]
        ended = subprocess.run([sys.executable, *how], env={**os.environ, **given}, timeout=600, **where)
        out.seek(0), err.seek(0)
        return Ended(ended.returncode, out.read(), err.read())
