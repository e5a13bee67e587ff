"""Preference pairs that come with the data: what is read of them, what they cost, and who is told."""

import dataclasses
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from align_lab.base import registry
from align_lab.base.contracts import Data
from align_lab.base.errors import ConfigError, DataError
from align_lab.base.progress import listening
from align_lab.base.settings import Preferences, Sampling
from align_lab.base.task import Example, LabeledCompletion, Message, PreferencePair
from align_lab.compare.notes import information
from align_lab.config.composition import compose
from align_lab.models.policy import Policy, load_policy
from align_lab.models.text import Text
from align_lab.stages import dependencies
from align_lab.train.data_pairs import build_data_labeled, build_data_pairs
from align_lab.train.pair_source import load_pairs
from tests.models.test_hf import folder as hf_folder
from tests.train import small
from tests.train.test_sft_demonstrations import Notices

ALL = Preferences(source="data", pairs=None)
SAMPLING = Sampling(temperature=0.7, max_new_tokens=6)
RAW = [
    ("the film is", " good", " bad"),
    ("a plot", " is good", " is bad bad"),
    ("is it", " a good film", " a bad film"),
]


def pair(prompt, chosen, rejected):
    return PreferencePair(example=Example.of_text(prompt), chosen=chosen, rejected=rejected)


PAIRS = [pair(*row) for row in RAW]


@pytest.fixture
def policy():
    return Policy(small.model(), Text(tokenizer=small.tokenizer(), eos=0))


def built(folder, policy, pairs, plan=ALL, sampling=SAMPLING):
    folder.mkdir(exist_ok=True)
    with listening(shown := Notices()):
        build_data_pairs(folder, plan, pairs, policy=policy, sampling=sampling)
    return load_pairs(folder, seed=0), shown.texts


def rows_of(policy, source):
    """(prompt, chosen, rejected) of the set as text, and whether both completions end."""
    rows = []
    x = source.experience
    T = x.rollout.mask.shape[-1]
    for ids, pad, mask in zip(x.ids, x.pad, x.rollout.mask, strict=True):
        prompt = policy.tokenizer.decode(ids[0, int(pad[0]) : -T].tolist())
        answers = [row[-T:][own].tolist() for row, own in zip(ids, mask, strict=True)]
        ended = all(answer[-1] == policy.eos for answer in answers)
        rows.append((prompt, *(policy.tokenizer.decode(answer) for answer in answers), ended))
    return sorted(rows)


def test_a_pair_is_a_group_of_two_the_chosen_one_first_and_both_end(policy, tmp_path):
    source, texts = built(tmp_path, policy, PAIRS)
    assert rows_of(policy, source) == sorted((*row, True) for row in RAW)
    assert source.experience.rollout.score.tolist() == [[1.0, 0.0]] * 3
    assert texts == ["3 of 3 preference pairs of the data are used"]


def test_log_probabilities_are_those_of_the_start_policy_at_the_sampling_temperature(policy, tmp_path):
    source, _ = built(tmp_path, policy, PAIRS)
    x = source.experience
    assert torch.equal(x.rollout.logp_ref, x.rollout.logp_old)
    T = x.rollout.mask.shape[-1]
    for ids, pad, mask, logp in zip(x.ids.flatten(0, 1), x.pad.flatten(), x.rollout.mask.flatten(0, 1),
                                    x.rollout.logp_old.flatten(0, 1), strict=True):  # fmt: skip
        row = ids[int(pad) : len(ids) - T + int(mask.sum())]
        scaled = (policy.model.hidden(row[None])[0] @ policy.model.head.t() / 0.7).log_softmax(-1)
        expected = scaled[:-1].gather(1, row[1:, None]).squeeze(1)[-int(mask.sum()) :]
        torch.testing.assert_close(logp[mask], expected, rtol=1e-4, atol=1e-5)
        assert not logp[~mask].any()


def test_conversations_are_rendered_through_the_chat_template(tmp_path):
    policy = load_policy(hf_folder(tmp_path / "model", "llama"))
    asked = Example(key="q", prompt=(Message("user", "How is it?"),))
    source, _ = built(tmp_path / "pairs", policy, [PreferencePair(example=asked, chosen="good", rejected="bad")],
                      sampling=Sampling(max_new_tokens=20))  # fmt: skip
    x = source.experience
    shown = policy.tokenizer.decode(x.ids[0, 0, : -x.rollout.mask.shape[-1]].tolist(), skip_special_tokens=False)
    assert shown == "<|user|>How is it?</s><|assistant|>"


