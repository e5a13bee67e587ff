"""The Llama: KV cache, left padding, limits, and conversion to and from Hugging Face."""

from __future__ import annotations

import pytest
import torch

from align_lab.models.convert import from_hf, to_hf
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.logp import response_logps

PAD = torch.tensor([0, 3, 1])


def tiny(**changes) -> Llama:
    torch.manual_seed(0)
    shape = {"vocab": 40, "width": 16, "layers": 2, "heads": 4, "kv_heads": 2, "mlp": 24, "context": 32} | changes
    model = Llama(LlamaConfig(**shape)).double()
    for weight in model.parameters():  # larger than at initialization, so that every part matters
        torch.nn.init.normal_(weight, std=0.4)
    return model


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("pad", [None, PAD])
def test_cached_decoding_equals_the_full_forward(kv_heads, pad):
    model, ids = tiny(kv_heads=kv_heads), torch.randint(40, (3, 12))
    whole, cache = model.hidden(ids, pad), model.new_cache(3, 12)
    for start, end in ((0, 5), (5, 8), (8, 9), (9, 10), (10, 12)):
        torch.testing.assert_close(model.step(ids[:, start:end], cache, pad), whole[:, end - 1], rtol=1e-10, atol=1e-10)


def test_left_padding_does_not_matter():
    model, ids = tiny(), torch.randint(40, (3, 12))
    padded = model.hidden(ids, PAD)
    for row, pad in enumerate(PAD):
        unpadded = model.hidden(ids[row : row + 1, pad:])
        torch.testing.assert_close(padded[row, pad:], unpadded[0], rtol=1e-10, atol=1e-10)
    filled = ids.clone()
    filled[1, :3] = 0
    torch.testing.assert_close(model.hidden(filled, PAD)[1, 3:], padded[1, 3:], rtol=0, atol=0)


def test_padding_causes_no_nan_in_the_gradient():
    model, ids = tiny(), torch.randint(40, (3, 12))
    mask = torch.ones(3, 5, dtype=torch.bool)
    response_logps(model, ids, torch.tensor([0, 6, 2]), mask).sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("pad", [None, PAD])
def test_decoding_in_fixed_shapes_equals_the_full_forward(kv_heads, pad):
    model, ids = tiny(kv_heads=kv_heads), torch.randint(40, (3, 12))
    whole, cache = model.hidden(ids, pad), model.new_cache(3, 16)
    model.step(ids[:, :7], cache, pad)
    fixed = cache.fixed(16)
    for column in range(7, 12):
        last = model.step(ids[:, column : column + 1], fixed, pad)
        torch.testing.assert_close(last, whole[:, column], rtol=1e-10, atol=1e-10)


def test_decoding_continues_after_rows_are_dropped_from_the_cache():
    model, ids = tiny(), torch.randint(40, (3, 6))
    cache = model.new_cache(3, 6)
    model.step(ids[:, :4], cache)
    cache.keep(torch.tensor([2, 0]))
    last = model.step(ids[[2, 0], 4:5], cache)
    torch.testing.assert_close(last, model.hidden(ids[[2, 0], :5])[:, -1], rtol=1e-10, atol=1e-10)


def test_decoding_continues_after_rows_of_the_cache_are_repeated():
    model, ids = tiny(), torch.randint(40, (3, 6))
    cache, rows = model.new_cache(3, 4), torch.tensor([2, 2, 0, 2])
    model.step(ids[:, :4], cache)
    more = cache.repeat(rows, 6)
    last = model.step(ids[rows, 4:6], more)
    torch.testing.assert_close(last, model.hidden(ids[rows])[:, -1], rtol=1e-10, atol=1e-10)
    assert more.keys.shape[3] == 6 and cache.used == 4  # the other one is as it was


def test_a_sequence_longer_than_the_context_is_an_error():
    with pytest.raises(ValueError, match="33 tokens exceed the model's context of 32"):
        tiny().hidden(torch.zeros(1, 33, dtype=torch.int64))


def test_a_width_that_is_not_a_multiple_of_heads_is_an_error():
    with pytest.raises(ValueError, match="width must be an even multiple of heads"):
        tiny(heads=3, kv_heads=3)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [2, 4])
def test_transformers_loads_the_saved_folder_and_computes_the_same_logits(tmp_path, tied, kv_heads):
    transformers = pytest.importorskip("transformers")
    model = tiny(tied=tied, kv_heads=kv_heads, rope_theta=500.0).float()
    to_hf(model, tmp_path, eos=3)
    reference = transformers.LlamaForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(40, (3, 12))
    torch.testing.assert_close(model.hidden(ids) @ model.head.t(), reference(ids).logits, rtol=1e-5, atol=1e-5)
    attention = (torch.arange(12) >= PAD[:, None]).long()
    positions = (attention.cumsum(-1) - 1).clamp(min=0)
    expected = reference(ids, attention_mask=attention, position_ids=positions).logits
    actual = model.hidden(ids, PAD) @ model.head.t()
    torch.testing.assert_close(actual[attention.bool()], expected[attention.bool()], rtol=1e-5, atol=1e-5)
    assert reference.config.eos_token_id == 3


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_unchanged_after_saving_and_loading(tmp_path, tied):
    model = tiny(tied=tied)
    to_hf(model, tmp_path)
    loaded = from_hf(tmp_path)
    assert loaded.config == model.config
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
