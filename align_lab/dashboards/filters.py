"""Which runs of the W&B project a view shows."""

from __future__ import annotations

from typing import Any

import wandb_workspaces.expr as expr

from align_lab.dashboards.study_document import StudyDocument

MOST_NAMED = 200  # runs that a filter lists by name; a larger study shows all its finished runs


def of_study(study: StudyDocument) -> dict[str, Any]:
    """All runs of the study, including those that another study has logged. Stages belong to no study."""
    own = _named(study)
    return _filter(expr.Or(own, expr.Metric("Name").isin(list(study.linked))) if study.linked else expr.And(own))


def compared(study: StudyDocument) -> dict[str, Any]:
    """The runs on which the verdict is based."""
    names = [name for arm in study.document["arms"] for name in arm["runs"]]
    if 0 < len(names) <= MOST_NAMED:
        return _filter(expr.And(expr.Metric("Name").isin(names)))
    return _filter(expr.And(_named(study), expr.Metric("State").isin(["finished"])))


def _named(study: StudyDocument) -> expr.FilterExpr:
    return expr.Config("study").isin([study.name])  # `in`: W&B displays nothing for `=` (wandb-workspaces #34)


def _filter(condition: expr.And | expr.Or) -> dict[str, Any]:
    """The filter as W&B stores it. The library's text form would break at a name that contains a quote."""
    return expr.filters_tree_to_v2(expr.Filters(op="OR", filters=[condition.to_model()]))
