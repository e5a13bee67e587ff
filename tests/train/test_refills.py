"""Groups that are rejected and sampled again, and greedy completions: which prompts, at which cost."""

from dataclasses import replace

import pytest
import torch

from align_lab.base.errors import RewardError, Stopped
from align_lab.base.task import Failure
from align_lab.models.logp import response_logps
from align_lab.rewards.scores import Score
from tests.train.small import TEXTS, CountWord, algorithm, loop, rows

GROUPS, G = 4, 4  # of a step


class OnlySome(CountWord):
    """The completions of some prompts have different scores, those of all others the same. Counts its calls."""

    def __init__(self, informative):
        super().__init__("")
        self.informative, self.asked = informative, []

    def score(self, examples, completions):
        self.asked.append([example.text for example in examples])
        return Score(
            total=[float(i % 2) if example.text in self.informative else 0.5 for i, example in enumerate(examples)]
        )


def dapo(informative, *, refills=9, **plan):
    """A loop in which the length of a completion plays no role."""
    reward = OnlySome(informative)
    it = loop(algorithm("dapo", refills=refills, overlong_coef=0.0), reward=reward, dtype=torch.float64, **plan)
    it.source.sampling = replace(it.source.sampling, missing_eos_penalty=0.0)
    return it, reward


def prompts_of(asked):
    return asked[::G]


def weights(it):
    return torch.cat([parameter.detach().flatten() for parameter in it.learner.policy.parameters()]).clone()


def test_rejected_groups_are_replaced_by_those_of_prompts_that_were_not_drawn_yet():
    order = prompts_of(first_batches(2))
    assert sorted(order) == sorted(TEXTS)
    it, reward = dapo({order[0], order[2], order[5], order[6]})
    collected = it.source.collect(0, groups=GROUPS)
    assert [prompts_of(asked) for asked in reward.asked] == [order[:4], order[4:]]
    assert collected.experience.rollout.score.tolist() == [[0.0, 1.0, 0.0, 1.0]] * GROUPS
    assert collected.metrics["rollout/groups_kept"] == collected.metrics["frac_reward_zero_std"] == 0.5


def first_batches(count):
    """The examples that a reward sees in the first steps of a loop that rejects nothing."""
    it, reward = dapo(set(TEXTS))
    for step in range(count):
        it.source.collect(step, groups=GROUPS)
    return [text for asked in reward.asked for text in asked]


def test_the_next_step_goes_on_after_the_last_prompt_that_a_refill_drew():
    order = prompts_of(first_batches(6))
    it, reward = dapo(set(order[:1]))  # one informative prompt of eight: a step takes several passes over the data
    it.source.needs = replace(it.source.needs, refills=2)
    for step in range(2):
        it.source.collect(step, groups=GROUPS)
    assert [text for asked in reward.asked for text in prompts_of(asked)] == order


def test_everything_that_was_sampled_is_charged():
    order = prompts_of(first_batches(2))
    it, _ = dapo({order[0], order[2], order[5], order[6]}, steps=1, budget={"episodes": 20})
    whole = it.source.collect(0, groups=GROUPS)
    it.source.drawn = 0
    it.run()
    row = it.journal.rows[-1]
    assert row["episode"] == row["budget/labels"] == 2 * GROUPS * G
    assert row["budget/tokens"] == whole.tokens > int(whole.experience.rollout.mask.sum())


def test_more_groups_than_a_step_holds_are_left_out():
    order = prompts_of(first_batches(2))
    it, _ = dapo(set(order) - {order[0]})
    collected = it.source.collect(0, groups=GROUPS)
    assert len(collected.experience.ids) == GROUPS and collected.episodes == 2 * GROUPS * G
    assert collected.metrics["rollout/groups_kept"] == GROUPS / (2 * GROUPS)
    assert collected.metrics["frac_reward_zero_std"] == pytest.approx(1 / 8)


def test_a_step_that_stays_incomplete_trains_on_what_there_is():
    order = prompts_of(first_batches(2))
    it, reward = dapo({order[3]}, refills=1, steps=1)
    before = weights(it)
    it.run()
    assert len(reward.asked) == 2 and it.journal.rows[-1]["rollout/groups_kept"] == 1 / 8
    assert not torch.equal(weights(it), before)


def test_a_step_without_an_informative_group_is_bounded_skipped_charged_and_said(capsys):
    it, reward = dapo(set(), refills=2, steps=2)
    before = weights(it)
    it.run()
    assert torch.equal(weights(it), before) and len(reward.asked) == 2 * 3
    row = it.journal.rows[-1]
    assert row["step"] == 2 and row["episode"] == 2 * 3 * GROUPS * G
    assert row["rollout/groups_kept"] == 0 and row["frac_reward_zero_std"] == 1
    assert "loss/policy_avg" not in row and "eval/score" in row
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == ["step 1 makes no update", "step 2 makes no update"]
    assert "train.group_size" in said[0]


def test_a_run_that_learns_nothing_any_more_is_stopped_saved_and_may_be_tried_again():
    it, _ = dapo(set(), refills=1, steps=40)
    with pytest.raises(RewardError, match="none of the last 10 steps made an update.*larger train.group_size"):
        it.run()
    assert it.progress.step == 10 and it.journal.rows[-1]["step"] == 10
    state = it.journal.saved[10]
    assert state["progress"]["step"] == 10
    again, _ = dapo(set(), refills=1, steps=40)
    again.load_state_dict(state)
    with pytest.raises(RewardError, match="after step 20"):
        again.run()


