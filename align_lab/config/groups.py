"""The options of each config group, from file names and the registry. Imports neither Hydra nor torch."""

from __future__ import annotations

import re
from pathlib import Path

from align_lab.base import registry
from align_lab.base.paths import conf_folder, search_folders

GROUPS = ("algo", "model", "reward", "hardware", "data", "train", "record")


def yaml_options(group: str) -> dict[str, str]:
    """Option -> headline of its YAML file. Of two files with one name, the first on the search path counts."""
    headlines: dict[str, str] = {}
    for file in _yaml_files(group):
        headlines.setdefault(file.stem, _headline(file))
    return headlines


def components_without_yaml(group: str) -> dict[str, str]:
    """Registered components that no YAML file of the group names (plug-ins): each is an option by its own name."""
    texts = [_text(file) for file in _yaml_files(group)]
    return {
        name: (registry.lookup(group, name).__doc__ or "").partition("\n")[0]
        for name in registry.names(group)
        if not any(f"/schema/{group}/{name}@" in text for text in texts)
    }


def own_files(group: str, option: str) -> list[Path]:
    """The yaml files of an option that do not come with the package, by precedence."""
    return [file for file in _yaml_files(group) if file.stem == option and not file.is_relative_to(conf_folder())]


def options(group: str) -> dict[str, str]:
    """Every option of a group with its headline. Call `registry.scan` first."""
    return dict(sorted({**components_without_yaml(group), **yaml_options(group)}.items()))


def _yaml_files(group: str) -> list[Path]:
    return [file for folder in search_folders() for file in sorted((folder / group).glob("*.yaml"))]


def _text(file: Path) -> str:
    """The content as far as it is text: a file that nobody can read is refused where it is chosen, and nowhere else."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _headline(file: Path) -> str:
    """The first comment of the file, without the example command that follows it."""
    for line in _text(file).splitlines():
        if line.startswith("# ") and "@package" not in line:
            return re.split(r": python -m|(?<=\?) python -m", line.removeprefix("# "))[0]
    return ""
