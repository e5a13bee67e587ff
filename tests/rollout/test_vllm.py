"""vLLM on the CPU in the trainer's process: its samples have the log-probabilities and statistics of the trainer."""

from __future__ import annotations

import pytest
import torch

from align_lab.rollout.torch_sampler import nucleus
from align_lab.rollout.vllm_engine import Request
from align_lab.rollout.vllm_sampler import to_samples
from tests.rollout.vllm_support import (
    CLOSE,
    EOS,
    NEW,
    PAD,
    PROMPTS,
    ChangingWeights,
    difference,
    needs_vllm,
    numbers,
    sampler,
)

pytestmark = needs_vllm


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def pair(request):
    """Weights that change and a sampler in this process."""
    vllm = sampler()
    yield ChangingWeights(tied=request.param), vllm
    vllm.close()


def complete(pair, *, temperature=1.0, top_p=1.0, eos: int | None = EOS, step=0):
    weights, vllm = pair
    return vllm(weights, PROMPTS, PAD, uniforms=numbers(step=step), temperature=temperature, top_p=top_p, eos=eos)


def logits_of(model, samples):
    """The logits of every counted token of the samples."""
    with torch.no_grad():
        hidden = model.hidden(torch.cat([PROMPTS, samples.tokens], 1), PAD)[:, -NEW - 1 : -1][samples.mask]
    return hidden @ model.head.t()


@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_its_log_probabilities_are_the_trainers(pair, temperature, top_p):
    """They are taken at the sampling temperature under the full distribution, for any top_p."""
    samples = complete(pair, temperature=temperature, top_p=top_p)
    assert difference(pair[0], samples, temperature=temperature).max() < CLOSE
    assert not samples.logp[~samples.mask].any()


def test_all_new_weights_are_transferred(pair):
    weights, _ = pair
    before = complete(pair)
    for seed in (7, 8):
        weights.change(seed)
        assert difference(weights, before, temperature=1.0).mean() > 0.5
        assert difference(weights, complete(pair), temperature=1.0).max() < CLOSE


def test_a_row_depends_only_on_its_own_uniform_numbers(pair):
    weights, vllm = pair
    whole = complete(pair, temperature=0.7)
    assert torch.equal(complete(pair, temperature=0.7).tokens, whole.tokens)
    rows = torch.tensor([20, 3, 11])
    part = vllm(weights, PROMPTS[rows], PAD[rows], uniforms=numbers()[rows], temperature=0.7, eos=EOS)
    assert torch.equal(part.tokens, whole.tokens[rows])
    assert not torch.equal(complete(pair, temperature=0.7, step=1).tokens, whole.tokens)


def drawn_together(vllm, seed, rows=24):
    """Completions of prompts whose rows have no seeds of their own, as on a GPU."""
    ids = [row[start:] for row, start in zip(PROMPTS.tolist(), PAD.tolist(), strict=True)] * (rows // 24)
    request = Request(prompts=ids, seeds=[seed] * len(ids), by_row=False, new=NEW, temperature=0.7, top_p=0.9, eos=EOS)
    return vllm.engines[0].complete(request)


def test_rows_without_seeds_of_their_own_are_drawn_with_the_seed_of_the_request(pair):
    weights, vllm = pair
    complete(pair)
    before = torch.get_rng_state()
    first, other, again = (drawn_together(vllm, seed) for seed in (1, 2**33 + 2, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(again.tokens, first.tokens) and not torch.equal(other.tokens, first.tokens)
    samples = to_samples(first, PROMPTS, EOS)
    assert difference(weights, samples, temperature=0.7).max() < CLOSE


def test_they_have_the_statistics_of_rows_with_seeds_of_their_own(pair):
    _, vllm = pair
    together = drawn_together(vllm, 3, rows=24 * 40)
    apart = vllm(pair[0], PROMPTS.repeat(40, 1), PAD.repeat(40), uniforms=numbers(960), temperature=0.7, top_p=0.9)
    for one, other in ((together.logp[:, 0], apart.logp[:, 0]), (together.tokens[:, 0], apart.tokens[:, 0])):
        error = ((one.double().var() + other.double().var()) / 960).sqrt()
        assert (one.double().mean() - other.double().mean()).abs() < 4 * error
    assert len({tuple(row) for row in together.tokens[::24].tolist()}) > 30  # of one prompt


def test_top_p_samples_only_from_the_nucleus(pair):
    weights, _ = pair
    samples = complete(pair, temperature=0.7, top_p=0.5)
    probability = (logits_of(weights.model, samples) / 0.7).softmax(-1)
    assert (nucleus(probability, 0.5 + 1e-4).gather(1, samples.tokens[samples.mask][:, None]) > 0).all()


def test_temperature_zero_is_greedy_decoding(pair):
    weights, _ = pair
    greedy = complete(pair, temperature=0.0)
    assert torch.equal(logits_of(weights.model, greedy).argmax(-1), greedy.tokens[greedy.mask])
    assert difference(weights, greedy, temperature=1.0).max() < CLOSE


def test_the_end_token_ends_a_row_as_in_the_torch_sampler(pair):
    weights, _ = pair
    weights.model.head.data[EOS] += 0.6 * weights.model.hidden(PROMPTS)[0, -1].detach() / 8
    weights.version += 1
    samples, ended_rows = complete(pair), 0
    for tokens, mask, ended in zip(samples.tokens, samples.mask, samples.ended, strict=True):
        length = tokens.tolist().index(EOS) + 1 if EOS in tokens else NEW
        assert mask.tolist() == [t < length for t in range(NEW)] and (tokens[length:] == EOS).all()
        assert bool(ended) == (EOS in tokens)
        ended_rows += bool(ended)
    assert 0 < ended_rows < len(PROMPTS)
    assert not complete(pair, eos=None).ended.any()


def test_its_samples_have_the_statistics_of_the_torch_samplers(pair):
    from align_lab.rollout.torch_sampler import TorchSampler

    weights, vllm = pair
    prompts, pad, count = PROMPTS[:2].repeat(400, 1), PAD[:2].repeat(400), 800
    logp, length, low = [], [], []
    for sample, step in ((vllm, 5), (TorchSampler(), 6)):
        samples = sample(weights, prompts, pad, uniforms=numbers(count, step), temperature=0.7, top_p=0.9, eos=EOS)
        logp.append((samples.logp * samples.mask).sum(1))
        length.append(samples.mask.sum(1).float())
        low.append((samples.tokens[:, 0] < 100).float())
    for of_vllm, of_torch in (logp, length, low):
        error = ((of_vllm.var() + of_torch.var()) / count).sqrt()
        assert (of_vllm.mean() - of_torch.mean()).abs() < 4 * error
