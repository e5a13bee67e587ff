"""Real vLLM on this machine's processor, beside the model that learns."""

from __future__ import annotations

import pytest
import torch

from align_lab.rollout.torch_sampler import nucleus
from tests.rollout.vllm_here import CLOSE, EOS, NEW, PAD, PROMPTS, Learning, gap, needs_vllm, numbers, sampler

pytestmark = needs_vllm


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def pair(request):
    """A model that learns and a sampler in this process."""
    made = sampler()
    yield Learning(tied=request.param), made
    made.close()


def ask(pair, *, temperature=1.0, top_p=1.0, eos: int | None = EOS, step=0):
    learning, made = pair
    return made(learning, PROMPTS, PAD, uniforms=numbers(step=step), temperature=temperature, top_p=top_p, eos=eos)


@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_its_log_probabilities_are_the_trainers(pair, temperature, top_p):
    """At the sampling temperature, of the whole distribution, whatever top_p cuts off."""
    found = ask(pair, temperature=temperature, top_p=top_p)
    assert gap(pair[0], found, temperature=temperature).max() < CLOSE
    assert not found.logp[~found.mask].any()


def test_new_weights_are_sampled_from_all_of_them(pair):
    learning, _ = pair
    before = ask(pair)
    for seed in (7, 8):
        learning.change(seed)
        assert gap(learning, before, temperature=1.0).mean() > 0.5
        assert gap(learning, ask(pair), temperature=1.0).max() < CLOSE


def test_a_row_is_a_function_of_its_own_numbers(pair):
    learning, made = pair
    whole = ask(pair, temperature=0.7)
    assert torch.equal(ask(pair, temperature=0.7).tokens, whole.tokens)
    rows = torch.tensor([20, 3, 11])
    part = made(learning, PROMPTS[rows], PAD[rows], uniforms=numbers()[rows], temperature=0.7, eos=EOS)
    assert torch.equal(part.tokens, whole.tokens[rows])
    assert not torch.equal(ask(pair, temperature=0.7, step=1).tokens, whole.tokens)


def test_only_the_nucleus_is_sampled_and_cold_means_likely(pair):
    learning, _ = pair
    found = ask(pair, temperature=0.7, top_p=0.5)
    with torch.no_grad():
        hidden = learning.model.hidden(torch.cat([PROMPTS, found.tokens], 1), PAD)[:, -NEW - 1 : -1][found.mask]
    weight = (hidden @ learning.model.head.t() / 0.7).softmax(-1)
    kept = nucleus(weight, 0.5 + 1e-4).gather(1, found.tokens[found.mask][:, None])
    assert (kept > 0).all()
    greedy = ask(pair, temperature=0.0)
    with torch.no_grad():
        hidden = learning.model.hidden(torch.cat([PROMPTS, greedy.tokens], 1), PAD)[:, -NEW - 1 : -1][greedy.mask]
    assert torch.equal((hidden @ learning.model.head.t()).argmax(-1), greedy.tokens[greedy.mask])
    assert gap(learning, greedy, temperature=1.0).max() < CLOSE


def test_a_row_ends_with_the_end_token_as_the_torch_sampler_lets_it(pair):
    learning, _ = pair
    learning.model.head.data[EOS] += 0.6 * learning.model.hidden(PROMPTS)[0, -1].detach() / 8
    learning.version += 1
    found, seen = ask(pair), 0
    for tokens, mask, ended in zip(found.tokens, found.mask, found.ended, strict=True):
        length = tokens.tolist().index(EOS) + 1 if EOS in tokens else NEW
        assert mask.tolist() == [t < length for t in range(NEW)] and (tokens[length:] == EOS).all()
        assert bool(ended) == (EOS in tokens)
        seen += bool(ended)
    assert 0 < seen < len(PROMPTS)
    assert not ask(pair, eos=None).ended.any()


def test_its_samples_have_the_statistics_of_the_torch_samplers(pair):
    from align_lab.rollout.torch_sampler import TorchSampler

    learning, made = pair
    prompts, pad, count = PROMPTS[:2].repeat(400, 1), PAD[:2].repeat(400), 800
    logp, length, low = [], [], []
    for way, step in ((made, 5), (TorchSampler(), 6)):
        found = way(learning, prompts, pad, uniforms=numbers(count, step), temperature=0.7, top_p=0.9, eos=EOS)
        logp.append((found.logp * found.mask).sum(1))
        length.append(found.mask.sum(1).float())
        low.append((found.tokens[:, 0] < 100).float())
    for theirs, ours in (logp, length, low):
        error = ((theirs.var() + ours.var()) / count).sqrt()
        assert (theirs.mean() - ours.mean()).abs() < 4 * error
