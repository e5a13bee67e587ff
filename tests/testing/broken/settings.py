"""Components whose settings break the contract that all kinds share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from align_lab.base.contracts import Model, Record
from align_lab.base.registry import checked, param
from tests.testing.broken.collected import BROKEN, COMPONENTS, broken


@broken("record", "every field has a help text")
class NoHelp(Record):
    color: str = "blue"


@broken("record", "every field has a plain default")
class NoDefault(Record):
    color: str


@broken("record", "every field has a plain default")
class ObjectAsDefault(Record):
    folder: Path = param(Path("x"), "a path object")


@broken("record", "fields of the contract remain")
class OtherType(Record):
    samples: str = param("three", "no longer a number")


@broken("record", "problems are sentences")
class ProblemsAsText(Record):
    def problems(self):
        return "all is wrong"


@broken("record", "files are paths")
class FilesAsText(Record):
    def files(self):
        return ["a.txt"]


@broken("record", "class variables have a meaning")
class UsedLaterOfNothing(Record):
    used_later: ClassVar = ("no_such_field",)


@broken("record", "it is read without torch")
class ImportsTorch(Record):
    def problems(self):
        import torch

        return ["a sentence"][: 1 - bool(torch)]


@broken("record", "problems are sentences")
class Raises(Record):
    def problems(self):
        raise KeyError("color")


@dataclass(frozen=True, kw_only=True)
@checked
class WrongOrder(Record):
    """The decorators in the wrong order: the dataclass replaces the __init__ that checks."""

    speed: int = param(1, "lines a second", low=1)


@dataclass
class Changeable(Model):
    def load(self, folder):
        return self


BROKEN["record", "WrongOrder"], COMPONENTS["record", "WrongOrder"] = "bounds are enforced", WrongOrder
BROKEN["model", "Changeable"], COMPONENTS["model", "Changeable"] = "it is a frozen dataclass", Changeable
