"""A small Llama (arXiv 2302.13971): RMS normalization, rotary positions, gated SiLU, grouped-query attention.

One fused matrix computes queries, keys and values, and another gate and up, which halves the number of matrix products;
`llama_weights.py` splits them for transformers. Rows of unequal length are left-padded; without padding no mask is
needed, which is faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from align_lab.models import llama_weights
from align_lab.models.kv_cache import FixedCache, KVCache
from align_lab.models.language_model import LanguageModel
from align_lab.models.llama_config import LlamaConfig
from align_lab.models.lora import merged_state
from align_lab.models.packing import Packing, has_kernel
from align_lab.models.precision import NARROW


def rotary_table(length: int, size: int, theta: float) -> Tensor:
    """cos and signed sin of position · frequency, [length 2 size]: x -> x·cos + swap(x)·sin (arXiv 2104.09864)."""
    frequency = theta ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
    sin = angle.sin()
    return torch.stack([torch.cat([angle.cos()] * 2, -1), torch.cat([-sin, sin], -1)], dim=1)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotate the heads [B L H E] by the angles of their positions, [.. L 2 E]."""
    cos, sin = table.unsqueeze(-2).unbind(-3)
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin


def attention_mask(length: int, total: int, pad: Tensor | None, device: torch.device) -> Tensor | None:
    """True where one of the last `length` columns attends to one of `total` columns, [B 1 length total].

    None if the mask is plain causal, or if a single column attends to all. A padding column attends to itself, because
    a softmax over no column is NaN.
    """
    if pad is None and length in (1, total):
        return None
    key = torch.arange(total, device=device)
    query = key[total - length :, None]
    causal = key <= query
    if pad is None:
        return causal[None, None]
    return ((causal & (key >= pad[:, None, None])) | (key == query))[:, None]


def repeated(x: Tensor, times: int) -> Tensor:
    """Each head of keys or values [B K L E] for all of its queries, [B K·times L E]."""
    return x if times == 1 else x.unsqueeze(2).expand(-1, -1, times, -1, -1).flatten(1, 2)


