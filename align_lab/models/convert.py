"""A language model as a Hugging Face folder, and a plain Llama back from one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from align_lab.base.errors import DataError
from align_lab.models.language_model import LanguageModel
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.lora import merged

_PLAIN = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention.out.weight": "self_attn.o_proj.weight",
    "mlp_norm.weight": "post_attention_layernorm.weight",
    "down.weight": "mlp.down_proj.weight",
}


def _fused(config: LlamaConfig) -> dict[str, dict[str, int]]:
    """Our fused matrices -> the names of their parts and the rows of each."""
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
    """The content of `config.json`."""
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


def hf_state(model: Llama) -> dict[str, Tensor]:
    """Weights under the names of transformers' LlamaForCausalLM."""
    state = merged(model)
    named = {"model.embed_tokens.weight": state["embed.weight"], "model.norm.weight": state["norm.weight"]}
    if not model.config.tied:
        named["lm_head.weight"] = state["unembed"]
    for layer in range(model.config.layers):
        ours, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
        named |= {theirs + there: state[ours + here] for here, there in _PLAIN.items()}
        for here, parts in _fused(model.config).items():
            pieces = state[ours + here].split(list(parts.values()))
            named |= {theirs + there: piece for there, piece in zip(parts, pieces, strict=True)}
    return named


def our_state(state: dict[str, Tensor], config: LlamaConfig) -> dict[str, Tensor]:
    """The inverse of `hf_state`. Raises DataError for a missing tensor."""
    try:
        named = {"embed.weight": state["model.embed_tokens.weight"], "norm.weight": state["model.norm.weight"]}
        if not config.tied:
            named["unembed"] = state["lm_head.weight"]
        for layer in range(config.layers):
            ours, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
            named |= {ours + here: state[theirs + there] for here, there in _PLAIN.items()}
            named |= {
                ours + here: torch.cat([state[theirs + part] for part in parts])
                for here, parts in _fused(config).items()
            }
    except KeyError as missing:
        raise DataError(
            f"the weights hold no tensor {missing}: they are not those of a Llama with {config.layers} "
            f"layers and a {'tied' if config.tied else 'separate'} head."
        ) from None
    return named


def to_hf(model: LanguageModel, folder: Path, *, eos: int | None = None) -> None:
    """Write `config.json` and `model.safetensors`, which `AutoModelForCausalLM.from_pretrained(folder)` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous().clone() for name, value in model.hf_state().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    content = model.hf_config(eos=eos) | {"dtype": str(model.head.dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def from_hf(folder: Path) -> Llama:
    """Read a folder that holds a plain Llama. Raises DataError for anything else."""
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not is_plain_llama(content):
        raise DataError(
            f"{folder}/config.json has model_type={content.get('model_type')!r}; only a plain 'llama' can be read."
        )
    rope = content.get("rope_parameters") or content
    config = LlamaConfig(
        vocab=content["vocab_size"],
        width=content["hidden_size"],
        layers=content["num_hidden_layers"],
        heads=content["num_attention_heads"],
        kv_heads=content.get("num_key_value_heads") or content["num_attention_heads"],
        mlp=content["intermediate_size"],
        context=content["max_position_embeddings"],
        rope_theta=rope.get("rope_theta", 10000.0),
        norm_eps=content["rms_norm_eps"],
        tied=content.get("tie_word_embeddings", False),
    )
    weights = our_state(read_weights(folder), config)
    model = Llama(config).to(weights["embed.weight"].dtype)
    model.load_state_dict(weights)
    return model


def is_plain_llama(content: Mapping[str, Any]) -> bool:
    """Is a `config.json` that of a Llama without scaled positions, biases or heads of another size?"""
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


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold a folder's weights."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return [folder / "model.safetensors"]
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return [folder / name for name in sorted(set(names))]


def read_weights(folder: Path) -> dict[str, Tensor]:
    return {name: value for file in weight_files(folder) for name, value in load_file(file).items()}
