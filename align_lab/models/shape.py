"""The dimensions of a decoder that determine its memory, read from a config before any weight is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A decoder with the layout of a Llama: gated MLP, grouped-query attention, RMS norms.

    `lora_rank` 0 trains all weights.
    """

    layers: int
    width: int  # D
    heads: int
    kv_heads: int
    mlp: int
    vocab: int  # V
    context: int
    tied: bool = True  # the output head shares the weights of the embedding
    head_size: int | None = None  # None: width / heads
    lora_rank: int = 0
    plain: bool = False  # our own Llama computes it, else transformers

    @property
    def size(self) -> int:
        """The size of one attention head."""
        return self.head_size or self.width // self.heads

    @property
    def projections(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of a block's matrices: query, key and value fused; out; gate and up fused; down."""
        inner = self.heads * self.size
        return (
            (self.width, inner + 2 * self.kv_heads * self.size),
            (inner, self.width),
            (self.width, 2 * self.mlp),
            (self.mlp, self.width),
        )

    @property
    def parameters(self) -> int:
        """The number of all weights: embedding, head if not tied, blocks, norms."""
        return self.vocab * self.width * (1 if self.tied else 2) + self.layers * self.block + self.width

    @property
    def block(self) -> int:
        """The number of weights of one block: its matrices and two norms."""
        return sum(rows * columns for rows, columns in self.projections) + 2 * self.width

    def forward_bytes(self, tokens: int, *, bytes_each: int) -> float:
        """A bound on a forward pass without gradient in transformers: (9M + 6D) b a token; our Llama needs half.

        It holds the current block and what is left of the previous one.
        """
        return tokens * (9 * self.mlp + 6 * self.width) * bytes_each

    def body_bytes(self, tokens: int, *, bytes_each: int) -> float:
        """The same for a body alone, as a reward model has: in our own Llama nothing of the previous block is left."""
        return self.forward_bytes(tokens, bytes_each=bytes_each) / (2 if self.plain else 1)

    @property
    def trainable(self) -> int:
        """The number of trained weights: all, or with LoRA r (inputs + outputs) per matrix."""
        if not self.lora_rank:
            return self.parameters
        return self.layers * self.lora_rank * sum(rows + columns for rows, columns in self.projections)


@dataclass(frozen=True, kw_only=True)
class TrainedBody:
    """A language model that is trained on all weights in float32, without its output head: a step's sequences."""

    shape: Shape
    batch: int  # what the field of this name sets: entries of an optimizer step
    rows: int  # sequences of each entry
    longest: int  # tokens of a sequence, at most


def read_shape(folder: Path, *, lora_rank: int = 0) -> Shape | None:
    """The shape in a Hugging Face folder's `config.json`, whose names differ by model family; None if it has none."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    text = content.get("text_config") or content
    width, heads = _first(text, "hidden_size", "n_embd", "d_model"), _first(text, "num_attention_heads", "n_head")
    layers, vocab = _first(text, "num_hidden_layers", "n_layer"), _first(text, "vocab_size")
    if None in (width, heads, layers, vocab):
        return None
    return Shape(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=_first(text, "num_key_value_heads") or heads,
        mlp=_first(text, "intermediate_size", "n_inner", "ffn_dim") or 4 * width,
        vocab=vocab,
        context=_first(text, "max_position_embeddings", "n_positions") or 1 << 20,
        tied=bool(text.get("tie_word_embeddings", False)),
        head_size=_first(text, "head_dim"),
        lora_rank=lora_rank,
        plain=is_plain_llama(content),
    )


def is_plain_llama(content: Mapping[str, Any]) -> bool:
    """True if a `config.json` describes a Llama without RoPE scaling, biases, quantization or a custom head size."""
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    size = content.get("hidden_size", 0) // max(1, content.get("num_attention_heads", 1))
    return (
        content.get("model_type") == "llama"
        and rope.get("rope_type", rope.get("type", "default")) == "default"
        and content.get("head_dim") in (None, size)
        and content.get("hidden_act", "silu") == "silu"
        and not (content.get("attention_bias") or content.get("mlp_bias"))
        and not content.get("quantization_config")
    )


def stored_dtype(folder: Path) -> str:
    """The precision that a Hugging Face folder's `config.json` names for its weights; "" if it names none."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(content.get("dtype") or content.get("torch_dtype") or "")


def _first(content: Mapping[str, Any], *names: str) -> Any:
    return next((content[name] for name in names if content.get(name) is not None), None)
