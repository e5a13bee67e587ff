"""The tables of docs/other_trainers.md, from those of `align_lab/compare/foreign/settings/programs/`.

python -m tests.other_trainers --write     # after a table has changed
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from align_lab.compare.foreign.settings import programs
from align_lab.compare.foreign.settings.deciding import deciding
from align_lab.compare.foreign.settings.plain import shown
from align_lab.compare.foreign.settings.programs import MISSING, FieldRule, ProgramTable

PAGE = Path(__file__).parents[1] / "docs" / "other_trainers.md"
START, END = "<!-- tables: python -m tests.other_trainers --write -->\n", "<!-- end of tables -->\n"


def tables() -> str:
    """One section a program that maps anything, then what this program always does."""
    mapped = [table for table in map(programs.named, programs.names()) if table.fields]
    return "\n".join([*(_section(table) for table in mapped), _fixed()])


def _section(table: ProgramTable) -> str:
    lines = [
        f"## {table.title}",
        "",
        f"[{table.repository}](https://github.com/{table.repository}). Versions with known defaults: "
        f"{', '.join(table.versions)}; defaults are {table.defaults_source}. Pass {table.pass_on}.",
        "",
        "| ours | theirs | default there | source |",
        "|---|---|---|---|",
        *(line for ours, rules in table.fields.items() for line in _lines(table, ours, rules)),
    ]
    return "\n".join(lines) + "\n"


def _lines(table: ProgramTable, ours: str, rules: Sequence[FieldRule]) -> Iterator[str]:
    for place, rule in enumerate(rules):
        name = f"`{ours}`" if place == 0 else ""
        defaults = "; ".join(filter(None, (_default(table, key) for key in rule.of)))
        yield f"| {name} | {_cell(_theirs(rule))} | {_cell(defaults)} | {_cell(rule.source)} |"


def _theirs(rule: FieldRule) -> str:
    """`a x b / c, if d is 1 (grpo)`."""
    value = rule.say or (shown(rule.value) if rule.value is not MISSING else " x ".join(f"`{key}`" for key in rule.of))
    below = " x ".join(f"`{key}`" for key in rule.over)
    value += f" / ({below})" if len(rule.over) > 1 else f" / {below}" if below else ""
    value += ", rounded up" if rule.by == "share" else ""
    names = ", ".join(f"{theirs} is {shown(ours)}" for theirs, ours in rule.names.items())
    when = [f"`{key}` is {_one_of(allowed)}" for key, allowed in rule.when.items()]
    when += [f"`{key}` is not {_one_of(allowed)}" for key, allowed in rule.unless.items()]
    parts = [value + (f" ({names})" if names else ""), *([f"if {' and '.join(when)}"] if when else [])]
    return ", ".join(parts) + (f" [{', '.join(rule.trainers)}]" if rule.trainers else "")


def _one_of(allowed: object) -> str:
    return " or ".join(map(shown, allowed)) if isinstance(allowed, list) else shown(allowed)


def _default(table: ProgramTable, key: str) -> str:
    """`8`; `256, from 1.16 on 512`; by trainer where they differ."""
    name = key if table.has_default(key) else key.rpartition(".")[0]  # an item of a list
    found = {trainer: of_trainer[name] for trainer, of_trainer in table.defaults.items() if name in of_trainer}
    texts = {trainer: _by_version(list(by_version.items())) for trainer, by_version in found.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{trainer}: {text}" for trainer, text in texts.items())


def _by_version(values: list[tuple[str, object]]) -> str:
    (_, first), *later = values
    return ", ".join([shown(first), *(f"from {version} on {shown(value)}" for version, value in later)])


def _fixed() -> str:
    fixed = [one for one in deciding() if one.fixed is not MISSING]
    return "\n".join(
        [
            "## What this program always does",
            "",
            "Switches that others have and this program has not. They count as this value here.",
            "",
            "| switch | here |",
            "|---|---|",
            *(f"| `{one.field}` | {shown(one.fixed)} |" for one in fixed),
            "",
        ]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def in_page() -> str:
    """The tables as the page has them."""
    return PAGE.read_text(encoding="utf-8").partition(START)[2].partition(END)[0]


def main() -> None:
    """Print the tables, or put them into the page."""
    if "--write" not in sys.argv[1:]:
        print(tables())
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    PAGE.write_text(before + START + "\n" + tables() + "\n" + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
