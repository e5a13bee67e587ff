"""The plan that `dry_run=true` prints: what it takes, whose runs they are, scripts without repetition, missing GPUs."""

import json

import pytest

from align_lab.config import study
from align_lab.dispatch import dry_run
from align_lab.dispatch.estimate import estimate
from align_lab.dispatch.plan import plan
from align_lab.stages.store import shared
from tests import forked


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def recorded(folder, name, *, step, seconds, algo="rloo", device="cpu"):
    """The record of a run that made `step` steps."""
    run = folder / "runs" / "before" / name
    run.mkdir(parents=True)
    manifest = {
        "choices": {"algo": algo, "model": "tiny"},
        "spent": {"device_seconds": seconds, "episodes": 640, "tokens": 9600},
    }
    (run / "manifest.json").write_text(json.dumps({**manifest, "hashes": {"device": device}}))
    (run / "status.json").write_text(json.dumps({"state": "failed", "step": step}))


def planned(*words, built=True):
    asked = study.read(list(words))
    everything = [task.name for task in plan("s", asked.runs, skipped={}, built=()).tasks if task.kind == "stage"]
    return plan("s", asked.runs, skipped={}, built=everything if built else ())


def test_a_run_that_failed_before_its_first_step_says_nothing_of_the_time(here):
    recorded(here, "bad", step=0, seconds=3.0)
    assert estimate(planned("algo=rloo", "seed=1,2")) == "no run on a processor is recorded to estimate rloo from"
    done = forked.run(["-m", "algo=rloo", "seed=1", "dry_run=true"], cwd=here)
    assert done.returncode == 0, done.stderr
    assert "Nothing was submitted" in done.stdout


def test_device_time_is_in_the_unit_that_suits_it(here):
    recorded(here, "one", step=10, seconds=20.0)
    recorded(here, "two", step=10, seconds=40.0)
    expected = "about 6 min of device time for 2 runs, as recorded ones took"  # 3 s a step, 60 steps
    assert estimate(planned("algo=rloo", "seed=1,2")) == expected


def test_runs_of_a_processor_say_nothing_of_a_gpu(here):
    recorded(here, "one", step=10, seconds=20.0)
    recorded(here, "two", step=10, seconds=5.0, device="cuda")
    assert estimate(planned("algo=rloo", "seed=1", "hardware=slurm_gpu")).startswith("about 30 s of device time")
    assert estimate(planned("algo=dpo,rloo", "seed=1", "hardware=slurm_gpu")).endswith(
        "no run on a GPU is recorded to estimate dpo from"
    )


def test_a_stage_whose_card_lacks_its_seconds_is_no_record(here):
    folder = shared().root / "data-0123"
    folder.mkdir(parents=True)
    (folder / "artefact.json").write_text(json.dumps({"kind": "data", "settings": {"name": "movie_reviews"}}))
    assert "data" in estimate(planned("algo=rloo", "seed=1", built=False))


def test_the_plan_names_arms_and_seeds(here):
    done = forked.run(["-m", "algo=rloo,dpo", "seed=range(0,5)", "dry_run=true"], cwd=here).stdout.splitlines()
    assert "        rloo seeds 0 to 4" in done and "        dpo seeds 0 to 4" in done
    assert any(line.endswith(", after data, sft, human_ratings, gold") for line in done)


def test_a_missing_gpu_is_said_before_the_runs_fail(here, monkeypatch):
    runs = planned("algo=rloo", "seed=1", "hardware=gpu").runs
    assert "1 GPU" in dry_run.resources_of(runs[0].placement)
    for devices, lines in ((["0"], 0), ([], 1)):
        monkeypatch.setattr(dry_run, "visible_gpus", lambda devices=devices: devices)
        assert len(dry_run.missing_gpus(runs)) == lines
    assert dry_run.missing_gpus(planned("algo=rloo", "seed=1", "hardware=slurm_gpu").runs) == []


def test_what_every_script_has_is_printed_once(here):
    printed = forked.run(["-m", "algo=rloo,dpo", "seed=1,2", "hardware=slurm_cpu", "dry_run=true"], cwd=here).stdout
    assert printed.count("exit $align_lab_status") == printed.count("#SBATCH --mem=") == 1
    assert printed.count("#SBATCH --job-name=") == 7 and printed.count("#SBATCH --array=0-1%2") == 2
