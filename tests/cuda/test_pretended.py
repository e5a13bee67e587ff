"""The pretended device refuses what CUDA refuses, counts what it would do, and leaves torch as it was."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from align_lab.base.errors import AlignLabError
from align_lab.models import llama
from align_lab.rollout.prompts import Prompts
from tests.cuda.pretended import Refused, pretended_cuda
from tests.cuda.runs import config, train


@pytest.fixture
def machine():
    with pretended_cuda(project=Path(__file__)) as machine:
        torch.set_default_device("cuda")
        yield machine


@pytest.fixture
def x(machine):
    """A matrix on the device."""
    return torch.arange(32.0).view(4, 8)


@pytest.fixture
def c(machine):
    """A matrix on the processor."""
    return torch.ones(4, 8, device="cpu")


MISTAKES = {
    "sum of two devices": lambda x, c: x + c,
    "sum with a view of another device": lambda x, c: x[:, :1] + c[0],
    "product of two devices": lambda x, c: x @ c.t(),
    "concatenation": lambda x, c: torch.cat([x, c]),
    "stack of numbers": lambda x, c: torch.stack([x[0, 0], c[0, 0]]),
    "indices from the device into the processor": lambda x, c: c[torch.tensor([0])],
    "values of another device": lambda x, c: x.__setitem__(torch.tensor([0]), c[:1]),
    "in place on the processor": lambda x, c: c[0, 0].add_(x[0, 0]),
    "embedding": lambda x, c: F.embedding(torch.tensor([1]), c),
    "gather": lambda x, c: x.gather(1, torch.zeros(4, 1, dtype=torch.int64, device="cpu")),
    "generator": lambda x, c: torch.randperm(5, generator=torch.Generator("cpu")),
    "generator of a tensor's method": lambda x, c: x.normal_(generator=torch.Generator("cpu")),
    "numpy": lambda x, c: x.numpy(),
    "numpy's own conversion": lambda x, c: np.asarray(x),
    "a copy is where the original is": lambda x, c: copy.deepcopy(x) + c,
    "a gradient is where its tensor is": lambda x, c: gradient(x) + c,
}
ALLOWED = {
    "number of the processor": lambda x, c: x + c[0, 0],
    "condition with a number": lambda x, c: torch.where(x > 0, x, c[0, 0]),
    "indices from the processor": lambda x, c: x[torch.tensor([0], device="cpu")],
    "a copy first": lambda x, c: x + c.to("cuda"),
    "in place from the processor": lambda x, c: x.copy_(c),
    "like another": lambda x, c: c.to(x) + x,
    "made where another is": lambda x, c: (
        x + torch.zeros(8, device=x.device) + x.new_ones(8) + x.new_tensor([1.0]) + torch.zeros_like(x)
    ),
}


def gradient(x):
    leaf = x.clone().requires_grad_()
    (leaf**2).sum().backward()
    return leaf.grad


@pytest.mark.parametrize("mistake", MISTAKES)
def test_it_refuses(mistake, x, c):
    with pytest.raises(Refused):
        MISTAKES[mistake](x, c)


@pytest.mark.parametrize("use", ALLOWED)
def test_it_allows(use, x, c):
    assert ALLOWED[use](x, c).is_cuda


def test_tensors_say_where_they_are(x, c):
    assert x.device == torch.device("cuda", 0) and not x.is_cpu
    assert c.device == torch.device("cpu") and not c.is_cuda
    assert x[1:].t().device.type == "cuda"
    assert {x.cpu().device.type, x.to("cpu").device.type, torch.from_numpy(np.zeros(2)).device.type} == {"cpu"}
    assert x.to(torch.bfloat16).device.type == torch.tensor([1, 2]).device.type == "cuda"
    meta = torch.empty(3, device="meta")
    assert meta.device.type == "meta" and torch.empty_like(meta, device="cuda").is_cuda
    assert torch.zeros_like(x, device="cpu").is_cpu and x.new_zeros(2, device="cpu").is_cpu


def test_deterministic_algorithms_refuse_a_sum_without_one(x):
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(Refused, match="cumsum does not have a deterministic implementation"):
            x.cumsum(-1)
        assert x.long().cumsum(-1).is_cuda
    finally:
        torch.use_deterministic_algorithms(False)


def test_launches_are_counted_by_line(machine, x):
    machine.counts.clear()
    y = (x * 2 + 1)[1:].t().view(8, 3)  # two kernels: views are none
    F.rms_norm(y, [3])
    assert list(machine.counts.launches.values()) == [2, 1]
    assert all(line.startswith(":") for line in machine.counts.launches)
    assert not machine.counts.syncs


def in_inference_mode(work):
    with torch.inference_mode():
        return work()


@pytest.mark.parametrize(
    ("wait", "count"),
    [
        (lambda x: float(x[0, 0]), 1),
        (lambda x: x.tolist(), 1),
        (lambda x: in_inference_mode(lambda: int(x.sum())), 1),
        (lambda x: x[0, 0].item(), 1),
        (lambda x: x.cpu(), 1),
        (lambda x: x[x[:, 0].bool()], 1),
        (lambda x: x.nonzero(), 1),
        (lambda x: bool(x.isnan().any()), 1),
        (lambda x: torch.tensor([1, 2]), 1),
        (lambda x: x[torch.tensor([0], device="cpu")], 1),
        (lambda x: x.sum(0).exp().where(x > 0, 0), 0),
    ],
)
def test_waits_are_counted(machine, x, wait, count):
    machine.counts.clear()
    wait(x)
    assert machine.counts.syncs.total() == count


def test_copied_bytes_are_counted(machine, x, c):
    machine.counts.clear()
    c.to("cuda")
    x[:2].cpu()
    assert (machine.counts.to_device.total(), machine.counts.to_host.total()) == (4 * 32, 4 * 16)


def test_bytes_on_the_device_are_counted_until_they_are_freed(machine):
    before = machine.places.bytes
    large = torch.zeros(1000, 1000)
    assert machine.places.bytes - before == torch.cuda.memory_allocated() - before == 4_000_000
    view = large[0]
    del large
    assert machine.places.bytes - before == 4_000_000
    del view
    assert machine.places.bytes == before
    assert torch.cuda.max_memory_allocated() - before == 4_000_000
    torch.zeros(1000, 1000, device="cpu")
    assert machine.places.peak - before == 4_000_000


class Careless(torch.autograd.Function):
    """Its backward pass makes a tensor on the processor."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * torch.full((4, 8), 2.0)


