"""Nodes where jobs of a study failed before their program began: `status` names them, and later jobs avoid them.

Each job notes its own when its program begins on another node, one line for each failure. Where it begins nowhere, the
cause is the program, and no node is named.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from align_lab.base.hardware import Placement
from align_lab.dispatch import slurm
from align_lab.dispatch.batch_script import excluded, flags_of
from align_lab.dispatch.job_variables import TRIES
from align_lab.dispatch.slurm_commands import SlurmError
from align_lab.record.layout import BROKEN_NODES, StudyLayout


def begun(began: Path) -> None:
    """The program of a job works on its node: where the same job failed before (`script_end`), it was the node.

    `began`: the file that says so (`job_variables.BEGAN`), in the logs of the study.
    """
    tries = began.with_suffix("").with_suffix(TRIES)
    with suppress(OSError):
        nodes = tries.read_text(encoding="utf-8").split()
        tries.unlink()
        if nodes:
            with (began.parent.parent / BROKEN_NODES).open("a", encoding="utf-8") as file:
                file.write("".join(f"{node}\n" for node in nodes))


def failures(study: Path) -> dict[str, int]:
    """Node -> how many jobs failed there before their program began, and began elsewhere."""
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
        f"Nodes where jobs failed before their program began, as it did elsewhere: {nodes}. Later submissions of this "
        f"study avoid them. To use them again: rm {StudyLayout(study).broken_nodes} (or remove the line of one)"
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
