"""How far is an RL step from the time of its matrix products alone? By phase, in one interleaved run.

    python benchmarks/limit.py [--case 15M] [--algo rloo] [--rounds 7] [--threads 1] [--avx2] [--json FILE]

The products of a step (linear layers, the head, attention, forward and backward) are recorded once, with the shapes
and strides of their operands. Every round takes one step, then computes the recorded products with `torch.mm` and
`torch.bmm` and nothing else. Their operands lie in the cache where they fit, which makes the limit a strict one; a
share above 100 % is a layer whose kernel is faster than `torch.mm` of the same shape. Attention counts as the two
products of its forward and the five of its backward, in full although a causal mask needs half. Seconds are CPU time
with one thread, wall time with several; medians of the rounds.

`--seeds 5` also computes the products of five seeds with stacked weights (`torch.bmm`): what a study of five seeds in
one process would take at the least, were all else free.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shape
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

PHASES = ("sampling", "scoring", "update")
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
Operand = tuple[tuple[int, ...], tuple[int, ...]]  # shape and strides
Product = tuple[Operand, Operand]
aten = torch.ops.aten
PLACES = {  # of the two operands among the arguments
    aten.mm: (0, 1), aten.bmm: (0, 1),
    **dict.fromkeys((aten.addmm, aten.addmm_, aten.baddbmm, aten.baddbmm_), (1, 2)),
}  # fmt: skip
FORWARD = aten._scaled_dot_product_flash_attention_for_cpu.default
BACKWARD = aten._scaled_dot_product_flash_attention_for_cpu_backward.default


@dataclass
class Phases:
    """Which phase of a step is under way, and how long each took in the newest step."""

    clock: Callable[[], float]
    now: str = "scoring"  # whatever is neither sampling nor the update
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    since: float = 0.0

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        outer = self.now
        self._switch(name)
        try:
            yield
        finally:
            self._switch(outer)

    def step(self, take: Callable[[], object]) -> dict[str, float]:
        self.seconds.clear()
        self.since = self.clock()
        take()
        self._switch(self.now)
        return dict(self.seconds)

    def _switch(self, name: str) -> None:
        moment = self.clock()
        self.seconds[self.now] += moment - self.since
        self.now, self.since = name, moment


class Recorder(TorchDispatchMode):
    """Counts the products of every phase by the shapes and strides of their operands."""

    def __init__(self, phases: Phases) -> None:
        super().__init__()
        self.phases, self.products = phases, {name: Counter[Product]() for name in PHASES}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        places = PLACES.get(func.overloadpacket)
        if func not in (FORWARD, BACKWARD) and places is None:
            with self:  # in inference mode a linear layer arrives whole
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        out = func(*args, **kwargs)
        found = self.products[self.phases.now]
        if places is not None:
            a, b = (args[place] for place in places)
            found[operand(a), operand(b)] += 1
        else:
            q, k, v = args[:3] if func is FORWARD else args[1:4]
            for product in attention(q, k, v, backward=func is BACKWARD):
                found[product] += 1
        return out


def operand(x: Tensor) -> Operand:
    return tuple(x.shape), tuple(x.stride())


def attention(q: Tensor, k: Tensor, v: Tensor, *, backward: bool) -> Iterator[Product]:
    """q [B H L D], k and v [B H S D]: QKᵀ and PV; with the backward QKᵀ again, dOVᵀ, PᵀdO, dS K and dSᵀQ."""
    rows = math.prod(q.shape[:2])
    L, S, D = q.shape[2], k.shape[2], q.shape[3]
    query, key, weights = (torch.empty(rows, *size, device="meta") for size in ((L, D), (S, D), (L, S)))
    yield operand(query), operand(key.mT)
    yield operand(weights), operand(key)
    if backward:
        yield operand(query), operand(key.mT)
        yield operand(weights.mT), operand(query)
        yield operand(weights.mT), operand(query)


@dataclass
class Replay:
    """The recorded products of one phase, with operands of their own; with several seeds, of all of them at once."""

    work: list[tuple[Callable[..., Tensor], Tensor, Tensor, int]]

    @classmethod
    def of(cls, products: Counter[Product], seeds: int = 1) -> Replay:
        def filled(one: Operand) -> Tensor:
            size = 1 + sum((length - 1) * stride for length, stride in zip(*one, strict=True))
            return torch.empty(size).uniform_(-1, 1).as_strided(*one)

        def stacked(one: Operand) -> Tensor:
            return filled(one) if seeds == 1 else torch.stack([filled(one) for _ in range(seeds)]).flatten(0, -3)

        return cls([(_product(x := stacked(a)), x, stacked(b), count) for (a, b), count in products.items()])

    @torch.inference_mode()
    def __call__(self) -> None:
        for multiply, a, b, count in self.work:
            for _ in range(count):
                multiply(a, b)

    def flops(self) -> float:
        return sum(2.0 * a.numel() * b.shape[-1] * count for _, a, b, count in self.work)


def _product(x: Tensor) -> Callable[..., Tensor]:
    return torch.mm if x.dim() == 2 else torch.bmm


class Sampling:
    """A sampler whose work is a phase."""

    def __init__(self, sampler: Any, phases: Phases) -> None:
        self.sampler, self.phases = sampler, phases

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sampler, name)

    def begin(self, *args: Any, **kwargs: Any) -> Any:
        with self.phases.within("sampling"):  # it computes in this process: when it returns, it has sampled
            return self.sampler.begin(*args, **kwargs)


def measured(kind: str, rounds: int, clock: Callable[[], float], seeds: int = 1) -> dict[str, dict[str, float]]:
    """Seconds of each phase, those of its products, of one seed and of several, and its floating-point operations."""
    from our_worker import loop

    with tempfile.TemporaryDirectory() as folder:
        shape.write(Path(folder))
        ours: Any = loop(Path(folder), kind)
    phases = Phases(clock)
    if kind != "dpo":
        ours.source.sampler = Sampling(ours.source.sampler, phases)
    learn = ours._learn

    def learned(*args: Any) -> Any:
        with phases.within("update"):
            return learn(*args)

    ours._learn = learned
    ours.advance()  # warms up
    with Recorder(phases) as recorder:
        ours.advance()
    replays = {name: Replay.of(products) for name, products in recorder.products.items()}
    several = {name: Replay.of(products, seeds) for name, products in recorder.products.items() if seeds > 1}
    taken, alone, stacked = (defaultdict[str, list[float]](list) for _ in range(3))
    for _ in range(rounds):
        for name, seconds in phases.step(ours.advance).items():
            taken[name].append(seconds)
        for seconds_of, chosen in ((alone, replays), (stacked, several)):
            for name, replay in chosen.items():
                began = clock()
                replay()
                seconds_of[name].append(clock() - began)
    return {
        name: {
            "seconds": statistics.median(taken[name]),
            "products": statistics.median(alone[name]),
            "flops": replays[name].flops(),
            **({"stacked": statistics.median(stacked[name])} if several else {}),
        }
        for name in PHASES
        if taken[name] and replays[name].work
    }


def lines(phases: dict[str, dict[str, float]]) -> Iterator[str]:
    """A table: each phase, and the whole step."""
    whole = {key: sum(one[key] for one in phases.values()) for key in ("seconds", "products", "flops")}
    yield "| phase | seconds | its products alone | share of the limit | GFLOP/s of the products |"
    yield "|---|---:|---:|---:|---:|"
    for name, one in {**phases, "step": whole}.items():
        share = one["products"] / one["seconds"]
        rate = one["flops"] / one["products"] / 1e9
        yield f"| {name} | {one['seconds']:.3f} | {one['products']:.3f} | {share:.0%} | {rate:.0f} |".replace("%", " %")


def of_seeds(phases: dict[str, dict[str, float]], seeds: int) -> str:
    """What the stacked products of several seeds take, in steps of one."""
    step, products, stacked = (sum(one[key] for one in phases.values()) for key in ("seconds", "products", "stacked"))
    return (
        f"the products of {seeds} seeds, stacked: {stacked:.3f} s, {stacked / step:.1f} times a whole step of one seed "
        f"and {stacked / products:.1f} times its products"
    )


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=list(shape.CASES), default="15M", help="weights of the model")
    parser.add_argument("--algo", choices=list(shape.CONTENDERS), default="rloo")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="whose products are stacked as well")
    parser.add_argument("--avx2", action="store_true", help="without AVX-512 and bfloat16 instructions")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    wanted = {shape.CASE: options.case, "OMP_NUM_THREADS": str(options.threads), **(AVX2 if options.avx2 else {})}
    if any(os.environ.get(name) != value for name, value in wanted.items()):  # read when Python and PyTorch start
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})
    from align_lab.run.allocator import suit_tensors

    suit_tensors()
    clock = time.process_time if options.threads == 1 else time.perf_counter
    phases = measured(options.algo, options.rounds, clock, options.seeds)
    instructions = torch.backends.cpu.get_cpu_capability()
    print(f"{options.case} weights, {options.algo}, {options.threads} thread(s), {instructions}")
    print("\n".join(lines(phases)))
    if options.seeds > 1:
        print(of_seeds(phases, options.seeds))
    if options.json:
        options.json.write_text(json.dumps(phases, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
