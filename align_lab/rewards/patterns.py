"""Regular expressions of users, searched in texts of a policy with a limit of time.

The package `regex` reads Python's syntax and can stop in the middle of a search that backtracks without end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from align_lab.base.task import Failure

T = TypeVar("T")


def problem(pattern: str, field: str) -> str:
    """Why it is no regular expression, or matches without a character; empty where it can be used."""
    import regex

    if not pattern:
        return f"{field} is empty. Type, for example, {field}='[0-9]+'"
    try:
        regex.compile(pattern)
    except regex.error as error:
        return (
            f"{field}={pattern}: it is no regular expression: {error}. Quote it on the command line: '{field}=\"...\"'"
        )
    return ""


def compiled(pattern: str, *, dotall: bool = False) -> Any:
    """The compiled expression."""
    import regex

    return regex.compile(pattern, flags=regex.DOTALL if dotall else 0)


def limited(search: Callable[[], T], *, seconds: float) -> T | Failure:
    """The result of a search that was given `timeout=seconds`; a Failure where it took longer."""
    try:
        return search()
    except TimeoutError:
        return Failure(
            f"the pattern was searched for more than {seconds:g} s. It backtracks on such texts: avoid nested "
            "repetitions such as (a+)+, or raise the reward's field seconds"
        )
