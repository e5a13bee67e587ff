"""This project's own loop (`align_lab.train.loop`), one step at a time, for `trainers.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from shape import BETA, EOS, GROUP, KL, LR, NEW, PROMPT, ROWS, pairs, prompts, reward
from tokenizers import Tokenizer
from worker import Gate

from align_lab.algos.dpo import DPO
from align_lab.algos.rloo import RLOO
from align_lab.base.hyperparameters import Train
from align_lab.base.settings import Sampling
from align_lab.base.task import Example, Score
from align_lab.base.types import Rollout
from align_lab.base.world import World
from align_lab.models.convert import from_hf
from align_lab.models.llama import Llama
from align_lab.models.logp import response_logps
from align_lab.models.text import Text
from align_lab.rollout.prompts import Prompts
from align_lab.run.allocator import suit_tensors
from align_lab.run.assembly import groups_per_step
from align_lab.train.engines.engine import MakeEngine
from align_lab.train.engines.torch_engine import TorchEngine
from align_lab.train.experience import Collected, Experience
from align_lab.train.learner import Learner
from align_lab.train.loop import Loop
from align_lab.train.pair_source import PairCost, Pairs
from align_lab.train.rollouts import Rollouts
from align_lab.train.scoring import LimitedScorer


class Trivial:
    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        return Score(total=reward(list(completions)))


@dataclass
class PairsAndReference:
    """Pairs whose reference log-probabilities are computed in every step, as the other trainers do.

    A run of this project computes them once.
    """

    pairs: Pairs
    reference: Llama

    @torch.no_grad()
    def collect(self, step: int, *, groups: int) -> Collected:
        collected = self.pairs.collect(step, groups=groups)
        x = collected.experience
        logp = response_logps(self.reference, x.ids.flatten(0, 1), None, x.rollout.mask.flatten(0, 1))
        rollout = replace(x.rollout, logp_ref=logp.view_as(x.rollout.logp_old))
        return replace(collected, experience=replace(x, rollout=rollout))


def preference_set(tokenizer: Tokenizer) -> Pairs:
    texts = [f"{pair['prompt']} {pair[side]} </s>" for pair in pairs() for side in ("chosen", "rejected")]
    ids = torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(texts)]).view(-1, 2, PROMPT + NEW)
    shape = (len(ids), 2)
    rollout = Rollout(
        mask=torch.ones(*shape, NEW, dtype=torch.bool), score=torch.zeros(shape), logp_old=torch.zeros(*shape, NEW)
    )
    return Pairs(
        experience=Experience(ids=ids, pad=torch.zeros(shape, dtype=torch.int64), rollout=rollout),
        cost=PairCost(episodes=0, tokens=0, labels=0),
        seed=0,
    )


def loop(folder: Path, kind: str, *, make_engine: MakeEngine = TorchEngine, world: World = World()) -> Loop:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    plan = Train(steps=100_000, prompts_per_step=ROWS // GROUP, group_size=GROUP, lr=LR, warmup_steps=0)
    learner = Learner(plan=plan, policy=from_hf(folder), make_engine=make_engine)
    reference = from_hf(folder) if kind != "grpo" else None
    algo = DPO(beta=BETA) if kind == "dpo" else RLOO(kl_coef=KL if kind == "rloo" else 0.0)
    if kind == "dpo":
        source: Any = PairsAndReference(preference_set(tokenizer), cast(Llama, reference))
    else:
        prompt_set = Prompts.encode(
            [Example.of_text(text) for text in prompts()],
            Text(tokenizer=tokenizer, eos=EOS),
            context=PROMPT + NEW,
            new=NEW,
        )
        source = Rollouts(
            learner=learner,
            prompts=prompt_set,
            reward=LimitedScorer(scorer=Trivial()),
            needs=algo.needs,
            seed=0,
            reference=reference,
            sampling=Sampling(temperature=1.0, max_new_tokens=NEW, missing_eos_penalty=0.0),
            world=world,
        )
    unused = cast(Any, None)  # evaluation and the record are not part of a step
    return Loop(
        algo=algo,
        learner=learner,
        source=source,
        groups=groups_per_step(algo.needs, plan),
        evaluate=unused,
        journal=unused,
        seed=0,
        evaluate_every=1,
        save_every=1,
        world=world,
    )


if __name__ == "__main__":
    gate = Gate()
    if "system" not in sys.argv[3:]:  # for `allocator.py`, which compares with the system's defaults
        suit_tensors()
    ours = loop(Path(sys.argv[1]), sys.argv[2])

    def step() -> None:
        ours.advance()

    gate.serve(step)
