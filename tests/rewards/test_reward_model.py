"""A reward model of preference pairs: its loss, its measures, what it reads, and that it learns what is preferred."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch

from align_lab.base import registry
from align_lab.base.contracts import RewardInputs
from align_lab.base.errors import DataError, DivergedError
from align_lab.base.progress import listening
from align_lab.base.task import DataSet, Example, Message, PreferencePair
from align_lab.models.fitting import collate
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.lora import adapt, load_base, merged_state
from align_lab.models.lora_settings import Lora
from align_lab.models.policy import Policy, load_policy
from align_lab.models.text import PLAIN, Text
from align_lab.rewards import pair_training
from align_lab.rewards.pair_metrics import calibration_error, pair_metrics
from align_lab.rewards.pair_model import PairModel, PairScorer, Reading
from align_lab.rewards.reward_model import PairReward
from align_lab.testing.rewards import UNUSUAL
from tests.models.test_hf import folder
from tests.train import small

PLAN = PairReward(epochs=6, batch=8, lr=0.01)


class Films(DataSet):
    """The completion that says good is preferred, and every third margin is large."""

    def __init__(self, splits=("train", "evaluation"), count=80):
        self.splits, self.count = splits, count

    def examples(self, split):
        return []

    def pairs(self, split):
        first = 0 if split == "train" else self.count
        rows = range(first, first + self.count) if split in self.splits else ()
        return [
            PreferencePair(
                example=Example(key=str(i), prompt=f"film {i} is", columns={"margin": float(i % 3 == 0)}),
                chosen=f" good {i % 7}",
                rejected=f" bad {i % 5}",
            )
            for i in rows
        ]


def start():
    torch.manual_seed(0)
    model = Llama(LlamaConfig(vocab=280, width=16, layers=1, heads=2, kv_heads=2, mlp=24, context=24))
    return Policy(model, Text(tokenizer=small.tokenizer(), eos=0))


def given(data=None, policy=None):
    return RewardInputs(data=data or Films(), held_out=("evaluation",), prompt_form=PLAIN, start=policy or start())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    path = tmp_path_factory.mktemp("reward")
    PLAN.build(path, given())
    return path


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """A chat model of transformers."""
    return folder(tmp_path_factory.mktemp("chat"), "qwen2")


def test_the_loss_has_the_values_and_gradients_of_the_reference_implementation():
    """Numbers of OpenRLHF's PairWiseLoss (tests/golden/values/reward_model.json)."""
    chosen = torch.tensor([1.3, -0.2, 0.7], requires_grad=True)
    rejected = torch.tensor([0.4, 0.5, 0.7], requires_grad=True)
    loss = pair_training.pair_loss(chosen, rejected, margin=0.0, centering=0.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.7124957, abs=1e-6)
    assert chosen.grad.tolist() == pytest.approx([-0.09635017, -0.22272926, -0.16666667], abs=1e-6)
    assert rejected.grad.tolist() == pytest.approx([0.09635017, 0.22272926, 0.16666667], abs=1e-6)
    margin = torch.tensor([1.0, 0.5, 0.0])
    assert pair_training.pair_loss(chosen, rejected, margin=margin, centering=0.0).item() == pytest.approx(0.9669421)


def test_centering_adds_the_squared_sum_of_both_scores():
    chosen, rejected = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    difference = [pair_training.pair_loss(chosen, rejected, margin=0.0, centering=c).item() for c in (0.0, 0.1)]
    assert difference[1] - difference[0] == pytest.approx(0.1 * (1.5**2 + 1.0**2) / 2)


def test_accuracy_log_loss_and_calibration_of_gaps_that_are_known():
    gap = np.log([3.0, 3.0, 1 / 3, 1.0])  # confidence 3/4: two right, one wrong; a tie
    measured = pair_metrics(gap)
    assert measured["accuracy"] == pytest.approx(2.5 / 4)
    assert measured["log_loss"] == pytest.approx((2 * math.log(4 / 3) + math.log(4) + math.log(2)) / 4)
    assert measured["calibration_error"] == pytest.approx(abs(2 - 3 * 0.75) / 4)
    assert measured["pairs"] == 4
    sure = calibration_error(np.full(10, 0.99), np.array([1.0] * 5 + [0.0] * 5))
    assert sure == pytest.approx(0.49)
    assert pair_metrics(np.array([-900.0]))["log_loss"] == pytest.approx(900)


