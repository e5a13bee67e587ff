"""The Bradley-Terry reward model, on made-up reviews whose words decide their ratings."""

import json

import pytest
import torch
import torch.nn.functional as F

from align_lab.base.errors import DataError, DivergedError
from align_lab.base.task import Example
from align_lab.models.fitting import collate
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.policy import Policy
from align_lab.models.text import Text
from align_lab.models.tokenizer import EOS, train_tokenizer
from align_lab.tasks.movie_reviews import reward_training as rm
from align_lab.tasks.movie_reviews.human_ratings import HumanRatings
from align_lab.tasks.movie_reviews.reviews import Review
from align_lab.tasks.movie_reviews.two_experts import RewardModel, hashed_grams, load_reward
from tests.tasks.movie_reviews.corpus import synthetic_reviews

TRAIN, HELD_OUT = synthetic_reviews(400), synthetic_reviews(200, seed=1)


def small_policy() -> Policy:
    tokenizer = train_tokenizer([review.text for review in TRAIN], vocab=300)
    torch.manual_seed(0)
    model = Llama(LlamaConfig(vocab=300, width=32, layers=1, heads=2, kv_heads=2, mlp=64, context=96))
    return Policy(model, Text(tokenizer=tokenizer, eos=tokenizer.token_to_id(EOS)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward")
    rm.build_reward(folder, HumanRatings(), small_policy(), train=TRAIN, held_out=HELD_OUT)
    return folder


@pytest.fixture(scope="module")
def reward(folder):
    return load_reward(folder)


def test_it_learns_what_people_prefer(folder):
    result = json.loads((folder / "metrics.json").read_text())
    assert result["accuracy"] > 0.85 and result["accuracy_1_apart"] > 0.9
    assert (result["human_ceiling"], result["vader"]) == (0.9, 0.64)


def test_zero_is_an_average_review_and_one_a_standard_deviation(reward):
    scores = reward.rate([review.text for review in TRAIN])
    torch.testing.assert_close(scores.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(scores.std(), torch.tensor(1.0), atol=1e-4, rtol=0)


def test_a_score_depends_on_its_own_text_alone(reward):
    examples = [Example.of_text("The film")] * 3
    responses = [" is wonderful.", "", " is awful, and the plot is boring, and the cast is clumsy."]
    together = reward.score(examples, responses).total
    alone = [reward.score([p], [r]).total[0] for p, r in zip(examples, responses, strict=True)]
    assert together == pytest.approx(alone, abs=1e-5)
    assert together[0] > together[2]


def test_the_same_seed_gives_the_same_model(folder, tmp_path):
    rm.build_reward(tmp_path, HumanRatings(), small_policy(), train=TRAIN, held_out=HELD_OUT)
    assert (tmp_path / "reward.safetensors").read_bytes() == (folder / "reward.safetensors").read_bytes()


def test_a_preference_is_that_of_two_random_raters():
    one, other = Review("a", (1, 1, 2, 4)), Review("b", (1, 3))
    wins = sum((a > b) + 0.5 * (a == b) for a in one.ratings for b in other.ratings) / 8
    result = rm.preferred(rm.histograms([one, other]))
    torch.testing.assert_close(result, torch.tensor([[0.5, wins], [1 - wins, 0.5]]))


def test_with_clear_preferences_the_loss_is_that_of_all_ordered_pairs():
    score = torch.tensor([0.3, -1.0, 0.7], dtype=torch.float64)
    ratings = rm.histograms([Review("", (rating,)) for rating in (2, 3, -4)]).double()
    better = [(1, 0), (0, 2), (1, 2)]  # 3 > 2 > -4
    expected = -sum(F.logsigmoid(score[w] - score[worse]) for w, worse in better) / 3
    torch.testing.assert_close(rm.all_pairs(score, ratings), expected)


def test_padding_and_the_order_of_texts_do_not_matter():
    torch.manual_seed(0)
    model = RewardModel(Llama(LlamaConfig(vocab=50, width=16, layers=1, heads=2, kv_heads=2, mlp=32, context=16)))
    torch.nn.init.normal_(model.head.weight)
    torch.nn.init.normal_(model.words)
    model.idf.fill_(1.0)
    rows, grams = [[3, 4, 5, 6], [7, 8]], [hashed_grams("good fun"), hashed_grams("a bore")]
    both = model(*collate(rows), grams)
    turned = model(*collate(rows[::-1]), grams[::-1])
    torch.testing.assert_close(both, turned.flip(0))
    torch.testing.assert_close(both[1:], model(*collate(rows[1:]), grams[1:]))


def test_standardizing_changes_neither_order_nor_ratios():
    model = RewardModel(Llama(LlamaConfig(vocab=50, width=16, layers=1, heads=2, kv_heads=2, mlp=32, context=16)))
    torch.nn.init.normal_(model.words)
    model.idf.fill_(1.0)
    texts = ["good fun", "a bore", "good", "so so"]
    ids, grams = collate([[1, 2]] * 4), [hashed_grams(text) for text in texts]
    before = model(*ids, grams).detach()
    expected = (before - before.mean()) / before.std()
    for _ in range(2):  # the second time nothing is left to do
        model.standardize(model(*ids, grams).detach())
        torch.testing.assert_close(model(*ids, grams).detach(), expected, atol=1e-5, rtol=1e-5)


def test_words_count_once_and_case_does_not_matter():
    assert hashed_grams("Fun fun, FUN fun") != hashed_grams("fun")  # the pair 'fun fun' is news, the word is not
    assert hashed_grams("fun fun fun") == hashed_grams("Fun fun FUN fun")


def test_a_loss_that_is_not_finite_stops_it(tmp_path):
    with pytest.raises(DivergedError, match=r"set reward\.body_lr"):
        rm.build_reward(
            tmp_path, HumanRatings(body_lr=1e30, words_lr=1e30), small_policy(), train=TRAIN, held_out=HELD_OUT
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["reward.safetensors", "reward.json", "tokenizer.json"])
def test_a_file_cut_short_says_how_to_rebuild_it(folder, tmp_path, name):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 50 if file.name == name else None])
    with pytest.raises(DataError, match="rm -r"):
        load_reward(tmp_path)


def test_it_has_to_be_trained_first():
    with pytest.raises(DataError, match="trained before it is used"):
        HumanRatings().load(None)
