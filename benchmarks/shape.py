"""The model, tokenizer, prompts, pairs and trivial reward that all contenders share.

Only `write` imports align_lab: the contenders run in different Python environments.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path

CASES = {  # weights -> tokens of a prompt and of a completion, completions of a step, model
    "2M": (8, 40, 64, {"vocab": 8192, "width": 128, "layers": 4, "heads": 4, "kv_heads": 4, "mlp": 352}),
    "15M": (32, 32, 32, {"vocab": 49152, "width": 256, "layers": 4, "heads": 4, "kv_heads": 4, "mlp": 512}),
    "135M": (32, 24, 16, {"vocab": 49152, "width": 576, "layers": 30, "heads": 9, "kv_heads": 3, "mlp": 1536}),
}  # model=tiny with the default task, that of `trainers.py`, and SmolLM2-135M
CASE = "ALIGN_LAB_BENCHMARK_CASE"  # the variable that chooses one
PROMPT, NEW, ROWS, SHAPE = CASES[os.environ.get(CASE, "15M")]
GROUP = 4  # completions of a prompt; a DPO step has ROWS / 2 pairs
KL, BETA, LR = 0.05, 0.1, 1e-6
MODEL = {**SHAPE, "context": PROMPT + NEW + 1}
VOCAB, EOS = MODEL["vocab"], MODEL["vocab"] - 1
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
