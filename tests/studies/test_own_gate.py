"""The gate of our own CI: the stored baseline lets this code pass, and a trainer that is broken fails.

`make gate` runs all seeds; two are enough to tell these apart.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

ROOT = Path(__file__).parents[2]
STUDY = ("sweeps=gate", "seed=0,1", "hardware.placement.executor=debug")
GATE = ("--arm", "rloo", "--baseline", ROOT / "baselines" / "rloo.json", "--curve", "--margin", "0.15")
ALLOWED = [word for field in ("source", "torch", "policy") for word in ("--allow", field)]


@pytest.fixture
def environment(shared_cache):
    return {**os.environ, "ALIGN_LAB_CACHE": str(shared_cache)}


def test_this_code_passes(tmp_path, environment):
    trained = forked.run(STUDY, cwd=tmp_path, env=environment)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    decided = forked.run(["gate", "gate", *GATE, *ALLOWED], cwd=tmp_path, env=environment)
    assert decided.returncode == 0, decided.stdout + decided.stderr
    assert "rloo is at most 0.15 worse than rloo (baseline)" in " ".join(decided.stdout.split())


def test_a_loss_with_the_wrong_sign_fails(tmp_path, environment):
    """A copy of the code with one character less: no setting differs, so that nothing but the result can tell."""
    for part in ("align_lab", "conf", "sweeps"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "align_lab" / "algos" / "rloo.py"
    right = "eq.masked_mean(-x.advantage"
    assert right in file.read_text()
    file.write_text(file.read_text().replace(right, right.replace("-", "")))
    broken = {**environment, "PYTHONPATH": str(tmp_path)}

    def run(*words):
        command = [sys.executable, "-m", "align_lab", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=broken, capture_output=True, text=True, timeout=900)

    trained = run(*STUDY)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    decided = run("gate", "gate", *GATE, *ALLOWED)
    assert decided.returncode == 1, decided.stdout + decided.stderr
    assert "rloo is more than 0.15 worse than rloo (baseline)" in " ".join(decided.stdout.split())


def test_a_recipe_that_learns_nothing_fails_too(tmp_path, environment):
    """As a learning rate near 0: an arm's recipe is what the gate judges, it may differ."""
    trained = forked.run([*STUDY, "train.lr=1e-9"], cwd=tmp_path, env=environment)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    decided = forked.run(["gate", "gate", *GATE, *ALLOWED], cwd=tmp_path, env=environment)
    assert decided.returncode == 1, decided.stdout + decided.stderr
