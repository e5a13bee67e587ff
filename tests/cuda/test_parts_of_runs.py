"""What else belongs to a run works on a GPU, with the processor's results: stages, LoRA, models of transformers,
recomputation, resuming, evaluation, two GPUs."""

from __future__ import annotations

import dataclasses
import os
import signal
from contextlib import nullcontext

import pytest
import torch

from align_lab.base.errors import Stopped
from align_lab.base.paths import runs_folder
from align_lab.models.llama import Llama
from align_lab.models.lora_settings import Lora
from align_lab.models.sft_settings import FineTuning, Sft
from align_lab.record.console import Screen
from align_lab.run import evaluation, processes
from align_lab.train.loop import Loop
from tests.cuda.pretended import pretended_cuda
from tests.cuda.ranks import train_on_one_of_two
from tests.cuda.runs import Trained, as_on_a_gpu, config, train
from tests.wiring.conftest import MODEL, REWARD_MODEL, choice

RLOO = ("algo=rloo", "train.group_size=2")
TINY = {"name": "tiny", "vocab": 280, "width": 16, "layers": 2, "heads": 2, "kv_heads": 1, "mlp": 24, "context": 32}
TINY |= {"sft": dataclasses.asdict(Sft(epochs=4.0, batch_tokens=64)), "lora": dataclasses.asdict(Lora())}


def equal(there: Trained, here: Trained) -> None:
    """The same rows, completions and weights, to the bit."""
    assert there.machine.counts.launches
    assert there.rows == here.rows
    assert there.samples == here.samples
    assert there.weights.keys() == here.weights.keys()
    assert all(torch.equal(there.weights[name], here.weights[name]) for name in here.weights)


def test_start_policy_reward_model_and_pairs_are_built_on_the_gpu(tmp_path, monkeypatch):
    trained = {}
    for device in ("cuda", "cpu"):  # each builds its own
        monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / f"cache of {device}"))
        cfg = config("algo=dpo", study=device, device=device, reward=REWARD_MODEL, model=TINY)
        trained[device] = train(cfg)
    equal(trained["cuda"], trained["cpu"])


def test_no_hot_loop_has_a_default_device(monkeypatch):
    """There it would cost every call of torch: sampling, scoring and the passes of an update name their devices."""
    seen, through, run = [], Llama._through, Loop.run

    def watched(self, *inputs):
        seen.append(torch.get_default_device())
        return through(self, *inputs)

    def run_watched(self):
        monkeypatch.setattr(Llama, "_through", watched)
        run(self)

    monkeypatch.setattr(Loop, "run", run_watched)
    train(config("algo=ppo", study="hot", device="cuda"))
    assert len(seen) > 20 and set(seen) == {torch.device("cpu")}


def test_adapters():
    model = {**MODEL, "lora": dataclasses.asdict(Lora(rank=2))}
    there, here = (train(config(*RLOO, study=d, device=d, model=model)) for d in ("cuda", "cpu"))
    equal(there, here)
    assert all(".lora_" in name for name in there.weights)


@pytest.mark.parametrize("sft", [0.0, 1.0])
def test_a_model_of_transformers(tmp_path, sft):
    pytest.importorskip("transformers")
    from tests.models.test_hf import folder

    model = {
        "name": "hf",
        "path": str(folder(tmp_path / "qwen2", "qwen2", template=None)),
        "revision": None,
        "chat": False,
        "sft": dataclasses.asdict(FineTuning(epochs=sft)),
        "lora": dataclasses.asdict(Lora()),
    }
    there, here = (train(config(*RLOO, study=d, device=d, model=model)) for d in ("cuda", "cpu"))
    equal(there, here)


def test_recomputed_activations():
    numerics = {"gradient_checkpointing": True}
    there = train(config(*RLOO, study="recomputed", device="cuda", numerics=numerics))
    equal(there, train(config(*RLOO, study="kept", device="cuda")))


RESUMED = {
    "ppo": lambda: (("algo=ppo",), {}),
    "in the middle of a round": lambda: choice("iterative_dpo"),
    "with completions that wait": lambda: ((*RLOO, "sampling.staleness=1", "sampling.importance_cap=2"), {}),
}


@pytest.mark.parametrize(
    "case", ["ppo", *(pytest.param(name, marks=pytest.mark.nightly) for name in RESUMED if name != "ppo")]
)
def test_a_run_that_was_stopped_goes_on(monkeypatch, case):
    overrides, fields = RESUMED[case]()
    finish = Loop._finish

    def stop_after_one(loop, row):
        finish(loop, row)
        if loop.progress.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    cfg = config(*overrides, study="stopped", device="cuda", **fields)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(Loop, "_finish", stop_after_one)
        train(cfg)
    assert [row["step"] for row in Trained(runs_folder() / cfg.study / cfg.name).rows] == [0, 1]
    equal(train(cfg), train(config(*overrides, study="whole", device="cuda", **fields)))


def test_an_evaluation_of_a_finished_run():
    cfg = config(*RLOO, study="evaluated", device="cuda")
    trained = train(cfg)
    found = {}
    for name, place in (
        ("there", pretended_cuda()),
        ("here", nullcontext()),
    ):  # where there is no GPU, it takes the CPU
        with place, as_on_a_gpu():
            found[name], new = evaluation.evaluate(trained.path, cfg, Screen(), name=name)
            assert new
    assert [one["about"]["device"] for one in found.values()] == ["cuda", "cpu"]
    assert found["there"]["metrics"] == found["here"]["metrics"]
    assert found["there"]["metrics"]["eval/score"]["value"] == trained.rows[-1]["eval/score"]


def test_two_gpus():
    numerics = {"dtype": "float32"}  # in bfloat16, each update would differ by more
    two = {"tasks_per_node": 2, "gpus_per_node": 2}
    cfg = config(*RLOO, study="two", device="cuda", numerics=numerics, placement=two)
    path = runs_folder() / cfg.study / cfg.name
    assert processes.run(train_on_one_of_two, cfg, path, count=2) == 0
    alone = train(config(*RLOO, study="one", device="cuda", numerics=numerics))
    for row, expected in zip(Trained(path).rows, alone.rows, strict=True):
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-6)
