"""Complete runs with vLLM through the command line: metrics, comparison, a killed engine, several processes, export."""

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
from tests.rollout.vllm_support import needs_vllm

pytestmark = [needs_vllm, pytest.mark.nightly]
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
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vllm_runs")
    if (downloads := cache_folder() / "downloads").is_dir():
        (folder / "cache").mkdir()
        (folder / "cache" / "downloads").symlink_to(downloads)
    return folder


def start(workspace, *overrides):
    command = [sys.executable, "-m", "align_lab", *SMALL, *overrides]
    env = {**os.environ, "ALIGN_LAB_CACHE": str(workspace / "cache")}
    return subprocess.Popen(command, cwd=workspace, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(workspace, *overrides):
    process = start(workspace, *overrides)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def folder_of(workspace, study):
    (folder,) = [path for path in (workspace / "runs" / study).iterdir() if path.is_dir()]
    return folder


def rows(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]


@pytest.fixture(scope="module")
def whole(workspace):
    """An uninterrupted run with vLLM in its own process: its folder and its stderr."""
    status, out, err = run(workspace, "study=whole")
    assert status == 0, out + err
    return folder_of(workspace, "whole"), err


def test_a_run_logs_the_difference_between_sampler_and_trainer(whole):
    path, stderr = whole
    logged = rows(path)
    assert [row["step"] for row in logged] == list(range(61))
    for row in logged[1:]:
        assert row["sampling/sampling_logp_difference/max"] < 1e-4
        assert (
            row["sampling/importance_sampling_ratio/min"] <= 1 <= row["sampling/importance_sampling_ratio/max"] + 1e-6
        )
    assert logged[-1]["eval/kl"] > 0.05  # the weights have changed
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["hashes"]["sampler"].startswith("vllm 0.3") and "Traceback" not in stderr


KILLED = ("study=killed", "hardware.vllm.own_process=true")


def test_a_killed_worker_stops_the_run_and_the_same_command_continues(workspace, whole):
    """The rows equal those of a run with vLLM in its own process."""
    process = start(workspace, *KILLED)
    os.kill(worker_after_step(workspace, process, step=5), signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 1
    assert "the vLLM process exited with status -9" in err
    assert "again to continue" in err and "Traceback" not in err
    path = folder_of(workspace, "killed")
    assert json.loads((path / "status.json").read_text())["state"] == "failed"
    saved = max(int(folder.name.removeprefix("step-")) for folder in (path / "checkpoints").glob("step-*"))
    assert saved == len(rows(path)) - 1 >= 5  # the last step is saved, whatever checkpoint_every is
    status, out, err = run(workspace, *KILLED)
    assert status == 0 and f"continuing after step {saved}" in out, err
    same_rows(rows(path), rows(whole[0]))


def same_rows(actual, expected):
    for row, other in zip(actual, expected, strict=True):
        assert row.keys() == other.keys()
        assert row == pytest.approx(other, rel=1e-3, abs=1e-4), row["step"]


def worker_after_step(workspace, process, step):
    """The process id of vLLM's worker, once the run has logged this step."""
    while process.poll() is None:
        logs = list((workspace / "runs" / "killed").glob("*/metrics.jsonl"))
        if logs and logs[0].read_text().count("\n") > step:
            return worker_of(process.pid)
        time.sleep(0.005)
    raise AssertionError(f"the run ended before step {step}: {process.communicate()}")


def worker_of(parent):
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            is_child = f"\nPPid:\t{parent}\n" in status.read_text()
            if is_child and b"vllm_worker" in (status.parent / "cmdline").read_bytes():
                return int(status.parent.name)
        except OSError:
            continue
    raise AssertionError("there is no worker")


def test_sampling_during_the_update_gives_the_rows_of_sampling_before_it(workspace):
    """An engine in a process of its own overlaps with the update, one in the run's process does not."""
    fields = ["sampling.staleness=1", "sampling.importance_cap=2", "train.steps=12", "record.checkpoint_every=5"]
    for study, own in (("sequence", "false"), ("overlap", "true")):
        status, out, err = run(workspace, f"study={study}", f"hardware.vllm.own_process={own}", *fields)
        assert status == 0, out + err
    overlapped = rows(folder_of(workspace, "overlap"))
    same_rows(overlapped, rows(folder_of(workspace, "sequence")))
    assert [row["sampling/staleness"] for row in overlapped[1:]] == [0.0] + [1.0] * 11
    assert overlapped[-1]["sampling/kl"] > 10 * overlapped[1]["sampling/kl"]  # of other weights, not of rounding alone


def test_runs_with_vllm_and_with_torch_are_not_comparable(workspace, whole):
    status, out, err = run(workspace, "study=whole", "hardware.numerics.sampler=torch", "train.steps=1", "seed=1")
    assert status == 0, err
    command = [sys.executable, "-m", "align_lab", "compare", "whole"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=600)
    assert done.returncode == 3 and "hardware.numerics.sampler" in done.stderr


def test_two_processes_with_a_worker_each_log_the_metrics_of_one_process(workspace, whole):
    """The metrics differ only by the order of sums."""
    port = 20_000 + os.getpid() % 10_000
    fields = ["study=two", "train.steps=3"]
    processes = []
    for rank in (0, 1):
        env = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ALIGN_LAB_CACHE": str(workspace / "cache")}
        command = [sys.executable, "-m", "align_lab", *SMALL, *fields]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        processes.append(subprocess.Popen(command, cwd=workspace, env={**os.environ, **env}, text=True, **pipes))
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    for row, other in zip(rows(folder_of(workspace, "two"))[:4], rows(whole[0])[:4], strict=True):
        for key in row.keys() & other.keys():
            if key != "lr" and not key.startswith("eval/"):
                assert row[key] == pytest.approx(other[key], rel=2e-2, abs=1e-3), (row["step"], key)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        (["model.heads=2", "model.kv_heads=2"], 1, "head_dim=16"),
        (["sampling.max_new_tokens=95"], 1, "more than the model's context of 96"),
        (["hardware.numerics.dtype=float64"], 2, "vLLM computes in float32 or bfloat16"),
        (["hardware.vllm.tolerance=1e-12"], 1, "disagree on the log-probabilities of the same tokens"),
    ],
)
def test_a_run_that_cannot_sample_ends_with_a_message(workspace, fields, status, message):
    returncode, out, err = run(workspace, "study=wrong", *fields)
    assert returncode == status and message in err, err
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


def test_an_export_loads_in_plain_vllm_with_the_same_greedy_tokens(workspace, whole, tmp_path):
    """The process that serves it imports nothing of this package."""
    path, prompt = whole[0], "the film is"
    env = {**os.environ, "ALIGN_LAB_CACHE": str(workspace / "cache")}
    command = [sys.executable, "-m", "align_lab", "export", str(path), str(tmp_path / "served")]
    subprocess.run(command, cwd=workspace, env=env, check=True, capture_output=True)
    (tmp_path / "serve.py").write_text(LOADS)
    served = subprocess.run(
        [sys.executable, tmp_path / "serve.py", tmp_path / "served", prompt],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert served.returncode == 0, served.stderr[-3000:]
    tokens = next(line.split()[1:] for line in served.stdout.splitlines() if line.startswith("ids "))
    ids = torch.tensor([[int(token) for token in tokens]])
    model = from_hf(tmp_path / "served")
    new, hidden = 8, model.hidden(ids)
    logits = (hidden @ model.head.T)[0, -new - 1 : -1]
    assert (logits.max(-1).values - logits.gather(-1, ids[0, -new:, None])[:, 0]).max() < 1e-3  # the most likely token