def test_its_learning_rate_rises_in_the_first_twentieth_and_ends_near_nothing():
    """AdamW's first step moves every weight that has a gradient by the learning rate, here of the first of 40 steps."""
    policy = start()
    model, heads = PairModel(policy.model), []

    class Watches:
        def notice(self, text):
            raise AssertionError(text)

        def progress(self, done, total):
            assert total == 40
            heads.append(model.head.detach().clone())

    plan = dataclasses.replace(PLAN, epochs=4, weight_decay=0.0)
    with listening(Watches()):
        pair_training.fit(model, Films().pairs("train"), plan, Reading(text=policy.text, form=PLAIN, longest=24))
    moved = [float((after - before).abs().max()) for before, after in itertools.pairwise(heads)]
    assert len(moved) == 40 and moved[0] == pytest.approx(plan.lr / 2, rel=1e-3)  # two of 40 steps of warm-up
    assert moved[-1] < plan.lr / 10


def test_a_single_score_has_no_deviation_and_becomes_the_center():
    model = PairModel(start().model)
    torch.nn.init.ones_(model.head)
    assert model.standardize(torch.tensor([3.0])) == 1.0
    assert float(model.center) == 3.0 and torch.equal(model.head, torch.ones_like(model.head))


def test_it_learns_what_is_preferred_and_says_how_well(built):
    measured = json.loads((built / "metrics.json").read_text())
    assert measured["accuracy"] > 0.9 and measured["log_loss"] < 0.5 and measured["pairs"] == 80
    scorer = PLAN.load(built)
    examples = [Example.of_text("film 9 is")] * 2
    good, bad = scorer.score(examples, [" good 3", " bad 3"]).total
    assert good > bad + 0.5


def test_scores_of_the_training_pairs_have_mean_0_and_deviation_1(built):
    pairs = Films().pairs("train")
    scored = torch.cat(pair_training.scores(PLAN.load(built), pairs))
    assert float(scored.mean()) == pytest.approx(0, abs=1e-4) and float(scored.std()) == pytest.approx(1, rel=1e-3)


def test_the_measures_are_those_of_the_scores_before_they_were_standardized(built):
    measured = json.loads((built / "metrics.json").read_text())
    chosen, rejected = pair_training.scores(PLAN.load(built), Films().pairs("evaluation"))
    gap = measured["sd"] * (chosen - rejected).double()
    assert float(torch.nn.functional.softplus(-gap).mean()) == pytest.approx(measured["log_loss"], rel=1e-4)


def test_the_same_seed_gives_the_same_scores_and_leaves_the_callers_random_numbers_alone(built, tmp_path):
    state = torch.random.get_rng_state()
    pair_training.build_pair_model(tmp_path, PLAN, given(policy=load_start(tmp_path)))
    again = (tmp_path / "model.safetensors").read_bytes()
    assert again == (built / "model.safetensors").read_bytes()
    assert (tmp_path / "head.safetensors").read_bytes() == (built / "head.safetensors").read_bytes()
    assert torch.equal(torch.random.get_rng_state(), state)


def load_start(path):
    with torch.random.fork_rng(devices=[]):
        return start()


def test_a_score_depends_on_its_own_text_alone(built):
    scorer = PLAN.load(built)
    examples = [Example.of_text(text) for text in ("the film is a film is a film", "film", "film 1 is")]
    answers = ["", " bad bad bad bad", " good"]  # not in the order of their lengths
    together = scorer.score(examples, answers).total
    alone = [scorer.score([one], [text]).total[0] for one, text in zip(examples, answers, strict=True)]
    assert together == pytest.approx(alone, rel=1e-4, abs=1e-5)
    assert all(math.isfinite(scorer.score(examples[:1], [text]).total[0]) for text in UNUSUAL.values())
    assert scorer.score([], []).total == []


def test_of_a_long_text_the_beginning_of_the_prompt_is_cut_and_the_end_token_stays():
    text = Text(tokenizer=small.tokenizer(), eos=0)
    ids = [text.tokenizer.encode(part).ids for part in ("the film is good", " a plot")]
    whole = [*ids[0], *ids[1], 0]
    reading = Reading(text=text, form=PLAIN, longest=len(whole))
    example = [Example.of_text("the film is good")]
    assert reading.sequences(example, [" a plot"]) == [whole]
    shorter = dataclasses.replace(reading, longest=len(whole) - 2)
    assert shorter.sequences(example, [" a plot"]) == [whole[2:]]
    (long,) = dataclasses.replace(reading, longest=8).sequences(example, [" bad" * 50])
    assert len(long) == 8 and long[-1] == 0 and ids[0][-1] not in long


