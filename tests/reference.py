"""docs/reference.md: every field, the options, metrics, commands, exit statuses and states, from the code.

python -m tests.reference --write     # after a field, a metric, a command or a state has changed
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from align_lab.base import registry
from align_lab.base import roles as roles_of
from align_lab.base.metrics import METRICS
from align_lab.cli import commands
from align_lab.config import composition
from align_lab.config.groups import GROUPS, options
from align_lab.config.root import RunSettings, StudySettings
from align_lab.dispatch.state_rules import State

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
OPENING = """# Reference

Made from the code by `python -m tests.reference --write`: every field that can be set, on the command line
(`algo.kl_coef=0.1`) or in a file. Where the components of a group have other fields or other defaults, the row names
them: `algo=rloo`, for example, has the fields of *all* and of `rloo`. The yaml file of an option may set other values:
`align_lab show GROUP=OPTION` prints those that it has, and `align_lab --cfg job` those of a run. The
[cards](papers.md) have the sources of the algorithms' defaults.

The role says what a comparison makes of a field. *Setting*: equal in all arms, or the runs are not compared. *Recipe*:
may differ, is listed, and can be tuned. *Budget*: is charged. *None*: changes no result.
"""
GENERATED = """
Columns whose names follow from the config:

| column | what it is |
|---|---|
| `eval/NAME` | mean score of the judge NAME of `evaluation.judges` |
| `METRIC_se` | standard error over prompts of the metric that decides |
| `eval/NAME_failed`, `eval/NAME_abstained`, `eval/NAME_unread` | shares of completions that could not be scored, \
on which there is no opinion, in which no answer can be read |
| `eval/pass@K`, `eval/maj@K`, with `_low` and `_high` | for each K of `evaluation.pass_at`, with its 95 % interval |
| `reward/PART`, `eval/score_PART`, `eval/NAME_PART` | mean of a named part of the reward, or of a judge's score |
| `eval/SET/...` | the same of each evaluation set after the first |
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


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a class or of one of its sections."""

    name: str
    default: str
    meaning: str


def page() -> str:
    """The whole page."""
    composition.load_components()
    parts = [OPENING]
    parts += _table("Fields of a run", [("", _fields(RunSettings))])
    parts += _table("Fields of a study", [("", _fields(StudySettings))], roles=False)
    for group in GROUPS:
        members = [(name, _fields(registry.lookup(group, name), f"{group}.")) for name in registry.names(group)]
        parts += _table(f"`{group}.*`", members)
    parts += ["## Options of the groups", "", "| group | options |", "|---|---|"]
    parts += [f"| `{group}` | {', '.join(f'`{name}`' for name in options(group))} |" for group in GROUPS]
    parts += ["", "## Metrics", "", "| column | meaning | unit | better |", "|---|---|---|---|"]
    parts += [f"| `{key}` | {_cell(one.meaning)} | {one.unit} | {one.better} |" for key, one in METRICS.items()]
    parts += [GENERATED, "## States of a run", "", "| state | meaning |", "|---|---|"]
    parts += [f"| {state} | {STATES[state]} |" for state in get_args(State)]
    parts += ["", "## Commands and exit status", "", "```text", *_commands(), "```", ""]
    return "\n".join(parts)


def _table(title: str, members: Sequence[tuple[str, Iterable[Field]]], *, roles: bool = True) -> list[str]:
    """A row for each field and meaning; `members`: (component, its fields)."""
    rows: dict[tuple[str, str], dict[str, list[str]]] = {}  # name, meaning -> default -> components
    for component, fields in members:
        for one in fields:
            rows.setdefault((one.name, one.meaning), {}).setdefault(one.default, []).append(component)
    several, shown_role = len(members) > 1, ["role"] if roles else []
    head = ["field", *(["of"] if several else []), *shown_role, "default", "what it is"]
    lines = [f"## {title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (name, meaning), defaults in sorted(rows.items(), key=lambda row: row[0][0]) if several else rows.items():
        of = [_of([*itertools.chain(*defaults.values())], len(members))] if several else []
        role = [roles_of.role(name)] if roles else []
        lines.append(f"| {' | '.join([f'`{name}`', *of, *role, _cell(_default(defaults)), _cell(meaning)])} |")
    return [*lines, ""]


def _of(components: Sequence[str], members: int) -> str:
    return "*all*" if len(components) == members else ", ".join(f"`{name}`" for name in components)


def _default(defaults: Mapping[str, Sequence[str]]) -> str:
    """The default; where components have different ones, that of the most, and those of the others by name."""
    first, *others = sorted(defaults, key=lambda value: -len(defaults[value]))
    return "; ".join([first, *(f"{value}: {', '.join(defaults[value])}" for value in others)])


def _fields(cls: Any, prefix: str = "") -> Iterator[Field]:
    for spec in dataclasses.fields(cls):
        made: Any = None if spec.default_factory is dataclasses.MISSING else spec.default_factory()
        if dataclasses.is_dataclass(made):
            yield from _fields(type(made), f"{prefix}{spec.name}.")
            continue
        value = made if spec.default is dataclasses.MISSING else spec.default
        shown = "null" if value is None else "" if value is dataclasses.MISSING else str(value)
        tried = f"; tuned over {spec.metadata['tune']}" if spec.metadata.get("tune") else ""
        yield Field(f"{prefix}{spec.name}", shown, spec.metadata.get("help", "") + tried)


def _commands() -> list[str]:
    text = commands.USAGE
    verbs, statuses = text[text.index("Commands (") : text.index("Groups (")], text[text.index("Exit status") :]
    return [*verbs.rstrip().split("\n"), "", *statuses.rstrip().split("\n")]


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
