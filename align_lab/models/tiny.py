"""A Llama small enough for supervised fine-tuning on one CPU core in about a minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from align_lab.base.contracts import Model
from align_lab.base.registry import param, register, section
from align_lab.models.llama_config import inconsistent
from align_lab.models.lora_settings import Lora
from align_lab.models.sft_settings import Sft
from align_lab.models.shape import Shape

if TYPE_CHECKING:
    from align_lab.models.policy import Policy


@register("model", "tiny")
@dataclass(frozen=True, kw_only=True)
class Tiny(Model):
    """A tiny Llama, trained from scratch on the demonstrations of the data set."""

    vocab: int = param(8192, "maximum size of the byte-level vocabulary", low=257)
    width: int = param(128, "size of the hidden state", low=2)
    layers: int = param(4, "transformer blocks", low=1)
    heads: int = param(4, "attention heads", low=1)
    kv_heads: int = param(4, "heads of keys and values", low=1)
    mlp: int = param(352, "size of the hidden layer of a block's MLP", low=1)
    context: int = param(96, "longest sequence, prompt and completion together, tokens", low=2)
    sft: Sft = section(Sft, "supervised fine-tuning")
    lora: Lora = section(Lora, "low-rank adapters")

    used_later: ClassVar = ("lora",)
    tiny: ClassVar = True

    def problems(self) -> list[str]:
        """Dimensions that no attention has."""
        if not (wrong := inconsistent(self.width, self.heads, self.kv_heads)):
            return []
        near = max(1, round(self.width / (2 * self.heads))) * 2 * self.heads
        heads = f" model.kv_heads={self.heads}" if self.heads % self.kv_heads else ""
        return [f"{wrong}. Type model.width={near}{heads}"]

    def shape(self) -> Shape:
        """The dimensions that determine its memory."""
        dimensions = {f.name: getattr(self, f.name) for f in fields(Shape) if hasattr(self, f.name)}
        return Shape(**dimensions, lora_rank=self.lora.rank, plain=True)

    def fine_tuning(self) -> Sft:
        """It cannot write before."""
        return self.sft

    def initial(self, texts: Sequence[str]) -> Policy:
        """Random weights, and a tokenizer trained on `texts`."""
        import torch

        from align_lab.models.llama import Llama, LlamaConfig
        from align_lab.models.policy import Policy
        from align_lab.models.text import Text
        from align_lab.models.tokenizer import end_token, train_tokenizer

        tokenizer = train_tokenizer(texts, vocab=self.vocab)
        sizes: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(LlamaConfig) if hasattr(self, f.name)}
        sizes["vocab"] = tokenizer.get_vocab_size()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.sft.seed)
            model = Llama(LlamaConfig(**sizes))
        return Policy(model, Text(tokenizer=tokenizer, eos=end_token(tokenizer)))

    def load(self, folder: Path) -> Policy:
        """The policy that `build` has written, with its adapters."""
        from align_lab.models.policy import load_built

        return load_built(folder, self.lora)
