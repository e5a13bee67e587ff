"""A language model with its tokenizer and chat template, stored as a Hugging Face folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer

from align_lab.base.errors import AlignLabError, DataError
from align_lab.models.convert import from_hf, to_hf
from align_lab.models.language_model import LanguageModel
from align_lab.models.lora import adapt
from align_lab.models.lora_settings import Lora
from align_lab.models.precision import convert
from align_lab.models.shape import is_plain_llama
from align_lab.models.text import Text, read_text
from align_lab.models.transformer import open_transformer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
NO_LORA = Lora()


@dataclass(frozen=True)
class Policy:
    """A language model with its tokenizer and chat template."""

    model: LanguageModel
    text: Text

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, without the chat template."""
        return self.text.tokenizer

    @property
    def eos(self) -> int:
        """The id of the end-of-sequence token."""
        return self.text.eos

    def to(self, dtype: torch.dtype) -> Policy:
        """The policy with its weights converted, in place, to `dtype`."""
        convert(self.model, dtype)
        return self


def save_policy(policy: Policy, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and the tokenizer."""
    to_hf(policy.model, folder, eos=policy.eos)
    policy.text.save(folder)


def load_policy(folder: Path, *, lora: Lora = NO_LORA, chat: bool = True) -> Policy:
    """Load a policy from a Hugging Face folder. Raises DataError if a file is missing or damaged."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = from_hf(folder) if is_plain_llama(content) else open_transformer(folder)
        text = read_text(folder, chat=chat)
    except AlignLabError:
        raise
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(f"{folder} does not hold a policy ({error})") from error
    return Policy(adapt(model, lora), text)


def load_built(folder: Path, lora: Lora, *, chat: bool = True) -> Policy:
    """Load a policy that a stage has built. Raises DataError, which says how to rebuild it, if it is damaged."""
    try:
        return load_policy(folder, lora=lora, chat=chat)
    except DataError as error:
        raise DataError(f"{error}. Remove the folder, and it will be built again: rm -r {folder}") from error
