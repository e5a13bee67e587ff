"""Writes align_lab/compare/sequential/bounds.json: the levels of common plans. python -m tests.compare.bounds_table"""

from __future__ import annotations

from dataclasses import replace

from align_lab.base.files import write_json
from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.sequential.bounds import TABLE, key, simulated

DRAWS = 200_000
DESIGNS = [SeedPlan(), SeedPlan(most=24), SeedPlan(first=4, most=24)]
PLANS = [replace(plan, paired=paired) for plan in DESIGNS for paired in (False, True)]
ARMS = range(2, 7)


def main() -> None:
    """Simulate every plan of the table: three minutes of one core."""
    table: dict[str, tuple[float, ...]] = {}
    for plan in PLANS:
        for arms in ARMS:
            for control in (False, True):
                if arms == 2 and control:
                    continue  # the one pair that there is: below
                table[key(plan, arms, control=control)] = simulated(plan, arms, control=control, draws=DRAWS)
        table[key(plan, 2, control=True)] = table[key(plan, 2, control=False)]
    write_json(TABLE, {name: [round(level, 7) for level in row] for name, row in sorted(table.items())})


if __name__ == "__main__":
    main()
