"""A gate's decision for machines and pull requests: JSON, Markdown, JUnit XML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict
from xml.etree import ElementTree

from align_lab.compare import divergence, mixture
from align_lab.compare.gate.decision import Decision, sentence
from align_lab.compare.values import listed, number


class Side(TypedDict):
    """One side of the gate: the name of its arm, a value for each seed, and the seeds whose runs diverged."""

    arm: str
    seeds: list[int]
    values: list[float]
    diverged: list[int]


class GateDocument(TypedDict):
    """The decision. low, high: one-sided bounds of the candidate's mean minus the baseline's."""

    outcome: str
    status: int
    sentence: str
    metric: str
    margin: float
    confidence: float
    equivalence: bool
    paired: bool  # are the sides compared seed by seed?
    gap: float
    low: float | None
    high: float | None
    needed: int | None
    candidate: Side
    baseline: Side
    warnings: list[str]  # sentences on scores for which the bounds do not hold
    unseen: float  # the largest share of failing runs that a candidate of so many seeds may have with none among them
    unproven: list[str]  # sentences that come first where the sides are not proven comparable


def document(
    decision: Decision, *, metric: str, candidate: Side, baseline: Side, unproven: Sequence[str] = ()
) -> GateDocument:
    """Everything that the gate says."""
    return {
        "outcome": decision.outcome,
        "status": decision.status,
        "sentence": sentence(decision, candidate["arm"], baseline["arm"]),
        "metric": metric,
        "margin": decision.margin,
        "confidence": decision.confidence,
        "equivalence": decision.equivalence,
        "paired": decision.paired,
        "gap": decision.gap.mean,
        "low": number(decision.gap.low),
        "high": number(decision.gap.high),
        "needed": decision.needed,
        "candidate": candidate,
        "baseline": baseline,
        "warnings": [
            *_lost(candidate, baseline),
            *mixture.sentence(_by_seed(candidate, baseline), paired=decision.paired),
        ],
        "unseen": mixture.unseen(len(candidate["values"])),
        "unproven": list(unproven),
    }


def _lost(*sides: Side) -> Iterator[str]:
    lost = [
        divergence.share(side["arm"], side["diverged"], len(side["values"]) + len(side["diverged"]))
        for side in sides
        if side["diverged"]
    ]
    if lost:
        yield f"{listed(lost)} diverged: no score of theirs is in the means and bounds."


def _by_seed(*sides: Side) -> dict[str, dict[int, float]]:
    return {side["arm"]: dict(zip(side["seeds"], side["values"], strict=True)) for side in sides}


def cautions(gate: GateDocument) -> list[str]:
    """What the decision does not say: scores for which it does not hold, and failures that few seeds do not show."""
    n, arm = len(gate["candidate"]["values"]), gate["candidate"]["arm"]
    seeds = "one seed" if n == 1 else f"{n} seeds"
    return [
        *gate["warnings"],
        f"It is of means. With {seeds} of {arm} a failure in up to {gate['unseen']:.0%} of its runs can go unseen "
        "(95 % confidence).",
    ]


def rows(gate: GateDocument) -> list[tuple[str, str, str, str]]:
    """Side, seeds, mean, and every seed's value, of both sides."""
    return [
        (side["arm"], str(len(side["values"])), f"{_mean(side['values']):.3f}", _listed(side["values"]))
        for side in (gate["candidate"], gate["baseline"])
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def markdown(gate: GateDocument) -> str:
    """For a pull request."""
    mark = {"holds": "passes", "unknown": "is inconclusive"}.get(gate["outcome"], "fails")
    lines = [
        *(line for sentence in gate["unproven"] for line in (_cell(sentence), "")),
        f"**The gate {mark}**: {_cell(gate['sentence'])}.",
        "",
        f"| arm | seeds | mean of {gate['metric']} | by seed |",
    ]
    lines += ["|---|---:|---:|---|", *(f"| {' | '.join(map(_cell, each))} |" for each in rows(gate))]
    lines += [line for caution in cautions(gate) for line in ("", _cell(caution))]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """A text that can neither end its cell nor become markup."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def junit(gate: GateDocument) -> str:
    """A test suite of one test, as CI systems show it: a failure, or an error where it is inconclusive."""
    suite = ElementTree.Element("testsuite", name="align_lab gate", tests="1")
    name = f"{gate['candidate']['arm']} against {gate['baseline']['arm']}"
    case = ElementTree.SubElement(suite, "testcase", classname="align_lab.gate", name=name)
    if gate["outcome"] != "holds":
        kind = "error" if gate["outcome"] == "unknown" else "failure"
        ElementTree.SubElement(case, kind, message=gate["sentence"])
        suite.set(f"{kind}s", "1")
    ElementTree.SubElement(case, "system-out").text = "\n".join([*gate["unproven"], gate["sentence"], *cautions(gate)])
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
