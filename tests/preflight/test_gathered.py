"""Bytes of an update with sharded weights, gradients or optimizer state, counted in one of eight processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity, profile
from torch.testing._internal.distributed.fake_pg import FakeStore

from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.precision import convert
from align_lab.models.shape import Shape
from align_lab.preflight import terms
from align_lab.preflight.estimate import _update
from align_lab.preflight.workload import Workload
from align_lab.train.engines import deepspeed_engine
from align_lab.train.engines.fsdp_engine import shard
from tests.preflight.counted_zero import BLOCK, CASES, END, HEAD, SIZES
from tests.train.test_sharded_engines import skip_without_deepspeed

ROOT = Path(__file__).parents[2]


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


@pytest.fixture(scope="module")
def counted_zero():
    """Name of a case -> counted and estimated bytes under DeepSpeed."""
    skip_without_deepspeed()
    done = subprocess.run(
        [sys.executable, "-m", "tests.preflight.counted_zero"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == len(CASES), done.stderr
    return dict(zip(CASES, lines, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_the_preflight_counts_what_zero_shards_gathers_and_sends(case, counted_zero):
    counted, estimated = counted_zero[case]
    assert estimated == pytest.approx(counted, rel=0.1)


def test_the_preflight_knows_what_the_engine_tells_deepspeed():
    for name in ("BUCKET", "LIVE", "FETCHED"):
        assert getattr(terms, name) == getattr(deepspeed_engine, name)
