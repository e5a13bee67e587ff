"""Rendering of messages with the chat template of a model's tokenizer."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from align_lab.base.errors import DataError


def render(template: str, messages: Sequence[Mapping[str, str]], tokens: Mapping[str, str]) -> str:
    """The conversation as one text that ends with the generation prompt, where the assistant's answer begins.

    `tokens` are the special tokens that a template may use (bos_token, eos_token). The template runs in a sandbox,
    because it is downloaded with the weights. Raises DataError if the template rejects the messages.
    """
    try:
        return _compiled(template).render(messages=messages, add_generation_prompt=True, **tokens)
    except TemplateError as error:
        raise DataError(
            f"the tokenizer's chat template failed ({error}). Set model.chat=false to use prompts without a template"
        ) from error


@functools.cache
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
    }
    return environment.from_string(template)


def _raise_exception(message: Any) -> NoReturn:
    raise TemplateError(str(message))
