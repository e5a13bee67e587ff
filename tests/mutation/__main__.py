"""Do the tests know the truth? Change the code where they should notice, and count who does.

    python -m tests.mutation                         # all that is not measured yet, and the table of docs/mutations.md
    python -m tests.mutation --room train --most 10  # up to ten generated mutants a file of one package
    python -m tests.mutation --sample 40             # of each package, 40 at random of all that can be generated
    python -m tests.mutation --survivors             # ask again about those that survived
    python -m tests.mutation --table                 # only write the table from the results so far
    python -m tests.mutation --only tests/equations  # ask some tests alone; who passes them is not decided

Results are kept in tests/mutation/results.json by the text of the change, so that a measurement can be continued; a
mutant whose file has changed since is asked about again. Outside CI: it takes hours.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_lab.train.intervals import bounded_mean
from tests.mutation import runner
from tests.mutation.by_hand import MUTANTS
from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.generated import chosen

RESULTS = Path(__file__).parent / "results.json"
DOCS = runner.CHECKOUT / "docs" / "mutations.md"
BEGIN, END = "<!-- table -->", "<!-- end of the table -->"
ROOMS = ("equations", "algos", "train", "rollout", "stages", "rewards", "run")
FILES = {  # of the packages of which not all modules run in the tests' own process
    "run": ["assembly.py"],
    "rollout": ["torch_sampler.py", "sampler.py", "prompts.py", "long_prompts.py"],
    "rewards": [
        *("combination.py", "ensemble.py", "format_match.py", "length.py", "math_answers.py"),
        *("noise.py", "weighted.py"),
        *("pair_metrics.py", "pair_model.py", "pair_training.py", "regex_count.py", "scores.py", "verifier.py"),
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A changed file. `key` names the change whatever line it is on."""

    file: str
    line: int
    what: str
    text: str

    @property
    def key(self) -> str:
        return f"{self.file}: {self.what}"

    @property
    def room(self) -> str:
        return self.file.split("/")[0]


def by_hand() -> Iterator[Mutant]:
    """Those of the list. Raises ValueError for one whose old text is not in its file, or more than once."""
    wrong = []
    for file, old, new, why in MUTANTS:
        source = (runner.CHECKOUT / "align_lab" / file).read_text()
        if source.count(old) != 1:
            wrong.append(f"{file}: {old!r} is there {source.count(old)} times")
            continue
        if not _is_python(source.replace(old, new)):
            wrong.append(f"{file}: with {new!r} it is no Python")
            continue
        first = source[: source.index(old)].count("\n") + 1
        yield Mutant(file, first, why, source.replace(old, new))
    if wrong:
        raise ValueError("tests/mutation/by_hand.py has mutants that are not true any more:\n" + "\n".join(wrong))


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def generated(room: str, most: int) -> Iterator[Mutant]:
    """At most `most` of every module of a package."""
    folder = runner.CHECKOUT / "align_lab" / room
    for path in sorted(folder.rglob("*.py")):
        if path.name in ("__init__.py", "deepspeed_engine.py", "fsdp_engine.py", "gathered_copy.py") or (
            room in FILES and path.name not in FILES[room]
        ):
            continue
        source, file = path.read_text(), str(path.relative_to(runner.CHECKOUT / "align_lab"))
        lines, same = source.splitlines(), Counter[str]()
        for change in chosen(source, most):
            text = source[: change.start] + change.new + source[change.end :]
            if not _is_python(text):
                continue
            what = f"{change.words} in `{lines[change.line - 1].strip()}`"
            same[what] += 1
            what += f" ({same[what]})" if same[what] > 1 else ""
            yield Mutant(file, change.line, what, text)


def sampled(room: str, count: int) -> list[Mutant]:
    """A random sample of all mutants that can be generated of a package, always the same one."""
    ranked = sorted(generated(room, sys.maxsize), key=lambda one: hashlib.sha256(one.key.encode()).hexdigest())
    return ranked[:count]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--room", choices=ROOMS)
    parser.add_argument("--most", type=int, default=6, help="generated mutants of a file")
    parser.add_argument("--sample", type=int, help="generated mutants of a package, at random, in place of --most")
    parser.add_argument("--survivors", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no mutant after them")
    parser.add_argument("--only", nargs="+", help="ask only these tests: who passes them is not decided")
    parser.add_argument("--at-once", type=int, default=2, help="mutants that are asked about at the same time")
    parser.add_argument("--cases", type=int, default=1000, help="ask at most so many cases of a parametrized test")
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="for the tests of one mutant; without an answer it is not decided"
    )
    given = parser.parse_args()
    rooms = [given.room] if given.room else list(ROOMS)
    every = [one for one in by_hand() if one.room in rooms or not given.room]
    if given.sample is None:
        every += [one for room in rooms for one in generated(room, given.most)]
    else:
        every += [one for room in rooms for one in sampled(room, given.sample)]
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not given.table:
        _measure(every, results, given)
    DOCS.write_text(_document(results))
    return 0


