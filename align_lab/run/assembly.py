"""From config and artefacts to the parts of a run: models, reward, judges, source of experience, loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.base.hardware import Hardware
from align_lab.base.registry import construct
from align_lab.base.run_config import RunConfig
from align_lab.base.settings import Evaluation, Sampling
from align_lab.base.types import Algorithm
from align_lab.base.world import World
from align_lab.models.blocks import configure_blocks
from align_lab.models.language_model import LanguageModel
from align_lab.models.lora import BaseModel, is_adapted
from align_lab.models.policy import DTYPES, Policy
from align_lab.models.tokenizer import encode
from align_lab.rewards.scores import Reward
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import Sampler
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.stages.dependencies import instruction_of
from align_lab.stages.store import Artefact
from align_lab.tasks.movie_reviews.gold import load_gold
from align_lab.tasks.movie_reviews.reviews import Reviews
from align_lab.tasks.movie_reviews.vader import Vader
from align_lab.train.engines.engine import MakeEngine
from align_lab.train.engines.torch_engine import TorchEngine
from align_lab.train.evaluate import Evaluator, Judges
from align_lab.train.experience import ExperienceSource, Rollouts, draw
from align_lab.train.learner import Critic, Learner
from align_lab.train.loop import Loop, Recorder
from align_lab.train.preference_pairs import load_pairs
from align_lab.train.sft import collate
from align_lab.train.update import Pretrain


@dataclass(frozen=True, kw_only=True)
class Common:
    """What training and evaluation have in common: how completions come about, what scores them, what they are held against."""

    sampling: Sampling
    sampler: Sampler
    reward: Reward
    reference: Callable[[], LanguageModel]
    world: World


def assemble(
    cfg: RunConfig,
    built: Mapping[str, Artefact],
    *,
    journal: Recorder,
    should_stop: Callable[[], bool],
    world: World = World(),
) -> Loop:
    """The loop of a run at step 0."""
    algo: Algorithm = registry.build("algo", cfg["algo"])
    sampling, evaluation = construct(Sampling, cfg["sampling"]), construct(Evaluation, cfg["evaluation"])
    start = partial(_start, cfg, built)
    policy = start()
    reviews: Reviews = registry.build("data", cfg["data"]).load(built["data"].path)
    training, held_out = _prompts(cfg, policy, reviews, sampling, evaluation)
    longest = max(len(ids) for prompts in (training, held_out) for ids in prompts.ids) + sampling.max_new_tokens
    common = Common(
        sampling=sampling,
        sampler=_sampler(cfg, longest, world),
        reward=registry.build("reward", cfg["reward"]).load(built["reward"].path if "reward" in built else None),
        reference=_reference(policy, start),
        world=world,
    )
    learner = Learner(
        registry.build("train", cfg["train"]),
        policy.model,
        critic=_critic(algo, start, common.reward),
        temperature=sampling.temperature,
        make_engine=_engine(cfg["hardware"]["numerics"]),
    )
    return Loop(
        algo=algo,
        learner=learner,
        source=_source(cfg, built, algo, learner, training, common),
        evaluate=_evaluator(built, evaluation, held_out, common),
        importance_cap=sampling.importance_cap,
        pretrain=partial(human_text, policy, reviews.policy_texts(), learner.plan.prompts_per_step, cfg["seed"])
        if algo.needs.pretrain_batch
        else None,
        journal=journal,
        seed=cfg["seed"],
        should_stop=should_stop,
        world=world,
        evaluate_every=evaluation.every,
        save_every=cfg["record"]["checkpoint_every"],
    )


def _start(cfg: RunConfig, built: Mapping[str, Artefact]) -> Policy:
    """The start policy, read anew."""
    numerics = cfg["hardware"]["numerics"]
    policy: Policy = registry.build("model", cfg["model"]).load(built["policy"].path)
    configure_blocks(
        policy.model, gradient_checkpointing=numerics["gradient_checkpointing"], compiled=numerics["compile"]
    )
    return policy.to(DTYPES[numerics["dtype"]])


def _prompts(
    cfg: RunConfig, policy: Policy, reviews: Reviews, sampling: Sampling, evaluation: Evaluation
) -> tuple[Prompts, Prompts]:
    """Those of training and the held-out ones."""
    asked = instruction_of(cfg["data"])
    training, held_out = (
        Prompts.of(policy, texts, sampling, instruction=asked)
        for texts in (reviews.training_prompts(), reviews.evaluation_prompts())
    )
    if evaluation.prompts > len(held_out):
        raise ConfigError(
            f"evaluation.prompts={evaluation.prompts}, but the data holds {len(held_out)} held-out prompts: set it to that or less"
        )
    return training, held_out


def _source(
    cfg: RunConfig,
    built: Mapping[str, Artefact],
    algo: Algorithm,
    learner: Learner,
    prompts: Prompts,
    common: Common,
) -> ExperienceSource:
    """Preference pairs or fresh rollouts, as the algorithm declares; as many sequences a step from either."""
    plan = learner.plan
    if algo.needs.experience == "pairs":
        each_step = plan.prompts_per_step * plan.group_size // 2
        return load_pairs(built["pairs"].path, pairs_per_step=each_step, seed=cfg["seed"])
    return Rollouts(
        learner=learner,
        prompts=prompts,
        reward=common.reward,
        sampling=common.sampling,
        needs=algo.needs,
        seed=cfg["seed"],
        reference=common.reference() if algo.needs.reference else None,
        world=common.world,
        sampler=common.sampler,
    )


def _evaluator(built: Mapping[str, Artefact], plan: Evaluation, prompts: Prompts, common: Common) -> Evaluator:
    return Evaluator(
        prompts=prompts,
        judges=Judges(score=common.reward, gold_score=load_gold(built["gold"].path), vader=Vader()),
        sampling=common.sampling,
        plan=plan,
        reference=common.reference,
        sampler=common.sampler,
        world=common.world,
    )


def _sampler(cfg: RunConfig, longest: int, world: World) -> Sampler:
    """`hardware.numerics.sampler`, for prompts and completions of at most `longest` tokens together."""
    hardware = construct(Hardware, {key: value for key, value in cfg["hardware"].items() if key != "name"})
    if hardware.numerics.sampler == "torch":
        return TorchSampler()
    from align_lab.rollout.vllm_sampler import VllmSampler

    return VllmSampler(
        hardware.vllm,
        dtype=hardware.numerics.dtype,
        longest=longest,
        world=world,
        processes_per_node=hardware.placement.tasks_per_node,
    )


def _engine(numerics: Mapping[str, Any]) -> MakeEngine:
    if numerics["engine"] == "torch":
        return TorchEngine
    from align_lab.train.engines.deepspeed_engine import deepspeed_engine

    return deepspeed_engine(stage=numerics["zero_stage"], offload=numerics["offload_optimizer"])


def is_tiny(cfg: RunConfig) -> bool:
    """Is the model so small that a second thread would only wait?"""
    return getattr(registry.lookup("model", cfg["model"]["name"]), "tiny", False)


def _reference(policy: Policy, start: Callable[[], Policy]) -> Callable[[], LanguageModel]:
    """The frozen start policy: with adapters the policy itself without them, else a copy of its own."""
    if is_adapted(policy.model):
        return lambda: BaseModel(policy.model)
    return lambda: start().model.requires_grad_(False)


def _critic(algo: Algorithm, start: Callable[[], Policy], reward: Reward) -> Critic | None:
    """A critic of its own, from the weights that the algorithm asks for."""
    wanted = algo.needs.critic
    if wanted is None:
        return None
    backbone = start().model
    if wanted.init == "policy":
        return Critic(backbone)
    model = getattr(reward, "model", None)
    body, head = getattr(model, "body", None), getattr(model, "head", None)
    if body is None or head is None or body.config != getattr(backbone, "config", None):
        raise ConfigError(
            "the critic is to start from the reward model, but this reward is no language model with the policy's tokens and shape. "
            "Set algo.critic_init=policy"
        )
    backbone.load_state_dict(body.state_dict())
    return Critic(backbone, head.weight.detach().squeeze(0))


def human_text(policy: Policy, texts: list[str], rows: int, seed: int, step: int) -> Pretrain:
    """A step's human texts [N L] for the pre-training term, each pass in another order."""
    picked = [texts[i] for i in draw(len(texts), rows, step, seed).tolist()]
    ids, mask = collate(encode(policy.tokenizer, picked, longest=policy.model.context, end=policy.eos))
    return Pretrain(ids=ids, mask=mask[:, 1:])
