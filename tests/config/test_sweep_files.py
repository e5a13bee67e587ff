"""Every committed study composes, and each of its runs is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from align_lab.config import study as studies

SWEEPS = sorted(path.stem for path in (Path(__file__).parents[2] / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("name", SWEEPS)
def test_every_run_of_a_committed_study_is_valid(name):
    study = studies.read([f"sweeps={name}"])
    arms = {str(run["arm"]) for run in study.runs}
    assert study.name == name, "a study has the name of its file"
    assert arms == set(study.settings.arms) and not study.duplicates
    assert len(study.runs) == len(arms) * len(study.settings.seeds)
    assert study.settings.question.endswith("?")
