"""What cutting micro-batches to their longest rows saves: updates with and without it, in turn.

    python benchmarks/lengths.py [--rounds 5] [--case 2M] [--micro 8]

Groups of four completions whose lengths are drawn once from a log-normal distribution; RLOO without reference, float32,
one thread; medians of CPU seconds of an update.
"""

from __future__ import annotations

import argparse
import statistics
import time
from unittest.mock import patch

import shape
import torch

from align_lab.algos.rloo import RLOO
from align_lab.base.hyperparameters import Train
from align_lab.base.types import Rollout
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.train import by_length
from align_lab.train.experience import Experience, trim
from align_lab.train.learner import Learner
from align_lab.train.minibatch import StepContext
from align_lab.train.update import update

PROMPT, NEW, GROUPS = 128, 256, 16


def experience(vocab: int) -> Experience:
    """Prompts of 16 to 128 tokens and completions of 8 to 256, half of them of at most 64."""
    generator = torch.Generator().manual_seed(0)
    lengths = (64 * torch.randn(GROUPS, shape.GROUP, generator=generator).mul(0.8).exp()).long().clamp(8, NEW)
    pad = torch.randint(0, PROMPT - 16, (GROUPS,), generator=generator)[:, None].expand(-1, shape.GROUP)
    ids = torch.randint(vocab, (GROUPS, shape.GROUP, PROMPT + NEW), generator=generator)
    mask = torch.arange(NEW) < lengths[..., None]
    logp = torch.full(mask.shape, -5.0) * mask
    score = torch.randn(GROUPS, shape.GROUP, generator=generator)
    return trim(Experience(ids=ids, pad=pad.contiguous(), rollout=Rollout(mask=mask, score=score, logp_old=logp)))


class Uncut(by_length.Lengths):
    """Every row is said to need the columns of the longest, and none is before another."""

    def longest_first(self, rows: torch.Tensor) -> torch.Tensor:
        return rows

    def columns(self, rows: torch.Tensor) -> by_length.Columns:
        return super().columns(torch.arange(len(self.response)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", choices=list(shape.CASES), default="2M")
    parser.add_argument("--micro", type=int, default=8, help="completions of a micro-batch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = shape.CASES[options.case][3]
    plan = Train(prompts_per_step=GROUPS, group_size=shape.GROUP, micro_batch=options.micro, lr=1e-9)
    learner = Learner(plan, Llama(LlamaConfig(**sizes, context=PROMPT + NEW)))
    algo, x = RLOO(kl_coef=0.0), experience(sizes["vocab"])
    advantage, _ = algo.advantages(x.rollout, algo.init_state())
    taken: dict[str, list[float]] = {"cut": [], "uncut": []}
    for number in range(options.rounds + 1):  # the first round warms up
        for name, kind in (("cut", by_length.Lengths), ("uncut", Uncut)):
            lengths = kind(**vars(x.lengths()))
            with patch.object(Experience, "lengths", lambda _, lengths=lengths: lengths):
                began = time.process_time()
                update(learner, algo, x, advantage, StepContext(step=0, seed=0))
                seconds = time.process_time() - began
            if number:
                taken[name].append(seconds)
    cut, uncut = (statistics.median(taken[name]) for name in ("cut", "uncut"))
    print(f"{options.case} weights, micro-batches of {options.micro}: {cut:.3f} s, {uncut:.3f} s, {uncut / cut:.2f} x")


if __name__ == "__main__":
    main()
