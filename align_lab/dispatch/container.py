"""The image that the processes of a job run in: Pyxis, a plugin of srun, opens it, or a program that srun starts."""

from __future__ import annotations

from align_lab.base.hardware import Placement

PYXIS, APPTAINER = "pyxis", "apptainer"
IMAGE_OF_APPTAINER = ".sif"  # which Pyxis cannot open


def runtime(place: Placement) -> str | None:
    """What opens the image; None where there is none."""
    if place.container is None:
        return None
    if place.container_runtime != "auto":
        return place.container_runtime
    return APPTAINER if place.container.endswith(IMAGE_OF_APPTAINER) else PYXIS


def srun_arguments(place: Placement) -> list[str]:
    """The options of srun that Pyxis adds."""
    if runtime(place) != PYXIS:
        return []
    return [f"--container-image={place.container}", *_mounts("--container-mounts", place)]


def words_before(place: Placement) -> list[str]:
    """The words before the command of a job whose image a program opens; of Apptainer, and of Singularity alike.

    The environment, the home folder and the working folder of the job are there inside, unless the site forbids it.
    """
    program = runtime(place)
    if place.container is None or program in (None, PYXIS):
        return []
    gpus = ["--nv"] if place.gpus_per_node else []
    return [str(program), "exec", *gpus, *_mounts("--bind", place), place.container]


def _mounts(option: str, place: Placement) -> list[str]:
    return [f"{option}={','.join(place.container_mounts)}"] if place.container_mounts else []
