"""A failure is counted and never becomes a number; its group leaves the step; too many failures stop the run, saved."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from align_lab import equations as eq
from align_lab.algos.reinforce_pp import ReinforcePP
from align_lab.algos.rloo import RLOO
from align_lab.base.errors import RewardError
from align_lab.base.task import Example, Failure, Score, StepScore
from align_lab.base.world import World
from align_lab.rewards.scores import check
from align_lab.train.draws import draw
from align_lab.train.scoring import LimitedScorer, as_tensor, score_metrics, step_rewards
from tests.train.small import CountWord, loop, tokenizer

TEXTS = ["a", "b", "c", "d"]


class Fixed:
    """Returns what it was given."""

    def __init__(self, *outcomes, **more):
        self.outcomes, self.more = outcomes, more

    def score(self, examples, completions):
        return Score(total=self.outcomes, **self.more)


class Sometimes:
    """Counts a word, with another outcome for the completions of some prompts."""

    def __init__(self, outcomes, word="o"):
        self.outcomes, self.inner, self.calls = outcomes, CountWord(word), 0

    def score(self, examples, completions):
        self.calls += 1
        totals = self.inner.score(examples, completions).total
        named = [self.outcomes.get(example.text, total) for example, total in zip(examples, totals, strict=True)]
        return Score(total=named)


def limited(scorer, texts=TEXTS, max_failed=1.0):
    examples = [Example.of_text(text) for text in texts]
    return LimitedScorer(scorer=scorer, max_failed=max_failed)(examples, texts, World())


def test_a_failure_is_no_number_and_an_abstention_is_no_failure():
    checked = limited(Fixed(1.0, None, Failure("the server returned 500"), 2))
    assert checked.values == [1.0, None, None, 2.0]
    assert checked.failures == {2: "the server returned 500"}
    assert checked.abstentions == 1
    assert as_tensor(checked.values).isnan().tolist() == [False, True, True, False]


@pytest.mark.parametrize("outcome", [math.nan, math.inf, "0.5", object(), [1.0]])
def test_what_is_no_finite_number_is_a_failure(outcome):
    checked = limited(Fixed(1.0, outcome, 2.0, 3.0))
    assert checked.values[1] is None
    assert "no finite number" in checked.failures[1]


def test_too_few_scores_are_an_error():
    with pytest.raises(RewardError, match="3 scores for 4 completions: it must return one each"):
        limited(Fixed(1.0, 2.0, 3.0))
    with pytest.raises(RewardError, match="1 scores of its part 'format' for 4 completions"):
        limited(Fixed(1.0, 2.0, 3.0, 4.0, parts={"format": [1.0]}))


def test_too_many_failures_show_the_first_with_its_completion():
    limited(Fixed(Failure("no"), 1.0, 1.0, 1.0), max_failed=0.25)
    with pytest.raises(
        RewardError, match=r"2 of 4 completions .* The first of them, 'b': it timed out\.\n.*max_failed=0.5$"
    ):
        limited(Fixed(1.0, Failure("it timed out"), 1.0, Failure("no")), max_failed=0.25)


def test_a_reason_that_is_a_sentence_ends_once():
    with pytest.raises(RewardError, match=r"'a': it timed out\.\nNothing is lost"):
        limited(Fixed(*[Failure("it timed out.")] * 4), max_failed=0.25)


def test_where_everything_fails_there_is_nothing_to_allow():
    with pytest.raises(RewardError) as error:
        limited(Fixed(*[Failure("no")] * 4), max_failed=0.25)
    assert "Nothing is lost" in str(error.value) and "allow more" not in str(error.value)


def test_parts_are_averaged_over_those_that_have_one():
    scored = Score(
        total=[1.0, 2.0, None, 3.0],
        parts={"format": [1.0, None, 0.0, 0.5], "answer": [None, None, Failure("x"), None]},
    )
    assert score_metrics(check(scored, TEXTS), World()) == {
        "reward/failed": 0.0,
        "reward/abstained": 1.0,
        "reward/format": 0.5,
    }


@pytest.mark.parametrize("outcome", [Failure("no answer"), None])
def test_the_group_of_a_completion_without_a_score_leaves_the_step(outcome):
    first, both = loop(RLOO()), loop(RLOO())
    both.source = replaced(both.source, Sometimes({prompts_of(both, 0)[2]: outcome}))
    first.source = replaced(first.source, Sometimes({}))
    one, other = first.source.collect(0, groups=4), both.source.collect(0, groups=4)
    kept = (one.experience.rollout.mask.shape[0], other.experience.rollout.mask.shape[0])
    assert kept == (4, 3)
    assert one.episodes == other.episodes == 16, "a completion that was sampled is charged"
    assert other.experience.rollout.score.isfinite().all()


def replaced(source, scorer):
    return replace(source, reward=LimitedScorer(scorer=scorer, max_failed=1.0))


def prompts_of(of, step):
    texts = [example.text for example in of.source.prompts.examples]
    return [texts[i] for i in draw(len(texts), 4, 4 * step, 0).tolist()]


def test_a_step_without_any_score_changes_no_weight_and_goes_on():
    run = loop(RLOO(), steps=2)
    texts = [example.text for example in run.source.prompts.examples]
    run.source = replaced(run.source, Sometimes(dict.fromkeys(texts)))
    before = [p.clone() for p in run.learner.policy.parameters()]
    run.run()
    assert all(torch.equal(a, b) for a, b in zip(before, run.learner.policy.parameters(), strict=True))
    assert [row["reward/abstained"] for row in run.journal.rows if row["step"]] == [16.0, 16.0]
    assert run.progress.episode == 32


def test_a_judge_that_fails_stops_the_run_saved_and_the_evaluation_is_made_later():
    straight, broken = loop(RLOO(), steps=2), loop(RLOO(), steps=2)
    broken.evaluate = with_judge(broken.evaluate, FailsAt(call=2))
    with pytest.raises(RewardError, match="the judge does not answer"):
        broken.run()
    state = broken.state_dict()
    assert [row["step"] for row in broken.journal.rows] == [0, 1]
    assert state["progress"]["step"] == 2 and broken.saved_step == 2

    again = loop(RLOO(), steps=2)
    again.journal, again.start_rows = broken.journal, broken.start_rows
    again.load_state_dict(state)
    again.run()
    straight.run()
    untimed = lambda rows: [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]  # noqa: E731
    assert untimed(again.journal.rows) == untimed(straight.journal.rows)


def test_an_evaluation_that_was_repeated_is_saved_at_once():
    """Else a stop before the next checkpoint would leave one whose row seems to be missing, beside a record with it."""
    broken = loop(RLOO(), steps=4)
    broken.evaluate, broken.save_every = with_judge(broken.evaluate, FailsAt(call=2)), 100
    with pytest.raises(RewardError):
        broken.run()
    assert broken.journal.saved[2]["unlogged"]
    again = loop(RLOO(), steps=4)
    again.journal, again.start_rows, again.save_every = broken.journal, broken.start_rows, 100
    again.load_state_dict(copy.deepcopy(broken.journal.saved[2]))
    again.progress.best_score = 1e9  # so that no step is saved for being the best
    again.run()
    assert "unlogged" not in again.journal.saved[2]


class FailsAt:
    """Raises at one call."""

    def __init__(self, call):
        self.call, self.inner, self.calls = call, CountWord("film"), 0

    def score(self, examples, completions):
        self.calls += 1
        if self.calls == self.call:
            raise RewardError("the judge does not answer")
        return self.inner.score(examples, completions)


def with_judge(evaluate, scorer):
    return replace(evaluate, judges={**evaluate.judges, "vader": LimitedScorer(scorer=scorer)})


def test_step_scores_are_at_the_tokens_that_complete_the_steps():
    encoding = tokenizer().encode("good film good")
    tokens = torch.tensor([[*encoding.ids, 0, 0]])
    mask = torch.tensor([[True] * len(encoding.ids) + [False, False]])
    text = tokenizer().decode(encoding.ids)
    steps = [[StepScore(start=0, end=4, score=1.0), StepScore(start=4, end=len(text), score=0.5)]]
    placed = step_rewards(steps, tokens, mask, tokenizer())
    assert placed.sum() == 1.5
    last = len(encoding.ids) - 1
    assert placed[0, last] == 0.5
    first = int((placed[0] == 1.0).nonzero())
    assert len(tokenizer().decode(encoding.ids[: first + 1])) >= 4 > len(tokenizer().decode(encoding.ids[:first]))


def test_with_step_rewards_each_token_gets_the_return_of_the_steps_that_follow():
    rollout = loop(ReinforcePP()).source.collect(0, groups=4).experience.rollout
    rollout = replace(rollout, logp_ref=rollout.logp_old)
    steps = torch.zeros_like(rollout.logp_old)
    steps[..., 0] = 2.0
    whole = eq.token_reward(rollout, rollout.score, 0.0)
    split = eq.token_reward(replace(rollout, step_reward=steps), rollout.score, 0.0)
    assert torch.allclose(whole.sum(-1), split.sum(-1))
    assert torch.allclose(split[..., 0] - whole[..., 0], torch.tensor(2.0))
    after = lambda r: eq.reward_to_go(r, rollout.mask, gamma=1.0)  # noqa: E731
    several = rollout.mask.sum(-1) > 1
    assert torch.allclose(after(whole)[..., 0], after(split)[..., 0])
    assert torch.allclose(after(split)[..., 1][several], (after(whole)[..., 1] - 2.0)[several])
