"""The tokenizer and chat template of a model, where they are on this machine before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align_lab.base import registry
from align_lab.base.contracts import Data, Model
from align_lab.base.errors import DataError
from align_lab.stages.dependencies import data_stage, policy_stage
from align_lab.stages.store import shared

if TYPE_CHECKING:
    from align_lab.models.text import Text

TOKENIZER = "tokenizer.json"


def existing_text(model: Mapping[str, Any], data: Mapping[str, Any]) -> Text | None:
    """Of the built start policy, else of the model's files; None where neither is here. Raises DataError."""
    component: Model = registry.build("model", model)
    of_data: Data = registry.build("data", data)
    stage = policy_stage(model, data_stage(data), form=of_data.prompt_form)
    folders = [shared().root / one.name for one in reversed(stage.closure())]
    if own := component.tokenizer_folder():
        folders.append(own)
    chat = bool(model.get("chat", True))
    return next((text_in(folder, chat=chat) for folder in folders if (folder / TOKENIZER).is_file()), None)


def text_in(folder: Path, *, chat: bool) -> Text:
    """Tokenizer and chat template in a folder. Raises DataError where they are damaged."""
    from align_lab.models.text import read_text

    try:
        return read_text(folder, chat=chat)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} does not hold a tokenizer ({error})") from error
