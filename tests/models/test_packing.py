"""Rows without their padding give the log-probabilities, entropies and gradients of rows with it."""

from __future__ import annotations

import pytest
import torch

from align_lab.models.logp import response_logps
from align_lab.models.lora import BaseModel, adapt
from align_lab.models.lora_settings import Lora
from align_lab.models.packing import Packing
from tests.models.test_llama import tiny

IDS = torch.randint(40, (4, 11), generator=torch.Generator().manual_seed(3))
PAD = torch.tensor([0, 3, 1, 4])
MASK = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0], [1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=torch.bool
)  # of different lengths, with holes, and without any token


def of(packing, *, entropy=False, pad=PAD, kv_heads=2):
    model = tiny(kv_heads=kv_heads)
    model.packing = packing
    found = response_logps(model, IDS, pad, MASK, temperature=0.7, entropy=entropy)
    parts = found if entropy else (found,)
    sum((part * torch.arange(1, 7)).sum() for part in parts).backward()
    return [part.detach() for part in parts], [weight.grad for weight in model.parameters()]


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("pad", [None, PAD])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_values_and_gradients_are_those_of_padded_rows(entropy, pad, kv_heads):
    (packed, packed_grads), (padded, padded_grads) = (
        of(packing, entropy=entropy, pad=pad, kv_heads=kv_heads) for packing in ("on", "off")
    )
    for one, other in zip([*packed, *packed_grads], [*padded, *padded_grads], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)
    assert all(not part[~MASK].any() for part in packed)


def test_the_reference_of_adapters_is_packed_as_the_policy_is():
    model = adapt(tiny(), Lora(rank=2))
    reference = BaseModel(model)
    padded = response_logps(reference, IDS, PAD, MASK)
    model.packing = "on"
    assert reference.packs()
    torch.testing.assert_close(response_logps(reference, IDS, PAD, MASK), padded, rtol=1e-9, atol=1e-10)


def test_only_the_tokens_that_predict_something_are_read():
    packing = Packing.of(PAD, MASK, 5)
    assert packing.lengths == (9, 2, 7, 1)  # prompts of 5, 2, 4, 1; responses of 5, 1, 4, 1, the last one not read
    assert packing.starts.tolist() == [0, 9, 11, 18, 19]
    assert packing.positions.tolist() == [*range(9), 0, 1, *range(7), 0]
    assert packing.predicted.tolist() == [0, 1, 2, 3, 4, 6, 12, 13, 14, 15, 18]


def test_a_processor_packs_only_where_it_is_told_to():
    model = tiny()
    assert not model.packs()
    model.packing = "auto"
    assert not model.packs()
    model.packing = "on"
    assert model.packs()
