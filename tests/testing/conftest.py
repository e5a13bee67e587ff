"""The components of `broken` join the registry for the tests of this folder, and leave it after each."""

import pytest

from align_lab.base import registry
from tests.testing.broken import algorithms, data, models, rewards, settings  # noqa: F401 (they fill COMPONENTS)
from tests.testing.broken.collected import COMPONENTS


@pytest.fixture(autouse=True)
def broken_components(monkeypatch):
    monkeypatch.setattr(registry, "_components", {**registry._components, **COMPONENTS})
