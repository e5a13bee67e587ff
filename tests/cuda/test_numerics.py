"""bfloat16 is for the matrix products of the body: what is sampled, compared or added up is as exact as in float32."""

from __future__ import annotations

import copy

import pytest
import torch

from align_lab.base.hardware import Numerics
from align_lab.models import logp
from align_lab.models.llama import Llama
from align_lab.models.llama_config import LlamaConfig
from align_lab.models.loading import loading
from align_lab.models.policy import load_policy
from align_lab.models.precision import convert
from align_lab.rollout import torch_sampler
from align_lab.rollout.torch_sampler import sample
from align_lab.run import device
from tests.cuda.pretended import Refused, pretended_cuda
from tests.cuda.runs import config, train


def pair(**sizes):
    """A model in bfloat16, and the one in float32 that has its weights."""
    torch.manual_seed(0)
    narrow = Llama(LlamaConfig(**{"layers": 2, "heads": 4, "kv_heads": 2, "mlp": 96, "context": 64, **sizes}))
    convert(narrow, torch.bfloat16)
    wide = copy.deepcopy(narrow)
    convert(wide, torch.float32)
    return narrow, wide


def test_all_tokens_can_be_sampled():
    V, rows = 8192, 4000
    model, _ = pair(vocab=V, width=16, mlp=16, layers=1)
    ids = torch.ones(rows, 1, dtype=torch.long)
    tokens = sample(model, ids, None, uniforms=torch.rand(rows, 1)).tokens
    expected = V * (1 - (1 - 1 / V) ** rows)  # of a distribution that is nearly uniform
    assert len(tokens.unique()) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_nearly_those_of_float32(temperature):
    narrow, wide = pair(vocab=2048, width=64)
    ids, pad = torch.randint(1, 2048, (16, 40)), torch.arange(16) % 5
    mask = torch.ones(16, 32, dtype=torch.bool)
    with torch.no_grad():
        actual, entropy = narrow(ids, pad, mask, temperature=temperature, entropy=True)
        expected, exact_entropy = wide(ids, pad, mask, temperature=temperature, entropy=True)
    assert actual.dtype == entropy.dtype == torch.float32
    assert (actual - expected).abs().mean() < 0.005
    assert abs((actual - expected).mean()) < 0.001
    assert (entropy - exact_entropy).abs().mean() < 0.005


def test_log_probabilities_of_a_model_with_peaked_predictions_are_not_biased():
    """Rounding the products of a body in bfloat16 costs more where logits are far apart; it goes in both directions."""
    narrow, _ = pair(vocab=2048, width=64, layers=8)
    with torch.no_grad():
        for weight in narrow.parameters():
            weight.mul_(8 if weight.ndim > 1 else 1)
    wide = copy.deepcopy(narrow)
    convert(wide, torch.float32)
    ids, mask = torch.randint(1, 2048, (16, 40)), torch.ones(16, 32, dtype=torch.bool)
    with torch.no_grad():
        actual, expected = (model(ids, None, mask, temperature=1.0) for model in (narrow, wide))
    error = actual - expected
    assert expected.std() > 1 and 0.01 < error.abs().mean() < 0.05  # 0.0235 in SmolLM2-135M
    assert abs(error.mean()) < 0.003


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_gradient_of_the_head_is_summed_over_tiles_in_float32(temperature, monkeypatch):
    N, D, V = 256, 32, 4096
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, D, generator=generator).bfloat16() for n in (N, V))
    targets, gradient = torch.randint(V, (N,), generator=generator), torch.randn(N, generator=generator)
    monkeypatch.setitem(logp.TILE, "cuda", N * 64)  # 64 tiles
    actual = [one.clone().requires_grad_() for one in (hidden, weight)]
    logp.token_logps(*actual, targets, temperature=temperature).backward(gradient)
    expected = [one.double().requires_grad_() for one in (hidden, weight)]
    log_p = (expected[0] @ expected[1].t() / temperature).log_softmax(-1)
    (log_p.gather(1, targets[:, None]).squeeze(1) * gradient).sum().backward()
    for mine, exact in zip(actual, expected, strict=True):
        error = (mine.grad.double() - exact.grad).norm() / exact.grad.norm()
        assert error < 0.004


