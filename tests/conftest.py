"""Configuration and options of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the fastest for tiny models, here and in the processes of tests

GOLDENS = Path(__file__).parent / "golden" / "values"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--goldens DIR`."""
    parser.addoption(
        "--goldens",
        type=Path,
        default=GOLDENS,
        metavar="DIR",
        help="folder of golden values to compare with, laid out like tests/golden/values",
    )
