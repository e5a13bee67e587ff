"""What components of every kind have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class Component:
    """A frozen dataclass of settings, registered under a kind and a name.

    Constructing it must be cheap and must not import torch.
    """

    package: ClassVar[str] = ""  # the extra of align_lab that must be installed, for example "wandb"
    version: ClassVar[int] = (
        1  # raise it when `build` computes something else than before: old artefacts are not reused
    )
    used_later: ClassVar[tuple[str, ...]] = ()  # fields that `build` does not read: changing one builds nothing anew

    def problems(self) -> list[str]:
        """What is wrong with these settings, a sentence each: what was found, what is allowed, what to type."""
        return []

    def files(self) -> Sequence[Path]:
        """Local files and folders whose content this component reads: their content enters the artefact's key."""
        return ()
