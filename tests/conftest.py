"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models are fastest so, here and in processes of tests

GOLDENS = Path(__file__).parent / "golden" / "values"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--goldens",
        type=Path,
        default=GOLDENS,
        metavar="DIR",
        help="folder of golden values to compare with, laid out like tests/golden/values",
    )