def _measure(every: list[Mutant], results: dict[str, Any], given: argparse.Namespace) -> None:
    """Ask about each mutant that is not known yet, and keep what is found after each."""
    end = time.monotonic() + 60 * given.minutes
    results |= {one.key: _record(one, "") for one in every if one.key in EQUIVALENT}

    def ask(tests: runner.Asking) -> None:
        asked = [one for one in every if _is_asked(one, results, given)]
        for number, (one, killed) in enumerate(tests.verdicts(_until(end, asked)), start=1):
            if killed in runner.UNDECIDED or (given.only and not killed):
                print(f"{number}/{len(asked)} not decided: {one.key} ({killed or 'it passes these tests'})", flush=True)
                continue
            results[one.key] = _record(one, killed)
            print(f"{number}/{len(asked)} {'killed' if killed else 'SURVIVED'} {one.key} {killed}", flush=True)
            RESULTS.write_text(json.dumps(results, indent=0, sort_keys=True, ensure_ascii=False) + "\n")

    noticed: dict[str, set[str]] = {}
    for key, one in results.items():
        noticed.setdefault(key.split(": ")[0], set()).update({one["killed"]} - {""})
    limits = {"seconds": given.seconds, "at_once": given.at_once, "cases": given.cases}
    runner.collect(runner.Asking(ask, noticed=noticed, **limits), given.only or runner.TESTS)


def _record(one: Mutant, killed: str) -> dict[str, Any]:
    return {"room": one.room, "line": one.line, "killed": killed, "text": _digest(one)}


def _until(end: float, mutants: list[Mutant]) -> Iterator[Mutant]:
    yield from itertools.takewhile(lambda one: time.monotonic() < end, mutants)


def _is_asked(one: Mutant, results: dict[str, Any], given: argparse.Namespace) -> bool:
    known = results.get(one.key)
    if known is None or known["text"] != _digest(one):
        return one.key not in EQUIVALENT
    return given.survivors and not known["killed"] and one.key not in EQUIVALENT


def _digest(one: Mutant) -> str:
    return hashlib.sha256(one.text.encode()).hexdigest()[:12]


def _document(results: dict[str, Any]) -> str:
    """docs/mutations.md with the table of these results."""
    before, _, rest = DOCS.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{_table(results)}\n{END}{after}"


def _table(results: dict[str, Any]) -> str:
    rows = [
        "| package | mutants | tried | fell | equivalent | survived | fell, of those not equivalent |",
        "|---|---|---|---|---|---|---|",
    ]
    listed = {one.key for one in by_hand()}
    for words, kind in (("by hand", True), ("generated", False)):
        own = {key: one for key, one in results.items() if (key in listed) == kind}
        rooms = sorted({one["room"] for one in own.values()})
        rows += [_row(room, words, {key: one for key, one in own.items() if one["room"] == room}) for room in rooms]
        rows.append(_row("**all**", words, own))
    survivors = [key for key, one in sorted(results.items()) if not one["killed"] and key not in EQUIVALENT]
    return "\n".join(rows) + "\n\nSurvivors:\n\n" + ("\n".join(f"* {key}" for key in survivors) or "None.")


def _row(room: str, words: str, own: dict[str, Any]) -> str:
    same, fell = sum(key in EQUIVALENT for key in own), sum(bool(one["killed"]) for one in own.values())
    columns = (room, words, len(own), fell, same, len(own) - fell - same, share(fell, len(own) - same))
    return f"| {' | '.join(map(str, columns))} |"


def share(fell: int, count: int) -> str:
    """In percent, with the 95 % interval of Clopper and Pearson."""
    low, high = bounded_mean([1.0] * fell + [0.0] * (count - fell))
    return f"{100 * fell / max(1, count):.1f} % ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    raise SystemExit(main())
