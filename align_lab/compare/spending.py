"""What the arms have spent, in words: by which measures the budget was equal, and how far a machine's load shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from align_lab.compare.document import Charged
from align_lab.compare.summary import ArmRuns
from align_lab.compare.values import amount, listed

MEASURES = {
    "episodes": "episodes",
    "tokens": "generated tokens",
    "labels": "labels",
    "device_seconds": "device-seconds",
    "flops": "FLOPs",
}
TOLERANCE = 1.01  # times as much still counts as equal
LOADED = 1.25  # times as many device-seconds of runs of one recipe, from which the machine's load is named


def budgets(charged: Sequence[Charged]) -> Iterator[str]:
    """By which measures the arms have spent equally, and by which not, with the amounts."""
    equal: list[str] = []
    unequal: list[str] = []
    for name, label in MEASURES.items():
        amounts = {one["arm"]: one[name] for one in charged}
        if len(amounts) < 2 or any(not amount for amount in amounts.values()):
            continue
        difference = spread(amounts)
        (unequal if difference else equal).append(f"{label} {difference}".strip())
    if unequal:
        same = f"equal in {listed(equal, most=5)}, and " if equal else ""
        yield f"The arms' budgets are {same}not equal in {'; '.join(unequal)}."


def spread(amounts: Mapping[str, float | None]) -> str:
    """`(a 320, b 384)`; empty where all are equal. More than two arms: the least and the most."""
    known = {arm: amount for arm, amount in amounts.items() if amount}
    least, most = min(known, key=known.__getitem__, default=""), max(known, key=known.__getitem__, default="")
    if not known or known[most] <= TOLERANCE * known[least]:
        return ""
    if len(known) == 2:
        return f"({', '.join(f'{arm} {amount(value)}' for arm, value in known.items())})"
    return f"(from {least} {amount(known[least])} to {most} {amount(known[most])})"


def load(arms: Sequence[ArmRuns]) -> Iterator[str]:
    """Runs of one recipe that took unequal time for equal work, which is the machine's doing."""
    slow: list[str] = []
    for arm in arms:
        rates = [
            run.spent["device_seconds"] / run.spent["episodes"]
            for run in arm.runs
            if run.spent.get("device_seconds") and run.spent.get("episodes")
        ]
        if len(rates) > 1 and max(rates) > LOADED * min(rates):
            slow.append(f"{arm.name} up to {max(rates) / min(rates):.1f} times as long")
    if slow:
        yield (
            f"Runs of one recipe took unequal device-seconds for an episode ({listed(slow, most=6)}): other work ran "
            "on the machine, and device-seconds measure that as well. Rank by episodes, tokens or FLOPs."
        )
