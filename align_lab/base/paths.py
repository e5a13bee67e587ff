"""Paths of the configs (in a checkout, an installed wheel, the working directory), of the cache and of the runs."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
USER_CODE = "user_code"  # folder of a snapshot with copies of the users' files, each under its absolute path
STUDY_FILE_ENDINGS = (".yaml", ".yml")
_ROOT = PACKAGE if (PACKAGE / "conf").is_dir() else PACKAGE.parent  # installed wheel, or checkout


def conf_folder() -> Path:
    """The configs that ship with the package."""
    return _ROOT / "conf"


def search_folders() -> list[Path]:
    """Folders with config groups by precedence: the package's, the user's ./conf, and the parents of `sweeps/`."""
    here = Path.cwd().resolve()
    folders = [conf_folder(), here / "conf", *(f for f in (here, _ROOT) if (f / "sweeps").is_dir())]
    return list(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def is_study_file(word: str) -> bool:
    """Does this word of a command ask for the study that a file declares?"""
    return "=" not in word and word.endswith(STUDY_FILE_ENDINGS)


def cache_folder() -> Path:
    """Data, weights and artefacts: $ALIGN_LAB_CACHE, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "align_lab"
    return Path(os.environ.get("ALIGN_LAB_CACHE") or default)


def runs_folder() -> Path:
    """The folder of all studies, relative to the working directory."""
    return Path("runs")


def submitted(file: Path) -> Path:
    """The copy of a user's file that belongs to the snapshot that this process runs; else the file itself."""
    copy = PACKAGE.parent / user_code(file)
    return copy if copy.is_file() else file


def user_code(file: Path) -> Path:
    """Where a snapshot has its copy of a user's file."""
    path = Path.cwd() / file.expanduser()
    return Path(USER_CODE, *path.resolve().parts[1:])


def is_folder(path: Path) -> bool:
    """Is it an existing folder? A text that can be no path is none, where pathlib raises: one of 5,000 letters."""
    return os.path.isdir(path)
