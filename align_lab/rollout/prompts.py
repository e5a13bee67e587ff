"""Prompts as text and as padded batches of tokens, and decoding of completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from align_lab.base.errors import DataError
from align_lab.base.settings import Decoding, Sampling
from align_lab.base.task import Example
from align_lab.models.policy import Policy, Text
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
        instruction: str = "{prompt}",
    ) -> Prompts:
        """Prompts for a policy and its sampling settings; a chat model gets the instruction in its template."""
        return cls.encode(
            examples, policy.text, context=policy.model.context, new=sampling.max_new_tokens, instruction=instruction
        )

    @classmethod
    def encode(
        cls, examples: Sequence[Example], text: Text, *, context: int, new: int, instruction: str = "{prompt}"
    ) -> Prompts:
        """Tokenize the examples' prompts for a model with this context.

        Raises DataError if a prompt is empty, or if a prompt and `new` tokens exceed the context.
        """
        ids = text.prompts(examples, instruction)
        for example, tokens in zip(examples, ids, strict=True):
            if not tokens:
                raise DataError("a prompt is empty: a completion needs at least one token before it")
            if len(tokens) + new > context:
                raise DataError(
                    f"the prompt {example.text[:60]!r} has {len(tokens)} tokens; with sampling.max_new_tokens={new} "
                    f"that is more than the model's context of {context}. Set "
                    f"sampling.max_new_tokens={max(1, context - len(tokens))} or less, or use shorter prompts"
                )
        return cls(examples, ids, text.tokenizer, text.eos)

    def __len__(self) -> int:
        return len(self.examples)

    def width(self, rows: Sequence[int]) -> int:
        """The number of tokens of the longest of these prompts."""
        return max(len(self.ids[row]) for row in rows)

    def batch(self, rows: Sequence[int], *, repeat: int = 1, least: int = 0) -> tuple[Tensor, Tensor]:
        """Left-padded tokens [B S] of these prompts, each repeated, S >= `least`; and the padding of each row, [B]."""
        width = max(least, self.width(rows))
        tokens = [self.ids[row] for row in rows for _ in range(repeat)]
        pad = [width - len(ids) for ids in tokens]
        return torch.tensor([[self.eos] * p + list(ids) for p, ids in zip(pad, tokens, strict=True)]), torch.tensor(pad)

    def completions(self, samples: Samples) -> list[str]:
        """The completions as text, without special tokens."""
        rows = [tokens[mask].tolist() for tokens, mask in zip(samples.tokens, samples.mask, strict=True)]
        return self.tokenizer.decode_batch(rows, skip_special_tokens=True)
