"""A reward model of two experts: a policy's body with a linear head on its mean state, and a weight for every word.

    r(text) = w · mean_t h_t + Σ_g v_g a_g - center,   a_g = idf_g / ‖idf‖ over the text's words and word pairs

What a tiny body misses a bag of words knows, and the other way round. The prompt is part of the text. 0 is an average
human review of the training half, 1 is one standard deviation better.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from align_lab.base.errors import DataError
from align_lab.base.task import Example, Score
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.tokenizer import encode, read_tokenizer

GRAMS = 1 << 16  # rows of the table of hashed words and word pairs
ROWS = 16  # texts scored together, sorted by length


class RewardModel(nn.Module):
    """Token ids and grams -> one number a text."""

    center: Tensor
    idf: Tensor

    def __init__(self, body: Llama, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(body.config.width, 1, bias=False)
        self.words = nn.Parameter(torch.zeros(GRAMS))
        self.dropout = dropout
        nn.init.zeros_(self.head.weight)
        self.register_buffer("idf", torch.zeros(GRAMS))
        self.register_buffer("center", torch.zeros(()))

    def forward(self, ids: Tensor, mask: Tensor, grams: Sequence[Sequence[int]]) -> Tensor:
        """ids [B L] padded on the right, mask [B L], hashed grams of each text -> r [B]."""
        return sum(self.experts(ids, mask, grams)) - self.center

    def experts(self, ids: Tensor, mask: Tensor, grams: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """What the body and what the words say, [B] each."""
        pooled = torch.einsum("bld,bl->bd", self.body.hidden(ids), mask.to(self.idf)) / mask.sum(1, keepdim=True)
        return self.head(F.dropout(pooled, self.dropout, self.training)).squeeze(-1), self.bag(grams)

    def bag(self, grams: Sequence[Sequence[int]]) -> Tensor:
        """Σ_g v_g a_g of each text, [B]; grams that no training review holds have no say."""
        text = torch.arange(len(grams)).repeat_interleave(torch.tensor([len(rows) for rows in grams]))
        flat = torch.tensor([gram for rows in grams for gram in rows])
        weight, zero = self.idf[flat], torch.zeros(len(grams))
        norm = zero.index_add(0, text, weight.square()).clamp(min=1e-9).sqrt()
        return zero.index_add(0, text, self.words[flat] * weight / norm[text])

    def standardize(self, scores: Tensor) -> None:
        """Make the mean of these scores 0 and their standard deviation 1 from now on."""
        with torch.no_grad():
            self.center.add_(scores.mean()).div_(scores.std())
            self.head.weight.div_(scores.std())
            self.words.div_(scores.std())


def hashed_grams(text: str) -> list[int]:
    """Rows of the *set* of words and word pairs of a text; the text's start and end count as words."""
    words = ["<", *re.findall(r"[\w']+|[.,!?;:]", text.casefold()), ">"]
    return sorted({zlib.crc32(gram.encode()) % GRAMS for gram in (*words, *map(" ".join, pairwise(words)))})


class LearnedReward:
    """A trained reward model with its tokenizer: text in, score out."""

    def __init__(self, model: RewardModel, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """Score prompt and completion as one text that has ended."""
        texts = [example.text + completion for example, completion in zip(examples, completions, strict=True)]
        return Score(total=self.rate(texts).tolist())

    @torch.inference_mode()
    def rate(self, texts: Sequence[str]) -> Tensor:
        """Scores of whole texts, [N]."""
        from align_lab.models.fitting import collate

        tokens = encode(self.tokenizer, texts, longest=self.model.body.config.context)
        order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))
        scores = torch.zeros(len(texts))
        for start in range(0, len(order), ROWS):
            rows = order[start : start + ROWS]
            grams = [hashed_grams(texts[row]) for row in rows]
            scores[rows] = self.model(*collate([tokens[row] for row in rows]), grams)
        return scores


def save_reward(reward: LearnedReward, folder: Path) -> None:
    """Write `reward.safetensors`, `reward.json` and `tokenizer.json`."""
    state = {name: value.contiguous() for name, value in reward.model.state_dict().items()}
    save_file(state, folder / "reward.safetensors")
    (folder / "reward.json").write_text(json.dumps(vars(reward.model.body.config)))
    reward.tokenizer.save(str(folder / "tokenizer.json"))


def load_reward(folder: Path) -> LearnedReward:
    """Read what `save_reward` wrote. Raises DataError when it is not whole."""
    try:
        model = RewardModel(Llama(LlamaConfig(**json.loads((folder / "reward.json").read_text()))))
        model.load_state_dict(load_file(folder / "reward.safetensors"))
        return LearnedReward(model, read_tokenizer(folder / "tokenizer.json"))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise DataError(
            f"{folder} does not hold a reward model ({error}). Remove it, it will be built again: rm -r {folder}"
        ) from error
