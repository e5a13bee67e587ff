"""The memory of fine-tuning before a run, and of the reward models that a run holds."""

import json
import re
import subprocess
import sys

import pytest

from align_lab import preflight
from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.config.composition import compose
from align_lab.config.inner_rewards import expanded
from align_lab.preflight.fine_tuning import fine_tuning
from align_lab.preflight.reward_training import of_body, reward_training
from align_lab.rewards.hf_classifier import HFClassifier
from tests.data.written import questions, write

SMOLLM2 = 134_515_008  # weights of SmolLM2-135M
GIB = 2**30
registry.scan()
SFT = ("model=smollm2_135m", "model.sft.epochs=1")


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("case", "most"), [("fine_tuning", 1.6), ("pair_training", 1.3), ("pair_model", 1.5), ("classifier", 1.5)]
)
def test_the_estimate_is_the_peak_within_bounds(case, most):
    """Measured: 1.4, 1.0, 1.3 and 1.3 of the peak."""
    if case == "classifier":
        pytest.importorskip("transformers")
    command = [sys.executable, "-m", "tests.preflight.measured_stages", case]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert 0.87 < result["estimate_mib"] / result["peak_mib"] < most, result


def test_fine_tuning_trains_all_weights_also_where_the_run_trains_adapters():
    full, adapted = (fine_tuning(compose([*SFT, *more]), gpu=True) for more in ((), ("model.lora.rank=8",)))
    assert full is not None and full == adapted
    assert full.persistent == pytest.approx(
        {"weights": 4 * SMOLLM2 / GIB, "gradients": 4 * SMOLLM2 / GIB, "optimizer state": 8 * SMOLLM2 / GIB}
    )
    assert fine_tuning(compose(["model=smollm2_135m"]), gpu=True) is None


def test_a_job_that_requests_too_little_for_fine_tuning_is_refused_with_a_batch_that_fits():
    cfg = compose([*SFT, "hardware=slurm_gpu", "hardware.placement.gpu_memory_gib=80"])
    preflight.check_requested(cfg, gpu=True)
    values = {**cfg.values, "hardware": {**cfg["hardware"], "placement": {**cfg["hardware"]["placement"]}}}
    values["hardware"]["placement"]["gpu_memory_gib"] = 5
    with pytest.raises(ConfigError, match=r"Set model.sft.batch_tokens=(\d+) .* or model.sft.epochs=0") as error:
        preflight.check_requested(values, gpu=True)
    tokens = int(str(error.value).split("batch_tokens=")[1].split()[0])
    values["model"] = {**values["model"], "sft": {**values["model"]["sft"], "batch_tokens": tokens}}
    preflight.check_requested(values, gpu=True)
    values["hardware"]["placement"]["gpu_memory_gib"] = 1
    with pytest.raises(ConfigError, match="Use a smaller model or a larger machine"):
        preflight.check_requested(values, gpu=True)


def classifier(folder, dtype):
    """A folder with a config and weights of 1,000 bytes."""
    folder.mkdir()
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps({**sizes, "vocab_size": 99, "dtype": dtype, "num_labels": 1}))
    (folder / "model.safetensors").write_bytes(bytes(1000))
    return str(folder)


def test_a_classifier_counts_its_file_in_the_precision_in_which_it_is_loaded(tmp_path):
    path = classifier(tmp_path / "c", "bfloat16")
    assert HFClassifier(path=path).memory({}).weights == 1000
    wide = HFClassifier(path=path, dtype="float32", batch_tokens=100).memory({})
    assert wide.weights == 2000 and wide.forward == 100 * (9 * 16 + 6 * 8) * 4
    assert HFClassifier(path="some/where", revision="a" * 40).memory({}).weights == 0


def test_reward_judges_and_what_they_hold_are_in_the_estimate(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    pairs = [{**row, "chosen": f"{n} of them", "rejected": "no"} for n, row in enumerate(questions(60))]
    data = ["data=files", f"data.preferences={write(tmp_path / 'pairs.jsonl', pairs)}", "model=smollm2_135m"]
    small = classifier(tmp_path / "c", "float32")
    judge = expanded("judge", {"name": "hf_classifier", "path": small})
    noisy = expanded("judge", {"name": "noise", "of": "reward_model"})
    values = compose([*data, "reward=reward_model"]).values
    cfg = {**values, "evaluation": {**values["evaluation"], "judges": {"a": judge, "b": noisy}}}
    workload = preflight.workload_of(cfg, gpu=False)
    assert workload is not None and workload.scorers.weights == 2 * 4 * SMOLLM2 + 1000
    assert workload.scorers.forward == 8192 * (9 * 1536 + 6 * 576) * 4 / 2  # our own Llama
    assert preflight.estimate(workload).persistent["reward models"] == pytest.approx(2 * 4 * SMOLLM2 / GIB, rel=1e-4)
    alone = preflight.workload_of(compose([*data, "reward=length"]), gpu=False)
    assert alone is not None and preflight.estimate(alone).persistent["reward models"] == 0


def pairs_file(tmp_path, words):
    rows = [{**row, "chosen": "yes " * words, "rejected": "no"} for row in questions(60)]
    return write(tmp_path / "pairs.jsonl", rows)


def test_the_training_of_a_reward_model_is_estimated_by_its_longest_pair(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    data = ["data=files", f"data.preferences={pairs_file(tmp_path, 100)}", "model=smollm2_135m", "model.lora.rank=8"]
    cfg = compose([*data, "reward=reward_model", "reward.batch=4", "evaluation.judges.b={name:noise,of:reward_model}"])
    body = reward_training(cfg, "reward")
    assert body is not None and (body.batch, body.rows) == (4, 2) and 200 < body.longest < 280
    need = of_body(body, gpu=True)
    assert need.persistent == pytest.approx(
        {"weights": 4 * SMOLLM2 / GIB, "gradients": 4 * SMOLLM2 / GIB, "optimizer state": 8 * SMOLLM2 / GIB}
    )
    inside = reward_training(cfg, "judges.b.reward")
    assert inside is not None and inside.batch == 16 and inside.longest == body.longest
    assert reward_training(cfg, "judges.b") is None and reward_training(cfg, "policy") is None


def test_a_job_that_requests_too_little_for_a_reward_model_is_refused_with_a_batch_that_fits(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    data = ["data=files", f"data.preferences={pairs_file(tmp_path, 400)}", "model=smollm2_135m", "reward=length"]
    judge = "evaluation.judges.b={name:noise,of:reward_model}"
    cfg = compose([*data, judge, "hardware=slurm_gpu", "hardware.placement.gpu_memory_gib=80"])
    preflight.check_reward_training_requested(cfg, "judges.b.reward", gpu=True)
    place = {**cfg["hardware"]["placement"], "gpu_memory_gib": 20}
    values = {**cfg.values, "hardware": {**cfg["hardware"], "placement": place}}
    with pytest.raises(ConfigError) as error:
        preflight.check_reward_training_requested(values, "judges.b.reward", gpu=True)
    text = str(error.value)
    assert "training the reward model (evaluation.judges.b.of) needs about" in text
    assert re.search(r"Set evaluation\.judges\.b\.of\.batch=[1248] \(", text)
    place["gpu_memory_gib"] = 1
    with pytest.raises(ConfigError, match=r"smaller evaluation\.judges\.b\.of\.backbone or a larger machine"):
        preflight.check_reward_training_requested(values, "judges.b.reward", gpu=True)
