"""Is anything lost when a command is killed, whenever that is, or meets trouble of another kind?

    python -m tests.kills                       # 100 kills, 10 troubles of each kind, and the tables
    python -m tests.kills --write               # and put the tables into docs/reliability.md
    python -m tests.kills --kills 10 --troubles 0 --seed 7 --show
    python -m tests.kills --only "an algorithm" --only-trouble "a full disk" --show

Commands train the smallest model for four steps, each in a folder of its own. Exit status: 0 no finding, 1 findings.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.forked import preload
from tests.kills import cases, disk, tables, troubles
from tests.kills.attempts import Attempts, Result

DISK = "a full disk"
KILLS = 2 / 3  # share of the time that kills may take


def main() -> int:
    given = _parser().parse_args()
    began = time.monotonic()
    preload()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    try:
        with cases.judge() as port:
            attempts = Attempts(folder, random.Random(given.seed))
            killed = kill(attempts, given, port, began + KILLS * 60 * given.minutes)
            troubled = trouble(attempts, given, port, began + 60 * given.minutes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = "\n\n".join(
        [tables.of_kills(killed), tables.of_troubles(troubled), f"Seed {given.seed}; {_minutes(began)} minutes."]
    )
    print(text)
    if given.write:
        tables.write(text)
    return 1 if any(result.finding for result in [*killed, *(one for each in troubled.values() for one in each)]) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.kills")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--troubles", type=int, default=10, help="of each kind")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing more after these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=cases.KINDS, action="append", help="commands to kill")
    parser.add_argument("--only-trouble", choices=list(troubles.ALL), action="append")
    parser.add_argument("--show", action="store_true", help="each case as it is tried, with what is wrong")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/reliability.md")
    return parser


def kill(attempts: Attempts, given: argparse.Namespace, port: int, end: float) -> list[Result]:
    """Commands until there were so many kills, or until this time."""
    results: list[Result] = []
    for case in cases.cases(given.only or cases.KINDS, port):
        if sum(result.kills for result in results) >= given.kills or time.monotonic() > end:
            break
        results.append(attempts.killed(case))
        _show(results[-1], given)
    return results


def trouble(attempts: Attempts, given: argparse.Namespace, port: int, end: float) -> dict[str, list[Result]]:
    """Each trouble in its turn, and none of a full disk where nothing can be mounted."""
    names = [name for name in given.only_trouble or troubles.ALL if name != DISK or disk.possible(attempts.folder)]
    results: dict[str, list[Result]] = {name: [] for name in names}
    commands = {name: cases.in_turn(troubles.KINDS, port) for name in names}
    for name in given.troubles * names:
        if time.monotonic() > end:
            break
        results[name].append(troubles.ALL[name](attempts, next(commands[name])))
        _show(results[name][-1], given, name)
    return results


def _show(result: Result, given: argparse.Namespace, trouble: str = "") -> None:
    if given.show:
        what = trouble or f"{result.kills} kills"
        print(f"{time.strftime('%H:%M:%S')} {result.case.label}: {what}{tables.findings(result)}", flush=True)


def _minutes(began: float) -> int:
    return round((time.monotonic() - began) / 60)


if __name__ == "__main__":
    sys.exit(main())