def test_the_policy_has_not_changed_before_its_first_update():
    """Without instructions for bfloat16, a processor rounds a row otherwise beside other rows: once in a while, by one
    place of bfloat16 (2⁻⁸). A gradient of one update would change every ratio.
    """
    cfg = config("algo=rloo", "train.steps=1", "train.micro_batch=4", study="ratio", device="cuda")
    algo = train(cfg).algo
    calls, (rollout,) = algo.calls, algo.rollouts
    assert len(calls) == 4
    ratios = torch.cat([(now.logp - x.logp_old).exp()[x.mask] for now, x in calls])
    differences = (ratios.detach().cpu() - 1).abs()
    assert differences.mean() < 1e-3 and differences.median() == 0 and differences.max() < 2**-6
    assert rollout.logp_sampler is not None, "the ratio was taken to what the sampler computed, a column at a time"
    of_sampler = ((rollout.logp_old - rollout.logp_sampler).exp() - 1)[rollout.mask].abs()
    assert of_sampler.mean() > differences.mean()


def test_a_model_of_transformers_keeps_its_angles(tmp_path):
    pytest.importorskip("transformers")
    from tests.models.test_hf import folder

    path = folder(tmp_path / "qwen2", "qwen2")
    before = dict(load_policy(path).model.named_buffers())
    model = load_policy(path).to(torch.bfloat16).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    with loading(torch.bfloat16, torch.device("cpu")):
        read = load_policy(path).model
    assert any("inv_freq" in name for name in before)
    for name, value in [*model.named_buffers(), *read.named_buffers()]:
        assert value.dtype == before[name].dtype and torch.equal(value, before[name])
    for one, other in zip(read.parameters(), model.parameters(), strict=True):
        assert one.dtype == torch.bfloat16 and torch.equal(one, other)


@pytest.mark.parametrize("attention", ["sdpa", "flash", "efficient"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("pad", [None, torch.tensor([0, 3])])
def test_every_batch_has_a_fused_attention_kernel(attention, dtype, pad):
    with pretended_cuda() as machine:
        device.use(Numerics(device="cuda", attention=attention))
        model = pair(vocab=64, width=16)[dtype == torch.float32].to("cuda")
        model.hidden(torch.ones(2, 8, dtype=torch.long), None if pad is None else pad.to("cuda"))
        kernels = set(machine.counts.attention)
    assert kernels and kernels <= {"flash", "efficient"}


def test_padded_attention_is_that_of_one_row():
    with pretended_cuda():
        device.use(Numerics(device="cuda"))
        model = pair(vocab=64, width=16)[1].to("cuda")
        ids = torch.arange(1, 9)[None]
        padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), ids], 1)
        difference = model.hidden(padded, torch.tensor([3]))[:, 3:] - model.hidden(ids)
        assert difference.abs().max() < 1e-5


def test_no_attention_kernel_is_refused():
    with pretended_cuda():
        device.use(Numerics(device="cuda", attention="efficient"))
        q, k = torch.zeros(1, 4, 8, 8), torch.zeros(1, 2, 8, 8)
        with pytest.raises(Refused, match="No available kernel"):
            torch.nn.functional.scaled_dot_product_attention(q, k, k, enable_gqa=True)


def test_how_often_ends_are_looked_for_changes_no_completion(monkeypatch):
    """Only rounding: rows that have ended leave the batch at another token."""
    torch.manual_seed(0)
    prompts, uniforms = torch.randint(20, (8, 3)), torch.rand(8, 40)
    small = LlamaConfig(vocab=20, width=16, layers=2, heads=4, kv_heads=2, mlp=24, context=64)
    weights = Llama(small).state_dict()
    sampled = []
    for every in (1, 16, 64):
        monkeypatch.setattr(torch_sampler, "CHECK_EVERY", every)
        with pretended_cuda() as machine:
            torch.set_default_device("cuda")
            model = Llama(small)
            model.load_state_dict({name: value.to("cuda") for name, value in weights.items()})
            machine.counts.syncs.clear()
            one = sample(model, prompts.to("cuda"), None, uniforms=uniforms.to("cuda"), eos=3)
            looks = sum(count for line, count in machine.counts.syncs.items() if "torch_sampler" in line)
            sampled.append((one.tokens.cpu(), one.mask.cpu(), one.logp.cpu(), one.ended.cpu(), looks))
    first, *others = sampled
    assert first[3].any() and not first[1].all()
    for other in others:
        assert all(torch.equal(first[place], other[place]) for place in (0, 1, 3))
        torch.testing.assert_close(first[2], other[2], rtol=1e-5, atol=1e-5)
    waits = [one[4] for one in sampled]
    assert waits[0] > 40 and waits[1] <= 12 and waits[2] == 0, waits
