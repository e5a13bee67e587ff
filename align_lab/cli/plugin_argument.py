"""The argument `plugins=[MODULE,...]` of list and show."""

from __future__ import annotations

from collections.abc import Sequence

from align_lab.base import registry

EPILOG = "plugins=[MODULE,...] imports components from your own modules first, as in a run."


def split(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the overrides of `plugins`, the other arguments)."""
    plugins = [arg for arg in args if arg.startswith("plugins=")]
    return plugins, [arg for arg in args if arg not in plugins]


def import_plugins(texts: Sequence[str]) -> None:
    """Raises ConfigError for a module that cannot be imported."""
    if texts:
        from align_lab.config import overrides  # imported late: it loads Hydra, which a plain list does not need

        registry.scan(overrides.plugins(overrides.parse(texts)))
