"""The gold judge as a component: `evaluation.judges` names it on movie reviews, and nobody optimizes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from align_lab.base.contracts import Data, Reward, RewardInputs
from align_lab.base.registry import register
from align_lab.tasks.movie_reviews.reviews import UNIT, problem_of, reviews_of

if TYPE_CHECKING:
    from align_lab.tasks.movie_reviews.gold import GoldJudge


@register("reward", "gold")
@dataclass(frozen=True, kw_only=True)
class Gold(Reward):
    """Another kind of model than the reward, trained on the ratings of other reviews."""

    version: ClassVar = 3
    label: ClassVar = "gold score"
    repeats: ClassVar = True
    title: ClassVar = "gold judge"
    unit: ClassVar = UNIT
    meaning: ClassVar = "what the unseen judge thinks, in sd of human reviews"
    trained: ClassVar = True
    on_gpu: ClassVar = False

    def data_problem(self, data: Data) -> str:
        """Only movie reviews have the ratings that it learns from."""
        return problem_of(data, "the judge gold")

    def build(self, folder: Path, given: RewardInputs) -> None:
        """Train on the gold half of the reviews; write the judge and `metrics.json` (held-out accuracy)."""
        from align_lab.tasks.movie_reviews.gold import build_gold

        reviews = reviews_of(given.data, "the judge gold")
        build_gold(folder, reviews.gold, reviews.evaluation)

    def load(self, folder: Path | None) -> GoldJudge:
        """Read what `build` wrote. Raises DataError when it is not whole."""
        from align_lab.base.errors import DataError
        from align_lab.tasks.movie_reviews.gold import load_gold

        if folder is None:
            raise DataError("the judge gold has to be trained before it is used, and no folder was given")
        return load_gold(folder)
