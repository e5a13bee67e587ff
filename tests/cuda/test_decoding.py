"""Sampling on a GPU: columns in fixed shapes, whose kernels are recorded once and launched together."""

from __future__ import annotations

import pytest
import torch

from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.precision import convert
from align_lab.rollout import replay
from align_lab.rollout.replay import Replay
from align_lab.rollout.torch_sampler import sample
from tests.cuda.pretended import Refused, pretended_cuda
from tests.cuda.pretended.graphs import record

SMALL = LlamaConfig(vocab=20, width=16, layers=2, heads=4, kv_heads=2, mlp=24, context=80)
PROMPTS = torch.randint(20, (4, 3), generator=torch.Generator().manual_seed(1))
PAD = torch.tensor([0, 1, 2, 0])
NUMBERS = torch.rand(8, 60, generator=torch.Generator().manual_seed(2))


def model(device, dtype=torch.float32):
    torch.manual_seed(0)
    with torch.device("cpu"):
        one = Llama(SMALL)
    convert(one, dtype)
    return one.to(device)


def completed(device, *, pad, dtype=torch.float32, **options):
    """Two completions of each prompt: tokens, mask, log-probabilities and ends, on the processor."""
    pad = None if pad is None else pad.to(device)
    found = sample(model(device, dtype), PROMPTS.to(device), pad, uniforms=NUMBERS.to(device), **options)
    return [one.cpu() for one in (found.tokens, found.mask, found.logp, found.ended)]


@pytest.fixture
def machine():
    with pretended_cuda() as machine:
        yield machine


CASES = [
    {"pad": None},
    {"pad": PAD, "eos": 3},
    {"pad": PAD, "eos": 3, "top_p": 0.9, "temperature": 0.7},
    {"pad": None, "temperature": 0},
    {"pad": PAD, "eos": 3, "dtype": torch.bfloat16},
]


@pytest.mark.parametrize("case", CASES)
def test_recorded_columns_are_those_whose_kernels_are_launched_one_by_one(case, machine, monkeypatch):
    recorded = completed("cuda", **case)
    launches = machine.counts.launches.total()
    machine.counts.clear()
    monkeypatch.setattr(replay, "WORTH", 1000)
    one_by_one = completed("cuda", **case)
    assert all(torch.equal(*both) for both in zip(recorded, one_by_one, strict=True))
    assert launches < machine.counts.launches.total() / 3


@pytest.mark.parametrize("case", [case for case in CASES if "dtype" not in case])
def test_fixed_shapes_give_the_completions_of_the_processor(case, machine):
    there, here = completed("cuda", **case), completed("cpu", **case)
    assert all(torch.equal(there[place], here[place]) for place in (0, 1, 3))
    torch.testing.assert_close(there[2], here[2], rtol=1e-5, atol=1e-5)


def test_what_waits_for_the_device_cannot_be_recorded_and_is_done_all_the_same(machine, capsys):
    x = torch.zeros(3, device="cuda")

    def grow():
        x.add_(1 if float(x[0]) >= 0 else 0)

    work = Replay(grow, x.device, repetitions=100)
    for _ in range(5):
        work()
    assert x.tolist() == [5, 5, 5]
    assert "one by one" in capsys.readouterr().err


def test_a_recording_computes_nothing_and_a_replay_what_was_recorded(machine):
    x, y = torch.ones(2, device="cuda"), torch.zeros(2, device="cuda")
    with record(graph := torch.cuda.CUDAGraph()):
        y.copy_(x * 2)
        x.add_(1)
    assert (x.tolist(), y.tolist()) == ([1, 1], [0, 0])
    graph.replay()
    graph.replay()
    assert (x.tolist(), y.tolist()) == ([3, 3], [4, 4])
    with pytest.raises(Refused, match="capturing"), record(torch.cuda.CUDAGraph()):
        x.nonzero()
