"""Which tests of the whole suite run in turn: those marked `nightly`, a sixth of them with each commit.

A family of tests that say the same of each algorithm, each engine or each place in a program is marked where a sixth
of it would find most faults, and the whole takes minutes. Only `pytest` alone leaves tests out, and its first lines say
so: naming a file or a folder runs all of its tests. `ALIGN_LAB_NIGHTLY=all` runs all everywhere, `=0` to `=5` that
sixth, and `=turn` the one of the commit, where files are named too.
"""

from __future__ import annotations

import os
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

PARTS = 6
VARIABLE = "ALIGN_LAB_NIGHTLY"
ALL = "all"
TURN = "turn"


def part(nodeid: str) -> int:
    """The part that a test belongs to; the same on every machine."""
    return zlib.crc32(nodeid.encode()) % PARTS


def turn(asked: str, commit: str) -> int | None:
    """The part that runs: the one that is asked for, else that of the commit. None: all. Raises ValueError."""
    if asked == ALL:
        return None
    if asked in ("", TURN):
        return zlib.crc32(commit.encode()) % PARTS
    if asked not in map(str, range(PARTS)):
        raise ValueError(f"{VARIABLE}={asked}: allowed: {ALL}, {TURN}, {', '.join(map(str, range(PARTS)))}")
    return int(asked)


def in_turn(names: Sequence[str], of: str) -> list[str]:
    """Those of a family whose turn it is, for a test that needs all of its names at once. of: what the family is."""
    which = chosen()
    return [name for name in names if which is None or part(f"{of} {name}") == which]


def commit() -> str:
    """The commit that is checked out; empty outside of git."""
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def choose(*, everything: bool) -> None:
    """Decide once, for the workers too. everything: the whole suite was asked for, not files or folders of it."""
    asked = os.environ.get(VARIABLE, "" if everything else ALL)
    which = turn(asked, commit()) if everything or asked == TURN else None
    os.environ[VARIABLE] = ALL if which is None else str(which)


def chosen() -> int | None:
    """The part that runs in this process; None: all."""
    return turn(os.environ.get(VARIABLE, ALL), "")
