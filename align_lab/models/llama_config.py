"""The dimensions of a Llama, in a module of their own so that reading and writing weights does not need the layers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """The dimensions of a Llama. Raises ValueError if they are inconsistent."""

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    context: int  # longest sequence, prompt and response together
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tied: bool = True  # the output head shares the weights of the embedding

    def __post_init__(self) -> None:
        if self.width % self.heads or self.heads % self.kv_heads or (self.width // self.heads) % 2:
            raise ValueError(
                f"width={self.width} heads={self.heads} kv_heads={self.kv_heads}: width must be an even "
                "multiple of heads, and heads a multiple of kv_heads"
            )
