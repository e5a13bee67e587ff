"""The errors of the package. A message says what is wrong, what is allowed and what to type.

Each class also inherits from the built-in error that it specialises, so that ``except ValueError`` works, and has the
exit status of the command line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AlignLabError(Exception):
    """The base class; the command line shows only its message, without a traceback."""

    status = 1


class ConfigError(AlignLabError, ValueError):
    """The command or the config is invalid. Nothing was started or written."""

    status = 2


class NotComparableError(AlignLabError, ValueError):
    """Runs differ in a setting, so a comparison between them would not be fair."""

    status = 3


class LostError(AlignLabError, ConnectionError):
    """Another process of the run was lost with its node, and no process has recorded a cause."""


class DataError(AlignLabError, ValueError):
    """A data set, an artefact or a checkpoint is missing, truncated or not what its hash says."""


class RewardError(AlignLabError, ValueError):
    """A reward cannot be used, failed on too many completions, or gave no outcome, or nothing to learn from."""


class DivergedError(AlignLabError, ArithmeticError):
    """A loss, gradient or weight is not finite. The last good checkpoint is kept."""


class SamplerError(AlignLabError, RuntimeError):
    """The sampler cannot start, has died, or does not respond. The state of the run until then is saved."""


class SamplerMismatch(SamplerError):
    """Sampler and trainer disagree on the probabilities of the same tokens by more than the tolerance."""


class Stopped(AlignLabError):
    """A signal asked to stop, which is no failure. The message says what is saved; the same command goes on."""

    status = 75


def near(word: str, known: Iterable[str], *, show_all: int = 12) -> str:
    """``did you mean 'x'?`` and the allowed words, for a word that is not one of them, whatever its case.

    Up to `show_all` allowed words are all listed; of a longer list the most similar ones, or the first.
    """
    names = sorted(map(str, known))
    by_lower = {name.lower(): name for name in names}
    close = [by_lower[found] for found in difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=0.6)]
    hint = f"did you mean {close[0]!r}? " if close else ""
    listed = names
    if len(names) > show_all:
        listed = close or names[:show_all]
        listed = [*listed, f"and {len(names) - len(listed)} more"]
    return f"{hint}allowed: {', '.join(listed)}" if listed else "there is none"


def short(text: str, most: int = 120) -> str:
    """The beginning of a long text, and how long it is."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
