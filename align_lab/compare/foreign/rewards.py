"""Arms with other rewards: their scores are in no common unit, so none of them wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from align_lab.compare.foreign.reader import ForeignRun
from align_lab.compare.foreign.settings.translation import Known
from align_lab.compare.summary import ArmRuns
from align_lab.compare.values import listed

FIELD = "reward"


def of_arms(runs: Sequence[ForeignRun], arms: Sequence[ArmRuns], ours: str) -> dict[str, str]:
    """Arm -> what its reward is called, as the command says or its configs do; without arms of which nobody knows.

    ours: what is behind the names of our arms.
    """
    named: dict[str, set[str]] = {f"{arm.name} ({ours})": set() for arm in arms}
    for arm in arms:
        named[f"{arm.name} ({ours})"] |= {str(run.fields["reward.name"]) for run in arm.runs if _has_reward(run.fields)}
    for run in runs:
        named.setdefault(run.label, set()).update({run.reward or _configured(run)} - {""})
    return {arm: " and ".join(sorted(names)) for arm, names in named.items() if names}


def _has_reward(fields: Mapping[str, object]) -> bool:
    return bool(fields.get("reward.name"))


def _configured(run: ForeignRun) -> str:
    """Empty where its config does not say."""
    value = run.settings.fields.get(FIELD) if run.settings else None
    return str(value.value) if isinstance(value, Known) else ""


def refusal(rewards: Mapping[str, str]) -> str:
    """Why no arm wins; empty where no two arms are known to have other rewards."""
    arms: dict[str, list[str]] = {}
    for arm, reward in rewards.items():
        arms.setdefault(reward, []).append(arm)
    if len(arms) < 2:
        return ""
    named = "; ".join(f"{reward} in {listed(names)}" for reward, names in arms.items())
    return (
        f"No winner: the arms have other rewards ({named}), whose scores have no common unit. If these name one "
        f"reward, say so behind each --from: reward={next(iter(arms)).split()[0]}"
    )
