"""A small Llama (arXiv 2302.13971): RMS normalisation, rotary positions, gated SiLU, grouped-query attention.

Queries, keys and values come from one matrix, and so do gate and up: half as many products. `llama_weights.py` splits
them for transformers.
Rows of unequal length are padded on the left; without padding there is no mask, which is the fast path.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from align_lab.models import llama_weights
from align_lab.models.language_model import LanguageModel
from align_lab.models.llama_config import LlamaConfig
from align_lab.models.lora import merged


class KVCache:
    """Keys and values [layers B K L E] of the columns seen so far, allocated once."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values, self.used = keys, values, 0

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write new columns [B K S E] after the used ones and return all of them [B K used+S E]."""
        end = self.used + key.shape[2]
        self.keys[layer, :, :, self.used : end] = key
        self.values[layer, :, :, self.used : end] = value
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these: indices [B'], or a mask [B]."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]


def rotary_table(length: int, size: int, theta: float) -> Tensor:
    """cos and signed sin of position x frequency, [length 2 size]: x becomes x·cos + swap(x)·sin (arXiv 2104.09864)."""
    frequency = theta ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
    sin = angle.sin()
    return torch.stack([torch.cat([angle.cos()] * 2, -1), torch.cat([-sin, sin], -1)], dim=1)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotate heads [B L H E] by their positions' angles [.. L 2 E]."""
    cos, sin = table.unsqueeze(-2).unbind(-3)
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin


def visible(length: int, total: int, pad: Tensor | None, device: torch.device) -> Tensor | None:
    """Which of `total` columns each of the last `length` sees, [B 1 length total]; None where all, or plain causal.

    A padding column sees itself, so that no softmax is over nothing.
    """
    if pad is None and length in (1, total):
        return None
    key = torch.arange(total, device=device)
    query = key[total - length :, None]
    causal = key <= query
    if pad is None:
        return causal[None, None]
    return ((causal & (key >= pad[:, None, None])) | (key == query))[:, None]


class Attention(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.size = config.width // config.heads
        self.qkv = nn.Linear(config.width, (config.heads + 2 * config.kv_heads) * self.size, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, table: Tensor, mask: Tensor | None, cache: KVCache | None, layer: int) -> Tensor:
        B, L, _ = x.shape
        qkv = self.qkv(x).view(B, L, -1, self.size)
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=2)
        q, k = rotate(qk, table).transpose(1, 2).split([self.heads, self.kv_heads], dim=1)
        v = v.transpose(1, 2)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None and L > 1, enable_gqa=self.heads != self.kv_heads
        )
        return self.out(y.transpose(1, 2).reshape(B, L, -1))


class Block(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.gate_up = nn.Linear(config.width, 2 * config.mlp, bias=False)
        self.down = nn.Linear(config.mlp, config.width, bias=False)

    def forward(self, x: Tensor, table: Tensor, mask: Tensor | None, cache: KVCache | None, layer: int) -> Tensor:
        x = x + self.attention(self.attention_norm(x), table, mask, cache, layer)
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Llama(LanguageModel):
    """Token ids -> hidden states. The head is applied by `logp.py` and the sampler, at the positions that count."""

    rotary: Tensor

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config, self.context, self.width = config, config.context, config.width
        self.embed = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.unembed = None if config.tied else nn.Parameter(torch.empty(config.vocab, config.width))
        table = rotary_table(config.context, config.width // config.heads, config.rope_theta)
        self.register_buffer("rotary", table.to(self.embed.weight.dtype), persistent=False)
        self.reset()

    def reset(self) -> None:
        """Normal weights of standard deviation 0.02, where they write to the residual stream √(2·layers) smaller."""
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                shrink = (2 * self.config.layers) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1.0
                nn.init.normal_(weight, std=0.02 * shrink)

    @property
    def head(self) -> Tensor:
        """Output weights [V D]."""
        return self.embed.weight if self.unembed is None else self.unembed

    def hidden(self, ids: Tensor, pad: Tensor | None = None) -> Tensor:
        return self._run(ids, pad, None)

    def new_cache(self, rows: int, length: int) -> KVCache:
        c, like = self.config, self.embed.weight
        shape = (c.layers, rows, c.kv_heads, length, c.width // c.heads)
        return KVCache(like.new_empty(shape), like.new_empty(shape))

    def step(self, ids: Tensor, cache: KVCache, pad: Tensor | None = None) -> Tensor:
        return self._run(ids, pad, cache)[:, -1]

    def hf_state(self) -> dict[str, Tensor]:
        return llama_weights.hf_state(merged(self), self.config)

    def hf_config(self, *, eos: int | None = None) -> dict[str, Any]:
        return llama_weights.hf_config(self.config, eos=eos)

    def _run(self, ids: Tensor, pad: Tensor | None, cache: KVCache | None) -> Tensor:
        used, L = (cache.used if cache else 0), ids.shape[1]
        if used + L > self.config.context:
            raise ValueError(f"{used + L} tokens are longer than the model's context of {self.config.context}")
        table = self.rotary[used : used + L]
        if pad is not None:  # the first real token of every row is at position 0
            columns = torch.arange(used, used + L, device=ids.device)
            table = self.rotary[(columns - pad[:, None]).clamp_(min=0)]
        mask = visible(L, used + L, pad, ids.device)
        x = self.embed(ids)
        for layer, block in enumerate(self.blocks):
            x = block(x, table, mask, cache, layer)
        if cache is not None:
            cache.used += L
        return self.norm(x)
