"""What this machine offers to a run, a line each: `doctor` prints them. A warning never makes a command fail."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from align_lab.base.errors import AlignLabError
from align_lab.base.paths import cache_folder, runs_folder
from align_lab.record import accelerator

GIB = 2**30
LITTLE_SPACE = 5  # GiB: data, start policies and a few checkpoints need less
SECONDS = 5  # limit of a command of another program

if TYPE_CHECKING:
    from packaging.requirements import Requirement


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line: `state` is ok, warning, or absent for what not everybody needs."""

    name: str
    state: str
    text: str


def lines() -> Iterator[Line]:
    """Everything, in the order in which it is printed."""
    for look in (_python, _packages, _processor, _folders, _slurm, _cuda, _vllm, _deepspeed, _wandb):
        try:
            yield from look()
        except Exception as error:
            name = look.__name__.strip("_")
            yield Line(name=name, state="warning", text=f"it cannot be asked: {type(error).__name__}: {error}")


def _python() -> Iterator[Line]:
    new_enough = sys.version_info >= (3, 11)
    text = f"{platform.python_version()} at {sys.executable}" + ("" if new_enough else ": 3.11 or newer is needed")
    yield Line(name="python", state="ok" if new_enough else "warning", text=text)


def _packages() -> Iterator[Line]:
    """Versions within the bounds of pyproject.toml: those that are always needed in one line, then each extra."""
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(text) for text in importlib.metadata.requires("align_lab") or []]
    except importlib.metadata.PackageNotFoundError:
        text = "align_lab is not installed, so the bounds of its packages are not known: pip install --editable ."
        yield Line(name="packages", state="warning", text=text)
        return
    needed = [one for one in requirements if one.marker is None]
    yield _versions("packages", needed, f"{len(needed)} needed packages have supported versions")
    for extra in ("hf", "wandb", "trackio"):
        named = [one for one in requirements if one.marker and one.marker.evaluate({"extra": extra})]
        yield _extra(extra, [one for one in named if one.name != "align_lab"])


def _extra(extra: str, requirements: Sequence[Requirement]) -> Line:
    """The packages of one extra: missing, out of bounds, or their versions."""
    missing = [one.name for one in requirements if _version(one.name) is None]
    if missing:
        text = f'{", ".join(missing)} not installed: pip install "align_lab[{extra}]"'
        return Line(name=extra, state="absent", text=text)
    return _versions(extra, requirements, ", ".join(f"{one.name} {_version(one.name)}" for one in requirements))


def _versions(name: str, requirements: Sequence[Requirement], good: str) -> Line:
    """`good` where every version lies within its bounds, else what does not."""
    problems = [problem for one in requirements if (problem := _version_problem(one.name, one.specifier))]
    return Line(name=name, state="warning" if problems else "ok", text="; ".join(problems) or good)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _version_problem(package: str, allowed: object) -> str | None:
    from packaging.specifiers import SpecifierSet

    version = _version(package)
    if version is None:
        return f"{package} is not installed: pip install '{package}{allowed}'"
    if not SpecifierSet(str(allowed)).contains(version, prereleases=True):
        return f"{package} {version} is installed, and {allowed} is supported: pip install '{package}{allowed}'"
    return None


def _processor() -> Iterator[Line]:
    from align_lab.base.hardware import Placement
    from align_lab.preflight.available_memory import measured

    usable, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    text = f"{usable} cores" + (f" of {all_cores}" if usable < all_cores else "")
    memory = measured(vars(Placement()), gpu=False)
    yield Line(name="processor", state="ok", text=f"{text}, {memory.gib:.1f} GiB of memory available ({memory.source})")


