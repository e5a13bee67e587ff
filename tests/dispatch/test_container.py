"""Jobs inside an image: what opens it, what is refused, and what a program does there without Slurm's commands."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from align_lab.base.errors import ConfigError
from align_lab.base.hardware import Placement
from align_lab.config.composition import compose
from align_lab.dispatch import job
from align_lab.dispatch.batch_script import lines_around, srun_arguments
from align_lab.dispatch.container import words_before
from align_lab.dispatch.process_group import first_node
from align_lab.dispatch.submit import passed_on

IMAGE = Placement(executor="slurm", container="lab.sif")
PLACE = "hardware.placement"
MOUNTS = ["/data:/data:ro", "/scratch:/mine"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "apptainer exec lab.sif"),
        ({"gpus_per_node": 1}, "apptainer exec --nv lab.sif"),
        ({"container_mounts": MOUNTS}, "apptainer exec --bind=/data:/data:ro,/scratch:/mine lab.sif"),
        ({"container_runtime": "singularity", "gpus_per_node": 2}, "singularity exec --nv lab.sif"),
        ({"container": "docker://a/b:1", "container_runtime": "apptainer"}, "apptainer exec docker://a/b:1"),
        ({"container": "nvcr.io#nvidia/pytorch:24.01"}, ""),
        ({"container": "lab.sqsh"}, ""),
        ({"container": None}, ""),
    ],
)
def test_a_program_opens_the_image_that_pyxis_does_not_open(changes, words):
    place = replace(IMAGE, **changes)
    assert words_before(place) == words.split()
    by_srun = [word for word in srun_arguments(place) if word.startswith("--container")]
    assert by_srun == ([f"--container-image={place.container}"] if place.container and not words else [])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [f"{PLACE}.container_mounts=['/a:/a']"],
            "container_mounts has no effect without hardware.placement.container",
        ),
        ([f"{PLACE}.container=a.sif", f"{PLACE}.container_runtime=pyxis"], "container_runtime=apptainer, or name an"),
        ([f"{PLACE}.container=a.sif", f"{PLACE}.container_runtime=docker"], "container_runtime=docker is not known"),
        ([f"{PLACE}.container=a.sif", f"{PLACE}.executor=local"], "the executor is local"),
        ([f"{PLACE}.container=a.sif", f"{PLACE}.container_mounts=['/a']"], "SOURCE:TARGET"),
        ([f"{PLACE}.container=a.sif", f"{PLACE}.container_mounts=['/a:/a,/b:/b']"], "each as an element of its own"),
    ],
)
def test_what_has_no_effect_or_would_end_every_job_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose(["hardware=slurm_gpu", *overrides])


def test_mounts_with_options_are_mounts():
    compose(["hardware=slurm_gpu", f"{PLACE}.container=a.sif", f"{PLACE}.container_mounts=['/a b:/a:ro','./c:/c']"])


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("node[03-04,7],login", "node03"), ("a,b", "a"), ("r[1-2]n[5,7-9]", "r1n5"), ("gpu-[10]", "gpu-10")],
)
def test_the_first_node_of_a_list_is_known_without_slurms_commands(nodes, first):
    assert first_node(nodes) == first


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """A job whose image has none of Slurm's commands. Returns the file by which it asks for a requeue."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ALIGN_LAB_BEGAN", str(tmp_path / "token.12.0.began"))
    return tmp_path / "token.12.0.requeue"


def requeued(kind="run"):
    task = {"name": "sft-00", "kind": kind, "values": {"study": "mine"}, "max_requeues": 20, "signal_seconds": 120}
    return job._requeue("12", task)


def test_a_program_that_cannot_ask_slurm_asks_the_script_of_its_job(inside):
    assert requeued() is None and inside.exists()


@pytest.mark.parametrize(("seconds", "asks"), [(90, False), (7200, True), (None, True)])
def test_a_stage_inside_an_image_knows_when_its_time_is_over(inside, monkeypatch, seconds, asks):
    monkeypatch.setenv("ALIGN_LAB_ENDS", "" if seconds is None else str(int(time.time()) + seconds))
    assert ("raise hardware.placement.minutes" in (requeued("stage") or "")) is not asks
    assert inside.exists() is asks


def test_only_the_script_of_a_job_with_an_image_asks_for_the_end_of_its_time():
    def setup(place):
        return "\n".join(lines_around(place, folder=Path("/f"), token="t")["setup"])

    assert "squeue" in setup(IMAGE) and "squeue" not in setup(replace(IMAGE, container=None))


def test_a_job_that_submits_jobs_does_not_hand_on_what_its_own_script_has_set(inside, monkeypatch):
    monkeypatch.setenv("ALIGN_LAB_ENDS", "1")
    monkeypatch.setenv("ALIGN_LAB_CACHE", "/cache")
    names = {line.partition("=")[0] for line in passed_on()}
    assert "ALIGN_LAB_CACHE" in names and not {"ALIGN_LAB_BEGAN", "ALIGN_LAB_ENDS"} & names