def test_the_head_reads_the_end_token_whatever_follows_it_in_the_batch():
    torch.manual_seed(0)
    model = PairModel(start().model)
    torch.nn.init.normal_(model.head)
    rows = [[5, 6, 7, 0], [8, 0]]
    expected = [(model.body.hidden(torch.tensor([row]))[0, -1] @ model.head[0]).item() for row in rows]
    assert model(*collate(rows)).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_conversation_is_read_through_the_chat_template(chat, tmp_path):
    question = (Message("user", "How is it?"),)

    class Asked(Films):
        def pairs(self, split):
            pairs = super().pairs(split)
            return [dataclasses.replace(one, example=Example(key=one.example.key, prompt=question)) for one in pairs]

    plan = PairReward(epochs=3, batch=8, lr=3e-3, max_tokens=64)
    plan.build(tmp_path, given(Asked(), load_policy(chat)))
    scorer = plan.load(tmp_path)
    example = Example(key="", prompt=question)
    (ids,) = scorer.reading.sequences([example], [" good"])
    shown = scorer.reading.text.tokenizer.decode(ids, skip_special_tokens=False)
    assert shown == "<|user|>How is it?</s><|assistant|> good</s>"
    assert json.loads((tmp_path / "metrics.json").read_text())["accuracy"] > 0.9


def test_without_held_out_pairs_whole_prompts_of_the_training_pairs_are_held_out():
    data = Films(splits=("train",), count=400)
    train, unseen = pair_training.split(given(data), 0.1)
    assert len(train) + len(unseen) == 400 and 20 < len(unseen) < 60
    grown, more = pair_training.split(given(Films(splits=("train",), count=800)), 0.1)
    keys = {pair.example.key for pair in unseen}
    assert keys <= {pair.example.key for pair in more} and not keys & {pair.example.key for pair in grown}


def test_a_margin_is_read_from_its_column_and_a_missing_one_is_named():
    pair = Films().pairs("train")[3]
    assert pair_training.margin(pair, "margin") == 1.0 and pair_training.margin(pair, "") == 0.0
    with pytest.raises(DataError, match=r"reward\.margin=strength: the pair with the key '3' has no finite number"):
        pair_training.margin(pair, "strength")


def test_a_loss_that_is_not_finite_stops_it_and_writes_nothing(tmp_path):
    with pytest.raises(DivergedError, match=r"set reward\.lr lower"):
        PairReward(epochs=3, batch=8, lr=1e30, max_grad_norm=math.inf).build(tmp_path, given())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["head.safetensors", "reading.json", "model.safetensors"])
def test_a_damaged_file_says_how_to_rebuild_it(built, tmp_path, name):
    for file in built.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 10 if file.name == name else None])
    with pytest.raises(DataError, match="rm -r"):
        PLAN.load(tmp_path)


def test_its_backbone_is_the_runs_policy_a_named_model_a_model_with_values_or_a_folder(chat):
    registry.scan()
    policy = registry.expand("model", {"name": "tiny", "width": 64}, "model")
    assert PairReward().starts_from(policy) is policy
    assert PairReward(backbone="tiny").starts_from(policy) is policy
    assert PairReward(backbone={"name": "tiny", "width": 32}).starts_from(policy)["width"] == 32
    assert PairReward(backbone=str(chat)).starts_from(policy)["path"] == str(chat)
    assert PairReward(backbone="smollm2_135m").starts_from(policy)["name"] == "smollm2_135m"


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("", "is no model"),
        (3, "is no model"),
        ("./nowhere", "neither an existing folder nor OWNER/NAME"),
        ({"name": "tiny", "widht": 3}, "no field widht"),
    ],
)
def test_a_backbone_that_is_no_model_is_refused(backbone, message):
    registry.scan()
    (problem,) = PairReward(backbone=backbone).problems()
    assert message in problem and problem.startswith("reward.backbone")


def test_its_weights_start_a_critic_of_the_same_shape_with_and_without_adapters(built):
    scorer = PLAN.load(built)
    body, head = PLAN.value_weights(scorer)
    assert head.shape == (1, 16)
    plain, adapted = start().model, adapt(start().model, Lora(rank=2))
    for critic in (plain, adapted):
        assert load_base(critic, body.state_dict())
        for name, value in merged_state(critic).items():
            torch.testing.assert_close(value, body.state_dict()[name])
    other = Llama(LlamaConfig(vocab=280, width=16, layers=2, heads=2, kv_heads=2, mlp=24, context=24))
    before = {name: value.clone() for name, value in other.state_dict().items()}
    assert not load_base(other, body.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_a_scorer_needs_as_many_examples_as_completions(built):
    with pytest.raises(ValueError, match="zip"):
        PairScorer(PLAN.load(built).model, PLAN.load(built).reading).score([Example.of_text("a")], ["b", "c"])
