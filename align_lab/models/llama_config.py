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
        if problem := inconsistent(self.width, self.heads, self.kv_heads):
            raise ValueError(problem)


def inconsistent(width: int, heads: int, kv_heads: int) -> str:
    """What is wrong with these dimensions of attention; empty where nothing is."""
    if width % heads == 0 and heads % kv_heads == 0 and (width // heads) % 2 == 0:
        return ""
    return (
        f"width={width} heads={heads} kv_heads={kv_heads}: width must be an even multiple of heads, and heads a "
        "multiple of kv_heads"
    )
