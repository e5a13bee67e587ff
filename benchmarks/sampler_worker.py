"""One method of generation, for `engines.py`, or a whole step of this project that samples with vLLM.

python sampler_worker.py torch|vllm|generate|step FOLDER ROWS
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from shape import NEW, PROMPT
from torch import Tensor
from worker import Gate

from align_lab.base.hardware import Vllm
from align_lab.base.world import World
from align_lab.models.convert import from_hf
from align_lab.models.language_model import LanguageModel
from align_lab.rollout.sampler import Sampler, uniforms
from align_lab.rollout.torch_sampler import TorchSampler

TEMPERATURE = 0.7
Numbers = dict[str, float]


class Changing:
    """Weights that count as new at every call."""

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.version = model, 0

    @contextmanager
    def full_model(self) -> Iterator[LanguageModel]:
        yield self.model


def prompts(rows: int, vocab: int) -> Tensor:
    return torch.randint(vocab // 4, vocab, (rows, PROMPT), generator=torch.Generator().manual_seed(0))


def with_vllm() -> Sampler:
    from align_lab.rollout.vllm_sampler import VllmSampler

    return VllmSampler(Vllm(), dtype="float32", longest=PROMPT + NEW, world=World())


def sync(sampler: Any, weights: Any) -> Numbers:
    """Wall time and CPU time of transferring the weights, which the torch sampler does not need."""
    began = time.perf_counter(), time.process_time()
    if not sampler.exact:
        sampler._sync(weights)
    return {"sync_seconds": time.perf_counter() - began[0], "sync_cpu_seconds": time.process_time() - began[1]}


def ours(folder: Path, rows: int, sampler: Sampler) -> Callable[[], Numbers]:
    learning = Changing(from_hf(folder))
    ids, numbers = prompts(rows, len(learning.model.head)), uniforms(0, 0, range(rows), 1, NEW)

    def step() -> Numbers:
        learning.version += 1
        times = sync(sampler, learning)
        samples = sampler(learning, ids, None, uniforms=numbers, temperature=TEMPERATURE)
        assert samples.mask.all()
        return times

    return step


def generate(folder: Path, rows: int) -> Callable[[], None]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    ids = prompts(rows, model.config.vocab_size)

    def step() -> None:
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=TEMPERATURE,
                top_k=0,
                max_new_tokens=NEW,
                pad_token_id=0,
            )
        assert out.shape[1] == PROMPT + NEW

    return step


def whole_step(folder: Path, rows: int) -> Callable[[], Numbers]:
    """Weight transfer, sampling, log-probabilities, advantages and update of RLOO with groups of four."""
    from align_lab.algos.rloo import RLOO
    from align_lab.base.hyperparameters import Train
    from align_lab.base.types import Rollout
    from align_lab.train.experience import Experience
    from align_lab.train.learner import Learner
    from align_lab.train.minibatch import StepContext
    from align_lab.train.update import update

    algo, sampler, number = RLOO(kl_coef=0.0), with_vllm(), 0
    learner = Learner(
        Train(prompts_per_step=rows // 4, group_size=4, warmup_steps=0, lr=1e-6),
        from_hf(folder),
        temperature=TEMPERATURE,
    )
    prompt = prompts(rows, len(learner.policy.head))

    def step() -> Numbers:
        nonlocal number
        times = sync(sampler, learner)
        samples = sampler(
            learner, prompt, None, uniforms=uniforms(0, number, range(rows), 1, NEW), temperature=TEMPERATURE
        )
        ids = torch.cat([prompt, samples.tokens], 1)
        with torch.no_grad():
            logp, _ = learner.logps(ids, None, samples.mask)
        score = (samples.tokens % 7).float().mean(1)
        shape = (rows // 4, 4)
        rollout = Rollout(mask=samples.mask.view(*shape, -1), score=score.view(shape), logp_old=logp.view(*shape, -1))
        experience = Experience(ids=ids.view(*shape, -1), pad=torch.zeros(shape, dtype=torch.int64), rollout=rollout)
        advantage, _ = algo.advantages(rollout, algo.init_state())
        update(learner, algo, experience, advantage, StepContext(step=number, seed=0))
        number += 1
        return times

    return step


if __name__ == "__main__":
    gate, folder, rows = Gate(), Path(sys.argv[2]), int(sys.argv[3])
    methods: dict[str, Callable[[], Callable[[], object]]] = {
        "torch": lambda: ours(folder, rows, TorchSampler()),
        "vllm": lambda: ours(folder, rows, with_vllm()),
        "generate": lambda: generate(folder, rows),
        "step": lambda: whole_step(folder, rows),
    }
    gate.serve(methods[sys.argv[1]]())
