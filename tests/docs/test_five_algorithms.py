"""What docs/studies/five_algorithms.md says of other rules follows from the scores in its own table."""

import re

from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.sequential import bounds
from align_lab.compare.sequential.looks import take
from tests.docs.snippets import CHECKOUT

PAGE = (CHECKOUT / "docs" / "studies" / "five_algorithms.md").read_text(encoding="utf-8")
PLAN = SeedPlan(first=4, step=2, most=12, smallest=0.1, paired=True)


def scores():
    """Arm -> seed -> gold score, of the table of results."""
    rows = re.findall(r"^\| ([\w+-]+) \| \d \| (.*) \|$", PAGE.partition("## Tuning")[0], re.M)
    cells = {arm: row.split(" | ")[:8] for arm, row in rows}
    return {arm: {seed: float(cell) for seed, cell in enumerate(row) if cell != "–"} for arm, row in cells.items()}


def test_the_verdicts_of_the_present_rules_are_as_the_page_says():
    levels = bounds.simulated(PLAN, 5, control=False, draws=20_000)
    looks = take(scores(), PLAN, levels)
    assert len(scores()) == 5 and looks.taken == 2
    better = {(look.better, look.worse) for look in looks.pairs if look.better}
    going_on = {(look.a, look.b) for look in looks.pairs if look.outcome == "open" and look.a == "REINFORCE++"}
    assert better == {("REINFORCE++", "RLOO"), ("REINFORCE++", "PPO-max")}
    assert going_on == {("REINFORCE++", "PPO"), ("REINFORCE++", "DPO")}
    assert looks.missing == {"PPO": (6, 7), "DPO": (6, 7)}
    for other, gap in (("RLOO", "0.52 [0.03, 1.02]"), ("PPO-max", "0.64 [0.16, 1.11]")):
        assert f"{other}, {gap}" in " ".join(PAGE.split())
