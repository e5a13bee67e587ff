"""Every algorithm trains on a GPU: the same numbers as in bfloat16 on the processor, to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.cuda.runs import Trained, config, train
from tests.wiring.conftest import choice, names

FLOAT32 = ("logp", "score", "value", "returns", "advantage", "reward", "entropy")  # also as a part of a field's name


def narrow(trained: Trained) -> set[str]:
    """The fields of rollouts, advantages, batches and outputs of the policy that are floats, and not float32."""
    algo = trained.algo
    records = [*algo.rollouts, *algo.given, *(one for call in algo.calls for one in call)]
    fields = {(name, value.dtype) for one in records for name, value in vars(one).items() if isinstance(value, Tensor)}
    assert {"logp_old", "logp", "score", "advantage"} <= {name for name, _ in fields}
    return {
        name
        for name, dtype in fields
        if any(part in name for part in FLOAT32) and "mask" not in name and dtype != torch.float32
    }


@pytest.mark.nightly
@pytest.mark.parametrize("name", names())
def test_an_algorithm_trains_on_the_gpu_as_on_the_processor(name):
    overrides, fields = choice(name)
    there, here = (train(config(*overrides, study=device, device=device, **fields)) for device in ("cuda", "cpu"))
    assert there.machine.counts.launches
    assert [row["step"] for row in there.rows] == [0, 1, 2]
    assert there.rows == here.rows
    assert not narrow(there)
    assert not {"math", "cudnn"} & there.machine.counts.attention.keys()
