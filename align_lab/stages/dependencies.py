"""The stages that a run depends on: data, start policy, reward, judges, preference pairs. Nothing is built here.

Each stage yields one artefact, which is built once and shared by all runs with an equal stage. A stage exists only if a
component needs it: a rule needs no training, and an algorithm that samples needs no pairs. A build imports what it
needs when it is called.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align_lab.base import made_of, registry, vary
from align_lab.base.component import Component
from align_lab.base.contracts import Data, Model, Reward, RewardInputs, texts
from align_lab.base.run_config import RunConfig
from align_lab.base.task import TRAIN, DataSet, PromptForm
from align_lab.stages.store import Stage

VERSION = {"sft": 3, "preferences": 4}  # raise one when our own part of a stage computes something else
JUDGE = "judges."  # in the name of a judge's stage: judges.NAME


def stages(cfg: RunConfig) -> dict[str, Stage]:
    """The stages of one run by name, from its config alone: `data`, `policy`, `reward`, `judges.NAME`, `pairs`.

    Those of rewards that another one holds are named after it: `reward.NAME`, `judges.NAME.NAME`. What `vary` names is
    built with seeds that the run's own seed has moved; judges are not.
    """
    fixed, cfg = cfg, RunConfig(vary.moved(cfg.values), cfg.choices)
    values = cfg.values
    data, form = data_stage(values["data"]), cfg.data.prompt_form
    policy = policy_stage(values["model"], data, form=form)
    required = {"data": data, "policy": policy}
    rewards = reward_stages(values["reward"], data, values["model"], form=form)
    required |= _named("reward", rewards)
    for name, judge in cfg.evaluation.judges.items():
        required |= _named(f"{JUDGE}{name}", reward_stages(judge, data, fixed["model"], form=form))
    if cfg.uses_data_pairs:
        required["pairs"] = data_pair_stage(cfg, data, policy)
    elif cfg.algo.needs.pairs:
        required["pairs"] = preference_stage(cfg, data, policy, rewards)
    return required


def _named(name: str, stages_of_reward: Mapping[str, Stage]) -> dict[str, Stage]:
    return {f"{name}.{inner}" if inner else name: stage for inner, stage in stages_of_reward.items()}


def folders_of(name: str, built: Mapping[str, Path]) -> dict[str, Path]:
    """What `Reward.load_from` takes: the folders of the stage `name` and of those named after it."""
    own = {name: ""} | {key: key.removeprefix(f"{name}.") for key in built if key.startswith(f"{name}.")}
    return {own[key]: folder for key, folder in built.items() if key in own}


def data_stage(values: Mapping[str, Any]) -> Stage:
    """The data set, downloaded or read, and split."""
    data: Data = registry.build("data", values)
    stage = _stage("data", "data set", data, _built_from(data, values), lambda folder, inputs: data.build(folder))
    return dataclasses.replace(stage, gpu=False)


def policy_stage(values: Mapping[str, Any], data: Stage, *, form: PromptForm) -> Stage:
    """The start policy: downloaded or converted, and fine-tuned on demonstrations if the model is to be.

    A released model is an artefact of its own, which its fine-tuning starts from.
    """
    model: Model = registry.build("model", values)
    plan = model.fine_tuning()
    if plan is None:
        return _released(model, values)

    def build(folder: Path, inputs: list[Path]) -> None:
        from align_lab.train.sft import build_sft

        data_set, held_out = load_data(data, inputs[0]), _component(data).splits()[1]
        train_on = data_set.demonstrations(TRAIN)
        start = _start_policy(values, inputs[1]) if model.pretrained else model.initial(texts(train_on))
        unseen = data_set.demonstrations(held_out)
        build_sft(folder, start, plan, train_on=train_on, held_out=unseen, form=form)

    settings = {**_built_from(model, values), "sft_version": VERSION["sft"]}
    inputs = [data]
    if model.pretrained:
        settings["asked"] = _asked(form)
        inputs.append(_released(model, values))
    return _stage("sft", "start policy (supervised fine-tuning)", model, settings, build, *inputs)


def _released(model: Model, values: Mapping[str, Any]) -> Stage:
    """A model before any fine-tuning."""
    read = {key: value for key, value in _built_from(model, values).items() if not (model.pretrained and key == "sft")}
    return _stage("policy", "start policy", model, read, lambda folder, inputs: model.build(folder))


def reward_stage(values: Mapping[str, Any], data: Stage, model: Mapping[str, Any], *, form: PromptForm) -> Stage | None:
    """The training of a reward or a judge; None for one that is not trained.

    It starts from the start policy of the model that it names, if any: the run's own policy if it is that one.
    """
    reward: Reward = registry.build("reward", values)
    if not reward.trained:
        return None
    start = reward.starts_from(model)
    settings = _built_from(reward, values)
    inputs = [data]
    if start is not None:
        inputs.append(policy_stage(start, data, form=form))
        settings["asked"] = _asked(form)

    def build(folder: Path, folders: list[Path]) -> None:
        given = RewardInputs(
            data=load_data(data, folders[0]),
            held_out=_component(data).splits()[1:],
            prompt_form=form,
            start=None if start is None else _start_policy(start, folders[1]),
        )
        reward.build(folder, given)

    name = str(values["name"])
    stage = _stage(name, reward.title or name, reward, settings, build, *inputs)
    return dataclasses.replace(stage, gpu=reward.on_gpu)


def reward_stages(
    values: Mapping[str, Any], data: Stage, model: Mapping[str, Any], *, form: PromptForm
) -> dict[str, Stage]:
    """The stages of a reward ("") and of the rewards that it holds (NAME, NAME.NAME), where they are trained."""
    own = reward_stage(values, data, model, form=form)
    result = {} if own is None else {"": own}
    for name, inner in registry.build("reward", values).inner().items():
        result |= _named(name, reward_stages(inner, data, model, form=form))
    return result


def _asked(form: PromptForm) -> dict[str, str]:
    """What the prompts of given completions depend on: where one is too long, the stage has a rule of its own."""
    return {"chat": form.chat, "instruction": form.instruction}


def _start_policy(values: Mapping[str, Any], folder: Path) -> Any:
    """A model's policy as it was built: the fields that `build` does not read, as adapters, have their defaults."""
    model: Model = registry.build("model", values)
    return registry.build("model", _built_from(model, values)).load(folder)


