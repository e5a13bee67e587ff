"""Whole runs with vLLM through the command line, on the real data: recorded, compared, killed and continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from align_lab.base.paths import cache_folder
from align_lab.models.convert import from_hf
from tests.rollout.vllm_here import needs_vllm

pytestmark = needs_vllm
SMALL = [
    "model.width=32",
    "model.layers=1",
    "model.heads=1",
    "model.kv_heads=1",
    "model.mlp=48",
    "model.vocab=512",
    "model.sft.epochs=0.1",
    "reward.epochs=0.1",
    "evaluation.prompts=16",
    "evaluation.every=1000",
    "train.steps=60",
    "train.lr=1e-3",
    "train.prompts_per_step=4",
    "record.checkpoint_every=1000",
    "sampling.max_new_tokens=8",
    "algo=rloo",
    "hardware.numerics.sampler=vllm",
    "hardware.vllm.cpu_cache_gib=0.1",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vllm_runs")
    if (known := cache_folder() / "downloads").is_dir():
        (folder / "cache").mkdir()
        (folder / "cache" / "downloads").symlink_to(known)
    return folder


def start(place, *overrides):
    words = [sys.executable, "-m", "align_lab", *SMALL, *overrides]
    env = {**os.environ, "ALIGN_LAB_CACHE": str(place / "cache")}
    return subprocess.Popen(words, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(place, *overrides):
    process = start(place, *overrides)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def folder_of(place, study):
    (found,) = [path for path in (place / "runs" / study).iterdir() if path.is_dir()]
    return found


def rows(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]


@pytest.fixture(scope="module")
def whole(place):
    """Undisturbed, vLLM in the run's own process."""
    status, out, err = run(place, "study=whole")
    assert status == 0, out + err
    return folder_of(place, "whole"), err


def test_a_run_says_how_far_sampler_and_trainer_are_apart(whole):
    path, said = whole
    found = rows(path)
    assert [row["step"] for row in found] == list(range(61))
    for row in found[1:]:
        assert row["sampling/sampling_logp_difference/max"] < 1e-4
        assert (
            row["sampling/importance_sampling_ratio/min"] <= 1 <= row["sampling/importance_sampling_ratio/max"] + 1e-6
        )
    assert found[-1]["eval/kl"] > 0.05  # the weights did change
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["hashes"]["sampler"].startswith("vllm 0.3") and "Traceback" not in said


def test_a_worker_that_is_killed_stops_the_run_and_the_same_command_continues(place, whole):
    """In a process of its own, beside a run that had it in its own: the rows are the same."""
    fields = ("study=killed", "hardware.vllm.own_process=true")
    process = start(place, *fields)
    worker = first_row_and_worker(place, process, after=5)
    os.kill(worker, signal.SIGKILL)
    began = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 1
    assert (
        "the process of vLLM has ended with status -9" in err and "again to continue" in err and "Traceback" not in err
    )
    path = folder_of(place, "killed")
    assert json.loads((path / "status.json").read_text())["state"] == "failed"
    saved = max(int(folder.name.removeprefix("step-")) for folder in (path / "checkpoints").glob("step-*"))
    assert saved == len(rows(path)) - 1 >= 5  # nothing that was learned is lost, whatever checkpoint_every
    status, out, err = run(place, *fields)
    assert status == 0 and f"continuing after step {saved}" in out, err
    for ours, theirs in zip(rows(path), rows(whole[0]), strict=True):
        assert ours.keys() == theirs.keys()
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4), ours["step"]


def first_row_and_worker(place, process, after):
    """The process number of vLLM's worker, once the run has logged step `after`."""
    until = time.monotonic() + 180
    while time.monotonic() < until and process.poll() is None:
        logs = list((place / "runs" / "killed").glob("*/metrics.jsonl"))
        if logs and logs[0].read_text().count("\n") > after:
            return worker_of(process.pid)
        time.sleep(0.005)
    raise AssertionError(f"the run ended too early: {process.communicate()}")