def _folders() -> Iterator[Line]:
    """Of the cache and of the runs: writable, a rename is atomic there, space is left."""
    for name, folder in (("cache", cache_folder()), ("runs", runs_folder().absolute())):
        place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not place.is_dir():
            yield Line(name=name, state="warning", text=f"{place} is no folder. Move the file away")
            continue
        try:
            _write_and_rename(place)
        except OSError as error:
            fix = "set ALIGN_LAB_CACHE to another folder" if name == "cache" else "run from another folder"
            yield Line(name=name, state="warning", text=f"{place} cannot be written ({error.strerror or error}): {fix}")
            continue
        free = shutil.disk_usage(place).free / GIB
        text = f"{folder}: writable, {free:.1f} GiB free" + ("" if folder.exists() else ", does not exist yet")
        yield Line(name=name, state="ok" if free >= LITTLE_SPACE else "warning", text=text)


def _write_and_rename(folder: Path) -> None:
    """What a finished artefact, and every file of a run, relies on. Raises OSError."""
    with tempfile.TemporaryDirectory(prefix=".align_lab-doctor-", dir=folder) as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        for file, text in ((old, "old"), (new, "new")):
            file.write_text(text)
        new.replace(old)
        if old.read_text() != "new" or new.exists():
            raise OSError("a rename does not replace a file")
        Path(scratch, "building").mkdir()
        Path(scratch, "building").rename(Path(scratch, "built"))


def _slurm() -> Iterator[Line]:
    from align_lab.dispatch import slurm

    tools = {
        tool: shutil.which(tool) is not None for tool in ("sbatch", "squeue", "srun", "sinfo", "scontrol", "sacct")
    }
    if not any(tools.values()):
        yield Line(
            name="slurm", state="absent", text="no Slurm commands on the PATH: hardware=slurm_* cannot be used here"
        )
        return
    if missing := [tool for tool, there in tools.items() if not there and tool != "sacct"]:
        yield Line(name="slurm", state="warning", text=f"{', '.join(missing)} not on the PATH")
        return
    try:
        partitions = slurm.partitions(seconds=SECONDS)
    except AlignLabError as error:
        yield Line(
            name="slurm",
            state="warning",
            text=f"the commands are installed, and the cluster does not answer: {' '.join(str(error).split())}",
        )
        return
    text = f"it answers; partitions: {', '.join(partitions) or 'none'}"
    yield Line(
        name="slurm", state="ok" if partitions else "warning", text=text + ("" if tools["sacct"] else "; no sacct")
    )


def _cuda() -> Iterator[Line]:
    """torch's devices, and the driver of NVIDIA."""
    import torch

    driver = accelerator.driver()
    if not torch.cuda.is_available():
        if driver is None:
            yield Line(name="cuda", state="absent", text=f"no GPU (torch {torch.__version__})")
            return
        build = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built for processors alone"
        text = f"driver {driver} is installed, and torch sees no device: torch {torch.__version__} {build}"
        yield Line(name="cuda", state="warning", text=text)
        return
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        text = f"{torch.cuda.get_device_name(number)}, {free / GIB:.1f} of {total / GIB:.1f} GiB free"
        yield Line(
            name=f"cuda:{number}", state="ok", text=f"{text}, CUDA {torch.version.cuda}, driver {driver or 'unknown'}"
        )


def _vllm() -> Iterator[Line]:
    from align_lab.rollout import vllm_install

    yield _optional("vllm", vllm_install.version(), vllm_install.unavailable_reason())


def _deepspeed() -> Iterator[Line]:
    from align_lab.config.hardware_validation import deepspeed_problems

    yield _optional("deepspeed", _version("deepspeed"), next(iter(deepspeed_problems()), None))


def _optional(name: str, version: str | None, problem: str | None) -> Line:
    """A package that not everybody needs: absent is fine, an unsupported version is not."""
    if problem is None:
        return Line(name=name, state="ok", text=version or "")
    return Line(name=name, state="absent" if version is None else "warning", text=problem)


def _wandb() -> Iterator[Line]:
    """Is there a key? Never which."""
    if _version("wandb") is None:
        return
    from align_lab.boards import wandb_key

    wandb_key.silence()
    there: Callable[[], bool] = wandb_key.has_key
    text = f"{'a key' if there() else 'no key (wandb login, or WANDB_API_KEY)'} for {wandb_key.address()}"
    yield Line(name="W&B key", state="ok" if there() else "absent", text=text)
