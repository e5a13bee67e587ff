"""The settings of a command line: `--name value`, `--name=value`, `--flag`, and Hydra's `name=value`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

OPTION = re.compile(r"--(?P<name>[A-Za-z][\w.-]*)(?:=(?P<value>.*))?", re.DOTALL)
OVERRIDE = re.compile(r"\+{0,2}(?P<name>[A-Za-z_]\w*(?:\.\w+)+)=(?P<value>.*)", re.DOTALL)  # at least one dot
ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.*)", re.DOTALL)
VARIABLE = re.compile(r"\$\{(\w+)(?::-[^}]*)?\}|\$(\w+)")
ENDS = ("|", ">", ">>", "2>&1", "&&", "||", ";", "&", "\\")


def of_script(text: str) -> dict[str, Any]:
    """What a shell script passes on. Values with a variable that the script does not set are left out.

    Raises ValueError where its quotation marks do not match.
    """
    words = shlex.split(text.replace("\\\n", " "), comments=True)
    variables: dict[str, str] = {}
    for word in words:
        match = ASSIGNMENT.fullmatch(word)
        if match and not word.startswith("-"):
            variables[match["name"]] = _filled(match["value"], variables)
    return settings([_filled(word, variables) for word in words])


def settings(words: Sequence[str]) -> dict[str, Any]:
    """Name -> value; a list where several values follow a name; True where none does."""
    values: dict[str, Any] = {}
    name = ""
    for word in words:
        option, override = OPTION.fullmatch(word), OVERRIDE.fullmatch(word)
        if option:
            written = option["name"].replace("-", "_")
            name = written if option["value"] is None else ""
            values[written] = [] if option["value"] is None else [option["value"]]
        elif override:
            name, values[override["name"]] = "", [override["value"]]
        elif word in ENDS:
            name = ""
        elif name:
            values[name].append(word)
    return {name: _value(given) for name, given in values.items() if not any("$" in text for text in given)}


def _value(given: Sequence[str]) -> Any:
    if not given:
        return True
    if len(given) > 1:
        return list(given)
    text = given[0]
    listed = text.startswith("[") and text.endswith("]")
    return [item.strip(" '\"") for item in text[1:-1].split(",") if item.strip()] if listed else text


def _filled(text: str, variables: Mapping[str, str]) -> str:
    return VARIABLE.sub(lambda match: variables.get(match[1] or match[2], match[0]), text)
