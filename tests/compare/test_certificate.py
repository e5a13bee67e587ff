"""A finished run counts only where config, signature, name and rows belong together."""

import json
import shutil

import pytest

from align_lab.compare.analysis import analyze
from align_lab.compare.reading import read_study
from align_lab.compare.runs import Run, Unfinished
from align_lab.record.seal import changed, seal
from tests.compare.folders import edit, name_of, read_run, write_run


@pytest.fixture
def path(tmp_path):
    """A run that was sealed when it was done."""
    path = write_run(tmp_path, "rloo", 0, samples=[0.1, 0.2])
    (path / "metrics.parquet").write_bytes(b"PAR1 as training wrote it")
    edit(path / "status.json", sealed=seal(path))
    return path


def altered(path):
    run = read_run(path)
    assert isinstance(run, Unfinished) and run.state == "altered", run
    return run.why


def test_what_was_sealed_counts_and_what_a_version_without_seals_wrote_as_well(path, tmp_path):
    assert isinstance(read_run(path), Run) and changed(path, seal(path)) == []
    assert isinstance(read_run(write_run(tmp_path / "older")), Run)


@pytest.mark.parametrize("file", ["metrics.jsonl", "samples.jsonl", "manifest.json", "metrics.parquet"])
def test_a_digit_that_was_changed_after_the_end_is_found(path, file):
    content = bytearray((path / file).read_bytes())
    place = next(i for i in reversed(range(len(content))) if content[i : i + 1] in b"0123456789")
    content[place] ^= 1
    (path / file).write_bytes(content)
    assert altered(path).startswith(f"{file} changed after the run had finished. Restore it, or remove the folder")


def test_a_setting_that_was_changed_in_every_manifest_leaves_nothing_to_compare(tmp_path):
    for algo in ("rloo", "ppo"):
        for seed in range(3):
            path = write_run(tmp_path / "st", algo, seed) / "manifest.json"
            edit(path, config=json.loads(path.read_text())["config"] | {"sampling.temperature": 0.9})
    document = analyze([tmp_path / "st"])
    assert document["arms"] == [] and {run["state"] for run in document["unfinished"]} == {"altered"}
    assert all("its manifest was changed" in run["why"] for run in document["unfinished"])


@pytest.mark.parametrize("change", [{"seed": 2}, {"signature": "0a0b0c0d"}])
def test_a_manifest_that_contradicts_its_config_is_named(path, change):
    edit(path / "manifest.json", **change)
    assert "its manifest was changed: it says" in altered(path)


def test_a_copy_is_no_further_seed(tmp_path):
    first = write_run(tmp_path / "st", "rloo", 1)
    copy = shutil.copytree(first, first.with_name(first.name.replace("-s1-", "-s2-")))
    runs, (other,) = read_study(tmp_path / "st")
    assert [run.seed for run in runs] == [1] and other.name == copy.name
    ending = name_of("rloo", 1).removeprefix("rloo-tiny")
    assert f"the record of a run whose name ends with {ending}: it is a copy, or was renamed" in other.why


def test_a_copy_whose_seed_was_changed_as_well_is_no_further_seed(tmp_path):
    first = write_run(tmp_path / "st", "rloo", 1)
    copy = shutil.copytree(first, first.with_name(first.name.replace("-s1-", "-s2-")))
    config = json.loads((copy / "manifest.json").read_text())["config"]
    edit(copy / "manifest.json", seed=2, config=config | {"seed": 2})
    assert "its manifest was changed" in altered(copy)
