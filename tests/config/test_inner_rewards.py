"""Rewards inside others, from the command line to the stages that they need."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from align_lab.base import made_of, registry
from align_lab.base.contracts import Reward
from align_lab.base.errors import ConfigError
from align_lab.base.metrics import of_task
from align_lab.base.registry import param
from align_lab.config.composition import compose
from align_lab.stages.dependencies import folders_of, stages


@dataclass(frozen=True, kw_only=True)
class Trained(Reward):
    """A reward that is trained, on a file of its own."""

    epochs: int = param(1, "passes over the data", low=1)
    path: str = param("", "a file that it reads")

    trained: ClassVar = True

    def files(self):
        return [Path(self.path)] if self.path else []

    def build(self, folder, given):
        raise AssertionError("composition builds nothing")

    def load(self, folder):
        raise AssertionError("composition loads nothing")


@pytest.fixture(scope="module", autouse=True)
def registered():
    registry.register("reward", "ir_trained")(Trained)
    yield
    del registry._components["reward", "ir_trained"]


BASE = ["~evaluation.judges", "evaluation.metric=eval/score"]


def of_reward(*overrides):
    return compose([*BASE, *overrides]).values["reward"]


def test_every_way_to_name_a_reward_inside_another_gives_all_its_fields():
    short = {"name": "length", "max_failed": 0.1, "count": "words", "shortest": 0, "longest": 3, "margin": 50}
    expected = {"short": {**short, "weight": 2.0}}
    for overrides in (
        ["reward.of={short:{name:length,longest:3,weight:2}}"],
        ["reward.of.short={name:length,longest:3,weight:2}"],
        ["reward.of.short.name=length", "reward.of.short.longest=3", "reward.of.short.weight=2"],
        ["reward.of.short=length", "reward.of.short.longest=3", "reward.of.short.weight=2"],
    ):
        assert of_reward("reward=weighted", *overrides)["of"] == expected
    assert of_reward("reward=noise", "reward.of=length", "reward.of.longest=3")["of"] == short


def test_a_reward_inside_may_hold_others_and_be_a_judge():
    values = compose(
        [
            *BASE,
            "reward=vader",
            "evaluation.judges.mixed={name:weighted,of:{a:{name:noise,of:vader,sd:0.1},b:length}}",
            "evaluation.judges.mixed.of.b.longest=7",
        ]
    ).values
    judge = values["evaluation"]["judges"]["mixed"]
    assert judge["of"]["a"]["of"]["name"] == "vader" and judge["of"]["a"]["weight"] == 1.0
    assert judge["of"]["b"]["longest"] == 7 and judge["of"]["b"]["count"] == "words"


def test_the_signature_covers_the_fields_of_rewards_inside():
    runs = [
        compose([*BASE, "reward=weighted", "reward.of.a=length", *more])
        for more in ([], ["reward.of.a.longest=100"], ["reward.of.a.longest=99"], ["reward.of.a.weight=2"])
    ]
    assert runs[0].signature == runs[1].signature  # the default
    assert len({run.signature for run in runs}) == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["reward.of.a=lenth"], "reward.of.a: reward=lenth is not known: did you mean 'length'?"),
        (["reward.of.a={name:length,longst:3}"], "reward.of.a: there is no field longst: did you mean 'longest'?"),
        (["reward.of.a={name:length,longest:many}"], "reward.of.a.longest=many: it must be a whole number"),
        (["reward.of.a={name:length,margin:0}"], "margin must be >= 1 (got 0)"),
        (["reward.of.a={name:length,weight:heavy}"], "reward.of.a.weight=heavy: it must be a number"),
        (["reward.of.a={longest:3}"], "it names a reward component"),
        (["reward.of=vader"], "reward.of holds parts by their names"),
        (["reward.of={}"], "a mapping adds parts, and this one adds none"),
        (["~reward.of.b"], "there is no part b"),
        (["reward.of.a=vader", "~reward.of.a.weight"], "Remove the part itself: ~reward.of.a"),
        (["reward.of.a={name:weighted}"], "of.a: reward=weighted is computed from a reward, and names 0"),
        (["reward.parts.a=vader"], "there is no reward.parts"),
        (["reward.of.a={name:python,file:nowhere.py}"], "there is no file nowhere.py"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_to_type(overrides, message):
    with pytest.raises(ConfigError) as error:
        compose([*BASE, "reward=weighted", *overrides])
    assert message in str(error.value), str(error.value)


def test_a_reward_inside_noise_has_to_be_named():
    with pytest.raises(ConfigError, match=r"it has to name a reward. Name another: reward.of.name=COMPONENT"):
        compose([*BASE, "reward=noise", "reward.of=vader", "~reward.of"])


def test_trained_rewards_inside_have_stages_of_their_own_with_the_keys_that_they_have_alone():
    nested = [
        "reward=weighted",
        "reward.of.a=ir_trained",
        "reward.of.b={name:noise,of:{name:ir_trained,epochs:2}}",
        "reward.of.c=vader",
        "evaluation.judges.mixed={name:noise,of:ir_trained}",
    ]
    parts = stages(compose([*BASE, *nested, "algo=dpo"]))
    assert {"reward.a", "reward.b.reward", "judges.mixed.reward"} <= parts.keys() and "reward" not in parts
    assert "reward.c" not in parts
    alone = stages(compose([*BASE, "reward=ir_trained"]))["reward"]
    assert parts["reward.a"].key == alone.key == parts["judges.mixed.reward"].key != parts["reward.b.reward"].key
    assert {stage.key for stage in parts["pairs"].inputs} >= {parts["reward.a"].key, parts["reward.b.reward"].key}


def test_preference_pairs_are_made_anew_if_a_reward_inside_changes_but_not_for_its_limits():
    def key(*more):
        of_pairs = ["reward=weighted", "reward.of.a={name:regex,pattern:x}", "algo=dpo", *more]
        return stages(compose([*BASE, *of_pairs]))["pairs"].key

    assert key() == key("reward.of.a.seconds=3") == key("reward.of.a.max_failed=0.5")
    assert len({key(), key("reward.of.a.pattern=y"), key("reward.of.a.weight=2")}) == 3


def test_folders_are_those_of_a_reward_and_of_the_rewards_inside():
    built = {name: Path(name) for name in ("data", "reward", "reward.a", "reward.b.c", "rewards", "judges.a")}
    assert folders_of("reward", built) == {"": Path("reward"), "a": Path("reward.a"), "b.c": Path("reward.b.c")}


def test_files_of_rewards_inside_enter_the_hashes(tmp_path):
    file = tmp_path / "notes.txt"
    hashes = []
    for text in ("one", "two"):
        file.write_text(text)
        cfg = compose([*BASE, "reward=weighted", f"reward.of.a={{name:noise,of:{{name:ir_trained,path:'{file}'}}}}"])
        hashes.append((made_of.of_run(cfg.values)["files"], made_of.of_components([cfg.reward])["files"]))
        assert "plugins" in made_of.of_run(cfg.values)  # the module of this test is outside the package
    assert hashes[0][0] != hashes[1][0] and hashes[0][1] != hashes[1][1]


def test_a_queued_job_runs_the_reward_file_inside_another_reward_that_it_was_submitted_with(tmp_path):
    file = tmp_path / "my_reward.py"
    file.write_text("def reward(completions): return [0.0 for _ in completions]\n")
    cfg = compose([*BASE, "reward=weighted", f"reward.of.a={{name:python,file:'{file}'}}"])
    assert made_of.code_of(cfg.values) == {file}


def test_each_part_is_a_metric():
    cfg = compose([*BASE, "reward=weighted", "reward.of.tone=vader", "reward.of.short=length"])
    assert {"reward/tone", "reward/short"} <= of_task(cfg.values).keys()
