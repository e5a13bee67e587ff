"""A language model with its tokenizer and chat template, stored as a Hugging Face folder."""

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
from align_lab.base.task import Example, PromptForm
from align_lab.models import chat_template
from align_lab.models.control_tokens import Control
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
PLAIN = PromptForm()
NO_CONTROL = Control()


@dataclass(frozen=True, kw_only=True)
class Text:
    """The tokenizer of a policy, its end-of-sequence token, and the chat template of a chat model."""

    tokenizer: Tokenizer
    eos: int
    template: str | None = None
    names: dict[str, str] = field(default_factory=dict)  # special tokens that a template may use

    def prompts(self, examples: Sequence[Example], form: PromptForm = PLAIN) -> list[list[int]]:
        """Tokens of each example's prompt, after which the completion begins.

        A chat model is asked a text as the user's turn, within the instruction of `form`, and answers; in the form
        "continuation" its answer begins with the text. A prompt that is a conversation is rendered by the template as
        it is. A base model continues the text. Control tokens in a prompt are encoded as ordinary text.
        """
        control = Control.of(self.tokenizer)
        rendered = [self.rendered(example, form, control=control) for example in examples]
        return control.encode(self.tokenizer, rendered, add_special_tokens=self.template is None)

    def rendered(self, example: Example, form: PromptForm = PLAIN, *, control: Control = NO_CONTROL) -> str:
        """The text whose tokens are the example's prompt. `control`: it marks the control tokens in what users say."""
        if self.template is None:
            return control.mark(example.text)
        if not isinstance(example.prompt, str):
            turns = [{"role": turn.role, "content": control.mark(turn.content)} for turn in example.prompt]
            return chat_template.render(self.template, turns, self.names)
        text = control.mark(example.prompt)
        question = [{"role": "user", "content": form.instruction.replace("{prompt}", text)}]
        opening = text if form.chat == "continuation" else ""
        return chat_template.render(self.template, question, self.names) + opening

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
        return replace(self, model=self.model.to(dtype))


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


def read_text(folder: Path, *, chat: bool = True) -> Text:
    """Tokenizer, end token and chat template of a Hugging Face folder. Raises ValueError if it names no end token."""
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    settings = _json(folder / "tokenizer_config.json")
    template = (folder / TEMPLATE).read_text(encoding="utf-8") if (folder / TEMPLATE).exists() else None
    return Text(
        tokenizer=tokenizer,
        eos=_eos(tokenizer, settings, _json(folder / "config.json")),
        template=(template or settings.get("chat_template")) if chat else None,
        names={name: _content(settings[name]) for name in TOKENS if settings.get(name)},
    )


def _eos(tokenizer: Tokenizer, settings: dict[str, Any], config: dict[str, Any]) -> int:
    """The tokenizer's end-of-sequence token (a chat model's end of turn), else the model's."""
    eos = tokenizer.token_to_id(_content(settings.get("eos_token") or EOS))
    if eos is None:
        eos = config.get("eos_token_id")
    eos = eos[0] if isinstance(eos, list) else eos
    if eos is None:
        raise ValueError("neither tokenizer_config.json nor config.json names an end-of-sequence token")
    return int(eos)


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
