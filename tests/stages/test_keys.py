"""Which settings an artefact's key follows: what is built from them, and nothing that is only used later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from align_lab.base import registry
from align_lab.base.contracts import Data, Reward
from align_lab.base.task import PromptForm
from align_lab.config.composition import compose
from align_lab.models.text import PLAIN
from align_lab.stages import dependencies
from align_lab.stages.dependencies import data_stage, folders_of, policy_stage, reward_stages


@dataclass(frozen=True, kw_only=True)
class Both(Data):
    """Preference pairs, and single completions with labels."""

    def has_demonstrations(self):
        return True

    def has_pairs(self):
        return True

    def labels(self):
        return frozenset({True, False})

    def build(self, folder):
        raise AssertionError("nothing is built")

    def load(self, folder):
        raise AssertionError("nothing is read")


@dataclass(frozen=True, kw_only=True)
class Learned(Reward):
    """A reward that is trained."""

    trained: ClassVar = True

    def load(self, folder):
        raise AssertionError("nothing is loaded")


@pytest.fixture(scope="module", autouse=True)
def registered():
    registry.scan()
    mine = {("data", "sk_both"): Both, ("reward", "sk_learned"): Learned}
    for (kind, name), component in mine.items():
        registry.register(kind, name)(component)
    yield
    for key in mine:
        del registry._components[key]


def model(**fields):
    return registry.expand("model", {"name": "hf", "path": "owner/small", **fields}, "model")


def policy(form=PLAIN, **fields):
    return policy_stage(model(**fields), data_stage({"name": "sk_both"}), form=form)


SFT = {"epochs": 1.0, "lr": 1e-5}


def test_released_models_differ_by_what_they_are_and_not_by_their_adapters_or_their_fine_tuning():
    plain = policy()
    assert plain.kind == "policy" and plain.key != policy(path="owner/other").key
    assert plain.key != policy(revision="v2").key
    assert plain.key == policy(lora={"rank": 4}).key
    tuned = policy(sft=SFT)
    assert tuned.kind == "sft" and [one.kind for one in tuned.inputs] == ["data", "policy"]
    assert tuned.inputs[1].key == plain.key  # it is downloaded once


def test_data_need_no_gpu_and_what_is_computed_with_a_model_does():
    assert not data_stage({"name": "sk_both"}).gpu and policy(sft=SFT).gpu


def test_a_fine_tuned_model_follows_its_plan_its_data_and_how_it_is_asked():
    tuned = policy(sft=SFT)
    assert tuned.key != policy(sft={**SFT, "lr": 2e-5}).key
    assert tuned.key != policy(PromptForm(instruction="Answer: {prompt}"), sft=SFT).key
    assert tuned.key == policy(PromptForm(too_long="drop"), sft=SFT).key


def test_pairs_and_single_completions_of_the_same_data_are_two_artefacts():
    base = ["data=sk_both", "model=smollm2_135m", "reward=length", "preferences.source=data", "evaluation.prompts=8"]
    keys = []
    for algo in ("dpo", "kto"):
        values = compose([*base, f"algo={algo}"])
        stage = dependencies.stages(values)["pairs"]
        assert values.uses_labeled == (algo == "kto")
        keys.append(stage.key)
    assert keys[0] != keys[1]


def test_the_stages_of_a_combination_are_named_after_it_and_its_own_has_its_name_alone():
    reward = {
        "name": "weighted",
        "of": {"first": {"name": "sk_learned", "weight": 1.0}, "second": {"name": "length", "weight": 1.0}},
    }
    values = registry.expand("reward", reward, "reward")
    assert list(reward_stages(values, data_stage({"name": "sk_both"}), model(), form=PLAIN)) == ["first"]
    alone = registry.expand("reward", {"name": "sk_learned"}, "reward")
    assert list(reward_stages(alone, data_stage({"name": "sk_both"}), model(), form=PLAIN)) == [""]


def test_a_reward_gets_the_folders_of_its_own_stage_and_of_those_inside_it(tmp_path):
    built = {name: tmp_path / name for name in ("data", "reward", "reward.first", "reward.first.b", "rewards.c")}
    assert folders_of("reward", built) == {
        "": tmp_path / "reward", "first": tmp_path / "reward.first", "first.b": tmp_path / "reward.first.b",
    }  # fmt: skip
