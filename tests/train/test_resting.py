"""What only an update needs is away from the device while another program has it, and comes back unchanged."""

from __future__ import annotations

import pytest
import torch

from align_lab.train.engines.resting import Resting
from tests.cuda.budgets import gpu
from tests.train.small import algorithm, loop, rows
from tests.train.test_sharded_engines import equal, releasing


def test_storages_are_emptied_once_with_all_their_views_and_filled_again():
    whole, other, gradient = torch.arange(12.0), torch.arange(5), torch.ones(3)
    view, expected = whole[2:4], torch.arange(12.0)
    resting = Resting()
    for _ in range(2):
        resting.release([view, whole, other], [gradient, torch.empty(0)])
        assert [one.untyped_storage().nbytes() for one in (whole, view, other, gradient)] == [0] * 4
        resting.release([whole], [])  # it is empty already
        resting.restore()
        assert torch.equal(whole, expected) and torch.equal(view, expected[2:4]) and other.tolist() == [0, 1, 2, 3, 4]
        assert gradient.tolist() == [0, 0, 0]
        view += 1
        expected[2:4] += 1
        resting.restore()  # nothing is empty
        assert torch.equal(whole, expected)


def test_memory_of_a_file_stays(tmp_path):
    torch.save(torch.arange(4.0), tmp_path / "x")
    (mapped,) = [torch.load(tmp_path / "x", mmap=True)]
    resting = Resting()
    resting.release([mapped], [])
    assert mapped.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["rloo", "ppo_max"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_run_whose_sampler_gets_the_memory_of_updates_is_the_same_run(name, dtype):
    fields = {"critic_init": "policy", "critic_pretrain_steps": 1} if name == "ppo_max" else {}
    plain, other = (loop(algorithm(name, **fields), dtype=dtype, steps=3) for _ in range(2))
    sizes = releasing(other)
    plain.run()
    other.run()
    assert equal(plain.learner.state_dict(), other.learner.state_dict())
    assert rows(plain) == rows(other)
    assert sizes[0] == 0 and not any(sizes)


@pytest.mark.parametrize(("dtype", "each"), [(torch.float32, 8 + 4), (torch.bfloat16, 12 + 4)])
def test_a_gpu_has_the_bytes_of_optimizer_state_and_gradients_free_for_the_sampler(dtype, each):
    """AdamW's two moments and the gradient; of a bfloat16 model also the float32 weights."""
    with gpu() as machine:
        it = loop(algorithm("rloo"), dtype=dtype)
        it.advance()
        parameters = sum(parameter.numel() for parameter in it.learner.policy.parameters())
        before = machine.places.bytes
        it.learner.release()
        assert before - machine.places.bytes == each * parameters
        it.learner.zero_grad()
        assert machine.places.bytes == before
