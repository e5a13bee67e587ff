"""Where each arm ends between KL and score: the mean over its runs, with its name, in the chart of the frontier."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from align_lab.compare.document import Document, Frontier
from align_lab.compare.report import directly
from align_lab.compare.report.directly import End
from align_lab.compare.report.marks import Spec

NEAR = 0.25  # of the range of the KL, within which two names would overlap if they were not moved apart
Score = Literal["decides", "score"]


def ends(document: Document, score: Score, *, height: int) -> list[End]:
    """x: mean KL, mean: mean score of the last evaluations of an arm's runs; empty where there are too many arms."""
    rows = [row for row in document["frontier"] if row["kl"] is not None and row[score] is not None]
    places = {arm: place for arm, place in _means(rows, score).items() if place}
    if not places or len(places) > directly.MOST:
        return []
    values = [row[score] or 0.0 for row in rows]
    span = (max(values) - min(values)) or 1.0
    wanted = {arm: height * (max(values) - value) / span for arm, (_, value) in places.items()}
    reach = max(row["kl"] or 0.0 for row in rows)
    placed = {arm: y for group in _beside(places, NEAR * reach) for arm, y in _apart(group, wanted, height).items()}
    return [
        {"arm": arm, "x": kl, "mean": value, "dy": round(placed[arm] - wanted[arm], 1)}
        for arm, (kl, value) in places.items()
    ]


def _means(rows: Iterable[Frontier], score: Score) -> dict[str, tuple[float, float]]:
    """Arm -> mean (KL, score) over the last rows of its runs, in the order of the rows."""
    last = {(row["arm"], row["seed"]): (row["kl"] or 0.0, row[score] or 0.0) for row in rows}
    by_arm: dict[str, list[tuple[float, float]]] = {}
    for (arm, _), place in last.items():
        by_arm.setdefault(arm, []).append(place)
    return {
        arm: (sum(kl for kl, _ in found) / len(found), sum(value for _, value in found) / len(found))
        for arm, found in by_arm.items()
    }


def _beside(places: Mapping[str, tuple[float, float]], near: float) -> list[list[str]]:
    """Arms in groups, from left to right, each of arms that are near to its first one."""
    groups: list[list[str]] = []
    for arm in sorted(places, key=lambda name: places[name][0]):
        if groups and places[arm][0] - places[groups[-1][0]][0] <= near:
            groups[-1].append(arm)
        else:
            groups.append([arm])
    return groups


def _apart(group: Sequence[str], wanted: Mapping[str, float], height: int) -> dict[str, float]:
    return directly.apart({arm: wanted[arm] for arm in group}, height)


def named(rows: Sequence[End], place: Spec, score: Score, look: Spec) -> list[Spec]:
    """A large mark for each arm that is shown, and a layer for each name, in the color of text."""
    if not rows:
        return []
    means = [
        {"aggregate": [{"op": "count", "as": "n"}], "groupby": ["arm"]},
        {"calculate": f"{json.dumps({row['arm']: row['x'] for row in rows})}[datum.arm]", "as": "kl"},
        {"calculate": f"{json.dumps({row['arm']: row['mean'] for row in rows})}[datum.arm]", "as": score},
    ]
    marks: Spec = {
        "transform": means,
        "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
        "encoding": {**place, **look},
    }
    return [
        marks,
        *(
            {
                "transform": [{"filter": {"field": "arm", "equal": row["arm"]}}, *means],
                "mark": directly.text(row["arm"], dx=10, dy=row["dy"]),
                "encoding": {**place, "text": {"value": directly.lines(row["arm"])}},
            }
            for row in rows
        ),
    ]