def of_one_column(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of one column's heads [B H 1 E] to keys and values [B K L E], [B K H/K E]: the heads that share a key
    are the rows of one product with it, so that no kernel has to know of groups, and no key is repeated."""
    B, K = keys.shape[:2]
    return F.scaled_dot_product_attention(query.reshape(B, K, -1, query.shape[3]), keys, values, attn_mask=mask)


def shares_keys(query: Tensor, mask: Tensor | None) -> bool:
    """Is there a fused kernel in which several queries share keys? On CUDA only flash attention, without a mask."""
    flash = mask is None and query.dtype in NARROW and torch.backends.cuda.flash_sdp_enabled()
    return flash or not query.is_cuda


class Attention(nn.Module):
    """Causal grouped-query attention with rotary positions and an optional KV cache."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.size = config.width // config.heads
        self.qkv = nn.Linear(config.width, (config.heads + 2 * config.kv_heads) * self.size, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(
        self, x: Tensor, table: Tensor, mask: Tensor | Packing | None, cache: KVCache | FixedCache | None, layer: int
    ) -> Tensor:
        """x [B L D] and the rotary table of its positions -> [B L D]; with a cache, x are its next columns."""
        B, L, _ = x.shape
        qkv = self.qkv(x).view(B, L, -1, self.size)
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=2)
        if isinstance(mask, Packing):
            q, k = rotate(qk, table).split([self.heads, self.kv_heads], dim=2)
            return self.out(mask.attention(q[0], k[0], v[0]).reshape(B, L, -1))
        q, k = rotate(qk, table).transpose(1, 2).split([self.heads, self.kv_heads], dim=1)
        v = v.transpose(1, 2)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        if isinstance(cache, FixedCache):
            return self.out(of_one_column(q, k, v, mask).reshape(B, 1, -1))
        if not shares_keys(q, mask):
            k, v = (repeated(each, self.heads // self.kv_heads) for each in (k, v))
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None and L > 1, enable_gqa=k.shape[1] != self.heads
        )
        return self.out(y.transpose(1, 2).reshape(B, L, -1))


class Block(nn.Module):
    """A transformer layer: attention and gated MLP, each after an RMS norm and added to the residual stream."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.gate_up = nn.Linear(config.width, 2 * config.mlp, bias=False)
        self.down = nn.Linear(config.mlp, config.width, bias=False)

    def forward(
        self, x: Tensor, table: Tensor, mask: Tensor | Packing | None, cache: KVCache | FixedCache | None, layer: int
    ) -> Tensor:
        """[B L D] -> [B L D]."""
        x = x + self.attention(self.attention_norm(x), table, mask, cache, layer)
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Llama(LanguageModel):
    """Token ids -> hidden states. `logp.py` and the sampler apply the head, only at the positions that need logits."""

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
        self.reset_parameters()

    @classmethod
    def of_weights(cls, config: LlamaConfig, weights: Mapping[str, Tensor]) -> Llama:
        """A model that has these tensors themselves as its weights, on their device; none are drawn before. The angles
        of its positions are float32 whatever the weights are."""
        with torch.device("meta"):
            model = cls(config)
        with torch.device("cpu"):
            table = rotary_table(config.context, config.width // config.heads, config.rope_theta).float()
        like = weights["embed.weight"]
        model.rotary = table.to(torch.promote_types(table.dtype, like.dtype)).to(like.device)
        model.load_state_dict(dict(weights), assign=True)
        return model

    def reset_parameters(self) -> None:
        """Draw matrices from N(0, 0.02²); the std of those that write to the residual stream is √(2·layers) smaller."""
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                scale = (2 * self.config.layers) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1.0
                nn.init.normal_(weight, std=0.02 * scale)

    @property
    def head(self) -> Tensor:
        """Output weights [V D]."""
        return self.embed.weight if self.unembed is None else self.unembed

    def hidden(self, ids: Tensor, pad: Tensor | None = None) -> Tensor:
        """ids [B L] -> hidden states [B L D] after the final norm."""
        return self._run(ids, pad, None)

    def packed(self, ids: Tensor, packing: Packing) -> Tensor:
        """Rows ids [B S+T] without their padding -> hidden states [N D] after the final norm."""
        tokens, table = ids.flatten()[packing.where], self.rotary[packing.positions]
        return self._through(tokens[None], table[None], packing, None)[0]

    def packs(self) -> bool:
        """Are rows packed? As `hardware.numerics.packing` says; auto: where the device has a kernel for it."""
        if self.packing == "auto":
            size = self.config.width // self.config.heads
            return has_kernel(self.embed.weight.new_empty(0, size, dtype=self.dtype))
        return self.packing == "on"

    def new_cache(self, rows: int, length: int) -> KVCache:
        """An uninitialized KV cache in the dtype and on the device of the weights."""
        c, like = self.config, self.embed.weight
        shape = (c.layers, rows, c.kv_heads, length, c.width // c.heads)
        return KVCache(like.new_empty(shape), like.new_empty(shape))

    def step(self, ids: Tensor, cache: KVCache | FixedCache, pad: Tensor | None = None) -> Tensor:
        """The next columns [B S] after those in the cache, one of a fixed cache -> hidden state [B D] of the last."""
        hidden = self._next(ids, pad, cache) if isinstance(cache, FixedCache) else self._run(ids, pad, cache)
        return hidden[:, -1]

    def hf_state(self) -> dict[str, Tensor]:
        """Weights under the names of transformers' LlamaForCausalLM, with adapters merged."""
        return llama_weights.hf_state(merged_state(self), self.config)

    def hf_config(self, *, eos: int | None = None) -> dict[str, Any]:
        """The content of `config.json` of a LlamaForCausalLM."""
        return llama_weights.hf_config(self.config, eos=eos)

    def _run(self, ids: Tensor, pad: Tensor | None, cache: KVCache | None) -> Tensor:
        used, L = (cache.used if cache else 0), ids.shape[1]
        if used + L > self.config.context:
            raise ValueError(f"{used + L} tokens exceed the model's context of {self.config.context}")
        table = self.rotary[used : used + L]
        if pad is not None:  # the first real token of every row is at position 0
            columns = torch.arange(used, used + L, device=ids.device)
            table = self.rotary[(columns - pad[:, None]).clamp_(min=0)]
        mask = attention_mask(L, used + L, pad, ids.device)
        hidden = self._through(ids, table, mask, cache)
        if cache is not None:
            cache.used += L
        return hidden

    def _next(self, ids: Tensor, pad: Tensor | None, cache: FixedCache) -> Tensor:
        """One column [B 1] after those in the cache -> [B 1 D]. The room of the cache is that of the context."""
        position = cache.next if pad is None else cache.next - pad
        hidden = self._through(ids, self.rotary[position][:, None], cache.bias(pad), cache)
        cache.advance()
        return hidden

    def _through(
        self, ids: Tensor, table: Tensor, mask: Tensor | Packing | None, cache: KVCache | FixedCache | None
    ) -> Tensor:
        """[B L] -> [B L D], through all layers."""
        x = self.embed(ids)
        table = table.to(x.dtype)
        for layer, block in enumerate(self.blocks):
            x = block(x, table, mask, cache, layer)
        return self.norm(x)
