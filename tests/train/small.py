"""A complete training in milliseconds: a two-layer model over a real tokenizer, and a reward that counts one word."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from align_lab.base import registry
from align_lab.base.contracts import Algorithm
from align_lab.base.hyperparameters import Budget, Train
from align_lab.base.settings import Evaluation, Sampling
from align_lab.base.task import Example, Score
from align_lab.base.types import Needs
from align_lab.base.world import World
from align_lab.config import composition
from align_lab.config.groups import yaml_options
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.lora import BaseModel, adapt
from align_lab.models.lora_settings import Lora
from align_lab.models.policy import NO_LORA
from align_lab.models.text import Text
from align_lab.rollout.prompts import Prompts
from align_lab.run.assembly import groups_per_step
from align_lab.train.engines.engine import MakeEngine
from align_lab.train.engines.torch_engine import TorchEngine
from align_lab.train.evaluate import Evaluator
from align_lab.train.experience import ExperienceSource
from align_lab.train.learner import Critic, Learner
from align_lab.train.loop import Loop
from align_lab.train.minibatch import Pretrain
from align_lab.train.mixture import Mixture
from align_lab.train.pair_source import PairCost, Pairs, separated
from align_lab.train.rollouts import Rollouts
from align_lab.train.rounds import Rounds
from align_lab.train.scoring import LimitedScorer

JUDGES = {"gold_score": "goo", "vader": "film"}  # each counts a word
TEXTS = [
    "a good film",
    "a bad film",
    "good and bad",
    "the film is good",
    "bad bad bad",
    "the plot is a good plot",
    "a plot",
    "is it good",
]


FIELDS = {  # fields that differ from an algorithm's defaults in these tests
    "ppo_max": {"critic_init": "policy", "critic_pretrain_steps": 1},
    "ppo_max_moss_script": {"critic_init": "policy"},
    "iterative_dpo": {"round_steps": 2},
}
TRAJECTORIES = Path(__file__).parent / "trajectories.json"


class CountWord:
    """Scores a completion by how often it contains `word`."""

    def __init__(self, word: str) -> None:
        self.word = word

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        return Score(total=[float(text.count(self.word)) - 0.01 * len(text) for text in completions])


class Memory:
    """A journal that stores everything in memory."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.samples: list[dict[str, Any]] = []
        self.saved: dict[int, dict[str, Any]] = {}
        self.best: list[int] = []

    def log(self, row: Any) -> None:
        self.rows.append(dict(row))

    def log_samples(self, rows: Any) -> None:
        self.samples += rows

    def save(self, step: int, state: dict[str, Any], *, best: float | None = None) -> None:
        self.saved[step] = copy.deepcopy(state)
        self.best += [step] if best is not None else []


def tokenizer() -> Tokenizer:
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=280,
            special_tokens=["<eos>"],
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return tok


def model(seed: int = 0, dtype: torch.dtype = torch.float32) -> Llama:
    torch.manual_seed(seed)
    llama = Llama(LlamaConfig(vocab=280, width=16, layers=2, heads=2, kv_heads=1, mlp=24, context=24))
    for parameter in llama.parameters():  # larger than an initialization, so that the probabilities differ clearly
        parameter.data = parameter.data * 4
    return llama.to(dtype)


def algorithms() -> list[str]:
    """The options of `algo`: every component, and every other yaml file, which gives one other values."""
    registry.scan()
    return [*registry.names("algo"), *sorted(set(yaml_options("algo")) - set(registry.names("algo")))]


def algorithm(name: str, **fields: Any) -> Algorithm:
    registry.scan()
    values = {"name": name} if name in registry.names("algo") else of_yaml(name)
    return registry.build("algo", {**values, **fields})


@cache
def of_yaml(name: str) -> dict[str, Any]:
    """The fields of an option of `algo`, composed as those of a run are."""
    composition.load_components([])
    return composition.Composer().values([f"algo={name}"])["algo"]


