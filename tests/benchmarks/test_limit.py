"""The products that `benchmarks/limit.py` counts are those of a step: known layers, attention, and a whole RL step."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def limit(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("limit")
    for name in ("limit", "shape", "our_worker", "worker"):
        sys.modules.pop(name, None)


def counted(limit, work):
    """Floating-point operations of `work`, in units of a multiplication and an addition."""
    with limit.Recorder(limit.Phases(time.process_time)) as recorder:
        work()
    return limit.Replay.of(recorder.products["scoring"]).flops() / 2


def test_a_layer_has_one_product_forward_and_two_backward(limit):
    layers, x = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7)), torch.randn(11, 3)
    assert counted(limit, lambda: layers(x).sum().backward()) == 11 * (3 * 5 + 5 * 7) * 2 + 11 * 5 * 7
    with torch.inference_mode():
        assert counted(limit, lambda: layers(x)) == 11 * (3 * 5 + 5 * 7)


def test_products_into_a_given_tensor_count(limit):
    a, b, out = torch.randn(2, 3), torch.randn(3, 4), torch.empty(2, 4)
    assert counted(limit, lambda: torch.mm(a, b, out=out)) == counted(limit, lambda: out.addmm_(a, b)) == 2 * 3 * 4


def test_attention_has_two_products_forward_and_five_backward(limit):
    q, k, v = (torch.randn(2, 3, length, 8, requires_grad=True) for length in (4, 6, 6))
    forward = 2 * 3 * 4 * 6 * 8
    assert counted(limit, lambda: F.scaled_dot_product_attention(q, k, v)) == 2 * forward
    assert counted(limit, lambda: F.scaled_dot_product_attention(q, k, v).sum().backward()) == 7 * forward


def test_the_stacked_products_of_several_seeds_are_those_of_each(limit):
    linear, q = nn.Linear(3, 5), torch.randn(2, 4, 6, 8)
    with limit.Recorder(limit.Phases(time.process_time)) as recorder:
        linear(torch.randn(11, 3))
        F.scaled_dot_product_attention(q, q, q)
    products = recorder.products["scoring"]
    stacked = limit.Replay.of(products, 5)
    assert stacked.flops() == 5 * limit.Replay.of(products).flops()
    assert sorted(len(a) for _, a, _, _ in stacked.work) == [5, 5 * 2 * 4, 5 * 2 * 4]  # seeds; seeds, rows and heads
    stacked()


@pytest.mark.slow
def test_every_phase_of_a_step_has_its_products(limit, monkeypatch):
    shape = importlib.import_module("shape")
    model = {"vocab": 64, "width": 16, "layers": 2, "heads": 2, "kv_heads": 2, "mlp": 24}
    for name, value in {"PROMPT": 4, "NEW": 5, "ROWS": 8, "VOCAB": 64, "EOS": 63}.items():
        monkeypatch.setattr(shape, name, value)
    monkeypatch.setattr(shape, "MODEL", {**model, "context": 10})
    phases = limit.measured("rloo", 1, time.process_time)
    weights = 2 * (16 * 48 + 16 * 16 + 16 * 48 + 24 * 16)  # of the two blocks
    reference = 8 * (8 * weights + 2 * 2 * 16 * 8 * 8 + 5 * 64 * 16)  # 8 of 9 positions are read; attention; the head
    assert phases.keys() == set(limit.PHASES)
    assert phases["scoring"]["flops"] == pytest.approx(2 * reference, rel=0.15)
    assert phases["update"]["flops"] > 3 * phases["scoring"]["flops"] * 0.9
