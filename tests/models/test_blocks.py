"""Blocks that compute again, or compiled: the same numbers and gradients."""

import copy
import shutil

import pytest
import torch

from align_lab.models.blocks import blocks, prepare
from align_lab.models.llama import Block
from tests.train.small import model

IDS = torch.arange(1, 25).view(2, 12)
MASK = torch.ones(2, 6, dtype=torch.bool)


def learned(it, pad=None):
    """Log-probabilities and gradients of one pass."""
    it.zero_grad()
    logp = it(IDS, pad, MASK)
    logp.sum().backward()
    return [logp.detach(), *(p.grad for p in it.parameters())]


@pytest.mark.parametrize("pad", [None, torch.tensor([0, 3])])
def test_activations_computed_again_give_the_same_gradients_and_are_not_kept(pad):
    plain, again = model(), model()
    prepare(again, recompute=True, compiled=False)
    for a, b in zip(learned(plain, pad), learned(again, pad), strict=True):
        assert torch.equal(a, b)

    def kept(it):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            it(IDS, pad, MASK)
        return sum(sizes)

    assert kept(again) < kept(plain) / 2


def test_a_copy_computes_with_its_own_weights():
    it = model()
    prepare(it, recompute=True, compiled=False)
    other = copy.deepcopy(it)
    for parameter in it.parameters():
        parameter.data.zero_()
    assert torch.equal(learned(other)[0], learned(model())[0])


def test_the_blocks_are_found():
    assert [type(block) for block in blocks(model())] == [Block, Block]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and g++ is missing")
@pytest.mark.filterwarnings("ignore")
def test_compiled_blocks_give_the_same_numbers_up_to_rounding():
    plain, fast = model(), model()
    prepare(fast, recompute=False, compiled=True)
    for a, b in zip(learned(plain), learned(fast), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4 * float(a.abs().max()))
    with torch.no_grad():
        assert torch.equal(fast(IDS, None, MASK), plain(IDS, None, MASK))  # no gradient: not compiled
