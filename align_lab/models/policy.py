"""A language model with its tokenizer, as a folder that transformers reads as well."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer

from align_lab.base.errors import AlignLabError, DataError
from align_lab.models import chat
from align_lab.models.convert import from_hf, is_plain_llama, to_hf
from align_lab.models.language_model import LanguageModel
from align_lab.models.lora import adapt
from align_lab.models.lora_settings import Lora
from align_lab.models.tokenizer import EOS, read_tokenizer
from align_lab.models.transformer import open_transformer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
TEMPLATE = "chat_template.jinja"
TOKENS = ("bos_token", "eos_token")
NO_LORA = Lora()


@dataclass(frozen=True, kw_only=True)
class Text:
    """How a policy reads and writes: tokens, the one that ends a completion, and a chat model's template."""

    tokenizer: Tokenizer
    eos: int
    template: str | None = None
    names: dict[str, str] = field(default_factory=dict)  # special tokens that a template may name

    def prompts(self, openings: Sequence[str], instruction: str) -> list[list[int]]:
        """Tokens of each opening, which the policy goes on from.

        A chat model is given the instruction ("{prompt}" stands for the opening) and begins its answer with the opening.
        """
        if self.template is None:
            return [encoding.ids for encoding in self.tokenizer.encode_batch(list(openings))]
        asked = [[{"role": "user", "content": instruction.replace("{prompt}", text)}] for text in openings]
        texts = [chat.render(self.template, one, self.names) + text for one, text in zip(asked, openings, strict=True)]
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and, for a chat model, `chat_template.jinja`."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        end = self.tokenizer.id_to_token(self.eos)
        content = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "pad_token": end}
        (folder / "tokenizer_config.json").write_text(json.dumps({**self.names, **content}, indent=2) + "\n")
        if self.template is not None:
            (folder / TEMPLATE).write_text(self.template, encoding="utf-8")


@dataclass(frozen=True)
class Policy:
    """What learns, and how it reads and writes."""

    model: LanguageModel
    text: Text

    @property
    def tokenizer(self) -> Tokenizer:
        return self.text.tokenizer

    @property
    def eos(self) -> int:
        return self.text.eos

    def to(self, dtype: torch.dtype) -> Policy:
        return replace(self, model=self.model.to(dtype))


def save_policy(policy: Policy, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and the tokenizer."""
    to_hf(policy.model, folder, eos=policy.eos)
    policy.text.save(folder)


def load_policy(folder: Path, *, lora: Lora = NO_LORA, chat: bool = True) -> Policy:
    """Read a folder, ours or one of Hugging Face. Raises DataError when it is not whole."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = from_hf(folder) if is_plain_llama(content) else open_transformer(folder)
        text = read_text(folder, chat=chat)
    except AlignLabError:
        raise
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(f"{folder} does not hold a policy ({error})") from error
    return Policy(adapt(model, lora), text)


def load_built(folder: Path, lora: Lora) -> Policy:
    """What a stage has built, and would build again. Raises DataError when it is not whole."""
    try:
        return load_policy(folder, lora=lora)
    except DataError as error:
        raise DataError(f"{error}. Remove it, it will be built again: rm -r {folder}") from error


def read_text(folder: Path, *, chat: bool = True) -> Text:
    """Tokenizer, end token and template of a Hugging Face folder. Raises ValueError where there is no end token."""
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    about = _json(folder / "tokenizer_config.json")
    template = (folder / TEMPLATE).read_text(encoding="utf-8") if (folder / TEMPLATE).exists() else None
    return Text(
        tokenizer=tokenizer,
        eos=_end(tokenizer, about, _json(folder / "config.json")),
        template=(template or about.get("chat_template")) if chat else None,
        names={name: _content(about[name]) for name in TOKENS if about.get(name)},
    )


def _end(tokenizer: Tokenizer, about: dict[str, Any], config: dict[str, Any]) -> int:
    """The tokenizer's own end token (a chat model's end of turn), else the model's."""
    named = tokenizer.token_to_id(_content(about.get("eos_token") or EOS))
    found = config.get("eos_token_id") if named is None else named
    found = found[0] if isinstance(found, list) else found
    if found is None:
        raise ValueError("neither tokenizer_config.json nor config.json names a token that ends a text")
    return int(found)


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
