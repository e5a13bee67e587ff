"""The model, tokenizer, prompts, pairs and trivial reward that all contenders share.

Only `write` imports align_lab: the contenders run in different Python environments.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

VOCAB, EOS = 49152, 49151
PROMPT, NEW = 32, 32  # tokens
ROWS, GROUP = 32, 4  # completions of a step; a DPO step has ROWS / 2 pairs
KL, BETA, LR = 0.05, 0.1, 1e-6
MODEL = {"vocab": VOCAB, "width": 256, "layers": 4, "heads": 4, "kv_heads": 4, "mlp": 512, "context": PROMPT + NEW + 1}
CONTENDERS = {"rloo": "RLOO, KL 0.05", "grpo": "GRPO without KL", "dpo": "DPO"}


def words(count: int, seed: int) -> str:
    """A text of `count` tokens."""
    return " ".join(f"w{number}" for number in random.Random(seed).choices(range(EOS), k=count))


def prompts() -> list[str]:
    return [words(PROMPT, seed) for seed in range(256)]


def pairs() -> list[dict[str, str]]:
    """Preference pairs whose completions have NEW tokens, including the end-of-sequence token."""
    return [
        {"prompt": words(PROMPT, n), "chosen": words(NEW - 1, 1000 + n), "rejected": words(NEW - 1, 2000 + n)}
        for n in range(256)
    ]


def reward(texts: Sequence[str]) -> list[float]:
    """Characters per token: trivial to compute, and different for different completions."""
    return [len(text) / NEW for text in texts]


def write(folder: Path) -> None:
    """The start weights as a Hugging Face folder, with `tokenizer.json`."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    from align_lab.models.convert import to_hf
    from align_lab.models.llama import Llama, LlamaConfig

    torch.manual_seed(0)
    to_hf(Llama(LlamaConfig(**MODEL)), folder, eos=EOS)
    vocabulary = {f"w{number}": number for number in range(EOS)} | {"</s>": EOS}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="</s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "pad_token": "</s>"}))
