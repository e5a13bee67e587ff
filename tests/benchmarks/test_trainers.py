"""Workers of the benchmarks take a step when it is requested, and report what they measured."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rloo", "dpo"])
def test_our_worker_takes_a_step_when_it_is_requested(tmp_path, kind):
    runpy.run_path(str(BENCHMARKS / "shape.py"))["write"](tmp_path)
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(
        [sys.executable, "our_worker.py", str(tmp_path), kind],
        input="go\n",
        capture_output=True,
        text=True,
        cwd=BENCHMARKS,
        env=environment,
        timeout=600,
        check=True,
    )
    ready, step = map(json.loads, done.stdout.splitlines())
    assert ready == {"ready": True}
    assert set(step) == {"seconds", "cpu_seconds", "peak_mb", "work_mb"} and min(step.values()) > 0
