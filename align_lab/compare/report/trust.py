"""Why the answer can be trusted, in few lines: what was equal, how many seeds, how it was decided, what is missing."""

from __future__ import annotations

from collections.abc import Iterator

from align_lab.compare.audit import NOTHING_FOUND
from align_lab.compare.document import SCORE, Document
from align_lab.compare.report import words

Reason = tuple[str, str, str]  # what it is about, the sentence, and its tone: good, warn, bad or none


def reasons(document: Document) -> list[Reason]:
    """In the order in which a doubtful reader asks."""
    return [
        *_settings(document),
        *_seeds(document),
        *_decision(document),
        *_judge(document),
        *_audit(document),
        *_left_out(document),
    ]


def _settings(document: Document) -> Iterator[Reason]:
    proof = document["comparability"]
    differing = len(proof["differing"])
    if not proof["fair"]:
        yield "Settings", f"Not comparable: {words.differ(differing)} between the runs.", "bad"
    elif differing:
        yield "Settings", f"Compared although {words.differ(differing)}: allowed by hand.", "warn"
    elif proof["equal"]:
        yield "Settings", f"All {len(proof['equal'])} settings and hashes are equal in every run.", "good"


def _seeds(document: Document) -> Iterator[Reason]:
    counts = [arm["n"] for arm in document["arms"]]
    if not counts:
        return
    fewest, most = min(counts), max(counts)
    each = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    few = "warn" if fewest < 2 else ""
    total = words.several(sum(counts), "finished run")
    yield "Seeds", f"{each} an arm, {words.several(len(counts), 'arm')}, {total}. Each is drawn above.", few


def _decision(document: Document) -> Iterator[Reason]:
    verdict = document["verdict"]
    if not verdict["pairs"]:
        return
    yield "Decided by", words.sentence(words.capitalized(verdict["method"])), ""
    smallest = verdict["smallest"]
    if smallest is None:
        yield "Gap that matters", "None was declared: no arms are called equal.", "warn"
    else:
        unit = words.unit(document, document["metric"])
        yield "Gap that matters", f"±{smallest:g}{f' {unit}' if unit else ''}: equal means shown to lie within it.", ""


def _judge(document: Document) -> Iterator[Reason]:
    metric = document["metric"]
    if not document["arms"]:
        return
    what = words.capitalized(words.explained(document, metric))
    judge = words.described(document, metric)["judge"]
    trained = metric == SCORE
    yield (
        "Measured by",
        words.sentence("; ".join(filter(None, (what, judge)))) + (" The policy is trained on it." if trained else ""),
        ("warn" if trained else ""),
    )


def _audit(document: Document) -> Iterator[Reason]:
    if not document["arms"]:
        return
    label, _, nothing = NOTHING_FOUND.partition(": ")
    if found := document["audit"]:
        yield label, f"{words.several(len(found), 'finding')}, listed below.", "warn"
    else:
        yield label, words.capitalized(nothing), ""


def _left_out(document: Document) -> Iterator[Reason]:
    broken, missing = len(document["unfinished"]), sum(len(one["seeds"]) for one in document["missing"])
    parts = [f"{words.several(broken, 'run')} left out"] if broken else []
    parts += [f"{words.several(missing, 'seed')} missing"] if missing else []
    if parts:
        yield "Left out", f"{words.capitalized(' and '.join(parts))}: see Runs.", "warn"
