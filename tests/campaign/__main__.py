"""Is any input, or any record, answered by a traceback, or accepted although it means nothing?

    python -m tests.campaign                          # 10,000 mutations of input, 2,000 damaged records, the table
    python -m tests.campaign --mutations 500 --records 100 --seed 7      # a sample
    python -m tests.campaign --minutes 30             # as many of all kinds as half an hour takes
    python -m tests.campaign --only files --show      # one source of mutations, and each finding

Nothing trains but the study of seconds whose records are damaged: runs are planned only. All fields, options, verbs
and flags are those of the schema, so a new one is tried as well. Exit status: 0 no finding, 1 findings.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from align_lab.base import paths
from tests.campaign import commands, fields, files, records, running
from tests.campaign.running import OUTCOMES, SILENT, TRACEBACK, UNCLEAR, Case, Result
from tests.forked import preload

PRELOADED = (
    "align_lab.cli.hydra_app",
    "align_lab.dispatch.launch",
    "align_lab.compare.analysis",
    "align_lab.stages.prompt_check",
)
PART = 400  # cases
SOURCES = ("fields", "commands", "files", "records")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign")
    parser.add_argument("--mutations", type=int, default=10_000, help="of command lines, configs and files")
    parser.add_argument("--records", type=int, default=2_000, help="damaged records")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="end after so many, with the table of what was tried"
    )
    parser.add_argument("--only", choices=SOURCES, action="append")
    parser.add_argument("--show", action="store_true", help="each finding as it is made")
    parser.add_argument("--json", type=Path, help="write all findings to this file")
    parser.add_argument("--grep", default="", help="only cases whose description holds this text")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-cache-", ignore_cleanup_errors=True) as cache:
        return campaign(given, cache)


def campaign(given: argparse.Namespace, cache: str) -> int:
    """Try what is asked for, with this folder as an empty cache, and print the table. Returns the exit status."""
    prepare(cache)
    began = time.monotonic()
    chosen = sample(given.mutations, given.seed, given.only or SOURCES)
    if given.records and (not given.only or "records" in given.only):
        prepare_records()
        chosen += records.cases(random.Random(given.seed), given.records)
    chosen = [one for one in chosen if given.grep in one.what]
    results: list[Result] = []
    for part in parts(chosen):
        results += shown(running.run(part), show=given.show)
        if given.minutes and time.monotonic() - began > 60 * given.minutes:
            break
    print(table(results))
    print(f"{len(results)} cases, seed {given.seed}, {time.monotonic() - began:.0f} s")
    found = findings(results)
    if given.json:
        given.json.write_text(json.dumps([_record(one) for one in found], indent=1))
    return 1 if found else 0


def prepare(cache: str) -> None:
    """Import what the commands import, so that each of them is a fork of this process; with an empty cache."""
    os.environ["CAMPAIGN_CACHE"] = str(paths.cache_folder())
    os.environ["ALIGN_LAB_CACHE"] = cache
    for name in PRELOADED:
        importlib.import_module(name)
    from align_lab.config import composition

    composition.load_components()


def prepare_records() -> None:
    """Import also torch and what reads the records of runs, and train the study whose records are damaged."""
    preload()
    records.original()


def sample(count: int, seed: int, sources: Sequence[str] = SOURCES) -> list[Case]:
    """So many cases, evenly of all kinds, in an order in which those that share a fork stand together."""
    rng = random.Random(seed)
    every: list[Case] = []
    if "fields" in sources:
        every += [*fields.cases(), *fields.several(rng, count // 10)]
    if "commands" in sources:
        every += [*commands.hydra(), *commands.plugins(), *commands.verbs()]
        every += commands.misspelled_lines(rng, count // 20)
    if "files" in sources:
        every += [*files.cases(), *files.torn(rng, count // 20)]
    by_kind: dict[str, list[Case]] = defaultdict(list)
    for case in every:
        by_kind[case.kind].append(case)
    for cases in by_kind.values():
        rng.shuffle(cases)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_kind.values()))
    chosen = itertools.islice((case for case in turns if case), count)
    return sorted(chosen, key=lambda case: (case.kind, case.words[0] if case.words else ""))


def parts(cases: Sequence[Case]) -> list[list[Case]]:
    """In parts of some hundreds, each with its share of all kinds, so that a campaign can end between two of them."""
    count = max(1, len(cases) // PART)
    return [list(cases[first::count]) for first in range(count)]


def shown(results: Iterable[Result], *, show: bool) -> Iterator[Result]:
    for result in results:
        if show and result.outcome in (TRACEBACK, SILENT, UNCLEAR):
            print(text(result), flush=True)
        yield result


def text(result: Result) -> str:
    """A finding for people."""
    answer = result.answer
    last = answer.trace.strip().splitlines()[-1:] or (answer.errors or answer.output).strip().splitlines()[-3:]
    said = " / ".join(last)
    return (
        f"{result.outcome:<9} {result.case.kind}: {result.case.what[:150]!a}\n          {answer.status} {said[:300]!a}"
    )


def _record(result: Result) -> dict[str, object]:
    answer, case = result.answer, result.case
    return {
        "outcome": result.outcome,
        "kind": case.kind,
        "what": case.what,
        "words": [word[:300] for word in case.words],
        "status": answer.status,
        "errors": answer.errors[-2000:],
        "output": answer.output[-1000:],
        "trace": answer.trace,
    }


def findings(results: Iterable[Result]) -> list[Result]:
    """What must not be."""
    return [one for one in results if one.outcome in (TRACEBACK, SILENT, UNCLEAR)]


def table(results: Sequence[Result]) -> str:
    """Kinds of mutations and their outcomes, in Markdown."""
    counts = Counter((one.case.kind, one.outcome) for one in results)
    lines = [f"| mutation of | tried | {' | '.join(OUTCOMES)} |", f"|---|{'---:|' * (len(OUTCOMES) + 1)}"]
    for kind in dict.fromkeys(one.case.kind for one in results):
        row = [counts[kind, outcome] for outcome in OUTCOMES]
        lines.append(f"| {kind} | {sum(row)} | {' | '.join(map(str, row))} |")
    total = [sum(counts[kind, outcome] for kind in {one.case.kind for one in results}) for outcome in OUTCOMES]
    lines.append(f"| all | {sum(total)} | {' | '.join(map(str, total))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
