"""What arms are called where people read: `dr_grpo` is Dr. GRPO, as the first line of its card says.

An arm that has the name of its algorithm gets the card's; one that a study file named keeps its own. So does an arm of
another program, before the program's name: `grpo (TRL)` is GRPO (TRL).
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from align_lab.compare.document import Document, Foreign, ForeignArm

LONGEST = 28  # letters of a name; a longer one is cut where its explanation begins
NAMED = {"arm", "a", "b", "ahead", "behind", "against"}  # keys whose text is the name of an arm
SENTENCES = {"sentence", "words", "why", "claim", "notes", "warnings"}  # keys whose text may name arms
BY_ARM = {"recipes", "budgets"}  # their `values` are by arm


def displayed(document: Document) -> Document:
    """The document with the names that people know, in its tables and in its sentences."""
    arms = [arm["name"] for arm in document["arms"]]
    titles = {arm["name"]: title(arm["name"]) for arm in document["arms"] if arm["name"] == arm["algo"]}
    others = [arm for arm in arms if arm not in titles]
    own = {
        name: shown
        for name, shown in titles.items()
        if shown != name and shown not in others and list(titles.values()).count(shown) == 1
    }
    known = own | (_labels(document["foreign"], own) if document["foreign"] else {})
    return cast(Document, _Renaming(known).whole(document)) if known else document


def _labels(foreign: Foreign, own: Mapping[str, str]) -> dict[str, str]:
    """Label -> what it is shown as, itself where two would be shown alike: no part of it is renamed then."""
    shown = {arm["name"]: _label(arm, own) for arm in foreign["arms"]}
    unique = {label: text for label, text in shown.items() if list(shown.values()).count(text) == 1}
    named = [*shown, *foreign["rewards"], *(one["arm"] for one in foreign["settings"])]
    return {label: label for label in named} | unique


def _label(arm: ForeignArm, own: Mapping[str, str]) -> str:
    """`grpo (TRL)` -> `GRPO (TRL)`; an arm of ours is called as everywhere."""
    program = f" ({arm['source']})"
    name = arm["name"].removesuffix(program)
    return (own.get(name, name) if arm["proven"] else title(name)) + program


@cache
def title(algo: str) -> str:
    """The name that begins an algorithm's card: the text before the first colon or comma; its option where no card of
    the package has one.
    """
    spec = importlib.util.find_spec("align_lab")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    file = Path(folders[0]) / "algos" / f"{algo}.py" if folders and algo.isidentifier() else None
    if file is None or not file.is_file():
        return algo
    card = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return name_of(card.splitlines()[0]) if card else algo


def name_of(line: str) -> str:
    """`Dr. GRPO: GRPO without ...` -> `Dr. GRPO`; `PPO for language models: ...` -> `PPO`."""
    name = re.split(r"[:,]| for | as ", line, maxsplit=1)[0].strip()
    return (name if len(name) <= LONGEST else name.split(" with ")[0]).replace(". ", ".\u00a0")  # Dr. GRPO stays whole


class _Renaming:
    def __init__(self, titles: Mapping[str, str]) -> None:
        self._titles = titles
        names = "|".join(map(re.escape, sorted(titles, key=len, reverse=True)))
        self._word = re.compile(rf"(?<![\w=./\-])(?:{names})(?![\w=/\-]|\.\w)")

    def whole(self, document: Document) -> dict[str, Any]:
        shown: dict[str, Any] = {key: self._value(key, value) for key, value in document.items()}
        shown["arms"] = [{**arm, "name": self.name(arm["name"])} for arm in document["arms"]]
        shown["comparability"] |= {
            key: [{**row, "values": self._keys(row["values"])} for row in document["comparability"][key]]
            for key in BY_ARM
        }
        if foreign := document["foreign"]:
            arms = [{**arm, "name": self.name(arm["name"])} for arm in foreign["arms"]]
            shown["foreign"] |= {"arms": arms, "rewards": self._keys(foreign["rewards"])}
        shown["wins"] = {**document["wins"], "arms": [self.name(arm) for arm in document["wins"]["arms"]]}
        contrasts = document["verdict"]["contrasts"]
        shown["verdict"]["contrasts"] = [[self.name(arm) for arm in pair] for pair in contrasts]
        return shown

    def name(self, arm: str) -> str:
        return self._titles.get(arm, arm)

    def _keys(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {self.name(arm): value for arm, value in values.items()}

    def _value(self, key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._value(name, each) for name, each in cast("dict[str, Any]", value).items()}
        if isinstance(value, list):
            return [self._value(key, each) for each in cast("list[Any]", value)]
        if not isinstance(value, str):
            return value
        if key in NAMED:
            return self.name(value)
        return self._word.sub(lambda match: self._titles[match[0]], value) if key in SENTENCES else value