def test_steps_without_an_update_only_count_in_a_row_and_also_across_a_restart():
    it, reward = dapo(set(), refills=1, steps=25)
    advance = it.advance

    def tenth_steps_learn():
        reward.informative = set(TEXTS) if it.progress.step % 10 == 9 else set()
        return advance()

    it.advance = tenth_steps_learn
    it.run()
    assert it.progress.step == 25
    none, _ = dapo(set(), refills=1, steps=40)
    none.should_stop = lambda: none.progress.step == 6
    with pytest.raises(Stopped):
        none.run()
    resumed, _ = dapo(set(), refills=1, steps=40)
    resumed.load_state_dict(none.journal.saved[6])
    with pytest.raises(RewardError, match="after step 10 "):
        resumed.run()


def test_a_run_whose_completions_are_never_scored_is_stopped_and_says_where_to_look():
    class Abstains(CountWord):
        def score(self, examples, completions):
            return Score(total=[None for _ in completions])

    it = loop(algorithm("rloo"), reward=Abstains("good"), steps=40)
    with pytest.raises(RewardError, match="none of the last 10 steps.*16 of its 16 completions have no score"):
        it.run()


def test_a_run_that_ends_before_the_limit_is_done():
    it, _ = dapo(set(), refills=1, steps=10)
    it.run()
    assert it.progress.step == 10


def test_without_refills_groups_of_equal_scores_stay_and_are_counted():
    order = prompts_of(first_batches(1))
    it, reward = dapo(set(order[:1]), refills=0, steps=1)
    it.run()
    row = it.journal.rows[-1]
    assert len(reward.asked) == 1 and row["frac_reward_zero_std"] == 0.75 and "rollout/groups_kept" not in row


@pytest.mark.parametrize("informative", [3, 1])
def test_a_run_with_refills_that_is_resumed_is_bit_identical(informative):
    chosen = set(prompts_of(first_batches(2))[:informative])
    whole, asked = dapo(chosen, refills=2)
    whole.run()
    assert len(asked.asked) > whole.plan.steps  # there were refills
    resumed, _ = dapo(chosen, refills=2)
    resumed.load_state_dict(whole.journal.saved[2])
    resumed.start_rows = [row for row in whole.journal.samples if row["step"] == 0]
    resumed.run()
    assert rows(resumed) == rows(whole)[3:]
    assert torch.equal(weights(resumed), weights(whole))


def test_remax_charges_the_greedy_completion_of_each_prompt():
    it = loop(algorithm("remax"), dtype=torch.float64, steps=1)
    collected = it.source.collect(0, groups=GROUPS)
    assert collected.episodes == collected.labels == GROUPS * (G + 1)
    sampled = int(collected.experience.rollout.mask.sum())
    assert GROUPS <= collected.tokens - sampled <= GROUPS * it.source.sampling.max_new_tokens
    it.source.drawn = 0
    it.run()
    assert it.journal.rows[-1]["episode"] == GROUPS * (G + 1)
    assert it.journal.rows[-1]["budget/tokens"] == collected.tokens
    plain = loop(algorithm("reinforce"), dtype=torch.float64, steps=1)
    assert plain.source.collect(0, groups=GROUPS).tokens == sampled  # its samples are those of the other algorithms


def test_remax_compares_with_the_score_of_the_most_likely_completion():
    """The greedy completion is found here with a forward pass per token and candidate."""
    it = loop(algorithm("remax"), dtype=torch.float64)
    source, seen = it.source, []
    scorer = source.reward.scorer

    class Listening(CountWord):
        def score(self, examples, completions):
            seen.append(list(zip((example.text for example in examples), completions, strict=True)))
            return scorer.score(examples, completions)

    source.reward = replace(source.reward, scorer=Listening(""))
    rollout = source.collect(0, groups=GROUPS).experience.rollout
    greedy = seen[1]
    assert len(seen[0]) == GROUPS * G and len(greedy) == GROUPS
    for (text, completion), score in zip(greedy, rollout.score_greedy.tolist(), strict=True):
        ids, ended = most_likely(it, text)
        assert completion == source.prompts.tokenizer.decode(ids)
        assert score == pytest.approx(scorer.score([], [completion]).total[0] - (not ended))


def most_likely(it, text):
    """The tokens of the completion whose every token is the most likely one, and whether it ends."""
    prompt = it.source.prompts.tokenizer.encode(text).ids
    tokens = []
    for _ in range(it.source.sampling.max_new_tokens):
        candidates = torch.tensor([[*prompt, *tokens, token] for token in range(280)])
        token = int(response_logps(it.learner.policy, candidates, None, torch.ones(280, 1, dtype=torch.bool)).argmax())
        if token == it.source.prompts.eos:
            return tokens, True
        tokens.append(token)
    return tokens, False


def test_a_greedy_completion_that_cannot_be_scored_is_counted_and_its_group_leaves_the_step():
    class FailsOnce(CountWord):
        """Fails for one of the greedy completions, which are asked for after the sampled ones."""

        def score(self, examples, completions):
            total = list(super().score(examples, completions).total)
            return Score(total=total if len(completions) == GROUPS * G else [Failure("no answer"), *total[1:]])

    it = loop(algorithm("remax"), reward=FailsOnce("good"), dtype=torch.float64)
    it.source.reward = replace(it.source.reward, max_failed=1.0)
    collected = it.source.collect(0, groups=GROUPS)
    assert collected.metrics["reward/failed"] == 1 and len(collected.experience.ids) == GROUPS - 1
