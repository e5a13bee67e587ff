"""The table of claims: what the study was to decide, and what was found."""

from __future__ import annotations

from align_lab.compare.document import Document
from align_lab.compare.report import words
from align_lab.compare.report.grid import Cell, Column, Grid, Tone, numeric, row


def claims(document: Document) -> Grid:
    """What a paper says of two arms, and whether it holds."""
    places = words.digits(one["gap"] for one in document["claims"])
    tones: dict[str, Tone] = {"held": "good", "did not hold": "bad"}
    return Grid(
        name="claims",
        caption="What the study was to decide. Gap: mean of the arm that is to be higher minus mean of the other.",
        columns=(
            Column("claim"),
            Column("metric"),
            numeric("gap"),
            numeric("interval", "Welch's t, corrected for the number of claims"),
            Column("here", hint="at this scale: held, did not hold, or inconclusive"),
            Column("why", wide=True),
        ),
        rows=tuple(
            row(
                one["claim"],
                words.metric(document, one["metric"]),
                words.number(one["gap"], places),
                words.between(one["low"], one["high"], places),
                Cell(one["outcome"], tones.get(one["outcome"], "")),
                one["why"],
                arms=[one["a"], one["b"]],
            )
            for one in document["claims"]
        ),
    )
