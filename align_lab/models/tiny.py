"""A Llama small enough for supervised fine-tuning on one CPU core in about a minute."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from align_lab.base.registry import param, register, section
from align_lab.models.lora_settings import Lora
from align_lab.models.sft_settings import Sft
from align_lab.models.shape import Shape

if TYPE_CHECKING:
    from align_lab.models.policy import Policy
    from align_lab.tasks.movie_reviews.reviews import Reviews


@register("model", "tiny")
@dataclass(frozen=True, kw_only=True)
class Tiny:
    """A tiny Llama, trained from scratch on the texts of the data set."""

    vocab: int = param(8192, "maximum size of the byte-level vocabulary", low=257)
    width: int = param(128, "size of the hidden state", low=2)
    layers: int = param(4, "transformer blocks", low=1)
    heads: int = param(4, "attention heads", low=1)
    kv_heads: int = param(4, "heads of keys and values", low=1)
    mlp: int = param(352, "size of the hidden layer of a block's MLP", low=1)
    context: int = param(96, "longest sequence, prompt and completion together, tokens", low=2)
    sft: Sft = section(Sft, "supervised fine-tuning")
    lora: Lora = section(Lora, "low-rank adapters")

    used_later: ClassVar = ("lora",)  # fields that `build` does not depend on
    tiny: ClassVar = True  # a single thread is fastest

    def shape(self) -> Shape:
        """The dimensions that determine its memory."""
        dimensions = {f.name: getattr(self, f.name) for f in fields(Shape) if hasattr(self, f.name)}
        return Shape(**dimensions, lora_rank=self.lora.rank)

    def build(self, folder: Path, reviews: Reviews) -> None:
        """Train on the reviews; write the policy and `metrics.json` (loss on held-out reviews) into `folder`."""
        from align_lab.train.sft import build_sft

        build_sft(folder, self, texts=reviews.policy_texts(), held_out=[review.text for review in reviews.evaluation])

    def load(self, folder: Path) -> Policy:
        """The policy that `build` has written, with its adapters."""
        from align_lab.models.policy import load_built

        return load_built(folder, self.lora)