def worker_of(parent):
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            mine = f"\nPPid:\t{parent}\n" in status.read_text()
            if mine and b"vllm_worker" in (status.parent / "cmdline").read_bytes():
                return int(status.parent.name)
        except OSError:
            continue
    raise AssertionError("there is no worker")


def test_runs_of_vllm_and_of_torch_are_not_compared(place, whole):
    status, out, err = run(place, "study=whole", "hardware.numerics.sampler=torch", "train.steps=1", "seed=1")
    assert status == 0, err
    words = [sys.executable, "-m", "align_lab", "compare", "whole"]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "hardware.numerics.sampler" in done.stderr


def test_two_processes_have_a_worker_each_and_act_as_one(place, whole):
    """One torch.distributed group; its rows are those of one process, but for the order of sums."""
    port = 20_000 + os.getpid() % 10_000
    fields = ["study=two", "train.steps=3"]
    processes = []
    for rank in (0, 1):
        env = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ALIGN_LAB_CACHE": str(place / "cache")}
        words = [sys.executable, "-m", "align_lab", *SMALL, *fields]
        processes.append(
            subprocess.Popen(
                words, cwd=place, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    said = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    for ours, theirs in zip(rows(folder_of(place, "two"))[:4], rows(whole[0])[:4], strict=True):
        for key in ours.keys() & theirs.keys():
            if key != "lr" and not key.startswith("eval/"):
                assert ours[key] == pytest.approx(theirs[key], rel=2e-2, abs=1e-3), (ours["step"], key)


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        (["model.heads=2", "model.kv_heads=2"], 1, "head_dim=16"),
        (["sampling.max_new_tokens=95"], 1, "more than the model's context of 96"),
        (["hardware.numerics.dtype=float64"], 2, "vLLM computes in float32 or bfloat16"),
        (["hardware.vllm.tolerance=1e-12"], 1, "disagree on the log-probabilities of the same tokens"),
    ],
)
def test_what_cannot_be_is_said_with_the_way_out(place, fields, status, says):
    got, out, err = run(place, "study=wrong", *fields)
    assert got == status and says in err, err
    assert "Traceback" not in err


LOADS = """
import os, sys
os.environ["VLLM_LOGGING_LEVEL"], os.environ["VLLM_CPU_KVCACHE_SPACE"] = "ERROR", "1"
if __name__ == "__main__":
    from vllm import LLM, SamplingParams
    llm = LLM(sys.argv[1], dtype="float32", enforce_eager=True, max_model_len=32)
    answer = llm.generate([sys.argv[2]], SamplingParams(temperature=0, max_tokens=8, ignore_eos=True))[0]
    print("ids", *answer.prompt_token_ids, *answer.outputs[0].token_ids)
"""


def test_an_export_loads_in_plain_vllm_and_says_what_the_policy_says(place, whole, tmp_path):
    """As anybody would serve it: none of our code is in that process."""
    path, prompt = whole[0], "the film is"
    env = {**os.environ, "ALIGN_LAB_CACHE": str(place / "cache")}
    command = [sys.executable, "-m", "align_lab", "export", str(path), str(tmp_path / "served")]
    subprocess.run(command, cwd=place, env=env, check=True, capture_output=True)
    (tmp_path / "serve.py").write_text(LOADS)
    served = subprocess.run(
        [sys.executable, tmp_path / "serve.py", tmp_path / "served", prompt],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert served.returncode == 0, served.stderr[-3000:]
    said = next(line.split()[1:] for line in served.stdout.splitlines() if line.startswith("ids "))
    ids = torch.tensor([[int(token) for token in said]])
    model = from_hf(tmp_path / "served")
    new, hidden = 8, model.hidden(ids)
    logits = (hidden @ model.head.T)[0, -new - 1 : -1]
    assert (logits.max(-1).values - logits.gather(-1, ids[0, -new:, None])[:, 0]).max() < 1e-3  # the likeliest token
