"""Conversion: a language model to a Hugging Face folder, and a Hugging Face folder to a plain Llama."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from align_lab.base.errors import DataError
from align_lab.models.language_model import LanguageModel
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.llama_weights import llama_tensors
from align_lab.models.loading import target
from align_lab.models.shape import is_plain_llama


def to_hf(model: LanguageModel, folder: Path, *, eos: int | None = None) -> None:
    """Write `config.json` and `model.safetensors`, which `AutoModelForCausalLM.from_pretrained(folder)` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous().clone() for name, value in model.hf_state().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    content = model.hf_config(eos=eos) | {"dtype": str(model.head.dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def from_hf(folder: Path) -> Llama:
    """Load a plain Llama from a Hugging Face folder. Raises DataError for any other model."""
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not is_plain_llama(content):
        raise DataError(
            f"{folder}/config.json has model_type={content.get('model_type')!r}; only a plain 'llama' can be loaded."
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
    place = target()
    stored = {name: place.stored(value) for name, value in read_weights(folder).items()}
    weights = {name: place.put(value) for name, value in llama_tensors(stored, config)}
    return Llama.of_weights(config, weights)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a Hugging Face folder, one or several shards."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return [folder / "model.safetensors"]
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return [folder / name for name in sorted(set(names))]


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a Hugging Face folder by name."""
    return {name: value for file in weight_files(folder) for name, value in load_file(file).items()}
