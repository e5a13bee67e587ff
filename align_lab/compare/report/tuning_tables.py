"""Tables on the tuning before a study: cost and gain, the best of fewer trials, and which fields matter."""

from __future__ import annotations

from align_lab.compare.document import TuningDocument
from align_lab.compare.report import words
from align_lab.compare.report.grid import Column, Grid, numeric, row

DIGITS = 3


def tuning(tuned: TuningDocument) -> Grid:
    """What each arm's tuning found, what remained of it with fresh seeds, and what it cost."""
    return Grid(
        name="tuning",
        caption=f"The best of {tuned['trials']} trials of each arm. Tuned: its mean at the tuning seeds; "
        "fresh: the same recipe with the study's seeds, on the same prompts. Optimism: tuned minus fresh.",
        columns=(
            Column("arm"),
            numeric("diverged", "trials in which a run diverged"),
            numeric("tuned"),
            numeric("fresh"),
            numeric("optimism"),
            numeric("interval", "Welch's t over seeds"),
            numeric("episodes", "of all trials"),
            numeric("device-seconds", "of all trials"),
            numeric("FLOPs", "of all trials"),
            Column("recipe", wide=True),
        ),
        rows=tuple(
            row(
                one["arm"],
                words.count(one["diverged"]),
                words.number(one["tuned"], DIGITS),
                words.number(one["fresh"], DIGITS),
                words.number(one["optimism"], DIGITS),
                words.between(one["low"], one["high"], DIGITS),
                words.count(one["episodes"]),
                words.count(one["device_seconds"]),
                f"{one['flops']:.2g}",
                " ".join(f"{field}={value}" for field, value in one["recipe"].items()),
                arms=[one["arm"]],
            )
            for one in tuned["arms"]
        ),
    )


def tuning_expected(tuned: TuningDocument) -> Grid:
    """Row: an arm; column: a number of trials."""
    counts = [one["trials"] for one in tuned["arms"][0]["expected"]]
    return Grid(
        name="tuning_expected",
        caption="The score that is expected of the best of so many trials, with its interval over trials and seeds. "
        "With several tuning seeds it is chosen by all of them, and judged by others.",
        columns=(Column("arm"), *(numeric(f"{count} {'trial' if count == 1 else 'trials'}") for count in counts)),
        rows=tuple(
            row(
                one["arm"],
                *(
                    f"{words.number(at['mean'], DIGITS)} {words.between(at['low'], at['high'], DIGITS)}"
                    for at in one["expected"]
                ),
                arms=[one["arm"]],
            )
            for one in tuned["arms"]
            if counts
        ),
    )


def tuning_flips(tuned: TuningDocument) -> Grid:
    """Row: two arms whose order depends on the number of trials."""
    return Grid(
        name="tuning_flips",
        caption="Pairs whose order depends on the number of trials, the largest change first.",
        columns=(Column("arm"), Column("against"), numeric("ahead at"), numeric("behind at"), Column("intervals")),
        rows=tuple(
            row(
                one["a"],
                one["b"],
                *(", ".join(map(str, one[side])) for side in ("a_ahead", "b_ahead")),
                "apart in both orders" if one["clear"] else "overlap",
                arms=[one["a"], one["b"]],
            )
            for one in tuned["flips"]
        ),
    )


def tuning_sensitivity(tuned: TuningDocument) -> Grid:
    """How much of the spread of an arm's trials each field explains by itself."""
    return Grid(
        name="tuning_sensitivity",
        caption="Share of the variance between an arm's trials that a quadratic in one field explains (adjusted R²).",
        columns=(Column("arm"), Column("field"), numeric("share")),
        rows=tuple(
            row(one["arm"], each["field"], f"{each['share']:.0%}", arms=[one["arm"]])
            for one in tuned["arms"]
            for each in one["sensitivity"]
        ),
    )


GRIDS = (tuning, tuning_expected, tuning_flips, tuning_sensitivity)
