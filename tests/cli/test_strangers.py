"""Locks and run folders of somebody else are data: nothing that they name is executed, read or written unasked."""

import json
import shutil

import pytest
import yaml

from align_lab.base import registry
from align_lab.config import trust
from tests.run.test_runs import folder_of, invoke, place, run

__all__ = ["place"]  # the fixture of a folder to run in

PLUGIN = "from pathlib import Path\nPath(__file__).with_name('executed').touch()\n"


@pytest.fixture(scope="module")
def finished(place):
    """A study of one run, with its lock."""
    assert run(place, "algo=rloo", "study=mine", "train.steps=2").returncode == 0
    path = folder_of(place, "mine")
    assert invoke(place, "compare", "mine").returncode == 0
    for name in ("planted", "unseen"):
        (place / f"{name}.py").write_text(PLUGIN)
    return path


@pytest.fixture
def lock(place, finished):
    """Write a changed copy of the lock, and return its path."""
    path = place / "stranger.lock"

    def changed(change):
        content = json.loads((finished.parent / "comparison.lock").read_text())
        change(content["runs"][0])
        path.write_text(json.dumps(content))
        return path

    yield changed
    path.unlink(missing_ok=True)


def test_every_field_that_executes_or_sends_is_named():
    registry.scan()
    asked = trust.asked(
        {
            "plugins": ["theirs"],
            "hardware": {"name": "machine", "placement": {"setup": ["curl x"], "python": None, "sbatch": []}},
            "reward": {"name": "weighted", "rewards": {"a": {"name": "python", "file": "x.py", "weight": 1.0}}},
            "evaluation": {"judges": {"big": {"name": "judge", "url": "http://there"}, "own": {"name": "vader"}}},
        }
    )
    assert set(asked) == {
        "plugins",
        "hardware.placement.setup",
        "reward.rewards.a.file",
        "evaluation.judges.big.url",
    }
    assert asked["plugins"] == "['theirs'] (these modules are imported)"


def test_what_was_trained_with_is_known_in_its_folder_alone(tmp_path, monkeypatch):
    registry.scan()
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    mine, other = {"plugins": ["mine"]}, {"plugins": ["mine", "theirs"]}
    assert trust.known({"plugins": []}) and not trust.known(mine)
    trust.remember(mine)
    assert trust.known(mine) and not trust.known(other)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert not trust.known(mine)


@pytest.mark.parametrize("name", ["../../../escaped/x", "no_such_option", "/tmp/x", ""])
def test_a_lock_writes_nowhere_but_under_the_names_of_options(place, lock, name):
    before = sorted(place.rglob("*"))
    path = lock(lambda locked: locked["choices"].update(algo=name))
    done = invoke(place, "replay", path)
    assert done.returncode == 2 and f"the lock names algo={name}, which is not known" in done.stderr
    assert sorted(place.rglob("*")) == sorted([*before, path]) and "Traceback" not in done.stderr


def test_plug_ins_of_a_lock_are_imported_only_when_it_is_trusted(place, lock):
    path = lock(lambda locked: locked["config"].update(plugins=["planted"]))
    refused = invoke(place, "replay", path)
    assert refused.returncode == 2 and "plugins=['planted'] (these modules are imported)" in refused.stderr
    assert "with --trust" in refused.stderr and not (place / "executed").exists()
    invoke(place, "replay", path, "--trust", "--dry-run")
    assert (place / "executed").exists()
    (place / "executed").unlink()


def test_shell_lines_of_a_lock_are_named_and_left_out(place, lock, finished):
    def change(locked):
        locked["config"]["hardware.placement.setup"] = ["touch executed", "module load x"]
        locked["config"]["hardware.placement.sbatch"] = ["--wrap=x"]

    done = invoke(place, "replay", lock(change))
    assert done.returncode == 0, done.stderr
    assert "not used without --trust: hardware.placement.setup=['touch executed', 'module load x']" in done.stdout
    assert (
        "hardware.placement.sbatch" in done.stdout
        and f"as locked (checked, not computed again) {finished.name}" in done.stdout
    )


@pytest.mark.parametrize("value", ["gpu\ntouch executed", "gpu --wrap=x", "gpu;x"])
def test_a_partition_is_one_name(place, lock, value):
    done = invoke(
        place, "replay", lock(lambda locked: locked["config"].update({"hardware.placement.partition": value}))
    )
    assert done.returncode == 2 and "hardware.placement.partition=" in done.stderr and "plain name" in done.stderr


@pytest.mark.parametrize("name", ["x\ny", "\x1b[31mred", "a/b", "..", "", " x"])
def test_a_study_has_a_plain_name(place, lock, name):
    done = invoke(place, "replay", lock(lambda locked: locked["config"].update(study=name)))
    assert done.returncode == 2 and "must be a plain folder name" in done.stderr


@pytest.fixture
def theirs(place, finished):
    """The folder of a run that came from somewhere else."""
    path = place / "runs" / "theirs" / finished.name
    shutil.copytree(finished, path)
    yield path
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("words", [("chat",), ("export", "out"), ("evaluate",)])
def test_plug_ins_of_a_run_are_imported_only_when_it_is_trusted(place, theirs, words):
    config = yaml.safe_load((theirs / "config.yaml").read_text())
    (theirs / "config.yaml").write_text(yaml.safe_dump(config | {"plugins": ["unseen"]}))
    verb, *more = words
    done = invoke(place, verb, f"theirs/{theirs.name}", *more)
    assert done.returncode == 2 and "plugins=['unseen'] (these modules are imported)" in done.stderr, done.stderr
    assert not (place / "executed").exists() and not (place / "out").exists()


@pytest.mark.parametrize("stage", ["../planted", "sft-0000000000000000", "..", "/tmp"])
def test_the_start_policy_of_a_run_is_one_of_the_cache(place, theirs, stage):
    manifest = json.loads((theirs / "manifest.json").read_text())
    manifest["artefacts"]["policy"] = stage
    (theirs / "manifest.json").write_text(json.dumps(manifest))
    done = invoke(place, "chat", f"theirs/{theirs.name}")
    assert done.returncode != 0 and "is not in the cache" in done.stderr and "Traceback" not in done.stderr


def test_a_start_policy_with_other_content_is_refused(place, theirs):
    manifest = json.loads((theirs / "manifest.json").read_text())
    manifest["hashes"]["policy"] = "0000000000000000"
    (theirs / "manifest.json").write_text(json.dumps(manifest))
    done = invoke(place, "chat", f"theirs/{theirs.name}")
    assert done.returncode != 0 and "and the one in the cache is" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("status",), ("compare", "--no-page")])
def test_names_and_reasons_of_a_record_are_only_shown(place, theirs, words):
    failed = theirs.with_name("rloo-\x1b[2Jtiny-s1-0a0b0c0d")
    failed.mkdir()
    (failed / "config.yaml").write_text("study: theirs\n")
    (failed / "status.json").write_text(json.dumps({"state": "failed", "step": 1, "error": "\x1b[31m[bold]x\ndone  y"}))
    verb, *more = words
    done = invoke(place, verb, "theirs", *more)
    assert "\x1b" not in done.stdout + done.stderr and "Traceback" not in done.stderr, done
    assert "[bold]x done y" in " ".join(done.stdout.split())
    assert not [line for line in done.stdout.splitlines() if line.startswith("done  y")]
