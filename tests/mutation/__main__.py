"""Do the tests know the truth? Change the code where they should notice, and count who does.

    python -m tests.mutation                         # all that is not measured yet, and the table of docs/mutations.md
    python -m tests.mutation --room train --most 10  # up to ten generated mutants a file of one package
    python -m tests.mutation --sample 40             # of each package, 40 at random of all that can be generated
    python -m tests.mutation --survivors             # ask again about those that survived
    python -m tests.mutation --table                 # only write the table from the results so far
    python -m tests.mutation --only tests/equations  # ask some tests alone; who passes them is not decided

Results are kept in tests/mutation/results.json by the text of the change, so that a measurement can be continued; a
mutant of a function that computes something else since is asked about again. Outside CI: it takes hours.
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
from collections.abc import Iterator, Mapping, Sequence
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
PACKAGE = runner.CHECKOUT / "align_lab"
ALL = "**all**"
BEGIN, END = "<!-- table -->", "<!-- end of the table -->"
ROOMS = ("equations", "algos", "train", "rollout", "stages", "rewards", "run")
ELSEWHERE = {  # modules that another process runs, or another program: no change of them reaches it
    "rewards": ("child*.py", "math_comparison.py", "score_server.py", "score_queue.py"),
    "rollout": ("vllm_*.py", "wire.py"),
    "run": ("[!a]*.py", "allocator.py"),  # whole commands; `assembly.py` remains
    "train": ("deepspeed_engine.py", "fsdp_engine.py", "gathered_copy.py"),
}


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
        source = (PACKAGE / file).read_text()
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


def modules(room: str) -> Iterator[str]:
    """The modules of a package that the tests' own process runs, as paths in the package `align_lab`."""
    for path in sorted((PACKAGE / room).rglob("*.py")):
        if path.name != "__init__.py" and not any(path.match(one) for one in ELSEWHERE.get(room, ())):
            yield str(path.relative_to(PACKAGE))


def generated(file: str, most: int = sys.maxsize) -> Iterator[Mutant]:
    """At most `most` of a module."""
    source = (PACKAGE / file).read_text()
    lines, same = source.splitlines(), Counter[str]()
    for change in chosen(source, most):
        text = source[: change.start] + change.new + source[change.end :]
        if not _is_python(text):
            continue
        what = f"{change.words} in `{lines[change.line - 1].strip()}`"
        same[what] += 1
        what += f" ({same[what]})" if same[what] > 1 else ""
        yield Mutant(file, change.line, what, text)


def of_package(room: str, most: int = sys.maxsize) -> Iterator[Mutant]:
    """At most `most` of every module of a package."""
    return itertools.chain.from_iterable(generated(file, most) for file in modules(room))


def sampled(room: str, count: int) -> list[Mutant]:
    """A random sample of all mutants that can be generated of a package, always the same one."""
    ranked = sorted(of_package(room), key=lambda one: hashlib.sha256(one.key.encode()).hexdigest())
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
        every += [one for room in rooms for one in of_package(room, given.most)]
    else:
        every += [one for room in rooms for one in sampled(room, given.sample)]
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not given.table:
        _measure(every, results, given)
    DOCS.write_text(_document(table(current(), results)))
    return 0


def current() -> dict[str, list[Mutant]]:
    """All mutants of the code as it is now: those of the list, and those that can be generated."""
    return {"by hand": list(by_hand()), "generated": [one for room in ROOMS for one in of_package(room)]}


def _measure(every: list[Mutant], results: dict[str, Any], given: argparse.Namespace) -> None:
    """Ask about each mutant that is not known yet, and keep what is found after each."""
    end = time.monotonic() + 60 * given.minutes
    results |= {one.key: _record(one, "") for one in every if one.key in EQUIVALENT}

    def ask(tests: runner.Asking) -> None:
        asked = [one for one in every if _is_asked(one, results, given)]
        for number, (one, killed) in enumerate(tests.verdicts(_until(end, asked)), start=1):
            if given.only and not killed:
                print(f"{number}/{len(asked)} not decided: {one.key} (it passes these tests)", flush=True)
                continue
            open_ = killed in runner.UNDECIDED
            results[one.key] = _record(one, "" if open_ else killed) | ({"undecided": killed} if open_ else {})
            word = "not decided:" if open_ else "killed" if killed else "SURVIVED"
            print(f"{number}/{len(asked)} {word} {one.key} {killed}", flush=True)
            RESULTS.write_text(json.dumps(results, indent=0, sort_keys=True, ensure_ascii=False) + "\n")

    noticed: dict[str, set[str]] = {}
    for key, one in results.items():
        noticed.setdefault(key.split(": ")[0], set()).update({one["killed"]} - {""})
    limits = {"seconds": given.seconds, "at_once": given.at_once, "cases": given.cases}
    runner.collect(runner.Asking(ask, noticed=noticed, **limits), given.only or runner.TESTS)


