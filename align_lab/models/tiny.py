"""A Llama small enough to learn to write on one processor core in about a minute."""

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
    """A tiny Llama that has learned to write like the texts."""

    vocab: int = param(8192, "tokens of the byte-level vocabulary, at most", low=257)
    width: int = param(128, "size of the hidden state", low=2)
    layers: int = param(4, "transformer blocks", low=1)
    heads: int = param(4, "attention heads", low=1)
    kv_heads: int = param(4, "heads of keys and values", low=1)
    mlp: int = param(352, "size of the inner layer of a block", low=1)
    context: int = param(96, "longest sequence, prompt and completion together", low=2)
    sft: Sft = section(Sft, "how it learns to write")
    lora: Lora = section(Lora, "low-rank adapters")

    used_later: ClassVar = ("lora",)  # what `build` does not look at
    tiny: ClassVar = True  # one thread is the fastest

    def shape(self) -> Shape:
        """What its memory follows from."""
        known = {f.name: getattr(self, f.name) for f in fields(Shape) if hasattr(self, f.name)}
        return Shape(**known, lora_rank=self.lora.rank)

    def build(self, folder: Path, reviews: Reviews) -> None:
        """Train on the reviews' texts; write the policy and `metrics.json` (loss on held-out texts) into `folder`."""
        from align_lab.train.sft import build_sft

        build_sft(folder, self, texts=reviews.policy_texts(), held_out=[review.text for review in reviews.evaluation])

    def load(self, folder: Path) -> Policy:
        from align_lab.models.policy import load_built

        return load_built(folder, self.lora)
