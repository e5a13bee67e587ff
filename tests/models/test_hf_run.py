"""Complete runs of `model=hf` through the command line: with and without LoRA, export, and models that are rejected."""

import json
import os

import pytest
import torch

from tests import forked
from tests.models.test_hf import folder

pytestmark = pytest.mark.nightly

transformers = pytest.importorskip("transformers")
SMALL = [
    "reward=vader",
    "evaluation.prompts=8",
    "evaluation.every=2",
    "train.steps=2",
    "train.prompts_per_step=4",
    "train.lr=0.01",
    "sampling.max_new_tokens=8",
    "preferences.pairs=16",
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, shared_cache):
    """A folder with two small models."""
    path = tmp_path_factory.mktemp("hf_runs")
    (path / "cache").symlink_to(shared_cache)
    for kind in ("llama", "qwen2"):
        folder(path / kind, kind)
    return path


def align_lab(workspace, *args):
    return forked.run(args, cwd=workspace, env={**os.environ, "ALIGN_LAB_CACHE": str(workspace / "cache")})


def run(workspace, study, *overrides):
    done = align_lab(workspace, f"study={study}", "model=hf", *SMALL, *overrides)
    assert done.returncode == 0, done.stderr
    (path,) = [path for path in (workspace / "runs" / study).iterdir() if path.is_dir()]
    return path


def weights(path):
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    return {name: value.detach() for name, value in model.named_parameters()}


@pytest.mark.parametrize(
    ("kind", "overrides"),
    [
        ("llama", ["algo=ppo", "model.chat=false"]),
        ("llama", ["algo=rloo", "model.lora.rank=4"]),
        ("qwen2", ["algo=dpo", "model.lora.rank=4", "model.chat=false"]),
    ],
)
def test_a_run_trains_the_model_and_its_export_loads_in_transformers(workspace, tmp_path, kind, overrides):
    path = run(workspace, f"{kind}{len(overrides)}{overrides[0][5:]}", f"model.path={workspace / kind}", *overrides)
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2] and rows[-1]["eval/kl"] > 0
    out = tmp_path / "out"
    done = align_lab(workspace, "export", str(path), str(out))
    assert done.returncode == 0, done.stderr
    before, after = weights(workspace / kind), weights(out)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and (("model.norm.weight" in changed) == ("model.lora.rank=4" not in overrides))
    assert transformers.AutoTokenizer.from_pretrained(out).eos_token == "</s>"


def test_runs_with_different_instructions_are_not_comparable(workspace):
    """The instruction is a setting: a chat model gets it in its template, so it changes every prompt."""
    overrides = [f"model.path={workspace / 'llama'}", "algo=rloo", "train.steps=1"]
    run(workspace, "instructed", *overrides)
    other = ["seed=1", "data.instruction='Say: {prompt}'"]
    done = align_lab(workspace, "study=instructed", "model=hf", *SMALL, *overrides, *other)
    assert done.returncode == 0, done.stderr
    comparison = align_lab(workspace, "compare", "instructed")
    assert comparison.returncode == 3 and "data.instruction" in comparison.stderr


def test_validation_rejects_a_model_that_cannot_be_loaded(workspace, tmp_path):
    path = folder(tmp_path / "bin", "llama")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    done = align_lab(workspace, "model=hf", f"model.path={path}", "study=none")
    assert done.returncode == 2 and "only safetensors are loaded" in done.stderr and "Traceback" not in done.stderr
    done = align_lab(
        workspace,
        "model=hf",
        f"model.path={workspace / 'llama'}",
        "algo=ppo_max",
        "study=none",
        "algo.critic_init=reward",
    )
    assert done.returncode == 2 and "algo.critic_init=policy" in done.stderr
    assert not (workspace / "runs" / "none").exists()
