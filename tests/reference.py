"""docs/reference.md: every field that no component owns, the options, metrics, commands and states, from the code.

python -m tests.reference --write     # after a field, a metric, a command or a state has changed
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from align_lab.base import registry
from align_lab.base.metrics import METRICS
from align_lab.cli import commands
from align_lab.config import composition
from align_lab.config.groups import GROUPS, options
from align_lab.config.root import RunSettings, StudySettings
from align_lab.dispatch.state_rules import State

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
OPENING = """# Reference

Made from the code by `python -m tests.reference --write`. The fields of an algorithm are on its
[card](papers.md); `align_lab show GROUP=OPTION` prints those of any option.
"""
STATES = {
    "done": "finished, and sealed: its rows have their hashes in status.json",
    "running": "a live process writes its record",
    "queued": "submitted, or started by hand; Slurm's reason stands beside it",
    "waiting": "for a stage or run that it depends on",
    "stopped": "asked to stop, and saved: the same command goes on",
    "failed": "ended with the reason that is shown; its traceback is in error.log",
    "cancelled": "by `cancel`, or in Slurm: the same command submits it again",
    "missing": "expected by the study, and never submitted",
}


def page() -> str:
    """The whole page."""
    composition.load_components()
    parts = [OPENING]
    parts += _table("Fields of a run", "field", RunSettings)
    parts += _table("Fields of a study", "field", StudySettings)
    for group in ("train", "record", "hardware"):
        (name, *_) = registry.names(group)
        parts += _table(f"`{group}.*`", "field", registry.lookup(group, name), f"{group}.")
    parts += ["## Options of the groups", "", "| group | options |", "|---|---|"]
    parts += [f"| `{group}` | {', '.join(f'`{name}`' for name in options(group))} |" for group in GROUPS]
    parts += ["", "## Metrics", "", "| column | meaning | unit | better |", "|---|---|---|---|"]
    parts += [f"| `{key}` | {_cell(one.meaning)} | {one.unit} | {one.better} |" for key, one in METRICS.items()]
    parts += ["", "## States of a run", "", "| state | meaning |", "|---|---|"]
    parts += [f"| {state} | {STATES[state]} |" for state in get_args(State)]
    parts += ["", "## Commands", "", "```text", *_commands(), "```", ""]
    return "\n".join(parts)


def _table(title: str, head: str, cls: type, prefix: str = "") -> list[str]:
    return [f"## {title}", "", f"| {head} | default | what it is |", "|---|---|---|", *_rows(cls, prefix), ""]


def _rows(cls: Any, prefix: str) -> Iterator[str]:
    for spec in dataclasses.fields(cls):
        made: Any = None if spec.default_factory is dataclasses.MISSING else spec.default_factory()
        if dataclasses.is_dataclass(made):
            yield from _rows(type(made), f"{prefix}{spec.name}.")
            continue
        value = made if spec.default is dataclasses.MISSING else spec.default
        shown = "null" if value is None else "" if value is dataclasses.MISSING else str(value)
        yield f"| `{prefix}{spec.name}` | {_cell(shown)} | {_cell(spec.metadata.get('help', ''))} |"


def _commands() -> list[str]:
    text = commands.USAGE
    return text[text.index("Commands (") : text.index("Groups (")].rstrip().split("\n")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Print the page, or write it."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
