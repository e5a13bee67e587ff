"""A sample of the campaign has no finding: no traceback, and nothing accepted in silence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.__main__ import parts
from tests.campaign.running import ACCEPTED, REFUSED, SILENT, TRACEBACK, UNCLEAR, Answer, Case, classify

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif("ALIGN_LAB_CAMPAIGN" not in os.environ, reason="ALIGN_LAB_CAMPAIGN=1: it takes minutes, and finds")
def test_a_sample_of_the_campaign_has_no_finding(shared_cache):
    words = ["--mutations", "160", "--records", "48", "--seed", "7", "--show"]
    environment = {**os.environ, "ALIGN_LAB_CACHE": str(shared_cache)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaign", *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"python -m tests.campaign {' '.join(words)}\n{done.stdout}{done.stderr}"


def test_every_part_of_a_campaign_has_its_share_of_all_kinds():
    cases = [Case(kind=kind, what=str(number), words=()) for kind in ("a", "b", "c") for number in range(600)]
    cut = parts(cases)
    assert sorted((one.kind, one.what) for part in cut for one in part) == sorted((c.kind, c.what) for c in cases)
    assert [[sum(one.kind == kind for one in part) for kind in "abc"] for part in cut] == [[150] * 3] * 4
    assert parts(cases[:10]) == [cases[:10]]


def answered(status, errors="", output="", **about):
    case = Case(kind="", what="", words=("x=1",), **about)
    return classify(case, Answer(status=status, output=output, errors=errors))


def test_what_the_campaign_calls_a_finding():
    told = "error: x=1: there is no x. did you mean 'y'?"
    assert answered(2, told, names="x") == REFUSED and answered(0) == ACCEPTED
    assert answered(0, meaningless=True) == SILENT
    assert answered(None) == TRACEBACK and answered(1, "Traceback (most recent call last):") == TRACEBACK
    assert answered(2, "error: no", names="x") == UNCLEAR and answered(2, told, names="z") == UNCLEAR
    assert answered(1, told) == UNCLEAR and answered(1, told, statuses=(1,)) == REFUSED
    assert answered(0, output="3 runs", seen=lambda text: "damaged" in text) == SILENT
    assert answered(0, output="1 damaged", seen=lambda text: "damaged" in text) == ACCEPTED
