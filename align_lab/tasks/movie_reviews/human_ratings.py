"""A Bradley-Terry reward model, trained on the human ratings of one half of the reviews."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from align_lab.base import registry
from align_lab.base.contracts import Data, Reward, RewardInputs
from align_lab.base.registry import register
from align_lab.base.task import Scorer
from align_lab.tasks.movie_reviews.reviews import UNIT, problem_of, reviews_of
from align_lab.tasks.movie_reviews.reward_settings import RewardTraining

if TYPE_CHECKING:
    from torch import Tensor

    from align_lab.tasks.movie_reviews.two_experts import LearnedReward


@register("reward", "human_ratings")
@dataclass(frozen=True, kw_only=True)
class HumanRatings(RewardTraining, Reward):
    """A reward model on the start policy's body, trained on pairs of human ratings."""

    version: ClassVar = 2
    label: ClassVar = "proxy score"
    repeats: ClassVar = True
    title: ClassVar = "reward model"
    unit: ClassVar = UNIT
    meaning: ClassVar = "what the policy was trained on"
    trained: ClassVar = True

    def data_problem(self, data: Data) -> str:
        """Only movie reviews have the ratings that it learns from."""
        return problem_of(data, "reward=human_ratings")

    def starts_from(self, policy: Mapping[str, Any]) -> Mapping[str, Any]:
        """The run's own model if that is a tiny one, else a tiny one with its defaults."""
        return policy if policy["name"] == "tiny" else registry.expand("model", "tiny", "reward=human_ratings")

    def build(self, folder: Path, given: RewardInputs) -> None:
        """Train from the start policy; write the model and `metrics.json` (held-out accuracy)."""
        from align_lab.tasks.movie_reviews.reward_training import build_reward

        assert given.start is not None
        reviews = reviews_of(given.data, "reward=human_ratings")
        build_reward(folder, self, given.start, train=reviews.proxy, held_out=reviews.evaluation)

    def load(self, folder: Path | None) -> LearnedReward:
        """Read what `build` wrote. Raises DataError when it is incomplete."""
        from align_lab.base.errors import DataError
        from align_lab.tasks.movie_reviews.two_experts import load_reward

        if folder is None:
            raise DataError("reward=human_ratings has to be trained before it is used, and no folder was given")
        return load_reward(folder)

    def value_weights(self, scorer: Scorer) -> tuple[Any, Tensor]:
        """The body, and the head on its mean state; a critic does not use the weights of single words."""
        from align_lab.tasks.movie_reviews.two_experts import LearnedReward

        assert isinstance(scorer, LearnedReward)
        return scorer.model.body, scorer.model.head.weight
