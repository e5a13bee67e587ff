"""Paths of the configs (in a checkout, an installed wheel, the working directory), of the cache and of the runs."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
_ROOT = PACKAGE if (PACKAGE / "conf").is_dir() else PACKAGE.parent  # installed wheel, or checkout


def conf_folder() -> Path:
    """The configs that ship with the package."""
    return _ROOT / "conf"


def search_folders() -> list[Path]:
    """Folders with config groups by precedence: the package's, the user's ./conf, and the parents of `sweeps/`."""
    here = Path.cwd().resolve()
    folders = [conf_folder(), here / "conf", *(f for f in (here, _ROOT) if (f / "sweeps").is_dir())]
    return list(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def cache_folder() -> Path:
    """Data, weights and artefacts: $ALIGN_LAB_CACHE, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "align_lab"
    return Path(os.environ.get("ALIGN_LAB_CACHE") or default)


def runs_folder() -> Path:
    """The folder of all studies, relative to the working directory."""
    return Path("runs")
