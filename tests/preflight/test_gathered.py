"""Bytes of an update whose weights are sharded, counted: a block and what is outside of the blocks are gathered."""

import pytest
import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity, profile
from torch.testing._internal.distributed.fake_pg import FakeStore

from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.precision import convert
from align_lab.models.shape import Shape
from align_lab.preflight.estimate import _update
from align_lab.preflight.workload import Workload
from align_lab.train.engines.fsdp_engine import shard

SIZES = {"heads": 8, "kv_heads": 4, "context": 256}
HEAD = {"layers": 4, "width": 128, "mlp": 384, "vocab": 4096, "tied": False}  # what is largest in the update
BLOCK = {"layers": 4, "width": 256, "mlp": 1024, "vocab": 512, "tied": True}
END = {"layers": 2, "width": 128, "mlp": 384, "vocab": 16384, "tied": False}


@pytest.fixture
def eight_processes():
    """This process is the first of eight; collectives send nothing, and take the memory that they take."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=8)
    yield
    dist.destroy_process_group()


def peak(work):
    """The bytes that `work` allocates at most, by torch's profiler."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    now = most = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


@pytest.mark.parametrize(
    ("fields", "rows", "dtype"),
    [(HEAD, 2, "bfloat16"), (BLOCK, 4, "bfloat16"), (BLOCK, 4, "float32"), (END, 1, "float32")],
)
@pytest.mark.usefixtures("eight_processes")
def test_the_preflight_counts_what_an_update_with_sharded_weights_gathers(fields, rows, dtype):
    model = Llama(LlamaConfig(**SIZES, **fields))
    convert(model, getattr(torch, dtype))
    shard(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    ids, pad, mask = torch.randint(1, 500, (rows, 64)), torch.arange(rows) % 3, torch.ones(rows, 32, dtype=torch.bool)

    def step():
        model(ids, pad, mask).sum().backward()

    step()  # what is made once
    counted = peak(step)
    shape = Shape(**SIZES, **fields, plain=True)
    x = Workload(
        shape=shape, rows=rows, groups=1, group=rows, micro_batch=None, prompt=32, new=32,
        dtype=dtype, processes=8, zero_stage=3, fsdp=True,
    )  # fmt: skip
    parts = _update(x)
    assert sum(parts.values()) == pytest.approx(counted, rel=0.1)
    assert sum(parts.values()) - parts["gathered weights"] < 0.9 * counted
