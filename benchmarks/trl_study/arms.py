"""Which algorithm of TRL is trained beside which of ours. A new pair adds its arm here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One algorithm on both sides, with the fields that make their equations equal (docs/conformance.md)."""

    algo: str
    ours: tuple[str, ...]  # overrides of a run of this project
    trainer: str  # GRPO, RLOO or DPO: the prefix of TRL's classes
    theirs: Mapping[str, Any]  # fields of TRL's config


ARMS = {
    arm.algo: arm
    for arm in (
        Arm(
            algo="grpo",
            ours=(),
            trainer="GRPO",
            theirs={"beta": 0.04, "loss_type": "grpo", "use_bias_correction_kl": False},
        ),
        Arm(algo="rloo", ours=(), trainer="RLOO", theirs={"beta": 0.05}),
        Arm(algo="dpo", ours=("preferences.temperature=1",), trainer="DPO", theirs={"beta": 0.1}),
    )
}
