"""A reward that is computed from other rewards, which one of its fields names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from align_lab.base import registry
from align_lab.base.contracts import Data, Reward
from align_lab.base.task import Score, ScoreOutcome, Scorer

ONE = "reward"  # the name of the reward inside, where there is one alone


@dataclass(frozen=True, kw_only=True)
class Combination(Reward):
    """`holds` names the field with the rewards inside: a single one, or several by name.

    Each of them is written as judges are: a component's name, or a mapping with `name` and its fields. The config is
    expanded, so that it holds all their fields; they are validated, trained and hashed like a reward of their own.
    """

    several: ClassVar[bool] = True  # rewards by name; else one
    beside: ClassVar[Mapping[str, Any]] = {}  # what an entry may hold beside the reward's own fields, with defaults
    least: ClassVar[int] = 1  # rewards inside

    @abstractmethod
    def combine(self, scorers: Mapping[str, Scorer]) -> Scorer:
        """The scorer, from those of the rewards inside."""

    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        """Name -> what the field holds of each reward inside."""
        held: Mapping[str, Any] = getattr(self, self.holds)
        return held if self.several else {ONE: held} if held else {}

    def inner(self) -> Mapping[str, Mapping[str, Any]]:
        """Name -> config of each reward inside."""
        return {name: without(values, self.beside) for name, values in self.entries().items()}

    def components(self) -> dict[str, Reward]:
        """The rewards inside."""
        return {name: registry.build("reward", values) for name, values in self.inner().items()}

    def problems(self) -> list[str]:
        """Too few rewards inside, names that cannot be a metric's, and what the rewards inside object to."""
        example = f"reward.{self.holds}.NAME.name=COMPONENT" if self.several else f"reward.{self.holds}.name=COMPONENT"
        if len(self.inner()) < self.least:
            number = f"at least {self.least} rewards" if self.least > 1 else "a reward"
            return [f"reward={self._name()} is computed from {number}, and names {len(self.inner())}. Type {example}"]
        wrong = [
            f"{self.holds}.{name}: the name becomes that of a metric. Use letters, digits and underscores"
            for name in self.inner()
            if not str(name).isidentifier()
        ]
        return wrong + [
            f"{self._where(name)}: {text}"
            for name, one in self.components().items()
            for text in (*one.problems(), *_missing_package(one))
        ]

    def costs_inside(self) -> dict[str, tuple[str, ...]]:
        """Name -> the cost parts of each reward inside that has some."""
        return {name: parts for name, one in self.components().items() if (parts := one.cost_parts())}

    def cost_parts(self) -> tuple[str, ...]:
        """What the rewards inside cost, by their names."""
        return tuple(cost_name(name, part) for name, parts in self.costs_inside().items() for part in parts)

    def _name(self) -> str:
        names = registry.names("reward")
        return next((name for name in names if registry.lookup("reward", name) is type(self)), type(self).__name__)

    def _where(self, name: str) -> str:
        return f"{self.holds}.{name}" if self.several else self.holds

    def data_problem(self, data: Data) -> str:
        """What the first of the rewards inside objects to."""
        texts = {name: one.data_problem(data) for name, one in self.components().items()}
        return next((f"{self._where(name)}: {text}" for name, text in texts.items() if text), "")

    def load(self, folder: Path | None) -> Scorer:
        """The scorer, if none of the rewards inside is trained."""
        return self.load_from({})

    def load_from(self, folders: Mapping[str, Path]) -> Scorer:
        """The scorer, from the folders of what was built for the rewards inside."""
        return self.combine({name: one.load_from(_of(name, folders)) for name, one in self.components().items()})


def cost_name(name: str, part: str) -> str:
    """The part of a combination that holds a cost of one of the rewards inside."""
    return part if name == ONE else f"{name}_{part}"


def costs_of(scores: Mapping[str, Score], inside: Mapping[str, Sequence[str]]) -> dict[str, Sequence[ScoreOutcome]]:
    """The cost parts of a combination, from the scores of the rewards inside and `Combination.costs_inside`."""
    return {
        cost_name(name, part): scores[name].parts[part]
        for name, parts in inside.items()
        for part in parts
        if part in scores[name].parts
    }


def without(values: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    """An entry without what does not belong to the reward in it."""
    return {key: value for key, value in values.items() if key not in beside}


def _of(name: str, folders: Mapping[str, Path]) -> dict[str, Path]:
    prefix = f"{name}."
    inside = {key.removeprefix(prefix): folder for key, folder in folders.items() if key.startswith(prefix)}
    return inside | ({"": folders[name]} if name in folders else {})


def _missing_package(reward: Reward) -> list[str]:
    missing = registry.missing_package(reward)
    return [f"it needs {missing}"] if missing else []
