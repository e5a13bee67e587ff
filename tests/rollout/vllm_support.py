"""Helpers of the vLLM tests, which are skipped without vLLM unless ALIGN_LAB_REQUIRE_VLLM is set."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from align_lab.base.hardware import Vllm
from align_lab.base.paths import cache_folder
from align_lab.base.world import World
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.logp import response_logps
from align_lab.rollout import vllm_install
from align_lab.rollout.sampler import uniforms

MISSING = vllm_install.unavailable_reason()
if os.environ.get("ALIGN_LAB_REQUIRE_VLLM"):
    assert MISSING is None, MISSING
needs_vllm = pytest.mark.skipif(MISSING is not None, reason=f"{MISSING}")

VOCAB, EOS, NEW = 300, 3, 12
CLOSE = 2e-5  # nats, float32
PROMPTS = torch.randint(4, VOCAB, (24, 9), generator=torch.Generator().manual_seed(5))
PAD = torch.arange(24) % 7


class ChangingWeights:
    """A model whose weights change at every call of `change`."""

    def __init__(self, *, tied: bool, dtype: torch.dtype = torch.float32) -> None:
        shape = {"vocab": VOCAB, "width": 64, "layers": 2, "heads": 2, "kv_heads": 1, "mlp": 96, "context": 64}
        self.version, self.model = 0, Llama(LlamaConfig(tied=tied, **shape)).to(dtype)
        self.change(0)

    def change(self, seed: int) -> None:
        numbers = torch.Generator().manual_seed(seed)
        for weight in self.model.parameters():
            noise = torch.randn(weight.shape, generator=numbers)
            weight.data = (1 + 0.2 * noise if weight.dim() == 1 else 0.15 * noise).to(weight)
        self.version += 1

    @contextmanager
    def full_model(self):
        yield self.model

    def release(self):
        pass

    def step(self, *args):
        raise AssertionError("a sampler does not learn")


def smollm2() -> Path | None:
    """The folder of SmolLM2 in the cache, if a run or a benchmark has converted it."""
    configs = (path for name in ("artefacts", "benchmarks") for path in (cache_folder() / name).glob("*/config.json"))
    return next((p.parent for p in configs if json.loads(p.read_text()).get("hidden_size") == 576), None)


def sampler(*, dtype="float32", world=World(), **fields):
    from align_lab.rollout.vllm_sampler import VllmSampler

    return VllmSampler(Vllm(cpu_cache_gib=0.1, **fields), dtype=dtype, longest=9 + NEW, world=world)


def numbers(rows=24, step=0, tokens=NEW):
    return uniforms(1, step, range(rows), 1, tokens)


@torch.no_grad()
def difference(weights, samples, *, temperature, prompts=PROMPTS, pad=PAD):
    """|log p of the sampler - log p of the trainer| of every counted token."""
    ids = torch.cat([prompts, samples.tokens], 1)
    logp = response_logps(weights.model, ids, pad, samples.mask, temperature=temperature)
    return (samples.logp - logp).abs()[samples.mask]
