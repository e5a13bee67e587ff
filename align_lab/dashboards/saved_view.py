"""A view as W&B stores it: the title and the spec of a workspace or a report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["workspace", "report"]
TYPES: dict[Kind, str] = {"workspace": "project-view", "report": "runs"}  # W&B's names for the two


@dataclass(frozen=True, kw_only=True)
class Project:
    """The W&B project of a view. `id` is W&B's own, or empty if it has not been requested."""

    entity: str
    project: str
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class View:
    """One workspace or report."""

    kind: Kind
    title: str
    description: str
    spec: dict[str, Any]

    def as_file(self, place: Project) -> dict[str, Any]:
        """What --offline writes: everything that is sent to W&B, with the project."""
        return {
            "type": TYPES[self.kind],
            "entityName": place.entity or None,
            "projectName": place.project,
            "displayName": self.title,
            "description": self.description,
            "spec": self.spec,
        }


def spec_of(model: Any) -> dict[str, Any]:
    """The spec of one of W&B's models, as it is sent."""
    return json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
