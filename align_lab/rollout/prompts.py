"""Prompts as text and as padded batches of tokens, and decoding of completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from align_lab.base.settings import Decoding, Sampling
from align_lab.base.task import Example, PromptForm
from align_lab.models.policy import Policy
from align_lab.models.text import PLAIN, Text
from align_lab.rollout.long_prompts import Room, fit
from align_lab.rollout.sampler import Samples


@dataclass(frozen=True)
class Prompts:
    """Examples and the tokens of their prompts, for one tokenizer whose end-of-sequence token is `eos`."""

    examples: Sequence[Example]
    ids: Sequence[Sequence[int]]
    tokenizer: Tokenizer
    eos: int

    @classmethod
    def of(
        cls,
        policy: Policy,
        examples: Sequence[Example],
        sampling: Sampling | Decoding,
        *,
        form: PromptForm = PLAIN,
        split: str = "",
    ) -> Prompts:
        """Prompts of the set `split` for a policy and its sampling settings, in the form that the data asks for."""
        context, new = policy.model.context, sampling.max_new_tokens
        return cls.encode(examples, policy.text, context=context, new=new, form=form, split=split)

    @classmethod
    def encode(
        cls,
        examples: Sequence[Example],
        text: Text,
        *,
        context: int,
        new: int,
        form: PromptForm = PLAIN,
        split: str = "",
    ) -> Prompts:
        """Tokenize the examples' prompts for a model with this context, of which `new` tokens are kept free.

        Raises DataError if a prompt is empty, or if one is too long and `form` does not say what to do with it.
        """
        fitting, ids = fit(examples, text, Room(context=context, new=new, split=split), form)
        return cls(fitting, ids, text.tokenizer, text.eos)

    def __len__(self) -> int:
        return len(self.examples)

    def width(self, rows: Sequence[int]) -> int:
        """The number of tokens of the longest of these prompts."""
        return max(len(self.ids[row]) for row in rows)

    def batch(self, rows: Sequence[int], *, least: int = 0) -> tuple[Tensor, Tensor]:
        """Left-padded tokens [P S] of these prompts, S >= `least`; and the padding of each, [P]."""
        width = max(least, self.width(rows))
        tokens = [self.ids[row] for row in rows]
        pad = [width - len(ids) for ids in tokens]
        return torch.tensor([[self.eos] * p + list(ids) for p, ids in zip(pad, tokens, strict=True)]), torch.tensor(pad)

    def completions(self, samples: Samples) -> list[str]:
        """The completions as text, without special tokens."""
        pairs = zip(samples.tokens.cpu(), samples.mask.cpu(), strict=True)
        rows = [tokens[mask].tolist() for tokens, mask in pairs]
        return self.tokenizer.decode_batch(rows, skip_special_tokens=True)
