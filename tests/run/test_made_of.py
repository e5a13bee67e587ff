"""Whole runs with a plug-in and a file of its own: what changes is built again, named, and never compared as equal."""

import json
import os

import pytest

from tests.run.test_runs import SMALL, folder_of, invoke, place

__all__ = ["place"]  # a fixture

REWARD = """
from dataclasses import dataclass
from align_lab.base.registry import register
from align_lab.tasks.movie_reviews.vader import Vader

@register("reward", "mine")
@dataclass(frozen=True, kw_only=True)
class Mine(Vader):
    def load(self, folder=None):
        from lab_of_mine.scale import SCALE  # late: an import that no scan sees
        return self
"""
DATA = """
from dataclasses import dataclass
from pathlib import Path
from align_lab.base.registry import register
from align_lab.tasks.movie_reviews.reviews import MovieReviews

@register("data", "noted")
@dataclass(frozen=True, kw_only=True)
class Noted(MovieReviews):
    path: str = ""

    def files(self):
        return [Path(self.path)]

    def build(self, folder):
        super().build(folder)
        (folder / "note.txt").write_text(Path(self.path).read_text())
"""
MINE = ("plugins=[lab_of_mine.rewards]", "reward=mine", "algo=rloo", "train.steps=2")
NOTED = ("plugins=[noted_data]", "data=noted", "data.path=note.txt", "algo=rloo", "reward=vader", "train.steps=2")


@pytest.fixture(scope="module")
def lab(place):
    """The folder to run in, with a plug-in package, a plug-in module and a file that the second reads."""
    (place / "lab_of_mine").mkdir()
    (place / "lab_of_mine" / "__init__.py").write_text("")
    (place / "lab_of_mine" / "rewards.py").write_text(REWARD)
    (place / "noted_data.py").write_text(DATA)
    (place / "note.txt").write_text("one")
    return place


def start(lab, study, *fields):
    """The rewards of these runs are not trained, and have no epochs."""
    small = [field for field in SMALL if not field.startswith("reward.")]
    path = os.pathsep.join([str(lab), os.environ.get("PYTHONPATH", "")])
    return invoke(lab, *small, *fields, f"study={study}", PYTHONPATH=path)


def compare(lab, study, *flags):
    return invoke(lab, "compare", study, *flags)


def manifests(lab, study):
    paths = sorted((lab / "runs" / study).glob("*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in paths]


def test_a_helper_of_a_plug_in_that_changes_between_two_seeds_is_named_by_compare_and_by_the_next_command(lab):
    scale = lab / "lab_of_mine" / "scale.py"
    for seed in (0, 1):
        scale.write_text(f"SCALE = {seed}\n")
        done = start(lab, "scaled", *MINE, f"seed={seed}")
        assert done.returncode == 0, done.stderr
    first, second = (manifest["hashes"] for manifest in manifests(lab, "scaled"))
    assert {name for name in first | second if first.get(name) != second.get(name)} == {"plugins"}
    refused = compare(lab, "scaled")
    assert refused.returncode == 3 and "plugins" in refused.stdout + refused.stderr
    assert "source" not in refused.stderr
    assert compare(lab, "scaled", "--allow", "plugins").returncode == 0
    again = start(lab, "scaled", "-m", *MINE, "seed=0,1", "dry_run=true")
    assert again.returncode == 0, again.stderr
    assert f"with other plug-in code (plugins {first['plugins']}, now {second['plugins']})" in again.stdout
    assert again.stdout.count("other plug-in code") == 1  # the second seed's is today's
    single = start(lab, "scaled", *MINE, "seed=0")
    assert "this run is finished, with other plug-in code" in " ".join(single.stdout.split())
    other = start(lab, "elsewhere", "-m", *MINE, "seed=0,1", "dry_run=true")
    assert other.stdout.count("finished in scaled") == 1, other.stdout  # what other code computed is not borrowed


def test_a_file_that_changes_under_its_path_is_another_artefact_and_is_never_compared_as_equal(lab):
    for seed, text in ((0, "one"), (1, "two")):
        (lab / "note.txt").write_text(text)
        os.utime(lab / "note.txt", (1e9, 1e9))  # the same size, the same modification time
        done = start(lab, "noted", *NOTED, f"seed={seed}")
        assert done.returncode == 0, done.stderr
        assert "building data set" in done.stdout
    first, second = manifests(lab, "noted")
    assert first["artefacts"]["data"] != second["artefacts"]["data"]
    differ = {name for name, value in first["hashes"].items() if second["hashes"].get(name) != value}
    assert {"files", "data"} <= differ and not {"plugins", "source"} & differ
    refused = compare(lab, "noted")
    assert refused.returncode == 3 and "files" in refused.stdout + refused.stderr
    again = start(lab, "noted", "-m", *NOTED, "seed=0,1", "dry_run=true")
    assert f"with other files (files {first['hashes']['files']}, now {second['hashes']['files']})" in again.stdout
    (lab / "note.txt").write_text("one")
    back = start(lab, "noted", *NOTED, "seed=2")
    assert back.returncode == 0 and "building data set" not in back.stdout  # the first artefact serves again


def test_a_file_that_is_gone_is_refused_with_its_path_before_anything_is_built(lab):
    refused = start(lab, "gone", *NOTED, "data.path=nowhere.txt")
    assert refused.returncode == 1 and "nowhere.txt cannot be read: No such file" in refused.stderr
    assert json.loads((folder_of(lab, "gone") / "status.json").read_text())["state"] == "failed"


def test_an_algorithm_from_a_plug_in_may_be_compared_with_one_of_this_package(lab):
    text = """
from dataclasses import dataclass
from align_lab.algos.rloo import RLOO
from align_lab.base.registry import register

@register("algo", "own")
@dataclass(frozen=True, kw_only=True)
class Own(RLOO):
    pass
"""
    for seed, fields in (
        (0, ("algo=rloo",)),
        (0, ("plugins=[own_algo]", "algo=own")),
        (1, ("plugins=[own_algo]", "algo=own")),
    ):
        (lab / "own_algo.py").write_text(text + f"# {seed}\n")
        done = start(lab, "against", *fields, "reward=vader", "train.steps=2", f"seed={seed}")
        assert done.returncode == 0, done.stderr
    compared = compare(lab, "against")
    assert compared.returncode == 0, compared.stderr
    own = [manifest["hashes"]["algo.plugins"] for manifest in manifests(lab, "against")[1:]]
    assert all(f"own (algo.plugins={one})" in " ".join(compared.stdout.split()) for one in own), compared.stdout
