"""A view as W&B keeps it: what a workspace or a report is called, and its spec."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["workspace", "report"]
TYPES: dict[Kind, str] = {"workspace": "project-view", "report": "runs"}  # W&B's names for the two


@dataclass(frozen=True, kw_only=True)
class Project:
    """The W&B project that a view lies in. id: W&B's own; empty where nobody has asked for it yet."""

    entity: str
    project: str
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class View:
    kind: Kind
    title: str
    description: str
    spec: dict[str, Any]

    def as_file(self, place: Project) -> dict[str, Any]:
        """What --offline writes: everything that W&B is told, with the project that it is meant for."""
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
