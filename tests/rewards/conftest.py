"""The stages of the default run, in the store that runs use: built by the first test that needs one, then kept."""

from __future__ import annotations

import dataclasses

import pytest

from align_lab import registry, stages
from align_lab.artefacts import Store
from align_lab.paths import cache_folder


def defaults(kind: str, name: str) -> dict:
    registry.scan()
    return {"name": name, **dataclasses.asdict(registry.lookup(kind, name)())}


@pytest.fixture(scope="session")
def real():
    """Name of a stage -> the folder of its artefact."""
    model, data = defaults("model", "tiny"), stages.data_stage(defaults("data", "movie_reviews"))
    recipes = {
        "data": data,
        "policy": stages.policy_stage(model, data),
        "gold": stages.gold_stage(data),
        "reward": stages.reward_stage(defaults("reward", "human_ratings"), data, model),
    }
    store = Store(cache_folder() / "artefacts")
    return lambda name: store.get(recipes[name]).path


@pytest.fixture(scope="session")
def reviews(real):
    return registry.lookup("data", "movie_reviews")().load(real("data"))
