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
    model, data = defaults("model", "tiny"), dependencies.data_stage(defaults("data", "movie_reviews"))
    stages = {
        "data": data,
        "policy": dependencies.policy_stage(model, data),
        "gold": dependencies.reward_stage(defaults("reward", "gold"), data, model),
        "reward": dependencies.reward_stage(defaults("reward", "human_ratings"), data, model),
    }
    store = Store(cache_folder() / "artefacts")
    return lambda name: store.get(stages[name]).path


@pytest.fixture(scope="session")
def reviews(real):
    return registry.lookup("data", "movie_reviews")().load(real("data"))
