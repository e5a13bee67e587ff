"""Configuration and weights of a plain Llama under the names that transformers gives them, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from align_lab.base.errors import DataError
from align_lab.models.llama_config import LlamaConfig

_PLAIN = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention.out.weight": "self_attn.o_proj.weight",
    "mlp_norm.weight": "post_attention_layernorm.weight",
    "down.weight": "mlp.down_proj.weight",
}


def _fused(config: LlamaConfig) -> dict[str, dict[str, int]]:
    """The fused matrices of `Llama`, each with the names and row counts of its parts in transformers."""
    size = config.width // config.heads
    return {
        "attention.qkv.weight": {
            "self_attn.q_proj.weight": config.heads * size,
            "self_attn.k_proj.weight": config.kv_heads * size,
            "self_attn.v_proj.weight": config.kv_heads * size,
        },
        "gate_up.weight": {"mlp.gate_proj.weight": config.mlp, "mlp.up_proj.weight": config.mlp},
    }


def hf_config(config: LlamaConfig, *, eos: int | None = None) -> dict[str, Any]:
    """The content of `config.json` for a Llama whose end-of-sequence token is `eos`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.width // config.heads,
        "intermediate_size": config.mlp,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": eos,
        "pad_token_id": eos,
    }


def hf_state(state: Mapping[str, Tensor], config: LlamaConfig) -> dict[str, Tensor]:
    """The state dict of a `Llama` under the names of transformers' LlamaForCausalLM."""
    named = {"model.embed_tokens.weight": state["embed.weight"], "model.norm.weight": state["norm.weight"]}
    if not config.tied:
        named["lm_head.weight"] = state["unembed"]
    for layer in range(config.layers):
        ours, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
        named |= {theirs + hf_name: state[ours + name] for name, hf_name in _PLAIN.items()}
        for name, parts in _fused(config).items():
            pieces = state[ours + name].split(list(parts.values()))
            named |= {theirs + hf_name: piece for hf_name, piece in zip(parts, pieces, strict=True)}
    return named


def llama_tensors(state: Mapping[str, Tensor], config: LlamaConfig) -> Iterator[tuple[str, Tensor]]:
    """The inverse of `hf_state`, tensor by tensor, so that the fused ones never exist all at once.

    Raises DataError for a missing tensor.
    """
    try:
        yield "embed.weight", state["model.embed_tokens.weight"]
        yield "norm.weight", state["model.norm.weight"]
        if not config.tied:
            yield "unembed", state["lm_head.weight"]
        for layer in range(config.layers):
            ours, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
            for name, hf_name in _PLAIN.items():
                yield ours + name, state[theirs + hf_name]
            for name, parts in _fused(config).items():
                yield ours + name, torch.cat([state[theirs + part] for part in parts])
    except KeyError as missing:
        raise DataError(
            f"the weights have no tensor {missing}: they do not belong to a Llama with {config.layers} "
            f"layers and a {'tied' if config.tied else 'separate'} head."
        ) from None
