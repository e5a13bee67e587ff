"""Whole runs through the command line, on the real data, with models small enough for seconds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from align_lab.base import registry
from align_lab.config.groups import options
from align_lab.record.seal import seal
from tests import forked

registry.scan()
SMALL = [
    "model.width=32",
    "model.layers=1",
    "model.heads=2",
    "model.kv_heads=2",
    "model.mlp=48",
    "model.vocab=512",
    "model.sft.epochs=0.1",
    "reward.epochs=0.1",
    "evaluation.prompts=16",
    "evaluation.every=2",
    "train.steps=4",
    "train.prompts_per_step=4",
    "preferences.pairs=32",
    "record.checkpoint_every=2",
    "sampling.max_new_tokens=8",
]
PAUSING = "plugins=[pause]"


@pytest.fixture(scope="module")
def place(tmp_path_factory, shared_cache):
    """A folder to run in."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "cache").symlink_to(shared_cache)
    shutil.copy(Path(__file__).with_name("pause.py"), folder)
    return folder


def command(*overrides):
    """A run as an interpreter of its own, for tests that send it a signal."""
    return [sys.executable, "-m", "align_lab", *SMALL, *overrides]


def environment(place, **extra):
    return {**os.environ, "ALIGN_LAB_CACHE": str(place / "cache"), **extra}


def run(place, *overrides, **extra):
    """A run of a small model. extra: variables of its environment."""
    return invoke(place, *SMALL, *overrides, **extra)


def invoke(place, *words, **extra):
    return forked.run(words, cwd=place, env=environment(place, **extra))


def folder_of(place, study):
    (folder,) = [path for path in (place / "runs" / study).iterdir() if path.is_dir()]
    return folder


