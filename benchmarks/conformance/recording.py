"""The recorded experience that both sides compute with: three tiny Llamas, a rollout with scores, preference pairs.

The policy that sampled, the policy now and the reference differ enough that some ratios lie outside any usual clip.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from align_lab.models.convert import to_hf
from align_lab.models.llama import Llama, LlamaConfig

VOCAB, EOS, LONGEST, GROUP = 24, 23, 7, 4
SHAPE = LlamaConfig(vocab=VOCAB, width=16, layers=1, heads=2, kv_heads=2, mlp=32, context=32)
PROMPTS = [[1, 5, 9], [2, 7, 11, 13, 4], [3, 3]]  # lengths differ: batches are padded on the left
LENGTHS = [7, 3, 5, 7, 2, 6, 7, 4, 5, 1, 7, 3]  # of the completions; those of LONGEST tokens have no EOS
SCORES = [0.5, -1.25, 2.0, 0.75, 1.0, 1.5, -0.5, 1.5, 3.0, -2.0, 0.5, 1.0]
PAIRS = 5
PAIR_SEED = 1  # such that KTO's reference point is positive
MODELS = {"old": 0.0, "policy": 0.12, "reference": 0.15}  # standard deviation of what is added to the old weights


def write(folder: Path) -> dict[str, Any]:
    """Write the models as Hugging Face folders in float64, and return the recorded tokens and scores."""
    torch.manual_seed(0)
    start = Llama(SHAPE).double().state_dict()
    for number, (name, deviation) in enumerate(MODELS.items()):
        noise = torch.Generator().manual_seed(number)
        model = Llama(SHAPE).double()
        model.load_state_dict(
            {
                key: weight * 4 + deviation * torch.randn(weight.shape, generator=noise, dtype=weight.dtype)
                if weight.ndim == 2
                else weight
                for key, weight in start.items()
            }
        )
        to_hf(model, folder / name, eos=EOS)
        _tokenizer(folder / name)
    draw, draw_pairs = random.Random(0), random.Random(PAIR_SEED)
    return {
        "prompts": PROMPTS,
        "completions": [_completion(draw, length) for length in LENGTHS],
        "scores": SCORES,
        "group_size": GROUP,
        "longest": LONGEST,
        "pairs": [_pair(draw_pairs) for _ in range(PAIRS)],
        "short_pair": _pair(draw_pairs) | {"prompt": [1]},
    }


def _completion(draw: random.Random, length: int, *, ends: bool | None = None) -> list[int]:
    """Tokens that may follow a prompt; a completion that is shorter than the longest ends with EOS."""
    ends = length < LONGEST if ends is None else ends
    tokens = [draw.randrange(1, EOS) for _ in range(length)]
    return [*tokens[:-1], EOS] if ends else tokens


def _pair(draw: random.Random) -> dict[str, list[int]]:
    prompt = [draw.randrange(1, EOS) for _ in range(draw.randrange(2, 6))]
    chosen, rejected = (_completion(draw, draw.randrange(2, LONGEST + 1), ends=True) for _ in range(2))
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _tokenizer(folder: Path) -> None:
    vocabulary = {f"w{number}": number for number in range(EOS)} | {"</s>": EOS}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "</s>", "pad_token": "w0", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
