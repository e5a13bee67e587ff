"""What a run's seed moves: which stages are built anew, which arms share them, and what is refused."""

import pytest

from align_lab.base import vary
from align_lab.base.errors import ConfigError
from align_lab.config import study
from align_lab.config.composition import compose
from align_lab.dispatch import expected_runs
from align_lab.dispatch.plan import plan
from align_lab.stages.dependencies import stages

ALL = "vary=[rl,pairs,reward,policy]"


def keys(*overrides):
    return {name: stage.key for name, stage in stages(compose(list(overrides))).items()}


def differing(one, other):
    return {name for name in one if one[name] != other[name]}


@pytest.mark.parametrize(
    ("varied", "moved"),
    [
        ("[rl]", set()),
        ("[rl,pairs]", {"pairs"}),
        ("[rl,pairs,reward]", {"pairs", "reward"}),
        ("[rl,pairs,reward,policy]", {"pairs", "reward", "policy"}),
    ],
)
def test_a_seed_moves_what_is_declared_and_no_judge_and_no_data(varied, moved):
    usual = keys("algo=dpo", f"vary={varied}", "seed=0")
    assert differing(usual, keys("algo=dpo", f"vary={varied}", "seed=3")) == moved
    assert usual == keys("algo=dpo", "seed=3")  # with seed 0, a stage is the one that does not vary


def test_arms_with_one_seed_share_its_builds_whatever_they_learn_from():
    dpo, rloo, grpo = (keys(f"algo={algo}", ALL, "seed=3") for algo in ("dpo", "rloo", "grpo"))
    assert rloo == grpo and {name: dpo[name] for name in rloo} == rloo
    assert set(dpo) - set(rloo) == {"pairs"}


def test_a_stage_that_varies_has_its_own_seed_plus_the_runs():
    moved = keys("algo=dpo", ALL, "seed=3", "model.sft.seed=4", "reward.seed=5", "preferences.seed=6")
    assert moved == keys("algo=dpo", "model.sft.seed=7", "reward.seed=8", "preferences.seed=9")


def test_rewards_inside_another_are_moved_where_they_are_trained():
    inside = {"name": "weighted", "of": {"a": {"name": "human_ratings", "seed": 1}, "b": {"name": "length"}}}
    values = compose(["algo=rloo"]).values
    moved = vary.moved({**values, "reward": inside, "seed": 2, "vary": ["rl", "reward"]})
    assert moved["reward"]["of"] == {"a": {"name": "human_ratings", "seed": 3}, "b": {"name": "length"}}
    assert inside["of"]["a"]["seed"] == 1  # the run's own config says what was declared


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["vary=[rl,paris]"], "vary=[rl,paris]: paris is not known: did you mean 'pairs'?"),
        (["vary=[policy]"], "a seed always moves RL. Type vary=[rl,policy]"),
        (["vary=[]"], "a seed always moves RL. Type vary=[rl]"),
        (["vary=[rl,reward]", "reward=vader"], "reward=vader is not trained with a seed"),
        (["vary=[rl,policy,reward]", "model=smollm2_135m"], "model=smollm2_135m starts as it was released"),
        (["vary=[rl,policy]"], "lacks reward: reward=human_ratings is trained from the start policy"),
        (["algo=dpo", "vary=[rl,reward]"], "lacks pairs: the pairs are sampled by the start policy"),
        (["algo=dpo", "vary=[rl,policy]"], "Type vary=[rl,pairs,reward,policy]"),
    ],
)
def test_a_list_that_would_say_something_wrong_is_refused(overrides, words):
    with pytest.raises(ConfigError) as error:
        compose(overrides)
    assert words in str(error.value)


def test_a_released_model_varies_by_its_adapters():
    cfg = compose(["vary=[rl,policy,reward]", "model=smollm2_135m", "model.lora.rank=4", "model.lora.seed=5", "seed=2"])
    assert vary.moved(cfg.values)["model"]["lora"]["seed"] == 7 and cfg["model"]["lora"]["seed"] == 5


def test_an_algorithm_without_pairs_has_the_list_of_its_study():
    assert compose(["algo=rloo", "vary=[pairs,rl,pairs]"])["vary"] == ["rl", "pairs"]
    assert compose(["algo=rloo"])["vary"] == ["rl"]


def test_the_order_of_the_list_is_no_setting_and_the_list_is_one():
    names = [compose([f"vary={each}"]).name for each in ("[rl,pairs]", "[pairs,rl]", "[rl]")]
    assert names[0] == names[1] != names[2]


ARMS = ["algo=rloo,dpo"]


@pytest.mark.parametrize(
    "seeds", [["seeds=[0,1]", "vary=[rl,pairs]"], ["seeds={first: 3, most: 3, smallest: 0.1, vary: [rl, pairs]}"]]
)
def test_a_study_declares_it_beside_a_list_of_seeds_or_inside_the_steps(seeds):
    asked = study.read([*ARMS, *seeds])
    assert {tuple(run["vary"]) for run in asked.runs} == {("rl", "pairs")}
    assert (asked.seed_plan is not None) == (len(seeds) == 1)


def test_the_command_line_replaces_what_the_seeds_say():
    asked = study.read([*ARMS, "seeds={first: 3, most: 3, smallest: 0.1, vary: [rl, pairs]}", "vary=[rl]"])
    assert {tuple(run["vary"]) for run in asked.runs} == {("rl",)}


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ("{first: 3, vary: [rl, judge]}", "seeds.vary=[rl,judge]: judge is not known"),
        ("{first: 3, vary: pairs}", "it must be a list of rl, pairs, reward, policy"),
    ],
)
def test_a_wrong_list_in_the_seeds_is_refused(seeds, words):
    with pytest.raises(ConfigError) as error:
        study.read([*ARMS, f"seeds={seeds}"])
    assert words in str(error.value)


def test_stages_are_planned_once_a_seed_and_shared_by_the_arms():
    runs = study.read(["algo=rloo,grpo,dpo", "seeds=[0,1,2]", ALL]).runs
    tasks = plan("s", runs, skipped={}, built=()).tasks
    kinds = sorted(task.name.rpartition("-")[0] for task in tasks if task.kind == "stage")
    assert kinds == ["data", "gold"] + 3 * ["human_ratings"] + 3 * ["preferences"] + 3 * ["sft"]


def test_a_study_that_was_begun_with_another_list_is_not_continued(tmp_path):
    begun = study.read([*ARMS, "seeds=[0,1]"])
    expected_runs.refuse_other_seeds(tmp_path, begun)
    expected_runs.update(tmp_path, begun)
    expected_runs.refuse_other_seeds(tmp_path, study.read([*ARMS, "seeds=[2,3]"]))
    with pytest.raises(ConfigError) as error:
        expected_runs.refuse_other_seeds(tmp_path, study.read([*ARMS, "seeds=[2,3]", "vary=[rl,pairs]"]))
    assert "begun with vary: [rl], and now it is [rl, pairs]" in str(error.value)
    assert "Type vary=[rl], or" in str(error.value)
