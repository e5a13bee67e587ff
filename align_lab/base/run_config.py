"""A composed, checked run: its values, its signature, its name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from align_lab.base.roles import role


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A composed, checked run: plain values, and which option each group was set to (a preset's name, for example)."""

    values: Mapping[str, Any]
    choices: Mapping[str, str]

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    @property
    def signature(self) -> str:
        return signature(self.values)

    @property
    def name(self) -> str:
        """The run's folder under runs/STUDY/, known before it has run."""
        return f"{self.choices['algo']}-{self.choices['model']}-s{self['seed']}-{self.signature}"


def plain(config: Any) -> dict[str, Any]:
    """Config -> nested dictionary of plain values, interpolations resolved."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf, in the config's order."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def signature(config: Mapping[str, Any]) -> str:
    """Eight hex digits that name a run before it has run: a hash of the full resolved config.

    Left out is what cannot change a result: where it is filed, how it is recorded, where it is placed.
    """
    kept = {key: value for key, value in leaves(config) if role(key) != "none"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]
