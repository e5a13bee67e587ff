"""The base class of components of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class Component:
    """A frozen dataclass of settings, registered under a kind and a name.

    Constructing it must be cheap and must not import torch.
    """

    package: ClassVar[str] = ""  # an optional package that must be installed, for example "wandb"
    extra: ClassVar[str] = ""  # the extra of align_lab that installs it; "": the extra has the package's name
    version: ClassVar[int] = (
        1  # raise it when `build` computes something else than before: old artefacts are not reused
    )
    used_later: ClassVar[tuple[str, ...]] = ()  # fields that `build` does not read: changing them does not rebuild

    def problems(self) -> list[str]:
        """One message for every invalid setting: what was found, what is allowed, what to type."""
        return []

    def files(self) -> Sequence[Path]:
        """Local files and folders that this component reads: their content enters the artefact's key."""
        return ()

    def code(self) -> Sequence[Path]:
        """Files of the user's code that this component runs: a queued job runs the copies that it was submitted with.

        They are among `files`. The component opens each of them through `align_lab.base.paths.submitted`.
        """
        return ()