def test_a_pair_costs_two_completions_and_one_label_the_first_time_and_nothing_is_generated(policy, tmp_path):
    source, _ = built(tmp_path, policy, PAIRS)
    collected = [source.collect(step, groups=1) for step in range(5)]
    assert [one.episodes for one in collected] == [2, 2, 2, 0, 0]
    assert [one.labels for one in collected] == [1, 1, 1, 0, 0]
    assert [one.tokens for one in collected] == [0] * 5
    read = sum(
        len(policy.tokenizer.encode(prompt).ids) + len(policy.tokenizer.encode(answer).ids) + 1
        for prompt, *answers in RAW
        for answer in answers
    )
    assert sum(one.reference_tokens for one in collected) == read


def test_the_loop_counts_labels_apart_from_completions(policy, tmp_path):
    source, _ = built(tmp_path, policy, PAIRS)
    it = small.loop(small.algorithm("dpo"), steps=4)
    it.source = dataclasses.replace(it.source, experience=source.experience, cost=source.cost)
    it.groups = 1
    it.run()
    assert [row["budget/labels"] for row in it.journal.rows] == [0, 1, 2, 3, 3]
    assert [row["episode"] for row in it.journal.rows] == [0, 2, 4, 6, 6]
    assert [row["budget/tokens"] for row in it.journal.rows] == [0] * 5
    rewarded = small.loop(small.algorithm("rloo"), steps=1)
    rewarded.run()
    assert rewarded.journal.rows[-1]["budget/labels"] == rewarded.journal.rows[-1]["episode"] == 16


def test_a_checkpoint_of_an_earlier_version_is_refused_with_what_to_do():
    """It has no place in the prompts to go on from, and its random numbers were others."""
    it = small.loop(small.algorithm("rloo"), steps=1)
    it.run()
    state = it.state_dict()
    del state["source"]
    with pytest.raises(DataError, match="of an earlier version.*remove the run's folder to start again"):
        small.loop(small.algorithm("rloo"), steps=1).load_state_dict(state)


LONG = pair("it", " good" * 20, " bad")


def test_pairs_that_are_too_long_are_left_out_and_counted_with_what_to_set(policy, tmp_path):
    pairs = [*PAIRS, LONG, pair("film " * 20, " good", " bad"), pair("is it", " good", " good"), pair("", "a", "b")]
    source, texts = built(tmp_path, policy, pairs)
    assert len(rows_of(policy, source)) == 3
    assert texts[0] == "3 of 7 preference pairs of the data are used"
    for reason in ("a completion too long", "a prompt without room", "equal completions", "no prompt"):
        assert f"1 with {reason}" in texts[1]
    assert "sampling.max_new_tokens, which is 6, to more, or preferences.too_long=truncate" in texts[1]


@pytest.mark.parametrize(("tokens", "used"), [(18, True), (19, False)])
def test_prompt_and_completion_fill_the_context_at_most(policy, tmp_path, tokens, used):
    """A context of 24 tokens of which 6 are for completions."""
    prompt = " film" * tokens
    assert len(policy.tokenizer.encode(prompt).ids) == tokens
    source, texts = built(tmp_path, policy, [*PAIRS, pair(prompt, " good", " bad")])
    assert (prompt in [row[0] for row in rows_of(policy, source)]) == used
    assert len(texts) == (1 if used else 2)


def test_or_are_truncated_without_an_end(policy, tmp_path):
    plan = dataclasses.replace(ALL, too_long="truncate")
    source, texts = built(tmp_path, policy, [LONG], plan)
    ((_, chosen, rejected, ended),) = rows_of(policy, source)
    assert (" good" * 20).startswith(chosen) and rejected == " bad" and not ended
    assert source.experience.rollout.mask[0].sum(1).tolist()[0] == 6 and len(texts) == 1


@pytest.mark.parametrize(("pairs", "reason"), [([LONG], "1 with a completion too long"), ([], "there are none")])
def test_a_set_without_a_usable_pair_is_an_error(policy, tmp_path, pairs, reason):
    with pytest.raises(DataError, match=reason):
        built(tmp_path, policy, pairs)
    assert not list(tmp_path.iterdir())


def test_a_number_of_pairs_takes_a_random_part_that_the_seed_decides(policy, tmp_path):
    pairs = [pair(f"film {i}", " good", " bad") for i in range(200)]
    taken = []
    for number, seed in enumerate((1, 1, 2)):
        plan = dataclasses.replace(ALL, pairs=5, seed=seed)
        source, texts = built(tmp_path / str(number), policy, pairs, plan)
        taken.append([row[0] for row in rows_of(policy, source)])
        assert texts == ["5 of 200 preference pairs of the data are used (preferences.pairs=5)"]
    assert taken[0] == taken[1] != taken[2] and len(taken[2]) == 5
    assert taken[0] != sorted(f"film {i}" for i in range(5))


