"""Prompts as a model gets them: its tokenizer, end-of-sequence token and chat template, without its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from align_lab.base.task import Example, PromptForm
from align_lab.models import chat_template
from align_lab.models.control_tokens import Control
from align_lab.models.tokenizer import EOS, read_tokenizer

TEMPLATE = "chat_template.jinja"
TOKENS = ("bos_token", "eos_token")
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
