"""What the configs of other programs prove, arm by arm: against ours, or against each other where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from align_lab.compare.document import ForeignSettings
from align_lab.compare.foreign.reader import ForeignRun
from align_lab.compare.foreign.settings import agreement, programs
from align_lab.compare.foreign.settings.agreement import Side
from align_lab.compare.foreign.settings.translation import TheirSettings
from align_lab.compare.summary import ArmRuns
from align_lab.compare.values import listed

MOST = 3  # arms whose sentence stands in the verdict
SETTINGS_UNKNOWN = "settings, data and reward are not known to be equal"
CONTENT_UNKNOWN = "no config says what data, reward and evaluation hold"


def of_arms(runs: Sequence[ForeignRun], arms: Sequence[ArmRuns], ours: str) -> list[ForeignSettings]:
    """Every arm whose config was read; `ours`: what is behind the names of our arms."""
    theirs = _by_arm(runs)
    own = [agreement.ours(f"{arm.name} ({ours})", arm.runs[0].fields) for arm in arms]
    others = own or [Side(name=name, fields=settings.fields) for name, settings in list(theirs.items())[:1]]
    compared = (
        agreement.agreement(name, settings, [side for side in others if side.name != name])
        for name, settings in theirs.items()
    )
    return [one for one in compared if one]


def _by_arm(runs: Sequence[ForeignRun]) -> dict[str, TheirSettings]:
    groups: dict[str, list[TheirSettings]] = {}
    for run in runs:
        if run.settings:
            groups.setdefault(run.label, []).append(run.settings)
    return {label: agreement.together(members) for label, members in groups.items()}


def sentence(settings: Sequence[ForeignSettings], runs: Sequence[ForeignRun], mark: str, verdict: str) -> str:
    """What is equal, what differs and what is unknown, then the verdict, which stays marked as not proven."""
    first = [one["sentence"] for one in settings[:MOST]]
    more = [f"{len(settings) - MOST} more arms are in the tables."] if len(settings) > MOST else []
    return " ".join([*first, *more, f"{mark} ({unknown(settings, runs)}): {verdict}"])


def unknown(settings: Sequence[ForeignSettings], runs: Sequence[ForeignRun]) -> str:
    """Why nothing is proven."""
    return CONTENT_UNKNOWN if settings and all(run.settings for run in runs) else SETTINGS_UNKNOWN


def notes(settings: Sequence[ForeignSettings], runs: Sequence[ForeignRun]) -> Iterator[str]:
    """Whose config was not found, and how to pass it; whose names no table knows; what contradicts."""
    yield from _missing(runs)
    for one in settings:
        yield from (f"{one['arm']}: {note}" for note in one["notes"])
        if one["unmapped"]:
            count = len(one["unmapped"])
            yield (
                f"{count} name{'' if count == 1 else 's'} of the config of {one['arm']} "
                f"{'has' if count == 1 else 'have'} no field of ours, and nothing is guessed: "
                f"{listed(one['unmapped'], most=8)}."
            )


def _missing(runs: Sequence[ForeignRun]) -> Iterator[str]:
    """Once an arm."""
    without: dict[str, list[ForeignRun]] = {}
    for run in runs:
        if run.settings is None:
            without.setdefault(run.label, []).append(run)
    for label, members in without.items():
        known = sum(run.label == label for run in runs) - len(members)
        whose = f"{len(members)} of {known + len(members)} runs of {label}" if known else label
        yield f"No config of {whose} was found: nothing is known of its settings. Pass {_pass_on(members[0])}."


def _pass_on(run: ForeignRun) -> str:
    if run.asked in programs.names():
        return programs.named(run.asked).pass_on
    return "config=FILE, the config that the program or W&B wrote"
