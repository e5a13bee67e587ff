"""Which prompts a policy is trained and judged on, and that every score belongs to its prompt and completion."""

from __future__ import annotations

import pytest

from align_lab.base.task import Example
from align_lab.models.policy import Policy
from align_lab.models.text import Text
from align_lab.rewards.reward_model import PairReward
from align_lab.run.assembly import human_text
from tests.train import small
from tests.wiring.by_hand import number_of, recorded_steps, rows_of, texts
from tests.wiring.conftest import REWARD_MODEL, choice, names
from tests.wiring.parts import PROMPTS, true_score

TRAIN = set(PROMPTS["train"])
SAMPLING = names(lambda needs: needs.samples and not (needs.critic and needs.critic.init == "reward"))


def prompts_of(it, experience):
    return [texts(it, row)[0] for row in rows_of(experience)]


@pytest.mark.parametrize("name", ["rloo", "online_dpo", "ppo"])
def test_training_samples_only_the_prompts_of_the_training_split_each_once_a_pass(run, name):
    it = run(f"algo={name}")
    seen = [prompts_of(it, got.experience) for got, _ in recorded_steps(it, 4)]
    groups = [prompt for step in seen for prompt in step[::4]]
    assert sorted(groups[:8]) == sorted(groups[8:]) == sorted(PROMPTS["train"])
    assert groups[:8] != groups[8:]
    assert all(step == [prompt for prompt in step[::4] for _ in range(4)] for step in seen)  # a group has one prompt


def test_training_never_sees_an_evaluation_prompt_and_evaluation_never_a_training_prompt(run):
    it = run("algo=rloo", evaluation={"every": 1})
    it.loop.run()
    asked = {key for key, _ in it.loop.source.reward.scorer.asked}
    assert it.loop.source.prompts.examples != it.loop.evaluate.sets["near"].examples
    assert {one.prompt for one in it.loop.source.prompts.examples} == TRAIN
    assert {row["prompt"] for row in it.loop.journal.samples} == set(PROMPTS["near"]) | set(PROMPTS["far"])
    assert {row["set"] for row in it.loop.journal.samples} == {"near", "far"}
    assert {key.split("-")[0] for key in asked} == {"train", "near", "far"}


def test_the_sets_that_are_named_are_judged_and_the_first_one_decides(run):
    it = run("algo=rloo", evaluation={"sets": ["far"], "prompts": 3})
    it.loop.run()
    assert [row["prompt"] for row in it.loop.journal.samples if row["step"] == 0] == PROMPTS["far"][:3]
    assert [row["step"] for row in it.rows if "eval/score" in row] == [0, 2, 3]


def test_preference_pairs_are_made_of_training_prompts(run):
    it = run("algo=dpo")
    assert set(prompts_of(it, it.loop.source.experience)) <= TRAIN
    assert len({*prompts_of(it, it.loop.source.experience)}) > 4


@pytest.mark.parametrize("source", ["reward", "data"])
def test_both_completions_of_a_pair_answer_the_same_prompt(run, source):
    it = run("algo=dpo", "sampling.max_new_tokens=12", preferences={"source": source, "pairs": 8})
    prompts = prompts_of(it, it.loop.source.experience)
    assert prompts[::2] == prompts[1::2]


@pytest.mark.parametrize("name", SAMPLING)
def test_a_score_is_that_of_the_completion_after_its_own_prompt(run, name):
    overrides, fields = choice(name)
    it = run(*overrides, "sampling.missing_eos_penalty=0", **fields)
    checked = 0
    for got, _ in recorded_steps(it, 2):
        rollout = got.experience.rollout
        for row in rows_of(got.experience):
            if rollout.origin is not None and rollout.origin[row.place[0]] == 0:
                continue  # a pair of the set
            prompt, completion, _ = texts(it, row)
            assert float(rollout.score[row.place]) == pytest.approx(true_score(number_of(prompt), completion), abs=1e-6)
            checked += 1
    assert checked


def test_the_reward_is_asked_once_for_each_completion_with_the_example_of_its_prompt(run):
    it = run("algo=rloo")
    ((got, _),) = recorded_steps(it, 1)
    rows = [texts(it, row) for row in rows_of(got.experience)]
    expected = [(f"train-{number_of(prompt)}", completion) for prompt, completion, _ in rows]
    assert it.loop.source.reward.scorer.asked == expected


