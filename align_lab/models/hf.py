"""Any causal language model that transformers knows, from a local folder or from the Hugging Face hub.

Weights as safetensors only, and no code that comes with them: `trust_remote_code` is off. What is kept of it in the cache
is a note of where it lies and the hash of every file, so that two runs can be proven to start from the same weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from align_lab.base.errors import ConfigError, DataError
from align_lab.base.files import sha256
from align_lab.base.progress import notice
from align_lab.base.registry import param, register, section
from align_lab.models.lora_settings import Lora
from align_lab.models.shape import Shape, read_shape

if TYPE_CHECKING:
    from align_lab.models.policy import Policy

KEPT = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer*", "*.jinja")
SOURCE = "source.json"


@register("model", "hf")
@dataclass(frozen=True, kw_only=True)
class HuggingFace:
    """A causal language model: model.path=FOLDER, or model.path=OWNER/NAME of the hub."""

    path: str = param("", "a local folder, or OWNER/NAME on the hub")
    revision: str | None = param(None, "commit or tag of a model on the hub; null: the newest")
    chat: bool = param(True, "prompts go through the tokenizer's chat template; false: as they are, for a base model")
    lora: Lora = section(Lora, "low-rank adapters")

    used_later: ClassVar = ("lora",)  # what `build` does not look at

    def problems(self) -> list[str]:
        """What can be said before anything is fetched."""
        if not self.path:
            return ["model=hf needs a model: set model.path=FOLDER, or model.path=OWNER/NAME of the Hugging Face hub"]
        folder = Path(self.path).expanduser()
        if folder.is_dir():
            return [str(error)] if (error := refusal(folder)) else []
        if folder.is_absolute() or self.path.startswith((".", "~")) or self.path.count("/") != 1:
            return [f"model.path={self.path}: there is no such folder, and OWNER/NAME on the hub it is not"]
        return []

    def shape(self) -> Shape | None:
        """What its memory follows from; None for a model of the hub that was not fetched yet."""
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            try:
                from huggingface_hub import try_to_load_from_cache
            except ModuleNotFoundError:
                return None
            found = try_to_load_from_cache(self.path, "config.json", revision=self.revision)
            if not isinstance(found, str):
                return None
            folder = Path(found).parent
        return read_shape(folder, lora_rank=self.lora.rank)

    def build(self, folder: Path, data: object) -> None:
        """Find it, or fetch it into the hub's own cache; write where it lies, and the hash of each file."""
        source = self._locate()
        if error := refusal(source):
            raise error
        from align_lab.models.policy import read_text

        if self.chat and read_text(source).template is None:
            raise ConfigError(
                f"{self.path} has no chat template, so it is a base model: set model.chat=false to give it prompts as they are, "
                "or choose its instruct version"
            )
        files = {file.name: sha256(file) for pattern in KEPT for file in sorted(source.glob(pattern))}
        (folder / SOURCE).write_text(json.dumps({"folder": str(source.resolve()), "files": files}, indent=1))

    def load(self, folder: Path) -> Policy:
        """Raises DataError when the files are gone, or are others than they were."""
        from align_lab.models.policy import load_policy

        note = json.loads((folder / SOURCE).read_text())
        source = Path(note["folder"])
        changed = [name for name, known in note["files"].items() if not _is(source / name, known)]
        if changed:
            raise DataError(
                f"{source / changed[0]} is gone, or is not the file that this study began with. Put it back, or forget it: rm -r {folder}"
            )
        return load_policy(source, lora=self.lora, chat=self.chat)

    def _locate(self) -> Path:
        folder = Path(self.path).expanduser()
        if folder.is_dir():
            return folder
        try:
            from huggingface_hub import snapshot_download
        except ModuleNotFoundError as missing:
            raise ConfigError(f'fetching {self.path} needs huggingface_hub: pip install "align_lab[hf]"') from missing
        notice(f"fetching {self.path} from the Hugging Face hub")
        try:
            return Path(snapshot_download(self.path, revision=self.revision, allow_patterns=list(KEPT)))
        except Exception as error:  # a dozen kinds: not found, gated, no network, ...
            raise DataError(
                f"{self.path} could not be fetched from the Hugging Face hub: {str(error).strip().splitlines()[0]}. "
                f"Check the name and your login (hf auth login), or name a local folder: model.path=FOLDER"
            ) from error


def refusal(folder: Path) -> DataError | None:
    """Why a folder is not loaded, if so."""
    if not (folder / "config.json").exists():
        return DataError(f"{folder} holds no config.json: it is no Hugging Face model")
    if not any(folder.glob("*.safetensors")):
        other = next(iter(sorted(folder.glob("*.bin"))), None)
        found = f"only {other.name}, which can run code when it is read" if other else "no weights"
        return DataError(
            f"{folder} holds {found}; only safetensors are loaded. Write them with "
            "AutoModelForCausalLM.from_pretrained(...).save_pretrained(FOLDER), on a machine where you trust the file"
        )
    if not (folder / "tokenizer.json").exists():
        return DataError(
            f"{folder} holds no tokenizer.json. Write it: AutoTokenizer.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
        )
    if "auto_map" in json.loads((folder / "config.json").read_text(encoding="utf-8")):
        return DataError(
            f"{folder} brings code of its own (auto_map in config.json), which is not run: use a model that transformers knows"
        )
    return None


def _is(file: Path, known: str) -> bool:
    return file.exists() and sha256(file) == known
