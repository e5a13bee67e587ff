"""Reward models of transformers: a sequence classifier that reads prompt and completion."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from align_lab.base.contracts import Reward
from align_lab.base.errors import RewardError, near
from align_lab.base.paths import is_folder
from align_lab.base.registry import param, register
from align_lab.base.task import Scorer, ScorerMemory
from align_lab.models import hub
from align_lab.models.hf import folder_error
from align_lab.models.shape import read_shape, stored_dtype

WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes of a number
COMMIT = re.compile(r"[0-9a-f]{40}")


@register("reward", "hf_classifier")
@dataclass(frozen=True, kw_only=True)
class HFClassifier(Reward):
    """A sequence classifier of transformers, from a folder or the Hugging Face hub.

    A model with one label (a reward model) gives its logit. Of a model with several, `scored_label` names the one that
    counts. Only safetensors are loaded, and never code that comes with the weights.
    """

    repeats: ClassVar = True
    meaning: ClassVar = "the score of a sequence classifier"
    package: ClassVar = "transformers"
    extra: ClassVar = "hf"

    path: str = param("", "a local folder, or OWNER/NAME on the hub")
    revision: str | None = param(None, "commit of a model on the hub, 40 hexadecimal digits: the same weights for all")
    scored_label: str | None = param(None, "name or number of the label that counts; null: the only one")
    output: str = param(
        "logit",
        "logit; probability of the label; or its logarithm",
        choices=("logit", "probability", "log_probability"),
    )
    inputs: str = param(
        "auto",
        "how prompt and completion are put together. chat: by the tokenizer's chat template; pair: as the two texts of "
        "a classifier of pairs; text: as one text; auto: chat if there is a template, else text",
        choices=("auto", "chat", "pair", "text"),
    )
    max_length: int | None = param(
        None, "tokens; what is longer loses its beginning (reward/truncated counts it); null: the model's limit", low=8
    )
    batch_tokens: int = param(8192, "tokens of a forward pass, with padding", low=1)
    dtype: str = param(
        "auto", "precision of the weights; auto: as they are stored", choices=("auto", "float32", "bfloat16", "float16")
    )

    def problems(self) -> list[str]:
        """Errors in the folder, the revision and the label."""
        return [f"reward=hf_classifier: {text}" for text in self._problems()]

    def _problems(self) -> list[str]:
        if not self.path:
            return ["it needs a model: set path=FOLDER, or path=OWNER/NAME of the Hugging Face hub"]
        folder = Path(self.path).expanduser()
        if is_folder(folder):
            error = folder_error(folder)
            return [str(error)] if error else self._label_problems(folder)
        if folder.is_absolute() or self.path.startswith((".", "~")) or self.path.count("/") != 1:
            return [f"path={self.path} is neither an existing folder nor OWNER/NAME on the Hugging Face hub"]
        if not COMMIT.fullmatch(self.revision or ""):
            return [
                f"path={self.path} is a model of the hub, where names can get new weights. Set revision=COMMIT, 40 "
                f"hexadecimal digits from https://huggingface.co/{self.path}/commits/main"
            ]
        return []

    def _label_problems(self, folder: Path) -> list[str]:
        try:
            self.label_index(folder)
        except RewardError as error:
            return [str(error)]
        return []

    def label_index(self, folder: Path) -> int:
        """The position of the label that counts. Raises RewardError if the model has none of that name."""
        names = label_names(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        if self.scored_label is None and len(names) == 1:
            return 0
        if self.scored_label in names:
            return names.index(self.scored_label)
        if self.scored_label is not None and self.scored_label.isdecimal() and int(self.scored_label) < len(names):
            return int(self.scored_label)
        labels = "has several labels" if self.scored_label is None else f"has no label {self.scored_label}"
        raise RewardError(f"{self.path} {labels}: set scored_label=NAME. {near(str(self.scored_label or ''), names)}")

    def files(self) -> list[Path]:
        """The weights, settings and tokenizer of a local folder. The commit identifies those of the hub."""
        folder = Path(self.path).expanduser()
        if not self.path or not is_folder(folder):
            return []
        return [file for pattern in hub.FILES for file in sorted(folder.glob(pattern))]

    def parts(self) -> tuple[str, ...]:
        """Was the beginning of the text cut off?"""
        return ("truncated",)

    def memory(self, policy: Mapping[str, Any]) -> ScorerMemory:
        """The weights of a local folder or of the hub's cache, in the precision in which they are loaded."""
        folder = self._known_folder()
        shape = None if folder is None else read_shape(folder)
        if folder is None or shape is None:
            return ScorerMemory()
        stored = WIDTHS.get(stored_dtype(folder), 4)
        width = stored if self.dtype == "auto" else WIDTHS[self.dtype]
        weights = sum(file.stat().st_size for file in folder.glob("*.safetensors")) * width / stored
        tokens = max(self.batch_tokens, self.max_length or 0)
        return ScorerMemory(weights=weights, forward=shape.forward_bytes(tokens, bytes_each=width))

    def _known_folder(self) -> Path | None:
        folder = Path(self.path).expanduser()
        return folder if is_folder(folder) else hub.cached_folder(self.path, "config.json", self.revision)

    def load(self, folder: Path | None) -> Scorer:
        """The scorer, on the run's device. Raises DataError where the model cannot be loaded."""
        from align_lab.rewards.classifier_scorer import ClassifierScorer, open_classifier

        source = self._locate()
        if error := folder_error(source):
            raise error
        model, tokenizer = open_classifier(source, dtype=self.dtype)
        return ClassifierScorer(
            model=model,
            tokenizer=tokenizer,
            label=self.label_index(source),
            output=self.output,
            inputs=self.inputs,
            max_length=self.max_length,
            batch_tokens=self.batch_tokens,
        )

    def _locate(self) -> Path:
        """The folder of the model, downloaded if needed."""
        folder = Path(self.path).expanduser()
        if is_folder(folder):
            return folder
        return hub.downloaded(self.path, self.revision, instead="path=FOLDER")


def label_names(config: dict[str, Any]) -> list[str]:
    """The labels of a model in their order; transformers' default without any is two."""
    names = config.get("id2label")
    if isinstance(names, dict) and names:
        return [str(names[key]) for key in sorted(names, key=int)]
    return [f"LABEL_{i}" for i in range(int(config.get("num_labels", 2)))]
