"""The outcome of one check. An exception of a component is an outcome, never a traceback of this package."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from align_lab.base.download import DownloadRefused

HERE = Path(__file__).parent
HUB_IS_OFFLINE = {"OfflineModeIsEnabled", "LocalEntryNotFoundError"}  # of huggingface_hub, which may not be installed
T = TypeVar("T")


class CheckSkipped(Exception):
    """A check cannot be made; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One check of one component: `problems` (a sentence each), or `skipped` says why it was not made."""

    check: str
    problems: tuple[str, ...] = ()
    skipped: str = ""


def outcome(check: Callable[[T], Iterable[str]], subject: T) -> Outcome:
    """Make one check. Its name is the function's, in words."""
    name = check.__name__.replace("_", " ")
    try:
        return Outcome(check=name, problems=tuple(check(subject)))
    except (Exception, SystemExit) as error:
        return failure(name, error)


def outcomes(checks: Iterable[Callable[[T], Iterable[str]]], subject: T) -> Iterator[Outcome]:
    """Make each check."""
    return (outcome(check, subject) for check in checks)


def failure(name: str, error: BaseException) -> Outcome:
    """What an exception says about the check that it ended."""
    if isinstance(error, CheckSkipped | DownloadRefused):
        return Outcome(check=name, skipped=str(error))
    causes = set()
    cause: BaseException | None = error
    while cause is not None:
        causes.add(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    if causes & HUB_IS_OFFLINE:
        return Outcome(check=name, skipped="it would download from the Hugging Face hub")
    return Outcome(check=name, problems=(in_words(error),))


def in_words(error: BaseException) -> str:
    """The exception and the line of the component that raised it, in one line."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent != HERE]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return f"it raised {type(error).__name__}{f': {text}' if text else ''}{place}"
