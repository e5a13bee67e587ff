"""Whole runs of other people's models through the command line: with adapters and without, exported, refused."""

import json
import os
import subprocess
import sys

import pytest
import torch

from align_lab.base.paths import cache_folder
from tests.models.test_hf import folder

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
def place(tmp_path_factory):
    here = tmp_path_factory.mktemp("hf_runs")
    if (known := cache_folder() / "downloads").is_dir():
        (here / "cache").mkdir()
        (here / "cache" / "downloads").symlink_to(known)
    for kind in ("llama", "qwen2"):
        folder(here / kind, kind)
    return here


def align_lab(place, *args):
    return subprocess.run(
        [sys.executable, "-m", "align_lab", *args],
        cwd=place,
        env={**os.environ, "ALIGN_LAB_CACHE": str(place / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
    )


def run(place, study, *overrides):
    done = align_lab(place, f"study={study}", "model=hf", *SMALL, *overrides)
    assert done.returncode == 0, done.stderr
    (path,) = [path for path in (place / "runs" / study).iterdir() if path.is_dir()]
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
def test_it_trains_and_its_export_loads_in_transformers(place, tmp_path, kind, overrides):
    path = run(place, f"{kind}{len(overrides)}{overrides[0][5:]}", f"model.path={place / kind}", *overrides)
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2] and rows[-1]["eval/kl"] > 0
    out = tmp_path / "out"
    done = align_lab(place, "export", str(path), str(out))
    assert done.returncode == 0, done.stderr
    before, after = weights(place / kind), weights(out)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and (("model.norm.weight" in changed) == ("model.lora.rank=4" not in overrides))
    assert transformers.AutoTokenizer.from_pretrained(out).eos_token == "</s>"


def test_a_chat_model_is_given_the_instruction_in_its_own_template(place):
    """Another instruction is another setting: other samples, and a comparison that says so."""
    asked = [f"model.path={place / 'llama'}", "algo=rloo", "train.steps=1"]
    run(place, "asked", *asked)
    done = align_lab(place, "study=asked", "model=hf", *SMALL, *asked, "seed=1", "data.instruction='Say: {prompt}'")
    assert done.returncode == 0, done.stderr
    refused = align_lab(place, "compare", "asked")
    assert refused.returncode == 3 and "data.instruction" in refused.stderr


def test_what_cannot_be_loaded_stops_before_anything_starts(place, tmp_path):
    path = folder(tmp_path / "bin", "llama")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    done = align_lab(place, "model=hf", f"model.path={path}", "study=none")
    assert done.returncode == 2 and "only safetensors are loaded" in done.stderr and "Traceback" not in done.stderr
    done = align_lab(
        place, "model=hf", f"model.path={place / 'llama'}", "algo=ppo_max", "study=none", "algo.critic_init=reward"
    )
    assert done.returncode == 2 and "algo.critic_init=policy" in done.stderr
    assert not (place / "runs" / "none").exists()