def loop(
    algo: Algorithm,
    *,
    dtype: torch.dtype = torch.float32,
    world: World = World(),
    reward: Any = None,
    make_engine: MakeEngine = TorchEngine,
    lora: Lora = NO_LORA,
    **plan: Any,
) -> Loop:
    """A loop at step 0. `plan` overrides fields of the recipe."""
    group = algo.needs.max_group_size or 4
    given = {"steps": 4, "prompts_per_step": 4, "group_size": group, "lr": 3e-3, "warmup_steps": 0}
    values: dict[str, Any] = {**given, **plan}
    recipe = Train(**{**values, "budget": Budget(**values.get("budget", {}))})
    sampling = Sampling(max_new_tokens=8)
    prompts = Prompts.encode(
        [Example.of_text(text) for text in TEXTS], Text(tokenizer=tokenizer(), eos=0), context=24, new=8
    )
    policy = adapt(model(dtype=dtype), lora)
    reference = BaseModel(policy) if lora.rank else model(dtype=dtype)
    critic = Critic(model(seed=1, dtype=dtype)) if algo.needs.critic else None
    learner = Learner(recipe, policy, critic=critic, temperature=sampling.temperature, make_engine=make_engine)
    reward = reward or CountWord("good")
    rollouts = Rollouts(
        learner=learner,
        prompts=prompts,
        reward=LimitedScorer(scorer=reward),
        sampling=sampling,
        needs=algo.needs,
        keep=algo.keep,
        seed=0,
        reference=reference if algo.needs.reference else None,
        world=world,
    )
    evaluate = Evaluator(
        sets={"evaluation": prompts},
        reward=LimitedScorer(scorer=CountWord("good")),
        judges={name: LimitedScorer(scorer=CountWord(word)) for name, word in JUDGES.items()},
        sampling=sampling,
        plan=Evaluation(prompts=8, metric="eval/gold_score"),
        reference=lambda: reference,
        world=world,
    )
    source = source_of(algo.needs, rollouts, reference)
    text = Pretrain(ids=torch.arange(1, 19).view(3, 6), mask=torch.ones(3, 5, dtype=torch.bool))
    return Loop(
        algo=algo,
        learner=learner,
        source=source,
        groups=groups_per_step(algo.needs, recipe),
        reference=reference if algo.needs.mismatched else None,
        evaluate=evaluate,
        journal=Memory(),
        seed=0,
        evaluate_every=2,
        save_every=1,
        world=world,
        pretrain=(lambda step: text) if algo.needs.pretrain_batch else None,
    )


def source_of(needs: Needs, rollouts: Rollouts, start: Llama) -> ExperienceSource:
    """The source of experience that `align_lab.run.assembly` would choose."""
    if needs.rounds:
        return Rounds(source=rollouts, steps=needs.rounds.steps)
    if not needs.pairs:
        return rollouts
    offline = pairs(rollouts, start, needs)
    return Mixture(pairs=offline, rollouts=rollouts, share=needs.pairs) if needs.samples else offline


def pairs(rollouts: Rollouts, start: Llama, needs: Needs) -> Pairs:
    """Sixteen pairs: the best and the worst of four samples of the start policy, each prompt twice."""
    plan = replace(rollouts.learner.plan, group_size=4)
    learner = Learner(plan, start, temperature=rollouts.learner.temperature)
    sampler = replace(rollouts, learner=learner, needs=Needs(reference=True), reference=start, seed=1000)
    collected = sampler.collect(0, groups=16)
    order = collected.experience.rollout.score.argsort(-1, descending=True)[:, [0, -1]]
    pair_set = collected.experience.take((torch.arange(len(order))[:, None], order))
    return Pairs(
        experience=pair_set if needs.paired else separated(pair_set),
        cost=PairCost(episodes=collected.episodes, tokens=collected.tokens, labels=collected.labels),
        seed=0,
        noise=needs.noise,
    )


def rows(it: Loop) -> list[dict[str, float]]:
    """The columns that must repeat exactly: all but times."""
    journal = it.journal
    assert isinstance(journal, Memory)
    return [{key: value for key, value in row.items() if not key.startswith("time/")} for row in journal.rows]


def trajectory(name: str) -> list[dict[str, float]]:
    it = loop(algorithm(name, **FIELDS.get(name, {})), dtype=torch.float64, steps=3)
    it.run()
    return rows(it)


if __name__ == "__main__":
    TRAJECTORIES.write_text(json.dumps({name: trajectory(name) for name in algorithms()}, indent=1) + "\n")