def labeled(prompt, completion, *, desirable):
    return LabeledCompletion(example=Example.of_text(prompt), completion=completion, desirable=desirable)


SINGLE = [labeled(f"film {i}", " good" if i % 3 else " bad bad", desirable=bool(i % 3)) for i in range(9)]


def built_single(folder, policy, rows, plan=ALL, sampling=SAMPLING):
    folder.mkdir(exist_ok=True)
    with listening(shown := Notices()):
        build_data_labeled(folder, plan, rows, policy=policy, sampling=sampling)
    return load_pairs(folder, seed=0, paired=False), shown.texts


def test_a_completion_with_a_label_is_a_group_of_its_own_and_costs_one_label(policy, tmp_path):
    source, texts = built_single(tmp_path, policy, SINGLE)
    x = source.experience
    T = x.rollout.mask.shape[-1]
    shown = []
    for ids, pad, mask, score in zip(
        x.ids[:, 0], x.pad[:, 0], x.rollout.mask[:, 0], x.rollout.score[:, 0], strict=True
    ):
        prompt, completion = ids[int(pad) : -T], ids[-T:][mask]
        assert completion[-1] == policy.eos
        shown.append((*(policy.tokenizer.decode(part.tolist()) for part in (prompt, completion)), float(score)))
    assert sorted(shown) == sorted((one.example.prompt, one.completion, float(one.desirable)) for one in SINGLE)
    assert texts == ["9 of 9 completions with a label of the data are used", "6 of them are desirable, 3 are not"]
    collected = [source.collect(step, groups=4) for step in range(4)]
    assert [(one.episodes, one.labels, one.tokens) for one in collected] == [(4, 4, 0), (4, 4, 0), (1, 1, 0), (0, 0, 0)]


def test_a_number_of_pairs_takes_twice_as_many_single_completions(policy, tmp_path):
    source, texts = built_single(tmp_path, policy, SINGLE, dataclasses.replace(ALL, pairs=3))
    assert len(source.experience.ids) == 6 and "(preferences.pairs=3)" in texts[0]


def test_if_only_one_label_is_left_it_is_an_error_that_says_what_to_type(policy, tmp_path):
    long = [labeled("it", " bad" * 20, desirable=False)]
    with pytest.raises(DataError, match=r"all 6 completions .* are desirable. Add undesirable ones \(label false\)"):
        built_single(tmp_path, policy, [*(one for one in SINGLE if one.desirable), *long])
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True, kw_only=True)
class WithoutPairs(Data):
    """Prompts alone."""

    paired: ClassVar = False

    def has_pairs(self):
        return self.paired

    def build(self, folder):
        raise AssertionError("composition builds nothing")

    def load(self, folder):
        raise AssertionError("composition reads nothing")


@dataclass(frozen=True, kw_only=True)
class WithPairs(WithoutPairs):
    """Pairs too."""

    paired: ClassVar = True

    def column_names(self):
        return ("strength",)


@dataclass(frozen=True, kw_only=True)
class WithLabels(WithoutPairs):
    """Single completions with a label."""

    of: ClassVar = frozenset({True, False})

    def labels(self):
        return self.of


@dataclass(frozen=True, kw_only=True)
class WithBadOnes(WithLabels):
    """Undesirable ones alone."""

    of: ClassVar = frozenset({False})


@pytest.fixture(scope="module", autouse=True)
def registered():
    registry.scan()
    mine = {"pd_without": WithoutPairs, "pd_with": WithPairs, "pd_single": WithLabels, "pd_bad": WithBadOnes}
    for name, component in mine.items():
        registry.register("data", name)(component)
    registry.register("reward", "pd_words")(Words)
    yield
    for name in mine:
        del registry._components["data", name]
    del registry._components["reward", "pd_words"]


class Words(registry.contract_of("reward")):
    """A reward of every data set."""

    def load(self, folder):
        raise AssertionError("composition loads nothing")


def config(*overrides):
    return compose(["model=smollm2_135m", "reward=pd_words", "evaluation.prompts=8", *overrides])


def test_data_without_pairs_is_refused_and_an_arm_that_samples_does_not_care():
    with pytest.raises(ConfigError) as error:
        config("data=pd_without", "algo=dpo", "preferences.source=data")
    assert "algo=dpo learns from preference pairs of the data, and data=pd_without has none" in str(error.value)
    assert "preferences.source=reward" in str(error.value)
    sampled = config("data=pd_without", "algo=rloo", "preferences.source=data")
    assert "pairs" not in dependencies.stages(sampled)
    assert sampled.cautions == []  # nothing is there that it could read


