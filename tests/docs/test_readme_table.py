"""README's table of algorithms: every one once, and the scores that its studies have."""

import re

from align_lab.compare.names import title
from align_lab.config.groups import options
from tests.docs.snippets import CHECKOUT

ROWS = [
    line
    for line in (CHECKOUT / "README.md").read_text(encoding="utf-8").split("\n")
    if line.startswith("|") and "docs/algorithms/" in line
]
SCORES = re.compile(r"\[([^\]]*)\]\((docs/studies/\w+\.md)\)")


def means(page):
    """Arm -> mean of its seeds, by the first table of the study's results, to three decimals."""
    start = "\n| arm | n | seed"
    table = start[1:] + page.read_text(encoding="utf-8").partition(start)[2].partition("\n\n")[0]
    header, _, *rows = [[cell.strip() for cell in line.split("|")] for line in table.split("\n")]
    column = header.index("mean")
    return {row[1].replace("\\", ""): float(row[column].replace("−", "-")) for row in rows}


def test_every_algorithm_is_in_one_row():
    named = [name for row in ROWS for name in re.findall(r"\[`(\w+)`\]\(docs/algorithms/\1\.md\)", row)]
    assert sorted(named) == sorted(options("algo")) and len(named) == 31


def test_the_scores_are_those_of_the_studies():
    seen = 0
    for text, page in SCORES.findall("\n".join(ROWS)):
        measured = means(CHECKOUT / page)
        for name, shown in re.findall(r"`(\w+)` (−?\d\.\d\d)", text):
            arms = (name, title(name), f"{name}_4")  # of RAFT, the one with four samples a prompt
            arm = next(arm for arm in arms if arm in measured)
            assert abs(measured[arm] - float(shown.replace("−", "-"))) < 0.0055, (name, page)
            seen += 1
    assert seen == 30
