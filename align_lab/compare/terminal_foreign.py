"""Runs of other programs on the terminal, apart from all that is proven."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from align_lab.compare.document import Foreign, ForeignSettings, Pair
from align_lab.compare.terminal_cells import interval, left_out, notes, number, plain_table
from align_lab.record.terminal import escape


def shown(foreign: Foreign) -> Iterator[RenderableType]:
    """Runs of other programs, apart from all that is proven."""
    yield Text()
    yield Text(foreign["sentence"], style="bold yellow")
    yield Text(f"{foreign['metric']}; 95 % t intervals over seeds; {foreign['method']}", style="dim")
    yield Text()
    table = plain_table(("arm", "n", "score", "interval", "by seed", "start", "KL", "length"), left=(0, 4))
    for arm in foreign["arms"]:
        seeds = " ".join(number(value, 3) for value in arm["values"])
        beside = (number(arm["beside"][key], 3) for key in ("objective/kl", "completions/mean_length"))
        score = (number(arm["mean"], 3), interval(arm, 3), seeds, number(arm["start"], 3))
        table.add_row(escape(arm["name"]), str(arm["n"]), *score, *beside)
    yield table
    yield from _settings(foreign["settings"])
    yield from _pairs_in_words(foreign["pairs"])
    yield from left_out(foreign["left_out"])
    yield from notes(foreign["notes"])


def _settings(settings: Sequence[ForeignSettings]) -> Iterator[RenderableType]:
    """Field by field what differs and what is not known; what is equal by name."""
    for one in settings:
        yield Text()
        yield Text(f"{one['arm']} ({one['version']}), read from {', '.join(one['files'])}:")
        table = plain_table(("field", "", one["against"], one["arm"], "source"), left=(0, 1, 2, 3, 4))
        for row in (row for row in one["fields"] if row["state"] != "equal"):
            state = "?" if row["state"] == "not known" else "≠"
            table.add_row(row["field"], state, escape(row["ours"]), escape(row["theirs"]), escape(row["source"]))
        yield table
        yield Text("equal: " + ", ".join(row["field"] for row in one["fields"] if row["state"] == "equal"), style="dim")


def _pairs_in_words(pairs: Sequence[Pair]) -> Iterator[RenderableType]:
    """Pairs in words: `a against b: 0.020 [0.010, 0.030]: a > b`."""
    yield Text()
    for pair in pairs:
        gap = f"{number(pair['gap'], 3)} {interval(pair, 3)}".strip()
        yield Text(f"{pair['a']} against {pair['b']}: {gap}: {pair['words']}")
