"""The table of what each gap rests on: its interval over seeds and prompts, and its variance in parts."""

from __future__ import annotations

from align_lab.compare.advice import short_time
from align_lab.compare.document import Document, Precision
from align_lab.compare.gaps import half
from align_lab.compare.gaps import places as decimals
from align_lab.compare.report import words
from align_lab.compare.report.grid import Column, Grid, numeric, row
from align_lab.compare.verdict import MOST, POWER

CAPTION = "An interval over seeds holds for these prompts, one over seeds and prompts for others of their kind."
PARTS = {"samples": "samples a prompt", "judge": "the judge"}


def precision(document: Document) -> Grid:
    """What each gap rests on: its interval over seeds and prompts, and the parts of its variance."""
    gaps = {(pair["a"], pair["b"]): pair for pair in document["verdict"]["pairs"]}
    places = decimals(half(pair["low"], pair["high"]) for pair in gaps.values())
    hints = {
        "seeds": "the part that only more seeds reduce",
        "prompts": "the part that only more prompts reduce",
        "answers": "of one prompt in one run: seeds and prompts reduce it, and samples a prompt in part",
        "samples": "of the answers' part, what sampling adds; known with several samples a prompt",
        "judge": "of the answers' part, what the judge would say otherwise another time, where that is known",
    }
    return Grid(
        name="precision",
        caption=f"{CAPTION}{_reasons(document)}",
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
                *("unknown" if name in one["unknown"] else _share(one["shares"][name]) for name in hints),
                arms=[one["a"], one["b"]],
            )
            for one in document["precision"]
        ),
    )


def studies(document: Document) -> Grid:
    """What a study of its own would take, of each pair that ended without an answer in a study whose seeds came in
    steps.
    """
    smallest, what = document["verdict"]["smallest"], words.with_unit(document, document["metric"])
    return Grid(
        name="studies",
        caption=f"What a study of its own would take to show a gap of {smallest or 0:g} in {what} with a power of "
        f"{_share(POWER)}, at the lowest cost, for other prompts of their kind as well.",
        columns=(
            Column("pair"),
            numeric("seeds an arm"),
            numeric("with prompts", "evaluated in each run"),
            numeric("samples a prompt"),
            numeric("device time", "of both arms"),
            numeric("by seeds alone: an arm", "with the prompts and samples that there are"),
            numeric("their device time", "of both arms"),
        ),
        rows=tuple(
            row(f"{one['a']} − {one['b']}", *_bought(one), arms=[one["a"], one["b"]])
            for one in document["precision"]
            if one["anew"]
        ),
    )


def purchases(document: Document) -> Grid:
    """What would show the gap that matters, of each pair that is not decided."""
    known = {(one["a"], one["b"]): one for one in document["precision"]}
    smallest, what = document["verdict"]["smallest"], words.with_unit(document, document["metric"])
    undecided = [pair for pair in document["verdict"]["pairs"] if pair["needed"] is not None and smallest is not None]
    return Grid(
        name="purchases",
        caption=f"What would show a gap of {smallest or 0:g} in {what} with a power of {POWER:.0%}: ".replace(
            "%", "\u00a0%"
        )
        + "for these prompts, and, at the lowest cost, for others of their kind.",
        columns=(
            Column("pair"),
            numeric("more seeds an arm, for these prompts"),
            numeric("more seeds an arm, for others"),
            numeric("with prompts", "evaluated in each run"),
            numeric("samples a prompt"),
            numeric("device time", "of both arms"),
            numeric("by seeds alone: more an arm", "with the prompts and samples that there are"),
            numeric("their device time", "of both arms"),
        ),
        rows=tuple(
            row(
                f"{pair['a']} − {pair['b']}",
                _seeds(pair["needed"]),
                *_bought(known.get((pair["a"], pair["b"]))),
                arms=[pair["a"], pair["b"]],
            )
            for pair in undecided
        ),
    )


def _bought(one: Precision | None) -> list[str]:
    """The cheapest, then what seeds alone would take; nothing where runs record no costs."""
    if one is None or one["seed_seconds"] is None:
        return [words.NOTHING] * 6
    cheapest, alone = one["cheapest"], one["seeds_alone"]
    best = [words.NOTHING] * 4
    if cheapest:
        best = [_seeds(cheapest["seeds"]), words.count(cheapest["prompts"]), words.count(cheapest["samples"])]
        best.append(short_time(cheapest["seconds"]))
    return [
        *best,
        *((_seeds(alone["seeds"]), short_time(alone["seconds"])) if alone else (_seeds(MOST + 1), words.NOTHING)),
    ]


def _seeds(more: int | None) -> str:
    return f"> {MOST:,}" if more is not None and more > MOST else words.count(more)


def _reasons(document: Document) -> str:
    """Why a part of the variance is not known."""
    reasons = {name: why for one in document["precision"] for name, why in one["unknown"].items()}
    return "".join(f" The part of {PARTS[name]} is unknown: {why}." for name, why in reasons.items())


def _share(value: float | None) -> str:
    return words.NOTHING if value is None else f"{value:.0%}".replace("%", "\u00a0%")
