"""TRL in an environment of its own: its versions of transformers and datasets need not suit this project's.

Standard library only, because workers of either environment may import it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

TRL = "trl==1.16.*"
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "WANDB_MODE": "disabled",
}


def trl_folder() -> Path:
    """Where the environment is, or will be."""
    from align_lab.base.paths import cache_folder

    return cache_folder() / "benchmarks" / "trl-1.16"


def installed() -> Path | None:
    """The interpreter of TRL's environment; None where there is none that works."""
    python = trl_folder() / "bin" / "python"
    probe = [str(python), "-c", "import trl, datasets"]
    works = python.exists() and subprocess.run(probe, capture_output=True, cwd=python.parent).returncode == 0
    return python if works else None


def trl_python() -> Path:
    """The interpreter of TRL's environment, with the same torch as this one; it is made where there is none."""
    import torch

    python = installed()
    if python is not None:
        return python
    folder = trl_folder()
    print(f"installing TRL in {folder}: this takes minutes, once", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    python = folder / "bin" / "python"
    for package in (f"torch=={torch.__version__.split('+')[0]}", TRL):
        if subprocess.run([str(python), "-m", "pip", "install", "--quiet", package]).returncode:
            sys.exit(f"pip could not install {package} in {folder} (its message is above): is there a package index?")
    return python


def offline(**more: str) -> dict[str, str]:
    """The environment variables of a worker that uses no network."""
    return {**os.environ, **OFFLINE, **more}
