"""The two reward models on the real ratings: what they were trained for, and what a policy must not get away with."""

import json
import random

import numpy as np
import pytest

from align_lab.base.task import Example
from align_lab.models.policy import load_policy
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import uniforms
from align_lab.rollout.torch_sampler import sample
from align_lab.tasks.movie_reviews.gold import load_gold
from align_lab.tasks.movie_reviews.human_ratings import HumanRatings
from align_lab.tasks.movie_reviews.reviews import PARTS, words
from align_lab.tasks.movie_reviews.vader import Vader

COLLAPSED = [
    "best " * 20,
    "funny " * 20,
    "great film " * 10,
    "a masterpiece, " * 7,
    "one of the best films of the year " * 4,
    "wonderful wonderful beautiful " * 7,
    "moving " * 9 + "film.",
    "funny, " * 12,
    "the best the best the " * 5,
    "best " * 4,
]
GOOD = "A thoughtful, provocative, insistently humanizing film. "


@pytest.fixture(scope="session")
def gold(real):
    judge = load_gold(real("gold"))

    def scores(texts):
        texts = list(texts)
        return judge.judge(texts)

    return scores


@pytest.fixture(scope="session")
def ordinary(reviews, gold):
    return gold([review.text for review in reviews.evaluation])


def test_the_parts_are_disjoint_and_hold_everything(reviews):
    texts = {part: {" ".join(words(review.text)) for review in getattr(reviews, part)} for part in PARTS}
    assert sum(len(getattr(reviews, part)) for part in PARTS) == 10_605
    assert sum(map(len, texts.values())) == len(set.union(*texts.values()))
    assert abs(len(reviews.proxy) - len(reviews.gold)) <= 2
    assert len(reviews.examples("evaluation")) >= 384 and len(reviews.examples("train")) >= 960
    assert all(len(review.ratings) >= 15 and set(review.ratings) <= set(range(-4, 5)) for review in reviews.evaluation)


def test_gold_orders_human_pairs_and_is_calibrated(real, reviews, gold):
    assert json.loads((real("gold") / "metrics.json").read_text())["accuracy"] >= 0.71
    own = gold([review.text for review in reviews.gold])
    assert own.mean() == pytest.approx(0, abs=1e-3) and own.std() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("text", [*COLLAPSED, GOOD * 3], ids=lambda text: text[:20].strip())
def test_gold_is_not_fooled_by_saying_it_again(gold, ordinary, text):
    assert gold([text])[0] < np.quantile(ordinary, 0.1)


def test_gold_prefers_sentences_to_the_same_words_shuffled(reviews, gold, ordinary):
    rng = random.Random(0)
    texts = [review.text.split() for review in reviews.evaluation]
    shuffled = gold([" ".join(rng.sample(text, len(text))) for text in texts])
    long = np.array([len(text) >= 8 for text in texts])
    assert (shuffled < ordinary)[long].mean() > 0.85


def test_vader_is_the_lexicon(gold):
    scores = Vader().score([Example.of_text("The film is")] * 3, [" great.", " terrible.", ""]).total
    assert scores[0] > 0.5 and scores[1] < -0.3 and scores[2] == 0


@pytest.mark.slow
@pytest.mark.nightly
def test_the_proxy_orders_human_pairs_at_least_as_well_as_a_bag_of_words(real):
    result = json.loads((real("reward") / "metrics.json").read_text())
    assert result["accuracy"] >= 0.72 and result["accuracy_1_apart"] >= 0.79


@pytest.mark.slow
def test_a_policy_that_collapses_scores_below_the_start_policy(real, reviews, gold):
    policy = load_policy(real("policy"))
    prompts = Prompts.encode(reviews.examples("evaluation")[:128], policy.text, context=96, new=32)
    ids, pad = prompts.batch(range(128))
    numbers = uniforms(0, 0, range(128), 1, 32)
    samples = sample(policy.model, ids, pad, uniforms=numbers, temperature=0.7, eos=policy.eos)
    texts = prompts.completions(samples)
    assert 0.5 < samples.ended.float().mean() < 1
    openings = [example.text for example in prompts.examples]
    start = gold([opening + text for opening, text in zip(openings, texts, strict=True)])
    for collapsed in COLLAPSED[:6]:
        assert gold(f"{prompt} {collapsed}" for prompt in openings).max() < np.median(start)
    proxy = HumanRatings().load(real("reward")).score(prompts.examples, texts).total
    assert np.std(proxy) > 0.4  # there is something to learn
