"""Equal scores say nothing about what is better: they are counted, and no weight moves, not even by rounding.

An optimizer that divides by the root mean square of its gradients would make full steps of remainders of rounding.
"""

import dataclasses

import pytest
import torch

from align_lab.base.task import Score
from tests.train import small

WITHOUT_KL = {  # algorithms that learn from differences of scores alone
    "rloo": {"kl_coef": 0.0},
    "reinforce_pp": {"kl_coef": 0.0},
    "reinforce_pp_baseline": {"kl_coef": 0.0},
    "remax": {"kl_coef": 0.0},
    "remax_released": {"kl_coef": 0.0},
    "raft": {"kl_coef": 0.0},
    "grpo": {"kl_coef": 0.0},
    "dr_grpo": {},
    "dapo": {"refills": 0, "overlong_coef": 0.0},
    "gspo": {},
    "cispo": {},
    "online_dpo": {},
}
FAMILY = [
    {"baseline": baseline, "normalization": normalization, "kl": "none"}
    for baseline, normalization in (
        *(("leave_one_out", each) for each in ("none", "group", "batch")),
        *(("group_mean", each) for each in ("none", "group", "batch")),
        ("none", "batch"),
    )
]
AT_THE_START = ("raft", {"kl_coef": 0.05})  # policy and reference are the same, up to the rounding of two kernels
CASES = [*WITHOUT_KL.items(), AT_THE_START, *(("policy_gradient", fields) for fields in FAMILY)]


class Same:
    """Gives every completion the same score, one that binary fractions do not hold exactly."""

    def score(self, examples, completions):
        return Score(total=[0.1 for _ in completions])


def trained(name, fields, **plan):
    """The loop after two steps without a penalty for truncated completions, which would tell completions apart."""
    it = small.loop(small.algorithm(name, **fields), reward=Same(), **{"steps": 2, **plan})
    source = it.source
    source.sampling = dataclasses.replace(source.sampling, missing_eos_penalty=0.0)
    it.run()
    return it


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "fields"), CASES, ids=[f"{n}-{'-'.join(map(str, f.values()))}" for n, f in CASES])
@pytest.mark.parametrize("group", [3, 7])
def test_equal_scores_move_no_weight_and_are_counted(name, fields, group):
    before = dict(small.model().named_parameters())
    it = trained(name, fields, group_size=group)
    after = dict(it.learner.policy.named_parameters())
    assert all(torch.equal(after[key].cpu(), value) for key, value in before.items())
    rows = [row for row in it.journal.rows if "objective/scores" in row]
    assert len(rows) == 2 and all(row["frac_reward_zero_std"] == 1 for row in rows)


@pytest.mark.parametrize("name", ["ppo", "reinforce", "vanilla_pg"])
def test_groups_of_equal_scores_are_counted_by_algorithms_that_compare_no_group(name):
    rows = trained(name, {}, group_size=2).journal.rows
    assert [row["frac_reward_zero_std"] for row in rows if "objective/scores" in row] == [1, 1]
    single = trained(name, {}, group_size=1).journal.rows
    assert not any("frac_reward_zero_std" in row for row in single)


@pytest.mark.parametrize(("name", "said"), [("grpo", 2), ("rloo", 2), ("ppo", 0), ("reinforce_pp", 0)])
def test_ten_steps_of_equal_scores_in_a_row_are_said(name, said, capsys):
    it = trained(name, {"kl_coef": 0.0}, steps=20, prompts_per_step=2, group_size=2)
    text = capsys.readouterr().err
    assert text.count("the scores of every group were equal in each of the last 10 steps") == said
    assert ("step 10: " in text) == bool(said) and it.progress.equal == (20 if said else 0)
    assert "is the reward right?" in text or not said


def test_steps_with_scores_that_differ_end_the_count(capsys):
    it = small.loop(small.algorithm("grpo"), steps=4)
    it.progress.equal = 8
    it.run()
    assert it.progress.equal < 8 and not capsys.readouterr().err
