"""The options of each config group, from file names and the registry. Imports neither Hydra nor torch."""

from __future__ import annotations

import re
from pathlib import Path

from align_lab.base import registry
from align_lab.base.paths import search_folders

GROUPS = ("algo", "model", "reward", "hardware", "data", "train", "record")


def yaml_options(group: str) -> dict[str, str]:
    """Option -> headline of its YAML file. Of two files with one name, the first on the search path counts."""
    headlines: dict[str, str] = {}
    for file in _yaml_files(group):
        headlines.setdefault(file.stem, _headline(file))
    return headlines


def components_without_yaml(group: str) -> dict[str, str]:
    """Registered components that no YAML file of the group names (plug-ins): each is an option by its own name."""
    texts = [file.read_text(encoding="utf-8") for file in _yaml_files(group)]
    return {
        name: (registry.lookup(group, name).__doc__ or "").partition("\n")[0]
        for name in registry.names(group)
        if not any(f"/schema/{group}/{name}@" in text for text in texts)
    }


def options(group: str) -> dict[str, str]:
    """Every option of a group with its headline. Call `registry.scan` first."""
    return dict(sorted({**components_without_yaml(group), **yaml_options(group)}.items()))


def _yaml_files(group: str) -> list[Path]:
    return [file for folder in search_folders() for file in sorted((folder / group).glob("*.yaml"))]


def _headline(file: Path) -> str:
    """The first comment of the file, without the example command that follows it."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and "@package" not in line:
            return re.split(r": python -m|(?<=\?) python -m", line.removeprefix("# "))[0]
    return ""
