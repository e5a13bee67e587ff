"""The outcomes as a table of the terminal, as JSON, as a table of the docs, and TRL's values as a file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.conformance.cases import QUANTITIES
from benchmarks.conformance.comparing import MOST, Outcome
from benchmarks.conformance.table import WITHOUT_COUNTERPART

DOCS = Path(__file__).parents[2] / "docs" / "conformance.md"
DIGITS = 12
BEGIN, END = "<!-- table: python -m benchmarks.conformance --recorded --docs -->", "<!-- end of table -->"


def table(outcomes: Sequence[Outcome]) -> Table:
    """A line for each comparison."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("algorithm", "comparison", "TRL's settings", "our settings", "first difference", "by", ""):
        shown.add_column(heading)
    for one in outcomes:
        case, first = one.case, one.first
        shown.add_row(
            case.algo,
            case.comparison,
            escape(settings(case.theirs)),
            escape(settings(case.ours)),
            "none" if first == "equal" else first,
            f"{one.largest if first == 'equal' else one.differences[first]:.1e}",
            "[green]as declared[/]" if one.holds else f"[bold red]declared: {case.expected}[/]",
        )
    return shown


def settings(fields: Any) -> str:
    """name=value, or "defaults"."""
    return " ".join(f"{name}={value}" for name, value in fields.items()) or "defaults"


def as_json(outcomes: Sequence[Outcome], content: dict[str, Any]) -> dict[str, Any]:
    """The result as a content of JSON."""
    rows = [
        {
            **asdict(one.case),
            "first_difference": one.first,
            "differences": dict(one.differences),
            "as_declared": one.holds,
        }
        for one in outcomes
    ]
    kept = {name: content[name] for name in ("date", "versions", "functions")}
    return {**kept, "tolerance": MOST, "without_counterpart": WITHOUT_COUNTERPART, "comparisons": rows}


def show(outcomes: Sequence[Outcome], content: dict[str, Any], console: Console) -> None:
    """The table, then what each difference is and which fields remove it."""
    console.print(table(outcomes))
    for one in outcomes:
        if one.first != "equal":
            meaning = QUANTITIES[one.first]
            console.print(f"\n[bold]{escape(one.case.name)}[/]: {one.first} ({meaning}). {escape(one.case.because)}")
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    console.print(f"\n{versions}; values of {content['date']}; differences below {MOST:g} count as equal", style="dim")


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table of docs/conformance.md."""
    lines = ["| `algo` | comparison | TRL | here | first difference | why |", "|---|---|---|---|---|---|"]
    for one in outcomes:
        case = one.case
        both = [f"`{settings(fields)}`" if fields else "defaults" for fields in (case.theirs, case.ours)]
        first = "none" if one.first == "equal" else one.first
        notes = [case.because, *(f"{name} is not compared: {text}" for name, text in case.left_out.items())]
        why = "; ".join(note for note in notes if note)
        lines.append(f"| {case.algo} | {case.comparison} | {both[0]} | {both[1]} | {first} | {why} |")
    return "\n".join(lines)


def write_docs(outcomes: Sequence[Outcome]) -> None:
    """Replace the table of docs/conformance.md."""
    text = DOCS.read_text(encoding="utf-8")
    new = re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{markdown(outcomes)}\n\n{END}", text, flags=re.DOTALL)
    DOCS.write_text(new, encoding="utf-8")


def write_recording(content: dict[str, Any], file: Path) -> None:
    """One line a quantity, rounded, so that a change of one is one line of a difference."""
    file.parent.mkdir(parents=True, exist_ok=True)
    head = {name: value for name, value in content.items() if name != "results"}
    cases = ",\n".join(
        f"  {json.dumps(name)}: {{\n"
        + ",\n".join(f"   {json.dumps(key)}: {json.dumps(rounded(value))}" for key, value in output.items())
        + "\n  }"
        for name, output in content["results"].items()
    )
    text = json.dumps(head, indent=1)[:-2] + f',\n "results": {{\n{cases}\n }}\n}}\n'
    json.loads(text)
    file.write_text(text, encoding="utf-8")


def rounded(value: Any) -> Any:
    """Numbers with 12 significant digits, at any depth."""
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.{DIGITS}g}")
