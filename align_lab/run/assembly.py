"""Builds the parts of a run from its config and artefacts: models, reward, judges, source of experience, loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import torch

from align_lab.base import vary
from align_lab.base.contracts import Reward, texts
from align_lab.base.errors import ConfigError
from align_lab.base.hardware import Numerics
from align_lab.base.hyperparameters import Train
from align_lab.base.run_config import RunConfig
from align_lab.base.settings import Decoding, Sampling
from align_lab.base.task import DEVELOPMENT, TRAIN, DataSet, Scorer
from align_lab.base.types import Needs
from align_lab.base.world import World
from align_lab.models.blocks import configure_blocks
from align_lab.models.fitting import collate
from align_lab.models.language_model import LanguageModel
from align_lab.models.loading import loading
from align_lab.models.lora import BaseModel, is_adapted, load_base
from align_lab.models.policy import DTYPES, Policy
from align_lab.models.row_batches import RowBatches
from align_lab.models.shared import Resting, Shared
from align_lab.models.tokenizer import encode
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import Sampler
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.stages.dependencies import JUDGE, folders_of
from align_lab.stages.store import Artefact
from align_lab.train.draws import draw
from align_lab.train.engines.engine import MakeEngine
from align_lab.train.engines.torch_engine import TorchEngine
from align_lab.train.evaluate import Evaluator
from align_lab.train.experience import ExperienceSource
from align_lab.train.learner import Critic, Learner
from align_lab.train.loop import Loop, Recorder
from align_lab.train.minibatch import Pretrain
from align_lab.train.mixture import Mixture
from align_lab.train.one_step_off import OneStepOff
from align_lab.train.pair_source import load_pairs
from align_lab.train.rollouts import Rollouts
from align_lab.train.rounds import Rounds
from align_lab.train.scoring import LimitedScorer, Meter


@dataclass(frozen=True, kw_only=True)
class Common:
    """What training and evaluation share: sampling, the reward, the reference policy, the processes."""

    sampling: Sampling
    sampler: Sampler
    reward: LimitedScorer
    reference: Callable[[], LanguageModel]
    scoring: RowBatches
    world: World
    meter: Meter


def assemble(
    cfg: RunConfig,
    built: Mapping[str, Artefact],
    *,
    journal: Recorder,
    should_stop: Callable[[], bool],
    world: World = World(),
    evaluation_batch: int | None = None,
) -> Loop:
    """The loop of a run at step 0. `evaluation_batch`: completions that an evaluation samples together; None: ROWS."""
    sharded = _shards(cfg.hardware.numerics, world)
    start = partial(_start, cfg, built, device=_read_to(world) if sharded else None)
    policy = start()
    data = cfg.data.load(built["data"].path)
    training, sets, development = _prompts(cfg, policy, data)
    every = [training, *sets.values(), *([development] if development else [])]
    reference = _reference(policy, start, sharded=sharded, is_held=cfg.algo.needs.holds_reference)
    common = _common(cfg, built, every, reference=reference, world=world)
    evaluate = _evaluator(cfg, built, sets, common)
    evaluate = replace(evaluate, rows=evaluation_batch or evaluate.rows)
    learner = Learner(
        cfg.train,
        policy.model,
        critic=_critic(cfg, start, common.reward.scorer),
        temperature=_temperature(cfg),
        make_engine=_engine(cfg.hardware.numerics),
    )
    return Loop(
        algo=cfg.algo,
        learner=learner,
        source=_source(cfg, built, learner, training, common),
        groups=groups_per_step(cfg.algo.needs, cfg.train),
        reference=common.reference() if cfg.algo.needs.mismatched else None,
        evaluate=evaluate,
        develop=evaluate.development(development) if development else None,
        importance_cap=cfg.sampling.importance_cap,
        pretrain=_human_text(cfg, policy, data),
        journal=journal,
        meter=common.meter,
        seed=cfg.seed,
        should_stop=should_stop,
        world=world,
        evaluate_every=cfg.evaluation.every,
        save_every=cfg.record.checkpoint_every,
    )


@dataclass(frozen=True, kw_only=True)
class PolicyEvaluation:
    """What evaluates a run's policies without training. `policy` has the start policy's weights until others are
    loaded; `start` makes a new copy of it."""

    evaluate: Evaluator
    policy: Policy
    start: Callable[[], Policy]


def assemble_evaluation(cfg: RunConfig, built: Mapping[str, Artefact]) -> PolicyEvaluation:
    """The evaluator of a run, as `assemble` makes it, in one process."""
    start = partial(_start, cfg, built)
    policy = start()
    training, sets, _ = _prompts(cfg, policy, cfg.data.load(built["data"].path))
    reference = _reference(policy, start, sharded=False, is_held=False)
    common = _common(cfg, built, [training, *sets.values()], reference=reference, world=World())
    return PolicyEvaluation(evaluate=_evaluator(cfg, built, sets, common), policy=policy, start=start)


def _common(
    cfg: RunConfig,
    built: Mapping[str, Artefact],
    every: Sequence[Prompts],
    *,
    reference: Callable[[], LanguageModel],
    world: World,
) -> Common:
    """`every`: all prompts, of which the longest says how many tokens a sampler must hold."""
    longest = max(len(ids) for prompts in every for ids in prompts.ids)
    new = max(cfg.sampling.max_new_tokens, cfg.evaluation.decoding(cfg.sampling).max_new_tokens)
    meter = Meter()
    return Common(
        sampling=cfg.sampling,
        sampler=_sampler(cfg, longest + new, world),
        reward=_limited(cfg.reward, built, "reward", field="reward", meter=meter),
        reference=reference,
        scoring=RowBatches(cfg.train.scoring_batch),
        world=world,
        meter=meter,
    )


def _start(cfg: RunConfig, built: Mapping[str, Artefact], *, device: torch.device | None = None) -> Policy:
    """A new copy of the start policy, with the adapters of this run's seed where `vary` says so.

    `device`: where its weights are to be; None: where tensors are created.
    """
    numerics, model = cfg.hardware.numerics, RunConfig(vary.moved(cfg.values), cfg.choices).model
    device, dtype = device or torch.get_default_device(), DTYPES[numerics.dtype]
    with loading(dtype, device):
        policy: Policy = model.load(built["policy"].path).to(dtype)  # which a model of a plug-in may need
    configure_blocks(policy.model, gradient_checkpointing=numerics.gradient_checkpointing, compiled=numerics.compile)
    policy.model.packing = numerics.packing
    if device.type != "meta":
        policy.model.to(device)
    return policy


def _shards(numerics: Numerics, world: World) -> bool:
    """Has each of several processes a part of the weights, from the start?"""
    return world.size > 1 and (numerics.engine == "fsdp" or numerics.zero_stage == 3)


def _read_to(world: World) -> torch.device:
    """Where a process has weights before they are sharded: the first one in main memory, the others nowhere."""
    return torch.device("meta" if world.rank else "cpu")


def _prompts(cfg: RunConfig, policy: Policy, data: DataSet) -> tuple[Prompts, dict[str, Prompts], Prompts | None]:
    """The prompts of training, of each evaluation set by name, and for development if there are any.

    Raises ConfigError when the first set is too small.
    """

    def prompts(split: str, sampling: Sampling | Decoding) -> Prompts:
        return Prompts.of(policy, data.examples(split), sampling, form=cfg.data.prompt_form, split=split)

    decoding = cfg.evaluation.decoding(cfg.sampling)
    sets = {name: prompts(name, decoding) for name in cfg.data.evaluation_sets(cfg.evaluation.sets)}
    first = next(iter(sets.values()))
    if cfg.evaluation.prompts > len(first) and not cfg.data.whole_sets:
        raise ConfigError(
            f"evaluation.prompts={cfg.evaluation.prompts}, but the data holds {len(first)} held-out prompts: "
            "set it to that or less"
        )
    development = prompts(DEVELOPMENT, decoding) if cfg.uses_development else None
    return prompts(TRAIN, cfg.sampling), sets, development


def groups_per_step(needs: Needs, plan: Train) -> int:
    """Prompts, preference pairs or single completions of a step: all algorithms use the same number of sequences."""
    if needs.samples:
        return plan.prompts_per_step
    return plan.prompts_per_step * plan.group_size // (2 if needs.paired else 1)


def _temperature(cfg: RunConfig) -> float:
    """Of the log-probabilities in training: that of sampling, unless all experience is pairs with their own."""
    own = cfg.preferences.temperature
    return cfg.sampling.temperature if own is None or cfg.algo.needs.samples else own


def _source(
    cfg: RunConfig, built: Mapping[str, Artefact], learner: Learner, prompts: Prompts, common: Common
) -> ExperienceSource:
    """Preference pairs, rollouts or both, as the algorithm declares."""
    needs = cfg.algo.needs
    if not needs.samples:
        return load_pairs(built["pairs"].path, seed=cfg.seed, paired=needs.paired, noise=needs.noise)
    rollouts = Rollouts(
        learner=learner,
        prompts=prompts,
        reward=common.reward,
        sampling=common.sampling,
        needs=needs,
        keep=cfg.algo.keep,
        seed=cfg.seed,
        reference=common.reference() if needs.holds_reference else None,
        world=common.world,
        sampler=common.sampler,
        scoring=common.scoring,
    )
    if needs.rounds:
        return Rounds(source=rollouts, steps=needs.rounds.steps)
    if needs.pairs:
        pairs = load_pairs(built["pairs"].path, seed=cfg.seed, noise=needs.noise)
        return Mixture(pairs=pairs, rollouts=rollouts, share=needs.pairs)
    return OneStepOff(rollouts=rollouts) if cfg.sampling.staleness else rollouts


def _evaluator(cfg: RunConfig, built: Mapping[str, Artefact], sets: Mapping[str, Prompts], common: Common) -> Evaluator:
    return Evaluator(
        sets=sets,
        reward=common.reward,
        judges={
            name: _limited(judge, built, f"{JUDGE}{name}", field=f"evaluation.judges.{name}", meter=common.meter)
            for name, judge in cfg.judges.items()
        },
        sampling=common.sampling,
        plan=cfg.evaluation,
        reference=common.reference,
        sampler=common.sampler,
        scoring=common.scoring,
        world=common.world,
    )


def _limited(reward: Reward, built: Mapping[str, Artefact], stage: str, *, field: str, meter: Meter) -> LimitedScorer:
    """The scorer of a reward, loaded from the artefacts of its stages if it, or one that it holds, is trained."""
    scorer = reward.load_from(folders_of(stage, {name: artefact.path for name, artefact in built.items()}))
    return LimitedScorer(
        scorer=scorer, max_failed=reward.max_failed, field=f"{field}.max_failed", costs=reward.cost_parts(), meter=meter
    )


def _sampler(cfg: RunConfig, longest: int, world: World) -> Sampler:
    """The sampler of `hardware.numerics.sampler`. `longest`: maximum tokens of a prompt with its completion."""
    if cfg.hardware.numerics.sampler == "torch":
        return TorchSampler()
    from align_lab.rollout.vllm_sampler import VllmSampler

    return VllmSampler(
        cfg.hardware.vllm,
        dtype=cfg.hardware.numerics.dtype,
        longest=longest,
        world=world,
        processes_per_node=cfg.hardware.placement.tasks_per_node,
        deterministic=cfg.hardware.numerics.deterministic,
    )


def _engine(numerics: Numerics) -> MakeEngine:
    if numerics.engine == "torch":
        return TorchEngine
    if numerics.engine == "fsdp":
        from align_lab.train.engines.fsdp_engine import FsdpEngine

        return FsdpEngine
    from align_lab.train.engines.deepspeed_engine import deepspeed_engine

    return deepspeed_engine(stage=numerics.zero_stage, offload=numerics.offload_optimizer)


def _reference(
    policy: Policy, start: Callable[..., Policy], *, sharded: bool, is_held: bool
) -> Callable[[], LanguageModel]:
    """The frozen start policy: the policy with its adapters disabled if it has any, else one separate copy.

    Where the policy is sharded, so is the copy. On a GPU, the one that no part of the training holds (`is_held`) is in
    main memory between two evaluations.
    """
    if is_adapted(policy.model):
        return lambda: BaseModel(policy.model)
    if sharded:
        from align_lab.train.engines.fsdp_engine import frozen

        return cache(lambda: frozen(start().model))
    device = torch.get_default_device()
    if device.type == "cuda" and not is_held:
        return Shared(Resting(lambda: start(device=torch.device("cpu")).model.requires_grad_(False), device))
    return Shared(lambda: start().model.requires_grad_(False))


def _critic(cfg: RunConfig, start: Callable[[], Policy], scorer: Scorer) -> Critic | None:
    """The critic, initialized from the weights that the algorithm declares. Raises ConfigError if they do not fit."""
    needs = cfg.algo.needs.critic
    if needs is None:
        return None
    backbone = start().model
    if needs.init == "policy":
        return Critic(backbone)
    weights = cfg.reward.value_weights(scorer)
    if weights is None or not load_base(backbone, weights[0].state_dict()):
        raise ConfigError(
            "algo.critic_init=reward needs a reward that is a language model with the tokenizer and the shape of the "
            "policy, which this one is not. Set algo.critic_init=policy"
        )
    return Critic(backbone, weights[1].detach().squeeze(0))


def _human_text(cfg: RunConfig, policy: Policy, data: DataSet) -> Callable[[int], Pretrain] | None:
    """The batch of demonstrations of each step, if the algorithm has a pre-training term."""
    if not cfg.algo.needs.pretrain_batch:
        return None
    return partial(human_text, policy, texts(data.demonstrations(TRAIN)), cfg.train.prompts_per_step, cfg.seed)


def human_text(policy: Policy, demonstrations: list[str], rows: int, seed: int, step: int) -> Pretrain:
    """A step's human texts [N L] for the pre-training term; every pass over the texts has another order."""
    batch = [demonstrations[i] for i in draw(len(demonstrations), rows, step * rows, seed).tolist()]
    ids, mask = collate(encode(policy.tokenizer, batch, longest=policy.model.context, end=policy.eos))
    return Pretrain(ids=ids, mask=mask[:, 1:])