def _record(one: Mutant, killed: str) -> dict[str, Any]:
    return {"room": one.room, "line": one.line, "killed": killed, "text": digest(one)}


def _until(end: float, mutants: list[Mutant]) -> Iterator[Mutant]:
    yield from itertools.takewhile(lambda one: time.monotonic() < end, mutants)


def _is_asked(one: Mutant, results: dict[str, Any], given: argparse.Namespace) -> bool:
    known = results.get(one.key)
    if known is None or known["text"] != digest(one) or known.get("undecided"):
        return one.key not in EQUIVALENT
    return given.survivors and not known["killed"] and one.key not in EQUIVALENT


def digest(one: Mutant) -> str:
    """Of the changed function, or of the statement outside of all: neither comments nor docstrings nor its place."""
    statements = [node for node in ast.walk(ast.parse(one.text)) if isinstance(node, ast.stmt) and _holds(node, one)]
    functions = [node for node in statements if isinstance(node, ast.FunctionDef)]
    changed = min(functions or statements, key=lambda node: (node.end_lineno or node.lineno) - node.lineno)
    if isinstance(changed, ast.FunctionDef) and ast.get_docstring(changed) is not None:
        changed.body = changed.body[1:]
    return hashlib.sha256(ast.dump(changed).encode()).hexdigest()[:12]


def _holds(node: ast.stmt, one: Mutant) -> bool:
    return node.lineno <= one.line <= (node.end_lineno or node.lineno)


def _document(written: str) -> str:
    """docs/mutations.md with this table."""
    before, _, rest = DOCS.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{written}\n{END}{after}"


def table(mutants: Mapping[str, Sequence[Mutant]], results: Mapping[str, Any]) -> str:
    """What is known of the mutants of the code as it is now, by their kind; results of others do not count."""
    rows = [
        "| package | kind | there are | equivalent | not decided | asked | fell | survived | fell, of those asked "
        "| asked of an earlier text | fell |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    survivors: list[str] = []
    for kind, every in mutants.items():
        for room in (*sorted({one.room for one in every}), ALL):
            own = [one for one in every if room in (one.room, ALL)]
            rows.append(_row(room, kind, own, results))
        survivors += sorted(one.key for one in every if _state(one, results) in ("survived", "survived before"))
    return "\n".join(rows) + "\n\nSurvivors:\n\n" + ("\n".join(f"* {key}" for key in survivors) or "None.")


def _row(room: str, kind: str, own: Sequence[Mutant], results: Mapping[str, Any]) -> str:
    counts = Counter(_state(one, results) for one in own)
    fell, survived = counts["fell"], counts["survived"]
    before = counts["fell before"] + counts["survived before"]
    columns = (
        *(room, kind, len(own), counts["equivalent"], counts["not decided"]),
        *(fell + survived, fell, survived, share(fell, fell + survived) if fell + survived else ""),
        *(before, counts["fell before"]),
    )
    return f"| {' | '.join(map(str, columns))} |"


def _state(one: Mutant, results: Mapping[str, Any]) -> str:
    """What is known of a mutant; `before`: by the answer to an earlier text of its function."""
    known = results.get(one.key)
    if one.key in EQUIVALENT:
        return "equivalent"
    if known is None:
        return "never asked"
    if known.get("undecided"):
        return "not decided"
    return ("fell" if known["killed"] else "survived") + ("" if known["text"] == digest(one) else " before")


def share(fell: int, count: int) -> str:
    """In percent, with the 95 % interval of Clopper and Pearson."""
    low, high = bounded_mean([1.0] * fell + [0.0] * (count - fell))
    return f"{100 * fell / max(1, count):.1f} % ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    raise SystemExit(main())
