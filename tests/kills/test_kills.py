"""A sample of the kills and of the troubles has no finding; and what a finding is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kills import cases, record
from tests.kills.attempts import Result, note
from tests.kills.forks import Place, start
from tests.kills.record import Record

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif("ALIGN_LAB_CAMPAIGN" not in os.environ, reason="ALIGN_LAB_CAMPAIGN=1: it takes minutes")
def test_a_sample_of_the_kills_has_no_finding():
    words = ["--kills", "4", "--troubles", "1", "--seed", "7", "--show"]
    done = subprocess.run([sys.executable, "-m", "tests.kills", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"python -m tests.kills {' '.join(words)}\n{done.stdout}{done.stderr}"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return cases.furnished(tmp_path / "place", None)


def test_a_command_is_killed_before_any_of_its_operations_on_files(place):
    """`init` writes the files of a project, one after the other."""
    words = ("init", "project")
    first = start(words, place)
    assert first.wait() and first.status == 0, first.text
    whole = {path.name for path in (place.path / "project").rglob("*") if path.is_file()}
    half = first.operations.value // 2
    assert half >= len(whole) // 2 > 1
    other = Place(path=place.path / "other")
    other.cache.mkdir(parents=True)
    killed = start(words, other, kill_at=half)
    assert killed.wait() and killed.status == -9 and killed.operations.value == half
    written = {path.name for path in (other.path / "project").rglob("*") if path.is_file()}
    assert written < whole


def test_what_a_command_leaves_is_a_finding(place):
    """Files, records and words."""
    empty, other = Record(runs={}, names=frozenset()), Record(runs={"r": {"rows": [1]}}, names=frozenset({"tmp/x"}))
    assert other.leftovers(empty) == ["tmp/x"] and other.differences(empty) == ["r: rows"]
    assert not empty.differences(empty)
    result = Result(case=next(cases.cases(cases.KINDS, 1)))
    refused = start(("compare", "nothing"), place)
    assert refused.wait()
    note(refused, result)
    assert refused.status == 2 and "nothing" in result.said[0] and not result.finding
    (place.path / "conf").mkdir()
    assert "tmp" in record.read(place).names


def test_every_kind_of_command_has_its_turn():
    tried = [case for _, case in zip(range(200), cases.cases(cases.KINDS, 1), strict=False)]
    assert {case.kind for case in tried} == set(cases.KINDS)
    algorithms = [case.label for case in tried if case.kind == cases.ALGORITHMS]
    assert set(algorithms) == set(cases.options("algo"))
