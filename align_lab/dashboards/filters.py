"""Which runs of the W&B project a view shows."""

from __future__ import annotations

from typing import Any

import wandb_workspaces.expr as expr

from align_lab.dashboards.study_document import StudyDocument

MOST_NAMED = 200  # runs that a filter names one by one; of more, all finished ones of the study are shown


def of_study(study: StudyDocument) -> dict[str, Any]:
    """Its runs, whatever they are doing, with those that another study has logged. Stages belong to no study."""
    own = _named(study)
    return _filter(expr.Or(own, expr.Metric("Name").isin(list(study.linked))) if study.linked else expr.And(own))


def compared(study: StudyDocument) -> dict[str, Any]:
    """The runs that the verdict rests on."""
    names = [name for arm in study.document["arms"] for name in arm["runs"]]
    if 0 < len(names) <= MOST_NAMED:
        return _filter(expr.And(expr.Metric("Name").isin(names)))
    return _filter(expr.And(_named(study), expr.Metric("State").isin(["finished"])))


def _named(study: StudyDocument) -> expr.FilterExpr:
    return expr.Config("study").isin([study.name])  # `in`: W&B has shown nothing for `=` (wandb-workspaces #34)


def _filter(condition: expr.And | expr.Or) -> dict[str, Any]:
    """As W&B keeps it. Not by way of the library's text form: a name with a quote in it breaks that."""
    return expr.filters_tree_to_v2(expr.Filters(op="OR", filters=[condition.to_model()]))
