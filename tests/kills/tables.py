"""The results of kills and troubles as tables in Markdown, and their place in the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.kills import cases
from tests.kills.attempts import Result

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- kills -->\n", "<!-- end of the kills -->"
SHOWN = 5  # of a list that is printed


def of_kills(results: Sequence[Result]) -> str:
    """Kills by what was killed."""
    names = ("killed", "commands", "kills", "equal records", "files left behind", "processes left behind", "no reason")
    rows = []
    for kind in (*cases.KINDS, "all"):
        if chosen := [result for result in results if kind in (result.case.kind, "all")]:
            rows.append((kind, len(chosen), sum(result.kills for result in chosen), *_common(chosen)))
    return _table(names, rows)


def of_troubles(results: Mapping[str, Sequence[Result]]) -> str:
    """Troubles by their kind."""
    names = (
        *("trouble", "commands", "ended well at once", "equal records"),
        *("files left behind", "processes left behind", "no reason"),
    )
    rows = [
        (name, len(chosen), sum(result.survived for result in chosen), *_common(chosen))
        for name, chosen in results.items()
    ]
    return _table(names, rows)


def _common(results: Sequence[Result]) -> tuple[int, ...]:
    return (
        sum(result.equal for result in results),
        sum(len(result.leftovers) for result in results),
        sum(result.orphans for result in results),
        sum(len(result.unsaid) for result in results),
    )


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [names, ("---", *["---:"] * (len(names) - 1)), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def findings(result: Result) -> str:
    """What is as it must not be, a line each, and what the commands said that ended with another status than 0."""
    lists = {name: getattr(result, name) for name in ("differences", "leftovers", "unsaid", "said")}
    lines = [f"\n  {name}: {one}" for name, many in lists.items() for one in many[:SHOWN]]
    return "".join([*lines, f"\n  orphans: {result.orphans}" if result.orphans else ""])


def write(text: str) -> None:
    """Put the tables into the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}")
