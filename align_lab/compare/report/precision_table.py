"""The table of what each gap rests on: its interval over seeds and prompts, and its variance in parts."""

from __future__ import annotations

from align_lab.compare.document import Document
from align_lab.compare.report import words
from align_lab.compare.report.grid import Column, Grid, numeric, row


def precision(document: Document) -> Grid:
    """What each gap rests on: its interval over seeds and prompts, and the parts of its variance."""
    gaps = {(pair["a"], pair["b"]): pair for pair in document["verdict"]["pairs"]}
    places = words.digits(pair["gap"] for pair in gaps.values())
    hints = {
        "seeds": "the part that only more seeds reduce",
        "prompts": "the part that only more prompts reduce",
        "answers": "of one prompt in one run: seeds and prompts reduce it, and samples a prompt in part",
        "samples": "of the answers' part, what sampling adds; known with several samples a prompt",
        "judge": "of the answers' part, what a judge of known noise adds",
    }
    return Grid(
        name="precision",
        caption="An interval over seeds holds for these prompts, one over seeds and prompts for others of their kind.",
        columns=(
            Column("pair"),
            numeric("over seeds", "corrected interval of the gap at these prompts"),
            numeric("over seeds and prompts", "crossed variance components, Satterthwaite's freedom"),
            *(numeric(f"{name}, share", hint) for name, hint in hints.items()),
        ),
        rows=tuple(
            row(
                f"{one['a']} − {one['b']}",
                words.between(gaps[one["a"], one["b"]]["low"], gaps[one["a"], one["b"]]["high"], places),
                words.between(one["low"], one["high"], places),
                *(_share(one["shares"][name]) for name in hints),
                arms=[one["a"], one["b"]],
            )
            for one in document["precision"]
        ),
    )


def _share(value: float | None) -> str:
    return words.NOTHING if value is None else f"{value:.0%}".replace("%", "\u00a0%")