def rows(path):
    """The columns that must repeat exactly: all but times."""
    return [
        {key: value for key, value in json.loads(line).items() if not key.startswith("time/")}
        for line in (path / "metrics.jsonl").read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def whole(place):
    """The uninterrupted run that others are compared with: an interpreter of its own, whose memory is measured."""
    whole = command("algo=rloo", "study=whole", "train.steps=6")
    done = subprocess.run(whole, cwd=place, env=environment(place), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return folder_of(place, "whole"), done.stdout


def test_a_run_writes_its_record_and_prints_its_result(whole):
    path, output = whole
    assert path.name.startswith("rloo-tiny-s0-")
    names = {file.name for file in path.iterdir()}
    assert {
        "config.yaml",
        "manifest.json",
        "metrics.jsonl",
        "metrics.parquet",
        "samples.jsonl",
        "status.json",
        "checkpoints",
    } <= names
    status = json.loads((path / "status.json").read_text())
    assert status["state"] == "done" and status["sealed"] == seal(path) and len(status["sealed"]) == 4
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["spent"]["episodes"] == 6 * 16
    assert {"data", "policy", "reward", "judges.gold_score", "evaluation_prompts", "source"} <= manifest[
        "hashes"
    ].keys()
    assert manifest["metrics"]["eval/gold_score"]["judge"].startswith("right on ")
    memory = manifest["memory"]
    assert memory["micro_batch"] == 16 and memory["peak_gib"] == manifest["spent"]["peak_memory_gib"]
    assert 0.6 < memory["estimate_gib"] / memory["peak_gib"] < 1.7  # of so small a model the libraries are the most
    assert sum(memory["terms"].values()) == pytest.approx(memory["estimate_gib"], abs=0.01)
    assert "memory: about" in output and f"peak {memory['peak_gib']:.2f} GiB" in output
    assert [row["step"] for row in rows(path)] == list(range(7))
    assert [row["step"] for row in rows(path) if "eval/gold_score" in row] == [0, 2, 4, 6]
    samples = [json.loads(line) for line in (path / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 4 * 16 and {"prompt", "completion", "gold_score"} <= samples[0].keys()
    for part in ("gold score", "start", "end", "before", "after", "step 6/6", "Compare with other algorithms"):
        assert part in output


def test_the_same_command_again_does_nothing_and_says_so(place, whole):
    path, _ = whole
    before = (path / "metrics.jsonl").read_bytes()
    again = run(place, "algo=rloo", "study=whole", "train.steps=6")
    assert again.returncode == 0 and "this run is finished" in again.stdout
    assert (path / "metrics.jsonl").read_bytes() == before


def test_a_run_that_cannot_fit_is_refused_before_anything_is_built(place):
    refused = run(place, "algo=rloo", "study=crowded", "hardware.placement.mem_gb=0.2")
    assert refused.returncode == 2 and "hardware.placement.mem_gb" in refused.stderr, refused.stderr
    assert "The largest term is libraries and data" in refused.stderr and "Traceback" not in refused.stderr
    planned = run(place, "algo=rloo", "study=crowded", "hardware.placement.mem_gb=4", "dry_run=true", "seed=1,2", "-m")
    assert planned.returncode == 0 and "memory of rloo on tiny: about" in planned.stdout, (
        planned.stdout + planned.stderr
    )


@pytest.mark.nightly
@pytest.mark.parametrize("algo", options("algo"))
def test_every_algorithms_yaml_composes_builds_and_takes_steps(place, algo):
    fields = ["algo.critic_pretrain_steps=1"] if algo == "ppo_max" else []
    fields += ["train.group_size=2"] if algo in ("sail_pp", "sail_pr", "sail_released") else []
    done = run(place, f"algo={algo}", "study=every", *fields)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(("group", "option"), [("reward", "vader")])
def test_every_other_yaml_takes_steps_too(place, group, option):
    small = [part for part in SMALL if not part.startswith(f"{group}.")]
    done = invoke(place, *small, f"{group}={option}", "study=others")
    assert done.returncode == 0, done.stderr + done.stdout


def interrupted(place, study, number, algo="rloo", after=3, flags=(), steps=6):
    """Start a run that waits after step `after`, send it the signal there, return its exit status and output."""
    process = subprocess.Popen(
        command(*flags, PAUSING, f"algo={algo}", f"study={study}", f"train.steps={steps}"),
        cwd=place,
        env=environment(place, PAUSE_AFTER=str(after)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None:
        logs = list((place / "runs" / study).glob("*/metrics.jsonl"))
        if logs and logs[0].read_text().count("\n") > after:
            process.send_signal(number)
            break
        time.sleep(0.005)
    output = process.communicate()[0]
    return process.returncode, output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_saves_and_the_same_command_continues_bit_for_bit(place, whole, number):
    study = f"signal{int(number)}"
    status, output = interrupted(place, study, number)
    assert status == 75, output
    assert "the same command goes on" in output and "Traceback" not in output
    path = folder_of(place, study)
    assert json.loads((path / "status.json").read_text())["state"] == "stopped"
    done = run(place, PAUSING, "algo=rloo", f"study={study}", "train.steps=6")
    assert done.returncode == 0 and "continuing after step" in done.stdout
    assert rows(path) == rows(whole[0])
    assert (path / "samples.jsonl").read_bytes() == (whole[0] / "samples.jsonl").read_bytes()


@pytest.mark.parametrize("algo", ["rloo", "ppo_max", "dpo"])
def test_a_sigkill_costs_at_most_the_steps_since_the_last_checkpoint(place, whole, algo):
    study = f"killed_{algo}"
    status, _ = interrupted(place, study, signal.SIGKILL, algo=algo)
    assert status == -signal.SIGKILL
    path = folder_of(place, study)
    kept = sorted(int(folder.name.removeprefix("step-")) for folder in (path / "checkpoints").glob("step-*"))
    assert kept[-1] >= 2
    done = run(place, PAUSING, f"algo={algo}", f"study={study}", "train.steps=6")
    assert done.returncode == 0 and "continuing after step" in done.stdout, done.stderr
    other = whole[0]
    if algo != "rloo":
        assert run(place, f"algo={algo}", f"study=whole_{algo}", "train.steps=6").returncode == 0
        other = folder_of(place, f"whole_{algo}")
    assert rows(path) == rows(other)


def test_a_damaged_checkpoint_is_passed_over(place, whole):
    status, _ = interrupted(place, "damaged", signal.SIGKILL, after=4)
    path = folder_of(place, "damaged")
    newest = max((path / "checkpoints").glob("step-*"))
    state = newest / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    done = run(place, "algo=rloo", PAUSING, "study=damaged", "train.steps=6")
    assert done.returncode == 0, done.stderr
    assert f"{newest.name} is damaged" in done.stdout and "Continuing from an earlier checkpoint" in done.stdout
    assert rows(path) == rows(whole[0])


def test_a_run_that_diverges_stops_keeps_its_checkpoint_and_says_why(place):
    done = run(
        place, "algo=rloo", "study=diverged", "train.lr=1e30", "train.max_grad_norm=.inf", "train.warmup_steps=0"
    )
    assert done.returncode == 1
    assert (
        "not finite" in done.stderr and "last good checkpoint is kept" in done.stderr and "Traceback" not in done.stderr
    )
    path = folder_of(place, "diverged")
    assert json.loads((path / "status.json").read_text())["state"] == "failed"
    assert (path / "checkpoints" / "step-000000" / "state.pt").exists()
    compared = invoke(place, "compare", "diverged")
    assert compared.returncode == 2 and "no run" in compared.stderr and "not finite" in compared.stderr


def test_a_folder_that_holds_another_config_is_refused(place, whole):
    path, _ = whole
    copy = place / "runs" / "edited" / path.name
    copy.mkdir(parents=True)
    (copy / "config.yaml").write_text((path / "config.yaml").read_text().replace("  lr: 0.00015", "  lr: 0.0001"))
    done = run(place, "algo=rloo", "study=edited", "train.steps=6")
    assert done.returncode == 2 and "train.lr is 0.0001 there and 0.00015 here" in done.stderr


def test_prompts_that_do_not_fit_the_context_are_named(place):
    done = run(place, "algo=rloo", "study=long", "sampling.max_new_tokens=95")
    assert done.returncode == 1
    assert "more than the model's context of 96" in done.stderr and "Set sampling.max_new_tokens=" in done.stderr


def test_a_cold_cache_without_a_network_says_how_to_fetch_by_hand(tmp_path):
    done = run(tmp_path, "study=offline", PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
    assert done.returncode == 1
    assert "pip download --no-deps --no-binary :all: vaderSentiment==3.3.2" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "cache" / "artefacts").iterdir())


def test_a_full_disk_is_said_and_leaves_nothing_half_written(place, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        (disk / "cache").symlink_to(place / "cache")
        done = run(disk, "algo=rloo", "study=full")
        assert done.returncode == 1
        assert "no space is left" in done.stderr and "Traceback" not in done.stderr
        assert not list(disk.rglob(".step-*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_compare_prints_every_seed_and_refuses_what_is_not_fair(place, whole):
    for seed in (0, 1):
        for algo in ("rloo", "reinforce"):
            assert run(place, f"algo={algo}", "study=fair", f"seed={seed}").returncode == 0
    done = invoke(place, "compare", "fair")
    assert done.returncode == 0, done.stderr
    assert "settings and hashes are equal" in done.stdout and "RLOO" in done.stdout and "REINFORCE" in done.stdout
    assert (place / "runs" / "fair" / "report.html").exists()
    numbers = json.loads(invoke(place, "compare", "fair", "--json").stdout)
    assert {arm["name"]: (arm["n"], arm["seeds"]) for arm in numbers["arms"]} == {
        "rloo": (2, [0, 1]),
        "reinforce": (2, [0, 1]),
    }
    assert run(place, "algo=rloo", "study=fair", "seed=2", "sampling.temperature=0.9").returncode == 0
    refused = invoke(place, "compare", "fair")
    assert refused.returncode == 3
    assert "sampling.temperature: 0.7 in" in refused.stderr and "0.9 in rloo-tiny-s2-" in refused.stderr


def test_an_exported_policy_loads_in_transformers_with_the_same_logits(place, whole, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path, _ = whole
    done = invoke(place, "export", f"whole/{path.name}", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    theirs, tokenizer = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "out"),
        AutoTokenizer.from_pretrained(tmp_path / "out"),
    )
    from align_lab.models.policy import load_policy

    ours = load_policy(tmp_path / "out")
    text = "The film is a good film"
    ids = torch.tensor([ours.tokenizer.encode(text).ids])
    assert tokenizer(text)["input_ids"] == ids[0].tolist()
    with torch.no_grad():
        torch.testing.assert_close(
            theirs(ids).logits, ours.model.hidden(ids) @ ours.model.head.t(), atol=1e-4, rtol=1e-4
        )
    state = torch.load(path / "checkpoints" / "step-000006" / "state.pt", weights_only=True)
    assert torch.equal(state["learner"]["policy"]["model"]["norm.weight"], ours.model.norm.weight)


def test_a_reward_that_is_no_number_is_named_and_the_run_fails(place, tmp_path):
    """From a plug-in, through the command line."""
    (tmp_path / "broken.py").write_text("""
from dataclasses import dataclass
from align_lab.base.registry import register
from align_lab.base.contracts import Reward
from align_lab.base.task import Score

@register("reward", "broken")
@dataclass(frozen=True, kw_only=True)
class Broken(Reward):
    def load(self, folder):
        return self

    def score(self, examples, completions):
        return Score(total=[float("nan")] * len(completions))
""")
    small = [part for part in SMALL if not part.startswith("reward.")]
    fields = ["reward=broken", "plugins=[broken]", "algo=rloo", "study=broken"]
    done = invoke(place, *small, *fields, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "the reward returned nan, which is no finite number" in done.stderr and "Traceback" not in done.stderr
    assert json.loads((folder_of(place, "broken") / "status.json").read_text())["state"] == "failed"


def test_one_file_and_one_yaml_add_an_algorithm(place, tmp_path):
    """In a copy of the package: no list is edited, and the new algorithm trains, is compared and has a card."""
    root = Path(__file__).parents[2]
    for part in ("align_lab", "conf", "sweeps"):
        shutil.copytree(root / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    source = (tmp_path / "align_lab" / "algos" / "rloo.py").read_text()
    (tmp_path / "align_lab" / "algos" / "twice.py").write_text(
        source.replace('"rloo"', '"twice"')
        .replace("class RLOO", "class Twice")
        .replace("A = R - eq.leave_one_out(R)", "A = 2 * (R - eq.leave_one_out(R))")
    )
    yaml = (tmp_path / "conf" / "algo" / "rloo.yaml").read_text()
    (tmp_path / "conf" / "algo" / "twice.yaml").write_text(yaml.replace("/rloo@", "/twice@"))
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from align_lab.__main__ import main; sys.exit(main())"

    def copied(*words):
        command = [sys.executable, "-c", code, str(tmp_path), *words]
        return subprocess.run(command, cwd=place, env=environment(place), capture_output=True, text=True)

    for algo in ("rloo", "twice"):
        done = copied(*SMALL, f"algo={algo}", "study=added")
        assert done.returncode == 0, done.stderr
    done = copied("compare", "added")
    assert done.returncode == 0 and "twice" in done.stdout, done.stderr
    assert "Keeps in memory" in copied("show", "algo=twice").stdout


def test_chat_answers_with_the_start_policy_beside_the_trained_one(place, whole):
    done = forked.run(["chat", whole[0]], typed="The film is\n", cwd=place, env=environment(place))
    assert done.returncode == 0, done.stderr
    start, trained = done.stdout.splitlines()
    assert start.strip().startswith("start") and trained.strip().startswith("trained") and "The film is" in trained
