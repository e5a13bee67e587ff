"""The sizes of a Llama, apart from its modules so that reading and writing weights does not need them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """Sizes of a Llama; raises ValueError where they do not fit each other."""

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    context: int  # longest sequence, prompt and response together
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tied: bool = True  # the head is the embedding

    def __post_init__(self) -> None:
        if self.width % self.heads or self.heads % self.kv_heads or (self.width // self.heads) % 2:
            raise ValueError(
                f"width={self.width} heads={self.heads} kv_heads={self.kv_heads}: width must be an even "
                "multiple of heads, and heads a multiple of kv_heads"
            )
