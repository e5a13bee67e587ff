"""A reward model of the data's preference pairs: Bradley-Terry on the run's own start policy, or on any other model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from align_lab.base import registry
from align_lab.base.contracts import Data, Reward, RewardInputs
from align_lab.base.errors import ConfigError, DataError
from align_lab.base.registry import param, register
from align_lab.base.task import Scorer, ScorerMemory
from align_lab.models.shape import TrainedBody
from align_lab.rewards.pair_settings import SCORED_TOKENS, PairTraining

if TYPE_CHECKING:
    from torch import Tensor

    from align_lab.rewards.pair_model import PairScorer

POLICY = "policy"


@register("reward", "reward_model")
@dataclass(frozen=True, kw_only=True)
class PairReward(PairTraining, Reward):
    """A score of the whole completion, from a linear head on the state of its last token.

    0 is the mean score of the pairs' completions, 1 is one standard deviation better.
    """

    backbone: Any = param(
        POLICY,
        "what it starts from: policy, the run's own start policy; another model, by its name (tiny) or with its fields "
        "({name: tiny, width: 64}); a folder; OWNER/NAME of the Hugging Face hub",
    )

    version: ClassVar = 2
    repeats: ClassVar = True
    label: ClassVar = "reward model score"
    title: ClassVar = "reward model"
    unit: ClassVar = "sd of the pairs' completions"
    meaning: ClassVar = "what people prefer, as learned from the data's pairs"
    trained: ClassVar = True

    def problems(self) -> list[str]:
        """A backbone that is no model."""
        try:
            start = self.starts_from({"name": POLICY})
        except ConfigError as error:
            return [str(error)]
        of_backbone = [] if start["name"] == POLICY else registry.build("model", start).problems()
        return [f"reward.backbone={self.backbone}: {text}" for text in of_backbone]

    def data_problem(self, data: Data) -> str:
        """It learns from pairs, and from their margins if it is told where these are."""
        if not data.has_pairs():
            return (
                "reward=reward_model learns from preference pairs that come with the data, and this data has none. "
                "Choose data with pairs, for example data=files data.preferences=FILE, or another reward, for example "
                "reward=python reward.file=FILE"
            )
        columns = data.column_names()
        if self.margin and columns is not None and self.margin not in columns:
            known = ", ".join(columns) or "none"
            return f"reward.margin={self.margin}: the data has no such column; it has {known}. Or set reward.margin=''"
        return ""

    def starts_from(self, policy: Mapping[str, Any]) -> Mapping[str, Any]:
        """The run's own model where `backbone` is "policy" or its name; else the model of `backbone`."""
        given = self.backbone
        if given in (POLICY, policy["name"]):
            return policy
        if isinstance(given, Mapping):
            return registry.expand("model", cast("Mapping[str, Any]", given), "reward.backbone")
        if not isinstance(given, str) or not given:
            raise ConfigError(
                f"reward.backbone={given!r} is no model. Set reward.backbone=policy, a model's name, a folder, or "
                "OWNER/NAME on the Hugging Face hub"
            )
        named = given if given in registry.names("model") else {"name": "hf", "path": given}
        return registry.expand("model", named, f"reward.backbone={given}")

    def memory(self, policy: Mapping[str, Any]) -> ScorerMemory:
        """The backbone in float32, and a batch of completions."""
        shape = registry.build("model", self.starts_from(policy)).shape()
        if shape is None:
            return ScorerMemory()
        forward = shape.body_bytes(SCORED_TOKENS, bytes_each=4)
        return ScorerMemory(weights=4 * shape.parameters, forward=forward)

    def trained_body(self, policy: Mapping[str, Any]) -> TrainedBody | None:
        """The backbone: a step's pairs are two sequences each, padded to the longest of them."""
        shape = registry.build("model", self.starts_from(policy)).shape()
        if shape is None:
            return None
        longest = min(self.max_tokens, shape.context)
        return TrainedBody(shape=replace(shape, lora_rank=0), batch=self.batch, rows=2, longest=longest)

    def build(self, folder: Path, given: RewardInputs) -> None:
        """Train on the pairs; write the model, and `metrics.json` with its accuracy on held-out pairs."""
        from align_lab.rewards.pair_training import build_pair_model

        build_pair_model(folder, self, given)

    def load(self, folder: Path | None) -> PairScorer:
        """Read what `build` wrote. Raises DataError when it is not whole."""
        from align_lab.rewards.pair_model import load_scorer

        if folder is None:
            raise DataError("reward=reward_model has to be trained before it is used, and no folder was given")
        return load_scorer(folder)

    def value_weights(self, scorer: Scorer) -> tuple[Any, Tensor]:
        """The body and the head; a critic's values are scores plus a constant."""
        from align_lab.rewards.pair_model import PairScorer

        assert isinstance(scorer, PairScorer)
        return scorer.model.body, scorer.model.head
