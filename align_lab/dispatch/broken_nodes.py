"""Nodes where jobs of a study failed before their program began: `status` names them, and later jobs avoid them.

The jobs themselves note them, one line for each failure (`batch_script`).
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from align_lab.base.hardware import Placement
from align_lab.dispatch import slurm
from align_lab.dispatch.batch_script import excluded, flags_of
from align_lab.dispatch.slurm_commands import SlurmError
from align_lab.record.layout import StudyLayout


def failures(study: Path) -> dict[str, int]:
    """Node -> how many jobs failed there before their program began."""
    with suppress(OSError):
        return dict(Counter(StudyLayout(study).broken_nodes.read_text(encoding="utf-8").split()))
    return {}


def line(study: Path) -> str:
    """What `status` says of them, and what to type to use them again; empty where there are none."""
    counts = failures(study)
    nodes = ", ".join(f"{node} ({count})" for node, count in sorted(counts.items()))
    if not counts:
        return ""
    return (
        f"Nodes where jobs failed before their program began: {nodes}. Later submissions of this study avoid them. To "
        f"use them again: rm {StudyLayout(study).broken_nodes} (or remove the line of one)"
    )


def avoided(study: Path, place: Placement) -> list[str]:
    """The nodes that a new job stays away from; none where it would find too few others, or names its nodes itself."""
    broken, flags = sorted(failures(study)), flags_of(place.sbatch)
    if not broken or "nodelist" in flags:
        return []
    with suppress(SlurmError):
        nodes = slurm.nodes(place.partition or str(flags.get("partition") or os.environ.get("SBATCH_PARTITION", "")))
        others = nodes - {*broken} - slurm.expanded(excluded(place))
        return [node for node in broken if node in nodes] if len(others) >= place.nodes else []
    return []
