"""The stages of the default run, in the store that runs use: built by the first test that needs one."""

from __future__ import annotations

import dataclasses

import pytest

from align_lab.base import registry
from align_lab.base.paths import cache_folder
from align_lab.stages import dependencies
from align_lab.stages.store import Store


def defaults(kind: str, name: str) -> dict:
    registry.scan()
    return {"name": name, **dataclasses.asdict(registry.lookup(kind, name)())}


@pytest.fixture(scope="session")
def real():
    """Name of a stage -> the folder of its artefact."""
    reviews, model = defaults("data", "movie_reviews"), defaults("model", "tiny")
    data, form = dependencies.data_stage(reviews), registry.build("data", reviews).prompt_form
    gold, ratings = defaults("reward", "gold"), defaults("reward", "human_ratings")
    stages = {
        "data": data,
        "policy": dependencies.policy_stage(model, data, form=form),
        "gold": dependencies.reward_stage(gold, data, model, form=form),
        "reward": dependencies.reward_stage(ratings, data, model, form=form),
    }
    store = Store(cache_folder() / "artefacts")
    return lambda name: store.get(stages[name]).path


@pytest.fixture(scope="session")
def reviews(real):
    return registry.lookup("data", "movie_reviews")().load(real("data"))
