"""Models on the Hugging Face hub: which of their files are used, and where its cache holds them."""

from __future__ import annotations

from pathlib import Path

from align_lab.base.errors import ConfigError, DataError
from align_lab.base.progress import notice

FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer*", "*.jinja")


def downloaded(hub_id: str, revision: str | None, *, instead: str) -> Path:
    """The folder of a model in the hub's cache, fetched if needed. Raises DataError where it cannot be.

    Args:
        hub_id: OWNER/NAME.
        revision: commit or tag; None: the newest.
        instead: the override that names a local folder, for the message.
    """
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as missing:
        raise ConfigError(f'fetching {hub_id} needs huggingface_hub: pip install "align_lab[hf]"') from missing
    notice(f"fetching {hub_id} from the Hugging Face hub")
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(FILES)))
    except Exception as error:  # the hub raises a dozen classes: not found, gated, no network, ...
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise DataError(
            f"{hub_id} could not be downloaded from the Hugging Face hub: {reason}. "
            f"Check the name and your login (hf auth login), or set a local folder: {instead}"
        ) from error


def cached_folder(hub_id: str, name: str, revision: str | None) -> Path | None:
    """The folder of a model in the hub's cache, if it holds this file."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:
        return None
    file = try_to_load_from_cache(hub_id, name, revision=revision)
    return Path(file).parent if isinstance(file, str) else None
