"""Bytes of an update under DeepSpeed, counted in the first of eight processes, the others of which are pretended.

    python -m tests.preflight.counted_zero

prints a line of JSON for each case: the counted bytes, and those of the estimate. DeepSpeed remembers the group of its
process, so this is a program of its own.
"""

from __future__ import annotations

import json
import warnings
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from align_lab.base.hyperparameters import Train
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.precision import convert
from align_lab.models.shape import Shape
from align_lab.preflight import terms
from align_lab.preflight.estimate import GIB, _update, estimate
from align_lab.preflight.workload import Workload
from align_lab.train.engines import deepspeed_engine
from tests.preflight.counted import Counted

SIZES = {"heads": 8, "kv_heads": 4, "context": 256}
HEAD = {"layers": 4, "width": 128, "mlp": 384, "vocab": 4096, "tied": False}  # what is largest in the update
DEEP = {"layers": 10, "width": 128, "mlp": 384, "vocab": 4096, "tied": False}
BLOCK = {"layers": 4, "width": 256, "mlp": 1024, "vocab": 512, "tied": True}
END = {"layers": 2, "width": 128, "mlp": 384, "vocab": 16384, "tied": False}
CASES = {  # name -> stage, sizes, rows, precision, blocks that stage 3 keeps gathered (None: all, as DeepSpeed would)
    "3, head": (3, HEAD, 2, "bfloat16", None),
    "3, block": (3, BLOCK, 4, "float32", None),
    "3, end": (3, END, 1, "float32", None),
    "3, deep": (3, DEEP, 2, "bfloat16", 4.3),
    "3, deep, float32": (3, DEEP, 2, "float32", 4.3),
    "3, deep, two blocks": (3, DEEP, 2, "bfloat16", 0.5),
    "1, head": (1, HEAD, 2, "bfloat16", None),
    "1, head, float32": (1, HEAD, 2, "float32", None),
    "2, head": (2, HEAD, 2, "bfloat16", None),
    "2, block": (2, BLOCK, 4, "float32", None),
}


def both(stage: int, fields: dict[str, Any], rows: int, dtype: str, live: float | None) -> tuple[float, float]:
    """The bytes that are counted, and those of the estimate, with the weights, and at the peak of an update."""
    shape = Shape(**SIZES, **fields, plain=True)
    few = {"LIVE": terms.LIVE, "FETCHED": terms.FETCHED}
    if live is not None:
        few = {"LIVE": round(live * shape.block), "FETCHED": round(0.22 * shape.block)}
    x = Workload(
        shape=shape, rows=rows, groups=1, group=rows, micro_batch=None, prompt=32, new=32, samples=False,
        dtype=dtype, processes=8, zero_stage=stage,
    )  # fmt: skip
    with patch.multiple(terms, **few), patch.multiple(deepspeed_engine, SMALL=1000, **few):
        kept = estimate(x).persistent
        persistent = GIB * sum(kept[name] for name in ("weights", "gradients", "optimizer state"))
        return _counted(fields, rows, dtype, stage), persistent + sum(_update(x).values())


def _counted(fields: dict[str, Any], rows: int, dtype: str, stage: int) -> float:
    ids, pad, mask = torch.randint(1, 500, (rows, 64)), torch.arange(rows) % 3, torch.ones(rows, 32, dtype=torch.bool)
    with Counted() as memory:
        model = Llama(LlamaConfig(**SIZES, **fields))
        convert(model, getattr(torch, dtype))
        make = deepspeed_engine.deepspeed_engine(stage=stage, offload=False)
        engine = make(model, name="policy", plan=Train(), lr=1e-3)
        for _ in range(3):  # some of it is made once
            memory.since()
            engine.zero_grad(learning=True)
            for _ in range(2):  # micro-batches
                engine(ids, pad, mask).sum().backward()
                engine.backward()
            engine.step(1.0)
    return memory.peak


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=8)
    for case in CASES.values():
        print(json.dumps(both(*case)), flush=True)
