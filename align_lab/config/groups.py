"""What a config group may be set to. Reads file names and the registry; imports neither Hydra nor torch."""

from __future__ import annotations

from align_lab.base import registry
from align_lab.base.paths import search_folders

GROUPS = ("algo", "model", "reward", "hardware", "data", "train", "record")


def yaml_options(group: str) -> dict[str, str]:
    """Option -> what the first comment of its yaml file says; of two files with one name the first on the search path counts."""
    found: dict[str, str] = {}
    for folder in search_folders():
        for file in sorted((folder / group).glob("*.yaml")):
            comments = [
                line.lstrip("# ")
                for line in file.read_text(encoding="utf-8").splitlines()
                if line.startswith("# ") and "@package" not in line
            ]
            found.setdefault(file.stem, comments[0].split(": python -m")[0].split("? python -m")[0] if comments else "")
    return found


def bare_components(group: str) -> dict[str, str]:
    """Registered components that no yaml file of the group names (plug-ins): they are options by themselves."""
    texts = [
        file.read_text(encoding="utf-8") for folder in search_folders() for file in (folder / group).glob("*.yaml")
    ]
    return {
        name: (registry.lookup(group, name).__doc__ or "").partition("\n")[0]
        for name in registry.names(group)
        if not any(f"/schema/{group}/{name}@" in text for text in texts)
    }


def options(group: str) -> dict[str, str]:
    """Every option of a group with its headline, after `registry.scan`."""
    return dict(sorted({**bare_components(group), **yaml_options(group)}.items()))