def preference_stage(cfg: RunConfig, data: Stage, policy: Stage, rewards: Mapping[str, Stage]) -> Stage:
    """Pairs of the start policy's completions, labeled by the reward."""
    dtype, costs = cfg.hardware.numerics.dtype, cfg.reward.cost_parts()
    form = cfg.data.prompt_form

    def build(folder: Path, inputs: list[Path]) -> None:
        from align_lab.models.policy import DTYPES
        from align_lab.rollout.prompts import Prompts
        from align_lab.train.preference_pairs import build_pairs
        from align_lab.train.scoring import LimitedScorer

        start = cfg.model.load(inputs[1]).to(DTYPES[dtype])
        examples = load_data(data, inputs[0]).examples(TRAIN)
        build_pairs(
            folder,
            cfg.preferences,
            policy=start,
            sampling=cfg.sampling,
            prompts=Prompts.of(start, examples, cfg.sampling, form=form, split=TRAIN),
            reward=LimitedScorer(
                scorer=cfg.reward.load_from(dict(zip(rewards, inputs[2:], strict=True))),
                max_failed=cfg.reward.max_failed,
                costs=costs,
            ),
        )

    settings = {
        "dtype": dtype,
        "prompt_form": dataclasses.asdict(form),
        "preferences": {
            key: cfg.values["preferences"][key] for key in ("source", "pairs", "samples", "temperature", "seed")
        },
        "sampling": cfg.values["sampling"],
        "reward": _built_from(cfg.reward, cfg.values["reward"]),
        "version": VERSION["preferences"],
        **({"costs": costs} if costs else {}),
    }
    return Stage(
        kind="preferences",
        title="preference pairs",
        settings=settings,
        build=build,
        inputs=(data, policy, *rewards.values()),
        made_of=made_of.of_components([cfg.reward]),
        files=made_of.files_of([cfg.reward]),
    )


def data_pair_stage(cfg: RunConfig, data: Stage, policy: Stage) -> Stage:
    """Pairs, or single completions, that come with the data, and their log-probabilities under the start policy."""
    dtype, form = cfg.hardware.numerics.dtype, cfg.data.prompt_form

    def build(folder: Path, inputs: list[Path]) -> None:
        from align_lab.models.policy import DTYPES
        from align_lab.train.data_pairs import build_data_labeled, build_data_pairs

        start = cfg.model.load(inputs[1]).to(DTYPES[dtype])
        data_set = load_data(data, inputs[0])
        if cfg.uses_labeled:
            completions = data_set.labeled(TRAIN)
            build_data_labeled(folder, cfg.preferences, completions, policy=start, sampling=cfg.sampling, form=form)
        else:
            pairs = data_set.pairs(TRAIN)
            build_data_pairs(folder, cfg.preferences, pairs, policy=start, sampling=cfg.sampling, form=form)

    settings = {
        **({"labeled": True} if cfg.uses_labeled else {}),
        "dtype": dtype,
        "asked": _asked(form),
        "preferences": {
            key: cfg.values["preferences"][key] for key in ("source", "pairs", "temperature", "too_long", "seed")
        },
        "sampling": {key: cfg.values["sampling"][key] for key in ("temperature", "max_new_tokens")},
        "version": VERSION["preferences"],
    }
    return Stage(
        kind="preferences",
        title="completions with labels of the data" if cfg.uses_labeled else "preference pairs of the data",
        settings=settings,
        build=build,
        inputs=(data, policy),
    )


def load_data(data: Stage, folder: Path) -> DataSet:
    """The data set that `data` built into `folder`."""
    return _component(data).load(folder)


def _component(data: Stage) -> Data:
    """The component whose `build` is this stage."""
    return registry.build("data", {key: value for key, value in data.settings.items() if key != "version"})


def _built_from(component: Component, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a component's `build` reads: changing others does not rebuild its artefact."""
    return {key: _without_later(value) for key, value in values.items() if key not in component.used_later}


def _without_later(value: Any) -> Any:
    """The same of the rewards that a field holds."""
    if not isinstance(value, Mapping):
        return value
    if str(value.get("name")) in registry.names("reward"):
        return _built_from(registry.lookup("reward", value["name"])(), value)
    return {key: _without_later(inner) for key, inner in value.items()}


def _stage(
    kind: str, title: str, component: Component, settings: Mapping[str, Any], build: Any, *inputs: Stage
) -> Stage:
    versioned = {**settings, "version": component.version}
    return Stage(
        kind=kind,
        title=title,
        settings=versioned,
        build=build,
        inputs=inputs,
        made_of=made_of.of_components([component]),
        files=made_of.files_of([component]),
    )
