"""From an instruction to the text that a chat model was trained on, by the template that comes with its tokenizer."""

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
    """The conversation up to the place where the assistant begins to write.

    `tokens` are those that a template may name (bos_token, eos_token). It runs in a sandbox: it comes with somebody's
    weights. Raises DataError when the template refuses the messages.
    """
    try:
        return _compiled(template).render(messages=messages, add_generation_prompt=True, **tokens)
    except TemplateError as error:
        raise DataError(
            f"the tokenizer's chat template cannot be used ({error}). Set model.chat=false to give prompts as they are"
        ) from error


@functools.cache
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
    return environment.from_string(template)


def _refuse(message: Any) -> NoReturn:
    raise TemplateError(str(message))
