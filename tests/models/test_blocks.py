"""Gradient checkpointing and compiled blocks give the same values and gradients."""

import copy
import shutil

import pytest
import torch

from align_lab.models.blocks import blocks, configure_blocks
from align_lab.models.llama import Block
from tests.train.small import model

IDS = torch.arange(1, 25).view(2, 12)
MASK = torch.ones(2, 6, dtype=torch.bool)


def logps_and_gradients(policy, pad=None):
    """The log-probabilities of one forward pass, and the gradients of one backward pass."""
    policy.zero_grad()
    logp = policy(IDS, pad, MASK)
    logp.sum().backward()
    return [logp.detach(), *(p.grad for p in policy.parameters())]


def saved_numbers(policy, pad):
    """How many numbers autograd saves for the backward pass."""
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        policy(IDS, pad, MASK)
    return sum(sizes)


@pytest.mark.parametrize("pad", [None, torch.tensor([0, 3])])
def test_gradient_checkpointing_gives_the_same_gradients_and_saves_fewer_activations(pad):
    plain, checkpointed = model(), model()
    configure_blocks(checkpointed, gradient_checkpointing=True, compiled=False)
    for a, b in zip(logps_and_gradients(plain, pad), logps_and_gradients(checkpointed, pad), strict=True):
        assert torch.equal(a, b)
    assert saved_numbers(checkpointed, pad) < saved_numbers(plain, pad) / 2


def test_a_copy_computes_with_its_own_weights():
    original = model()
    configure_blocks(original, gradient_checkpointing=True, compiled=False)
    copied = copy.deepcopy(original)
    for parameter in original.parameters():
        parameter.data.zero_()
    assert torch.equal(logps_and_gradients(copied)[0], logps_and_gradients(model())[0])


def test_the_blocks_are_the_members_of_the_longest_module_list():
    assert [type(block) for block in blocks(model())] == [Block, Block]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and g++ is missing")
@pytest.mark.filterwarnings("ignore")
def test_compiled_blocks_give_the_same_numbers_up_to_rounding():
    plain, compiled = model(), model()
    configure_blocks(compiled, gradient_checkpointing=False, compiled=True)
    for a, b in zip(logps_and_gradients(plain), logps_and_gradients(compiled), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4 * float(a.abs().max()))
    with torch.no_grad():
        assert torch.equal(compiled(IDS, None, MASK), plain(IDS, None, MASK))  # without gradient it is not compiled