@pytest.mark.parametrize("samples", [1, 3])
def test_an_evaluated_row_has_the_score_of_its_own_prompt_and_completion(run, samples):
    judges = {"other": {"name": "length", "count": "characters", "longest": 2, "margin": 50}}
    it = run("algo=rloo", evaluation={"samples": samples, "judges": judges})
    rows = it.loop.evaluate(it.loop.learner, step=0)
    assert len(rows) == samples * (5 + 4)
    for row in rows:
        own = true_score(number_of(row["prompt"]), row["completion"])
        assert row["score"] == pytest.approx(own - (not row["ended"]), abs=1e-9)
        assert row["other"] == pytest.approx(-min(1, max(0, len(row["completion"]) - 2) / 50))
        assert row["prompt"] == PROMPTS[row["set"]][row["index"]]


def test_the_penalty_for_a_completion_without_an_end_is_in_training_evaluation_and_pairs_but_not_in_a_judge(run):
    judge = {"same": {"name": "knows_the_example", "max_failed": 0.1}}
    it = run("algo=rloo", "sampling.missing_eos_penalty=3", "sampling.max_new_tokens=3", evaluation={"judges": judge})
    ((got, _),) = recorded_steps(it, 1)
    ends = set()
    for row in rows_of(got.experience):
        prompt, completion, ended = texts(it, row)
        ends.add(ended)
        expected = true_score(number_of(prompt), completion) - (0 if ended else 3)
        assert float(got.experience.rollout.score[row.place]) == pytest.approx(expected, abs=1e-6)
        assert bool(got.experience.rollout.ended[row.place]) == ended
    for row in it.loop.evaluate(it.loop.learner, step=0):
        assert row["same"] - row["score"] == pytest.approx(0 if row["ended"] else 3)
    assert ends == {True, False}
    of_pairs = run("algo=dpo", "sampling.missing_eos_penalty=3", "sampling.max_new_tokens=3")
    pairs = of_pairs.loop.source.experience
    for row in rows_of(pairs):
        prompt, completion, ended = texts(of_pairs, row)
        expected = true_score(number_of(prompt), completion) - (0 if ended else 3)
        assert float(pairs.rollout.score[row.place]) == pytest.approx(expected, abs=1e-6)


def test_human_text_is_that_of_the_training_split_and_another_part_of_it_at_every_step(run):
    it = run("algo=ppo_max", algo={"critic_init": "policy"})
    texts_of_train = {text + " film" * (1 + i) for i, text in enumerate(PROMPTS["train"])}
    seen = []
    for step in range(2):
        batch = it.loop.pretrain(step)
        for ids, mask in zip(batch.ids.tolist(), batch.mask.tolist(), strict=True):
            count = 1 + sum(mask)
            assert ids[count - 1] == it.start.eos
            seen.append(it.start.tokenizer.decode(ids[: count - 1]))
    assert len(seen) == 8 and set(seen) == texts_of_train


def test_a_trained_judge_has_weights_of_its_own(run):
    judge = {**REWARD_MODEL, "lr": 0.05, "seed": 9}
    it = run("algo=rloo", reward=REWARD_MODEL, evaluation={"judges": {"other": judge}, "prompts": 2})
    scorers = {
        "score": it.cfg.reward.load(it.built["reward"].path),
        "other": it.cfg.judges["other"].load(it.built["judges.other"].path),
    }
    for row in it.loop.evaluate(it.loop.learner, step=0):
        example = [Example.of_text(row["prompt"])]
        own = {name: one.score(example, [row["completion"]]).total[0] for name, one in scorers.items()}
        assert row["other"] == pytest.approx(own["other"], rel=1e-4, abs=1e-5)
        assert row["score"] == pytest.approx(own["score"] - (not row["ended"]), rel=1e-4, abs=1e-5)
        assert abs(own["other"] - own["score"]) > 1e-3


def test_a_trained_reward_inside_another_is_loaded_from_its_own_artefact(run):
    reward = {"name": "weighted", "of": {"first": {**REWARD_MODEL, "weight": 2.0}}, "max_failed": 0.1}
    it = run("algo=rloo", reward=reward, evaluation={"prompts": 2})
    inside = PairReward().load(it.built["reward.first"].path)
    for row in it.loop.evaluate(it.loop.learner, step=0):
        own = inside.score([Example.of_text(row["prompt"])], [row["completion"]]).total[0]
        assert row["score"] == pytest.approx(2 * own - (not row["ended"]), rel=1e-4, abs=1e-4)


def test_human_text_ends_with_the_end_token_of_the_policy_whichever_it_is():
    policy = Policy(small.model(), Text(tokenizer=small.tokenizer(), eos=7))
    batch = human_text(policy, ["a good film", "bad"], rows=2, seed=0, step=0)
    ends = [int(ids[int(mask.sum())]) for ids, mask in zip(batch.ids, batch.mask, strict=True)]
    assert ends == [7, 7]
    written = [
        policy.tokenizer.decode(ids[: int(mask.sum())].tolist())
        for ids, mask in zip(batch.ids, batch.mask, strict=True)
    ]
    assert sorted(written) == ["a good film", "bad"]
