"""Links lead somewhere, and generated pages are up to date; tests/browser/test_site.py builds the site."""

import re
import subprocess
import sys

import pytest

from align_lab.cli.commands import VERBS
from tests import reference
from tests.docs.snippets import CHECKOUT, PAGES

LINK = re.compile(r"\[[^\]]*\]\((?!https?:|#|mailto:)([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_of_a_page_leads_to_a_file(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in LINK.findall(text)]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_the_reference_is_made_from_the_code():
    command = [sys.executable, "-m", "tests.reference"]  # a process of its own: other tests register components
    made = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert reference.PAGE.read_text(encoding="utf-8") == made.stdout, "type: python -m tests.reference --write"


@pytest.mark.parametrize(
    "row",
    [
        "| `algo.clip` | `gspo` | recipe | 0.0003 |",  # arXiv 2507.18071, section 5.1: 3e-4 on the left
        "| `train.lr` | recipe |",
        "| `model.lora.rank` |",
        "| `data.prompts` | `files` | setting |",
        "| `reward.file` | `python` | setting |",
        "| `record.project` | `trackio`, `wandb` | none |",
        "| `hardware.placement.partition` |",
        "75 stopped and saved",
    ],
)
def test_the_reference_has_fields_of_every_group_with_their_roles(row):
    assert row in reference.PAGE.read_text(encoding="utf-8")


def test_the_page_that_begins_has_every_command():
    text = (CHECKOUT / "docs" / "start.md").read_text(encoding="utf-8")
    assert [verb for verb in VERBS if verb != "help" and f"\nalign_lab {verb} " not in re.sub(r" +", " ", text)] == []


def test_readme_has_at_most_120_lines():
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
