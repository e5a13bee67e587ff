"""A language model with its tokenizer, as a folder that transformers reads as well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer

from align_lab.errors import DataError
from align_lab.models.convert import from_hf, to_hf
from align_lab.models.llama import Llama
from align_lab.models.tokenizer import end_token, read_tokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


@dataclass(frozen=True)
class Policy:
    """`eos` is the token that ends a completion."""

    model: Llama
    tokenizer: Tokenizer
    eos: int

    def to(self, dtype: torch.dtype) -> Policy:
        return Policy(self.model.to(dtype), self.tokenizer, self.eos)


def save_policy(policy: Policy, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and `tokenizer.json`."""
    to_hf(policy.model, folder, eos=policy.eos)
    policy.tokenizer.save(str(folder / "tokenizer.json"))


def load_policy(folder: Path) -> Policy:
    """Read what `save_policy` wrote. Raises DataError when it is not whole."""
    try:
        tokenizer = read_tokenizer(folder / "tokenizer.json")
        return Policy(from_hf(folder), tokenizer, end_token(tokenizer))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(
            f"{folder} does not hold a policy ({error}). Remove it, it will be built again: rm -r {folder}"
        ) from error
