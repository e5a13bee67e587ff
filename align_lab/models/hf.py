"""Any causal language model that transformers supports, from a local folder or the Hugging Face hub.

Weights are loaded from safetensors only, and `trust_remote_code` is off. The artefact store records the folder and the
hash of every file instead of a copy, so that two runs can be proven to start from the same weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from align_lab.base.content import file_hash
from align_lab.base.contracts import Model
from align_lab.base.errors import ConfigError, DataError
from align_lab.base.paths import is_folder
from align_lab.base.registry import param, register, section
from align_lab.models import hub
from align_lab.models.lora_settings import Lora
from align_lab.models.sft_settings import FineTuning
from align_lab.models.shape import Shape, read_shape

if TYPE_CHECKING:
    from align_lab.models.policy import Policy

SOURCE = "source.json"


@register("model", "hf")
@dataclass(frozen=True, kw_only=True)
class HuggingFace(Model):
    """A causal language model: model.path=FOLDER, or model.path=OWNER/NAME on the hub."""

    path: str = param("", "a local folder, or OWNER/NAME on the hub")
    revision: str | None = param(None, "commit or tag of a model on the hub; null: the newest")
    chat: bool = param(True, "apply the tokenizer's chat template to prompts; false: plain prompts, for a base model")
    sft: FineTuning = section(FineTuning, "supervised fine-tuning on the data's demonstrations")
    lora: Lora = section(Lora, "low-rank adapters")

    used_later: ClassVar = ("lora",)
    pretrained: ClassVar = True

    def problems(self) -> list[str]:
        """Errors that validation finds before anything is downloaded."""
        if not self.path:
            return ["model=hf needs a model: set model.path=FOLDER, or model.path=OWNER/NAME of the Hugging Face hub"]
        folder = Path(self.path).expanduser()
        if is_folder(folder):
            return [str(error)] if (error := folder_error(folder)) else []
        if folder.is_absolute() or self.path.startswith((".", "~")) or self.path.count("/") != 1:
            return [f"model.path={self.path} is neither an existing folder nor OWNER/NAME on the Hugging Face hub"]
        return []

    def files(self) -> list[Path]:
        """The weights, settings and tokenizer of a local folder. Files of the hub are hashed at download."""
        folder = Path(self.path).expanduser()
        return _read_from(folder) if is_folder(folder) else []

    def shape(self) -> Shape | None:
        """The dimensions that determine its memory; None for a model of the hub that is not downloaded yet."""
        folder = self._folder_with("config.json")
        return None if folder is None else read_shape(folder, lora_rank=self.lora.rank)

    def tokenizer_folder(self) -> Path | None:
        """The local folder, or that of the hub's cache."""
        return self._folder_with("tokenizer.json")

    def fine_tuning(self) -> FineTuning | None:
        """Its settings, if it is to be fine-tuned."""
        return self.sft if self.sft.epochs else None

    def build(self, folder: Path) -> None:
        """Download the model into the hub's own cache if needed; write its folder and the hash of each file."""
        source = self._locate()
        if error := folder_error(source):
            raise error
        from align_lab.models.text import read_text

        if self.chat and read_text(source).template is None:
            raise ConfigError(
                f"{self.path} has no chat template, so it is a base model: set model.chat=false to use prompts without "
                "a template, or choose its instruct version"
            )
        files = {file.name: file_hash(file) for file in _read_from(source)}
        (folder / SOURCE).write_text(json.dumps({"folder": str(source.resolve()), "files": files}, indent=1))

    def load(self, folder: Path) -> Policy:
        """Load the policy. Raises DataError if a file is missing or has another hash than at `build`."""
        from align_lab.models.policy import load_built, load_policy

        if not (folder / SOURCE).exists():  # fine-tuning has written the weights into the folder itself
            return load_built(folder, self.lora, chat=self.chat)
        record = json.loads((folder / SOURCE).read_text())
        source = Path(record["folder"])
        changed = [name for name, digest in record["files"].items() if not _has_hash(source / name, digest)]
        if changed:
            raise DataError(
                f"{source / changed[0]} is missing, or is not the file that this study started from. Restore it, or "
                f"start over with the new file: rm -r {folder}"
            )
        return load_policy(source, lora=self.lora, chat=self.chat)

    def _folder_with(self, name: str) -> Path | None:
        """The local folder, or the folder of the hub's cache, if it holds this file."""
        folder = Path(self.path).expanduser()
        if is_folder(folder):
            return folder if (folder / name).is_file() else None
        return hub.cached_folder(self.path, name, self.revision)

    def _locate(self) -> Path:
        folder = Path(self.path).expanduser()
        if is_folder(folder):
            return folder
        return hub.downloaded(self.path, self.revision, instead="model.path=FOLDER")


def folder_error(folder: Path) -> DataError | None:
    """The reason why a folder cannot be loaded, or None."""
    if not (folder / "config.json").exists():
        return DataError(f"{folder} has no config.json, so it is not a Hugging Face model")
    if not any(folder.glob("*.safetensors")):
        other = next(iter(sorted(folder.glob("*.bin"))), None)
        contents = f"only {other.name}, a pickle, which can run code when it is loaded" if other else "no weights"
        return DataError(
            f"{folder} contains {contents}; only safetensors are loaded. Convert them with "
            "AutoModelForCausalLM.from_pretrained(...).save_pretrained(FOLDER), on a machine where you trust the file"
        )
    if not (folder / "tokenizer.json").exists():
        path = repr(str(folder))
        return DataError(
            f"{folder} has no tokenizer.json. Write it: AutoTokenizer.from_pretrained({path}).save_pretrained({path})"
        )
    if "auto_map" in json.loads((folder / "config.json").read_text(encoding="utf-8")):
        return DataError(
            f"{folder} has custom model code (auto_map in config.json), which is never run: use a model that "
            "transformers supports"
        )
    return None


def _read_from(folder: Path) -> list[Path]:
    return [file for pattern in hub.FILES for file in sorted(folder.glob(pattern))]


def _has_hash(file: Path, digest: str) -> bool:
    return file.exists() and file_hash(file) == digest