def test_preferences_that_an_arm_does_not_read_are_named_unless_a_reward_learns_from_them():
    (caution,) = config("data=pd_with", "algo=rloo", "preferences.source=data").cautions
    assert "preferences.source=data has no effect: algo=rloo learns from the reward" in caution
    assert config("data=pd_without", "algo=rloo").cautions == []
    assert config("data=pd_with", "algo=dpo", "preferences.source=data").cautions == []
    learned = ["data=pd_with", "algo=rloo", "preferences.source=data", "reward=reward_model"]
    assert config(*learned).cautions == []
    inside = [*learned[:3], "reward=weighted", "reward.of.a=reward_model", "reward.of.b=length"]
    assert config(*inside).cautions == []


def test_single_completions_serve_an_algorithm_that_learns_from_them_alone():
    base = ["data=pd_single", "preferences.source=data"]
    stage = dependencies.stages(config(*base, "algo=kto"))["pairs"]
    assert stage.title == "completions with labels of the data" and config(*base, "algo=kto").uses_labeled
    with pytest.raises(ConfigError, match=r"algo=dpo learns from preference pairs, and .* no partner.*Set algo=kto"):
        config(*base, "algo=dpo")
    with pytest.raises(ConfigError, match=r"all of the data's that are trained on are undesirable. Add desirable ones"):
        config("data=pd_bad", "preferences.source=data", "algo=kto")
    both = config("data=pd_with", "algo=kto", "preferences.source=data")
    assert not both.uses_labeled and dependencies.stages(both)["pairs"].key != stage.key


def test_a_sampled_set_needs_a_number():
    with pytest.raises(ConfigError, match=r"preferences\.pairs=null means all pairs of the data"):
        config("data=pd_with", "algo=dpo", "preferences.pairs=null")
    assert config("data=pd_with", "algo=dpo", "preferences.pairs=null", "preferences.source=data").uses_data_pairs


def test_the_stage_of_data_pairs_depends_on_data_and_policy_and_not_on_the_reward():
    base = ["data=pd_with", "algo=dpo", "preferences.source=data"]
    stage = dependencies.stages(config(*base))["pairs"]
    assert {source.kind for source in stage.inputs} == {"data", "policy"}
    keys = {
        fields: dependencies.stages(config(*base, *fields.split()))["pairs"].key
        for fields in ("reward.max_failed=0.5", "preferences.samples=4", "preferences.pairs=3", "preferences.seed=1",
                       "sampling.max_new_tokens=9", "sampling.temperature=0.5", "preferences.too_long=truncate")
    }  # fmt: skip
    same = {"reward.max_failed=0.5", "preferences.samples=4"}
    assert {fields for fields, key in keys.items() if key == stage.key} == same


def test_reward_model_needs_pairs_and_knows_its_columns():
    with pytest.raises(ConfigError, match="reward=reward_model learns from preference pairs"):
        config("data=pd_without", "reward=reward_model")
    stages = dependencies.stages(config("data=pd_with", "reward=reward_model", "reward.margin=strength"))
    assert {source.name for source in stages["reward"].inputs} == {stages["data"].name, stages["policy"].name}
    with pytest.raises(ConfigError, match=r"reward\.margin=force: the data has no such column; it has strength"):
        config("data=pd_with", "reward=reward_model", "reward.margin=force")


def test_a_reward_model_on_a_model_that_cannot_write_yet_needs_demonstrations():
    with pytest.raises(ConfigError) as error:
        config("data=pd_with", "reward=reward_model", "reward.backbone=tiny")
    assert "model=tiny, the backbone of reward, learns to write from the data's demonstrations" in str(error.value)


def test_a_critic_from_the_reward_model_needs_the_policys_own_shape(tmp_path):
    other = hf_folder(tmp_path, "llama")
    config("data=pd_with", "reward=reward_model", "algo=ppo_max", "algo.ptx_coef=0")
    with pytest.raises(ConfigError, match=r"model=hf, not those of model=smollm2_135m\. Set algo\.critic_init=policy"):
        config("data=pd_with", "reward=reward_model", f"reward.backbone={other}", "algo=ppo_max", "algo.ptx_coef=0")


def arm(name, *pairs):
    return SimpleNamespace(name=name, runs=[SimpleNamespace(spent={"preference_pairs": number}) for number in pairs])


def test_compare_says_who_learned_from_pairs_of_the_data_and_who_did_not():
    first, second = information([arm("dpo", 1920, 1920), arm("rloo", 0, 0)])
    assert "dpo from 1,920 labels" in first and "came with the data" in first
    assert second.startswith("rloo learned from the reward: the arms did not get the same information")
    assert len(list(information([arm("dpo", 64)]))) == 1
    assert not list(information([arm("rloo", None), arm("ppo", 0)]))
