"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

GOLDENS = Path(__file__).parent / "golden" / "values"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--goldens", type=Path, default=GOLDENS, metavar="DIR",
                     help="folder of golden values to compare with, laid out like tests/golden/values")
