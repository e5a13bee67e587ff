"""A cache of its own for every test, so that no check of another test is remembered."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(folder))
    return folder
