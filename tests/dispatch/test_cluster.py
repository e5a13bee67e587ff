"""The cluster of a study: one, that of its earlier jobs, and named to Slurm wherever it is not the machine's own."""

import json
from pathlib import Path

import pytest

from align_lab.base.errors import ConfigError
from align_lab.config.composition import compose
from align_lab.dispatch.cluster import cluster_of, cluster_to_use
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.plan import JobArray, Task, placement_of
from align_lab.dispatch.slurm_commands import on, run

RUN = ["algo=rloo", "hardware=slurm_cpu", "study=mine"]


def of(cluster):
    """A run that goes there."""
    return compose([*RUN, f"hardware.placement.cluster={cluster}"] if cluster else RUN)


@pytest.mark.parametrize(("value", "advice"), [("'a,b'", "hardware.placement.cluster=a "), ("all", "cluster=NAME ")])
def test_several_clusters_are_refused_with_what_to_type(value, advice):
    with pytest.raises(ConfigError, match=f"{advice}.*sacctmgr list cluster"):
        of(value)


@pytest.fixture
def no_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_study_is_on_one_cluster(no_slurm, tmp_path):
    assert cluster_to_use(tmp_path, [of("a"), of("a")]) == "a" and cluster_to_use(tmp_path, [of(None)]) is None
    with pytest.raises(ConfigError, match=r"several clusters \(a, that of this machine\)"):
        cluster_to_use(tmp_path, [of("a"), of(None)])


@pytest.mark.parametrize(
    ("before", "after", "cure"),
    [("a", "b", "Set hardware.placement.cluster=a"), ("a", None, "Set .*=a"), (None, "b", "Drop hardware.placement.c")],
)
def test_a_study_stays_on_the_cluster_of_its_jobs(no_slurm, tmp_path, before, after, cure):
    cfg, ledger = of(before), Ledger.of(tmp_path)
    task = Task(name=cfg.name, kind="run", cfg=cfg, placement=placement_of(cfg))
    ledger.confirm(ledger.record("mine", JobArray(tasks=(task,)), code=Path("CODE"), digest="HASH"), "12")
    assert cluster_of(ledger.submissions()) == before == cluster_to_use(tmp_path, [cfg])
    with pytest.raises(ConfigError, match=f"{cure}.*or give the study another name"):
        cluster_to_use(tmp_path, [of(after)])


def test_a_submission_that_was_recorded_without_a_cluster_is_on_that_of_the_machine(tmp_path):
    cfg, ledger = of(None), Ledger.of(tmp_path)
    task = Task(name=cfg.name, kind="run", cfg=cfg, placement=placement_of(cfg))
    ledger.record("mine", JobArray(tasks=(task,)), code=Path("CODE"), digest="HASH")
    (file,) = ledger.folder.glob("*.submission.json")
    content = json.loads(file.read_text())
    del content["cluster"]
    file.write_text(json.dumps(content))
    assert cluster_of(ledger.submissions()) is None


def test_the_cluster_is_named_but_in_its_own_jobs_and_its_heading_is_no_answer(tmp_path, monkeypatch):
    (tmp_path / "squeue").write_text('#!/bin/sh\necho "CLUSTER: a"\necho "$@"\n')
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("SLURM_CLUSTER_NAME", raising=False)
    assert run("squeue", "--me") == "--me\n"
    with on("a"):
        assert run("squeue", "--me") == "--clusters=a --me\n"
        monkeypatch.setenv("SLURM_CLUSTER_NAME", "a")
        assert run("squeue", "--me") == "--me\n"
    with on("b"):
        assert run("squeue", "--me") == "--clusters=b --me\n"
