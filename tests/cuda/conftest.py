"""Every test of this folder has runs of its own, and shares the artefacts they start from."""

from __future__ import annotations

import os
from unittest.mock import patch

import pytest
import torch

from align_lab.base import registry
from tests.wiring.parts import COMPONENTS

KERNELS = ("flash", "mem_efficient", "math", "cudnn")


@pytest.fixture(autouse=True)
def _components(monkeypatch):
    registry.scan()
    monkeypatch.setattr(registry, "_components", {**registry._components, **COMPONENTS})


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_runs(tmp_path, cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(cache))
    threads, kernels = torch.get_num_threads(), torch.backends.cuda
    enabled = [getattr(kernels, f"{name}_sdp_enabled")() for name in KERNELS]
    with patch.dict(os.environ):
        yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    for name, on in zip(KERNELS, enabled, strict=True):
        getattr(kernels, f"enable_{name}_sdp")(on)
