"""Writes align_lab/compare/sequential/bounds.json: the levels of common plans. python -m tests.compare.bounds_table"""

from __future__ import annotations

from align_lab.base.files import write_json
from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.sequential.bounds import TABLE, key, simulated

DRAWS = 200_000
PLANS = [SeedPlan(), SeedPlan(most=24)]
ARMS = range(2, 7)


def main() -> None:
    """Simulate every plan of the table; five minutes on one core."""
    table = {}
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
