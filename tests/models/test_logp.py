"""Log-probabilities, entropies and their gradients, against torch's log_softmax."""

from __future__ import annotations

import pytest
import torch

from align_lab.models import logp as module
from align_lab.models.logp import response_logps, token_logps
from tests.models.test_llama import tiny


def reference_logps(hidden, weight, targets, temperature):
    """The definition, in torch's own functions: log-probabilities and entropies."""
    logps = torch.log_softmax(hidden @ weight.t() / temperature, -1)
    return logps.gather(-1, targets[:, None]).squeeze(-1), -(logps.exp() * logps).sum(-1)


def inputs(rows=7, vocab=150, width=3):
    torch.manual_seed(1)
    hidden = torch.randn(rows, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(vocab, width, dtype=torch.float64, requires_grad=True)
    return hidden, weight, torch.randint(vocab, (rows,))


@pytest.fixture(params=["one tile", "tiles", "recomputed"])
def _sizes(request, monkeypatch):
    if request.param != "one tile":
        monkeypatch.setitem(module.TILE, "cpu", 500)
    if request.param == "recomputed":
        monkeypatch.setattr(module, "MAX_SAVED", 0)


@pytest.mark.usefixtures("_sizes")
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients_are_those_of_log_softmax(temperature):
    hidden, weight, targets = inputs()
    a, b = torch.randn(2, 7, dtype=torch.float64)
    expected = reference_logps(hidden, weight, targets, temperature)
    grads = torch.autograd.grad((expected[0] * a + expected[1] * b).sum(), (hidden, weight))
    actual = token_logps(hidden, weight, targets, temperature=temperature, entropy=True)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad((actual[0] * a + actual[1] * b).sum(), (hidden, weight)), grads)
    logp = token_logps(hidden, weight, targets, temperature=temperature)
    torch.testing.assert_close(logp, expected[0], rtol=1e-12, atol=1e-12)
    grads = torch.autograd.grad((reference_logps(hidden, weight, targets, temperature)[0] * a).sum(), (hidden, weight))
    torch.testing.assert_close(torch.autograd.grad((logp * a).sum(), (hidden, weight)), grads)


@pytest.mark.usefixtures("_sizes")
def test_gradients_equal_finite_differences():
    hidden, weight, targets = inputs()
    assert torch.autograd.gradcheck(lambda h, w: token_logps(h, w, targets, temperature=0.7), (hidden, weight))
    assert torch.autograd.gradcheck(lambda h, w: token_logps(h, w, targets, entropy=True), (hidden, weight))
    frozen = weight.detach()
    assert torch.autograd.gradcheck(lambda h: token_logps(h, frozen, targets), (hidden,))


def test_a_second_backward_pass_gives_the_same_gradients():
    hidden, weight, targets = inputs()
    total = token_logps(hidden, weight, targets).sum()
    first = torch.autograd.grad(total, (hidden, weight), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total, (hidden, weight)), first)


def test_huge_logits_stay_finite():
    hidden, weight, targets = inputs()
    logp, entropy = token_logps(hidden * 1e4, weight, targets, entropy=True)
    assert logp.isfinite().all() and entropy.isfinite().all()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad((logp + entropy).sum(), (hidden, weight)))


def test_an_empty_batch_has_no_logps_and_no_gradient():
    hidden, weight, targets = inputs(rows=0)
    logp, entropy = token_logps(hidden, weight, targets, entropy=True)
    assert logp.shape == entropy.shape == (0,)
    (logp.sum() + entropy.sum()).backward()
    assert not weight.grad.any()


def test_response_logps_are_those_of_counted_tokens():
    model, ids = tiny(), torch.randint(40, (3, 12))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]]).bool()
    pad = torch.tensor([0, 3, 1])
    actual, entropy = response_logps(model, ids, pad, mask, temperature=0.7, entropy=True)
    logps = torch.log_softmax(model.hidden(ids, pad) @ model.head.t() / 0.7, -1)[:, 6:11]
    expected = logps.gather(-1, ids[:, 7:, None]).squeeze(-1)
    torch.testing.assert_close(actual, expected * mask, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(entropy, -(logps.exp() * logps).sum(-1) * mask, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(response_logps(model, ids, pad, mask, temperature=0.7), actual, rtol=0, atol=0)
    actual.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
