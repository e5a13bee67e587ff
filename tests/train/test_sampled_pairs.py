"""Pairs of sampled completions: as many as are asked for, however many batches they take, and what they cost."""

from __future__ import annotations

import json

import pytest
import torch

from align_lab.base.errors import DataError
from align_lab.base.settings import Preferences, Sampling
from align_lab.base.task import Example, Score
from align_lab.models.policy import Policy
from align_lab.models.text import Text
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.train.pair_source import load_pairs
from align_lab.train.preference_pairs import PROMPTS, build_pairs
from align_lab.train.scoring import LimitedScorer
from tests.train.small import TEXTS, model, tokenizer

SAMPLES = 2


class Counting:
    """Scores a completion by how many it has scored before, or all equally. Keeps the completions."""

    def __init__(self, *, equal=False):
        self.equal, self.seen = equal, []

    def score(self, examples, completions):
        first = len(self.seen)
        self.seen += completions
        return Score(total=[0.0 if self.equal else float(first + i) for i in range(len(completions))])


def built(folder, reward, pairs):
    text = Text(tokenizer=tokenizer(), eos=0)
    sampling = Sampling(max_new_tokens=6, missing_eos_penalty=0.0)
    prompts = Prompts.encode([Example.of_text(one) for one in TEXTS], text, context=24, new=6)
    build_pairs(
        folder,
        Preferences(pairs=pairs, samples=SAMPLES),
        policy=Policy(model(), text),
        prompts=prompts,
        reward=LimitedScorer(scorer=reward),
        sampling=sampling,
    )
    return load_pairs(folder, seed=0)


def test_pairs_that_take_several_batches_are_all_different_draws_and_every_completion_is_charged(tmp_path):
    reward = Counting()
    source = built(tmp_path, reward, 3 * PROMPTS // 2)
    x = source.experience
    assert len(x.ids) == 3 * PROMPTS // 2
    assert len(reward.seen) == 2 * PROMPTS * SAMPLES  # two batches, of which the second is used in part
    assert x.rollout.score.tolist() == [[2.0 * i + 1, 2.0 * i] for i in range(len(x.ids))]
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert cost["episodes"] == cost["labels"] == len(reward.seen) and cost["reference_tokens"] == 0
    times = 2 * PROMPTS // len(TEXTS)  # that each prompt is read; its two completions share it
    assert cost["prompt_tokens"] == times * sum(len(tokenizer().encode(text).ids) for text in TEXTS)
    used = int(x.rollout.mask.sum())
    assert used < cost["tokens"] <= 6 * len(reward.seen)
    assert cost["tokens"] == pytest.approx(used * 4 / 3, rel=0.1)  # completions are about as long in either batch
    first, second = x.rollout.logp_old[:PROMPTS].sum(-1), x.rollout.logp_old[PROMPTS:].sum(-1)
    assert len(set(torch.cat([first, second]).flatten().tolist())) > 1.5 * PROMPTS


def test_where_the_trainer_computes_the_log_probabilities_of_pairs_it_has_the_temperature_of_sampling(
    tmp_path, monkeypatch
):
    """It does where another engine samples, or weights are narrow; here it must give what the sampler has given."""
    of_sampler, of_trainer = tmp_path / "sampler", tmp_path / "trainer"
    of_sampler.mkdir()
    of_trainer.mkdir()
    expected = built(of_sampler, Counting(), 8).experience.rollout
    monkeypatch.setattr(TorchSampler, "exact", False)
    rollout = built(of_trainer, Counting(), 8).experience.rollout
    assert torch.equal(rollout.mask, expected.mask)
    torch.testing.assert_close(rollout.logp_old, expected.logp_old, atol=1e-4, rtol=1e-4)


def test_completions_of_equal_scores_give_no_pair_and_the_search_ends(tmp_path):
    reward = Counting(equal=True)
    with pytest.raises(DataError, match="only 0 of 10 pairs .* have equal scores. Increase sampling.temperature"):
        built(tmp_path, reward, 10)
    assert 20 * PROMPTS * SAMPLES < len(reward.seen) <= 21 * PROMPTS * SAMPLES
    assert not list(tmp_path.iterdir())
