"""A clip that is changed where it cannot act is said before the run: a study of it would find no difference."""

import pytest

from align_lab.config.composition import compose

SAID = "with one update a step (train.epochs=1 train.minibatches=1) no clip ever acts"


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["algo=ppo", "algo.clip=0.1", "algo.value_clip=.inf"], "algo.clip=0.1, algo.value_clip=inf: "),
        (["algo=cispo", "algo.weight_cap=2"], "algo.weight_cap=2.0: "),
        (["algo=ppo", "algo.clip=0.1", "train.minibatches=4"], ""),
        (["algo=ppo", "algo.clip=0.1", "train.epochs=2"], ""),
        (["algo=ppo_max_moss_script", "algo.critic_init=policy"], ""),
    ],
)
def test_a_changed_clip_is_said_where_a_step_makes_one_update(texts, named):
    said = [caution for caution in compose(texts).cautions if SAID in caution]
    assert len(said) == bool(named) and all(caution.startswith(named) for caution in said)
