"""What a config asks of its task: every message, and every way to name a judge."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from align_lab.base import registry
from align_lab.base.contracts import Data, Reward
from align_lab.base.errors import ConfigError
from align_lab.base.registry import param
from align_lab.base.settings import Decoding
from align_lab.config.composition import compose


class Scores(Reward):
    """A reward that is never asked."""

    def load(self, folder):
        raise AssertionError("composition loads nothing")


@dataclass(frozen=True, kw_only=True)
class Tone(Scores):
    """Fields of several types."""

    weight: float = param(1.0, "a number", above=0)
    words: int = param(3, "a whole number", low=1)
    strict: bool = param(False, "true or false")
    names: tuple[str, ...] = param(("a",), "a list")

    def problems(self):
        return ["set words to an odd number"] if self.words % 2 == 0 else []


@dataclass(frozen=True, kw_only=True)
class Parted(Scores):
    """A score of one part."""

    def parts(self):
        return ("tone",)


@dataclass(frozen=True, kw_only=True)
class Packaged(Scores):
    """It needs a package that nobody has."""

    package: ClassVar = "no_such_extra"


@dataclass(frozen=True, kw_only=True)
class Texts(Data):
    """Two evaluation sets, no demonstrations."""

    sets: tuple[str, ...] = param(("near", "far"), "evaluation sets")

    def splits(self):
        return ("train", *self.sets)

    def size(self, split):
        return {"near": 40}.get(split)

    def build(self, folder):
        raise AssertionError("composition builds nothing")

    def load(self, folder):
        raise AssertionError("composition reads nothing")


@pytest.fixture(scope="module", autouse=True)
def registered():
    """The components of this module, for as long as its tests run: other tests look at the registry too."""
    mine = {
        ("reward", "tv_tone"): Tone,
        ("reward", "tv_parted"): Parted,
        ("reward", "tv_packaged"): Packaged,
        ("data", "tv_texts"): Texts,
    }
    for (kind, name), component in mine.items():
        registry.register(kind, name)(component)
    yield
    for key in mine:
        del registry._components[key]


TEXTS = ["data=tv_texts", "reward=tv_tone", "model=smollm2_135m", "evaluation.prompts=40"]


def error_of(*overrides):
    with pytest.raises(ConfigError) as error:
        compose(overrides)
    return str(error.value)


def judges_of(*overrides):
    return compose(overrides)["evaluation"]["judges"]


ALL = {"weight": 1.0, "words": 3, "strict": False, "names": ["a"]}
MINE = {"name": "tv_tone", "max_failed": 0.1, **ALL}


@pytest.mark.parametrize(
    "override",
    [
        "evaluation.judges={mine:{name:tv_tone}}",
        "evaluation.judges={mine:tv_tone}",
        "evaluation.judges.mine={name:tv_tone}",
        "evaluation.judges.mine=tv_tone",
        "evaluation.judges.mine.name=tv_tone",
        "+evaluation.judges.mine.name=tv_tone",
        "++evaluation.judges.mine=tv_tone",
    ],
)
def test_every_form_adds_a_judge_with_all_its_fields_to_those_of_the_data(override):
    judges = judges_of(override)
    assert {**judges["mine"], "names": list(judges["mine"]["names"])} == MINE
    assert set(judges) == {"gold_score", "vader", "mine"}


def test_a_field_of_a_judge_is_set_in_its_declared_type_whatever_the_order():
    for overrides in (
        ("evaluation.judges.mine=tv_tone", "evaluation.judges.mine.weight=2"),
        ("evaluation.judges.mine.weight=2", "evaluation.judges.mine.name=tv_tone"),
    ):
        weight = judges_of(*overrides)["mine"]["weight"]
        assert weight == 2.0 and isinstance(weight, float)


def test_one_judge_or_all_of_them_can_be_removed():
    assert set(judges_of("~evaluation.judges.vader")) == {"gold_score"}
    assert judges_of("~evaluation.judges", "evaluation.metric=eval/score") == {}


WRONG_JUDGES = [
    ("evaluation.judges=vader", "holds judges by their names", "evaluation.judges.my_judge.name=COMPONENT"),
    ("evaluation.judges=[vader]", "holds judges by their names", ""),
    ("evaluation.judges={}", "adds none", "~evaluation.judges"),
    ("~evaluation.judges.vadr", "there is no judge vadr", "did you mean 'vader'?"),
    ("~evaluation.judges.vader.name", "always has all its fields", "~evaluation.judges.vader"),
    ("evaluation.judges.mine.name=vader,gold", "several values need the flag -m", ""),
    ("evaluation.judges.mine=3", "evaluation.judges.mine=3: it names a reward component", "tv_tone"),
    ("evaluation.judges.mine={nme:tv_tone}", "it names a reward component", "evaluation.judges.mine.name="),
    ("evaluation.judges.mine=tv_tne", "evaluation.judges.mine: reward=tv_tne is not known", "did you mean 'tv_tone'?"),
    ("evaluation.judges.mine={name:tv_tone,wrds:1}", "there is no field wrds", "did you mean 'words'?"),
    ("evaluation.judges.mine={name:tv_tone,words:0}", "words must be >= 1 (got 0)", "evaluation.judges.mine"),
    ("evaluation.judges.mine={name:tv_tone,words:x}", "evaluation.judges.mine.words=x", "must be a whole number"),
    ("evaluation.judges.mine={name:tv_tone,words:1.5}", "evaluation.judges.mine.words=1.5", "must be a whole number"),
    ("evaluation.judges.mine={name:tv_tone,weight:x}", "must be a number (default 1.0)", ""),
    ("evaluation.judges.mine={name:tv_tone,strict:7x}", "must be true or false (default False)", ""),
    ("evaluation.judges.mine={name:tv_tone,words:4}", "evaluation.judges.mine: set words to an odd number", ""),
    ("evaluation.judges.mine=tv_packaged", "evaluation.judges.mine: it needs the package no_such_extra", ""),
    ("evaluation.judges.length=tv_tone", "evaluation.judges.length: a judge's name becomes a column", "win_rate"),
    ("evaluation.judges.mine_se=tv_tone", "evaluation.judges.mine_se: a judge's name becomes a column", ""),
    ("evaluation.judges.my-judge=tv_tone", "evaluation.judges.my-judge: a judge's name becomes a column", ""),
    ("evaluation.metric=eval/gold_scor", "evaluation.metric=eval/gold_scor is not known", "'eval/gold_score'?"),
    ("~evaluation.judges.gold_score", "evaluation.metric=eval/gold_score is not known", "eval/vader"),
]


@pytest.mark.parametrize(("override", "problem", "remedy"), WRONG_JUDGES, ids=lambda value: value or "-")
def test_a_wrong_judge_is_one_sentence_with_what_to_type(override, problem, remedy):
    message = error_of(override)
    assert problem in message and remedy in message
    assert len(message.splitlines()) == 1, message


def test_data_without_demonstrations_needs_a_model_that_can_write_and_no_pre_training_term():
    message = error_of(*TEXTS[:2], "model=tiny", "evaluation.prompts=40")
    assert message == (
        "model=tiny learns to write from the data's demonstrations, and data=tv_texts has none. Choose a model that "
        "can write already, for example model=smollm2_135m, or data with demonstrations"
    )
    message = error_of(*TEXTS, "algo=ppo_max", "algo.critic_init=policy", "algo.ptx_coef=0.1")
    assert message == (
        "algo=ppo_max has a pre-training term on human texts, and data=tv_texts has none. Set algo.ptx_coef=0"
    )


def test_evaluation_sets_exist_and_the_first_has_enough_examples():
    assert compose([*TEXTS, "evaluation.sets=[far]", "evaluation.prompts=500"])["evaluation"]["sets"] == ["far"]
    message = error_of(*TEXTS, "evaluation.sets=[near,fare]")
    assert message.startswith("evaluation.sets=fare: data=tv_texts has no such evaluation set. did you mean 'far'?")
    message = error_of(*TEXTS, "evaluation.prompts=41")
    assert "more than the 40 held-out examples of data=tv_texts (near). Set evaluation.prompts=40 or less" in message
    assert "data=tv_texts names no evaluation set" in error_of(*TEXTS, "data.sets=[]")


def test_a_reward_or_judge_that_learns_from_the_default_tasks_ratings_is_refused_on_other_data():
    message = error_of("data=tv_texts", "model=smollm2_135m", "evaluation.prompts=40")
    assert "reward=human_ratings learns from people's ratings" in message and "Set data=movie_reviews" in message
    message = error_of(*TEXTS, "evaluation.judges.other=gold")
    assert message.startswith("evaluation.judges.other: the judge gold learns from people's ratings")


def test_a_yaml_file_of_the_user_brings_data_with_its_judges_and_metric(tmp_path, monkeypatch):
    folder = tmp_path / "conf" / "data"
    folder.mkdir(parents=True)
    (folder / "own_texts.yaml").write_text(
        "# @package _global_\n# Texts of my own\ndefaults:\n  - /schema/data/tv_texts@data\n  - _self_\n"
        "evaluation: {judges: {tone: tv_tone, strict: {name: tv_tone, strict: true}}, metric: eval/tone}\n"
    )
    monkeypatch.chdir(tmp_path)
    own = ["data=own_texts", "reward=tv_tone", "model=smollm2_135m", "evaluation.prompts=40"]
    evaluation = compose([*own, "evaluation.judges.tone.words=5"])["evaluation"]
    assert evaluation["metric"] == "eval/tone"
    assert {name: (one["words"], one["strict"]) for name, one in evaluation["judges"].items()} == {
        "tone": (5, False),
        "strict": (3, True),
    }


@pytest.mark.parametrize("beginning", ["# My texts\n# @package _global_\n", ""])
def test_a_yaml_file_whose_package_line_is_missing_or_late_says_where_it_belongs(tmp_path, monkeypatch, beginning):
    folder = tmp_path / "conf" / "data"
    folder.mkdir(parents=True)
    (folder / "late.yaml").write_text(f"{beginning}defaults:\n  - /schema/data/tv_texts@data\n  - _self_\n")
    monkeypatch.chdir(tmp_path)
    message = error_of("data=late", "reward=tv_tone")
    assert "data=late: its yaml file selects no component of data" in message
    assert "begins with the line '# @package _global_'" in message and "/schema/data/NAME@data" in message


def test_a_yaml_file_whose_component_no_module_registers_says_which_field_names_the_module(tmp_path, monkeypatch):
    folder = tmp_path / "conf" / "data"
    folder.mkdir(parents=True)
    (folder / "lost.yaml").write_text("# Lost\ndefaults:\n  - /schema/data/lost_component@_here_\n  - _self_\n")
    monkeypatch.chdir(tmp_path)
    message = error_of("data=lost", "reward=tv_tone")
    assert "asks for the component data=lost_component" in message and "plugins=[my_module]" in message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evaluation.pass_at=[1,8]", "evaluation.samples=4"], "(got evaluation.samples=4). Set evaluation.samples=8"),
        (["evaluation.pass_at=[0]"], "each k is a number of completions, 1 or more"),
        (["evaluation.pass_at=4"], "must be a list"),
        (["evaluation.temperature=0", "evaluation.samples=2"], "Set evaluation.samples=1, or a temperature above 0"),
        (["evaluation.temperature=-1"], "evaluation.temperature must be >= 0"),
        (["evaluation.top_p=0"], "evaluation.top_p must be > 0"),
        (["evaluation.judges.mine_unread=tv_tone"], "letters, digits and underscores only, and is none of"),
        (["evaluation.judges.answers=tv_tone"], "letters, digits and underscores only, and is none of"),
        (["evaluation.judges.mine_tone=tv_tone", "evaluation.judges.mine=tv_parted"], "the name of a part of mine"),
    ],
)
def test_what_an_evaluation_cannot_measure_is_refused_with_what_to_type(overrides, message):
    assert message in error_of(*overrides)


def test_an_evaluation_decodes_as_training_samples_unless_it_says_otherwise():
    cfg = compose(["sampling.temperature=0.9", "evaluation.max_new_tokens=7"])
    assert cfg.evaluation.decoding(cfg.sampling) == Decoding(temperature=0.9, top_p=1.0, max_new_tokens=7)
    greedy = compose(["evaluation.temperature=0"])
    assert greedy.evaluation.decoding(greedy.sampling).temperature == 0.0
    short = error_of("model.context=64", "evaluation.max_new_tokens=64")
    assert "Set evaluation.max_new_tokens=32" in short
