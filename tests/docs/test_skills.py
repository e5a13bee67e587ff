"""The skill for coding agents: a folder as the open format asks for, and words that the program knows."""

import json
import re

import pytest
import yaml

from align_lab.compare import document_verdict
from align_lab.compare.document import Document
from tests.docs.snippets import SKILLS


@pytest.fixture(params=SKILLS, ids=lambda path: path.parent.name)
def skill(request):
    return request.param


def test_its_head_has_the_name_of_its_folder_and_says_when_to_use_it(skill):
    """The limits are those of agentskills.io: a name of 64 letters, a description of 1,024, 500 lines."""
    text = skill.read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head.keys() == {"name", "description"} and head["name"] == skill.parent.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", head["name"]) and len(head["name"]) <= 64
    assert len(head["description"]) <= 1024 and "Use it" in head["description"] and text.count("\n") < 500


def test_the_keys_that_it_reads_are_those_of_the_document(skill):
    text = skill.read_text(encoding="utf-8")
    assert {"notes", "audit", "comparability", "verdict"} <= Document.__annotations__.keys()
    named = dict(re.findall(r"`(verdict|comparability)\.(\w+)", text))
    classes = {"verdict": document_verdict.Verdict, "comparability": document_verdict.Comparability}
    assert named and all(key in classes[part].__annotations__ for part, key in named.items()), json.dumps(named)
    assert {"gap", "low", "high"} <= document_verdict.Pair.__annotations__.keys()


def test_its_links_lead_to_files(skill):
    links = re.findall(r"\]\(([^)#]+)\)", skill.read_text(encoding="utf-8"))
    assert links and [link for link in links if not (skill.parent / link).is_file()] == []
