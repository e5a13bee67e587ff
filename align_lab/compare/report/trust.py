"""Why the answer can be trusted, in few lines: what was equal, how many seeds, how it was decided, what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from align_lab.compare.audit import nothing_found
from align_lab.compare.document import SCORE, Document
from align_lab.compare.report import words
from align_lab.compare.values import listed

WHAT = {"model": "model", "data": "data", "reward": "reward"}  # word -> group of the config
Reason = tuple[str, str, str]  # what it is about, the sentence, and its tone: good, warn, bad or none


def reasons(document: Document) -> list[Reason]:
    """In the order in which a doubtful reader asks."""
    return [
        *_ran(document),
        *_settings(document),
        *_seeds(document),
        *_decision(document),
        *_judge(document),
        *_audit(document),
        *_left_out(document),
    ]


def _ran(document: Document) -> Iterator[Reason]:
    """Model, task, reward, budget and code, as far as all runs share them."""
    equal = {one["field"]: one["value"] for one in document["comparability"]["equal"]}
    parts = [f"{what} {_named(equal, group)}" for what, group in WHAT.items() if f"{group}.name" in equal]
    episodes = [one["episodes"] for one in document["comparability"]["charged"] if one["episodes"]]
    if episodes:
        least, most = words.count(min(episodes)), words.count(max(episodes))
        parts.append(f"{least if least == most else f'{least} to {most}'} episodes a run")
    if code := document["code"]:
        commits = listed([one.rstrip("+") for one in code])
        changed = ", with uncommitted changes" if any(one.endswith("+") for one in code) else ""
        parts.append(f"code of commit{'' if len(code) == 1 else 's'} {commits}{changed}")
    if parts:
        yield "What ran", words.sentence(words.capitalized(", ".join(parts))), ""


def _named(equal: Mapping[str, str], group: str) -> str:
    """`hf (Qwen/Qwen2.5-0.5B-Instruct)`"""
    path = equal.get(f"{group}.path")
    return equal[f"{group}.name"] + (f" ({path})" if path and path != "null" else "")


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
    for_each = "seed for each arm" if most == 1 else "seeds for each arm"
    yield "Seeds", f"{each} {for_each}, {words.several(len(counts), 'arm')}, {total}.", few


def _decision(document: Document) -> Iterator[Reason]:
    verdict = document["verdict"]
    if not verdict["pairs"] and not document["factors"]:
        return
    yield "Decided by", words.sentence(words.capitalized(verdict["method"])), ""
    smallest = verdict["smallest"]
    if smallest is None:
        yield "Gap that matters", "None was declared: no arms are called equal.", "warn"
    else:
        unit = words.unit(document, document["metric"])
        amount = f"±{smallest:g}{f' {unit}' if unit else ''}"
        yield "Gap that matters", f"{amount}: equal means that the whole interval lies within it and holds 0.", ""


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
    label, _, nothing = nothing_found(document["arms"]).partition(": ")
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
