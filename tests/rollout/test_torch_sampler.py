"""The torch sampler: log-probabilities, end tokens, greedy decoding, top-p, and independence of the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from align_lab.base.hyperparameters import Train
from align_lab.models.llama import Llama
from align_lab.models.logp import response_logps
from align_lab.rollout.sampler import uniforms
from align_lab.rollout.torch_sampler import TorchSampler, draw_token, inverse_cdf, nucleus, sample
from align_lab.train.learner import Learner
from tests.models.test_llama import tiny

PROMPTS = torch.randint(40, (4, 6), generator=torch.Generator().manual_seed(5))
PAD = torch.tensor([0, 2, 5, 1])


def numbers(rows=4, tokens=10):
    return uniforms(7, 0, range(rows), 1, tokens)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_log_probabilities_are_those_of_a_forward_pass(temperature, top_p):
    model = tiny()
    samples = sample(model, PROMPTS, PAD, uniforms=numbers(), temperature=temperature, top_p=top_p, eos=3)
    sequences = torch.cat([PROMPTS, samples.tokens], 1)
    expected = response_logps(model, sequences, PAD, samples.mask, temperature=temperature)
    torch.testing.assert_close(samples.logp, expected, rtol=1e-10, atol=1e-10)


def test_a_row_does_not_depend_on_the_batch_around_it():
    model, u = tiny(), numbers()
    whole = sample(model, PROMPTS, PAD, uniforms=u, eos=3)
    for row, pad in enumerate(PAD):
        single = sample(model, PROMPTS[row : row + 1, pad:], None, uniforms=u[row : row + 1], eos=3)
        assert single.tokens.tolist() == whole.tokens[row : row + 1].tolist()
        torch.testing.assert_close(single.logp, whole.logp[row : row + 1], rtol=1e-10, atol=1e-10)


class Counting(Llama):
    """A model that counts the tokens that it reads, padding too."""

    read = 0

    def _run(self, ids, pad, cache):
        self.read += ids.numel()
        return super()._run(ids, pad, cache)


@pytest.mark.parametrize("pad", [None, PAD])
@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_groups_prompt_is_read_once_and_its_completions_are_those_of_a_prompt_each(pad, group, dtype):
    model, u = tiny().to(dtype), numbers(4 * group)
    counting = Counting(model.config).to(dtype)
    counting.load_state_dict(model.state_dict())
    found = TorchSampler()(Learner(Train(), counting), PROMPTS, pad, uniforms=u, eos=3)
    prompts, pads = (None if x is None else x.repeat_interleave(group, 0) for x in (PROMPTS, pad))
    expected = sample(model, prompts, pads, uniforms=u, eos=3)
    assert torch.equal(found.tokens, expected.tokens) and torch.equal(found.mask, expected.mask)
    assert torch.equal(found.logp, expected.logp)
    alone = Counting(model.config).to(dtype)
    alone.load_state_dict(model.state_dict())
    sample(alone, prompts, pads, uniforms=u, eos=3)
    assert alone.read - counting.read == (group - 1) * PROMPTS.numel()


@pytest.mark.parametrize("rows", [1, 2, 4, 5, 7, 11])
def test_a_group_may_lie_in_two_batches_of_rows(rows):
    """Of a group that is cut, both batches read the prompt."""
    learner, u, sampler = Learner(Train(), tiny()), numbers(12), TorchSampler()
    expected = sampler(learner, PROMPTS, PAD, uniforms=u, eos=3)
    sampler.batches.rows = rows
    found = sampler(learner, PROMPTS, PAD, uniforms=u, eos=3)
    assert torch.equal(found.tokens, expected.tokens)
    torch.testing.assert_close(found.logp, expected.logp, rtol=1e-10, atol=1e-10)


def test_eos_ends_a_row_and_is_counted():
    model, ended_rows = tiny(), 0
    for step in range(20):
        samples = sample(model, PROMPTS, PAD, uniforms=uniforms(1, step, range(4), 1, 10), eos=3)
        rows = zip(samples.tokens, samples.mask, samples.logp, samples.ended, strict=True)
        for tokens, mask, logp, ended in rows:
            length = tokens.tolist().index(3) + 1 if 3 in tokens else 10
            assert mask.tolist() == [t < length for t in range(10)]
            assert (tokens[length:] == 3).all() and not logp[length:].any()
            assert bool(ended) == (3 in tokens)
            ended_rows += bool(ended)
    assert 0 < ended_rows < 80
    assert not sample(model, PROMPTS, PAD, uniforms=numbers()).ended.any()


def test_samples_can_be_part_of_an_autograd_graph():
    model = tiny()
    samples = sample(model, PROMPTS, None, uniforms=numbers(), eos=3)
    logp = response_logps(model, torch.cat([PROMPTS, samples.tokens], 1), None, samples.mask)
    ((logp - samples.logp).exp() * samples.logp * samples.mask).sum().backward()


def test_temperature_zero_is_greedy_decoding():
    model = tiny()
    samples = sample(model, PROMPTS, PAD, uniforms=numbers(), temperature=0.0)
    logits = (model.hidden(torch.cat([PROMPTS, samples.tokens], 1), PAD) @ model.head.t())[:, 5:-1]
    assert (samples.tokens == logits.argmax(-1)).all()
    torch.testing.assert_close(samples.logp, logits.log_softmax(-1).amax(-1), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_frequencies_are_the_probabilities(top_p):
    logits = torch.tensor([1.0, -0.5, 0.3, 2.0, -8.0], dtype=torch.float64).expand(100_000, -1)
    u = torch.from_numpy(np.random.default_rng(0).random(100_000))
    token, logp = draw_token(logits.clone(), u, temperature=0.8, top_p=top_p)
    full = torch.softmax(logits[0] / 0.8, -1)
    # the most likely token alone has a mass below 0.7, the two most likely together have more
    expected = full if top_p == 1 else full * torch.tensor([1, 0, 0, 1, 0])
    expected = expected / expected.sum()
    frequency = torch.bincount(token, minlength=5) / len(u)
    assert (frequency - expected).abs().max() < 4 * 0.5 / len(u) ** 0.5
    torch.testing.assert_close(logp, full.log()[token])


@pytest.mark.parametrize("size", [1, 3, 5, 700, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inverse_is_that_of_the_cumulative_sum_and_never_a_token_of_probability_0(size, dtype):
    rng = np.random.default_rng(size)
    p = torch.from_numpy(rng.random((50, size)) * (rng.random((50, size)) < 0.3)).to(dtype)
    p[:, rng.integers(size)] = 0.1
    for u in (0.0, 0.25, 0.5, 1 - 2**-24):
        token = inverse_cdf(p, torch.full((50,), u, dtype=dtype))
        assert (p[torch.arange(50), token] > 0).all()
        if dtype == torch.float64:
            cumulative = p.numpy().cumsum(-1)
            expected = (cumulative > u * cumulative[:, -1:] * (1 + 1e-12)).argmax(-1)
            clear = np.abs(cumulative - u * cumulative[:, -1:]).min(-1) > 1e-9  # not on the boundary of two tokens
            assert (token.numpy() == expected)[clear].all()


def test_nucleus_is_the_smallest_set_that_reaches_the_mass():
    p = torch.tensor([[0.1, 0.5, 0.15, 0.25], [0.25, 0.25, 0.25, 0.25]])
    assert nucleus(p, 0.5).bool().tolist() == [[False, True, False, False], [True, True, False, False]]
    assert nucleus(p, 0.6).bool().tolist() == [[False, True, False, True], [True, True, True, False]]
    assert nucleus(p, 1e-9).bool().sum(-1).tolist() == [1, 1]


def test_uniforms_depend_only_on_seed_step_prompt_and_sample():
    whole = uniforms(0, 3, [4, 9, 2], 2, 5)
    assert whole.shape == (6, 5) and whole.dtype == torch.float32
    torch.testing.assert_close(uniforms(0, 3, [9], 2, 5), whole[2:4], rtol=0, atol=0)
    torch.testing.assert_close(uniforms(0, 3, [2], 1, 3), whole[4:5, :3], rtol=0, atol=0)
    assert len(torch.unique(torch.cat([whole, uniforms(1, 3, [4], 1, 5), uniforms(0, 4, [4], 1, 5)]))) == 40
    assert (whole >= 0).all() and (whole < 1).all()
    assert uniforms(0, 3, [], 2, 5).shape == (0, 5)