def test_in_a_backward_pass_there_is_no_default_device(x):
    y = Careless.apply(x.requires_grad_())
    with pytest.raises(Refused):
        y.sum().backward()


def test_torch_has_no_default_device_in_a_backward_pass():
    """What the test above relies on, of torch itself."""
    where = []
    y = torch.ones(3, requires_grad=True) * 2
    y.register_hook(lambda grad: where.append(torch.zeros(1).device.type))
    with torch.device("meta"):
        where.append(torch.zeros(1).device.type)
        y.sum().backward(torch.ones((), device="cpu"))
    assert where == ["meta", "cpu"]


def test_what_is_computed_once_more_is_watched(machine, x):
    def part(z, device):
        return (z * torch.full((8,), 2.0, device=device)).sum()

    checkpoint(part, x.requires_grad_(), "cuda", use_reentrant=False).backward()
    assert x.grad.is_cuda and x.grad.cpu().eq(2).all()
    with pytest.raises(Refused):
        checkpoint(part, x, None, use_reentrant=False).backward()


def test_an_optimizer_keeps_its_state_on_the_device(x):
    layer = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    layer(x).sum().backward()
    assert torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0).is_cuda
    optimizer.step()
    assert all(value.is_cuda for value in optimizer.state[layer.weight].values())


def test_torch_is_as_before_afterwards():
    with pretended_cuda(), torch.device("meta"):
        assert torch.cuda.is_available()
    with pretended_cuda() as machine:
        torch.set_default_device("cuda")
        x = torch.zeros(3)
    assert not torch.cuda.is_available()
    assert torch.zeros(3).device.type == torch.get_default_device().type == x.device.type == "cpu"
    launches = machine.counts.launches.total()
    assert (x + 1).tolist() == [1, 1, 1]
    assert machine.counts.launches.total() == launches


def on_cpu(function):
    """The same function, which leaves its results on the processor."""

    def careless(*args, **kwargs):
        result = function(*args, **kwargs)
        return tuple(one.cpu() for one in result) if isinstance(result, tuple) else result.cpu()

    return careless


@pytest.mark.parametrize(("owner", "name"), [(llama, "attention_mask"), (llama, "rotary_table"), (Prompts, "batch")])
def test_a_part_of_a_run_on_the_wrong_device_stops_it(owner, name, tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))  # a finished stage would not run the part
    function = on_cpu(getattr(owner, name))
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: function(*args, **kwargs))
    with pytest.raises(AlignLabError, match="Refused|None"):
        train(config("algo=rloo", study="fault", device="cuda"))
