"""Control tokens of a tokenizer, such as <|im_start|>, inside the texts of users: they stay ordinary text.

A tokenizer finds its control tokens anywhere in a text. A prompt that holds one could otherwise end its turn and speak
for the system. So each is replaced by a mark before the chat template is rendered, and encoded on its own as text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

MARK = "\ufdd0"  # a code point that Unicode reserves for use inside a program
MARKED = re.compile(f"{MARK}(\\d+){MARK}")


@dataclass(frozen=True)
class Control:
    """The control tokens of one tokenizer; by default none."""

    tokens: tuple[str, ...] = ()

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Control:
        """Those that the tokenizer declares as special, the longest first."""
        special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
        return cls(tuple(sorted(special, key=lambda token: (-len(token), token))))

    def mark(self, text: str) -> str:
        """The text with a mark in the place of each control token."""
        for number, token in enumerate(self.tokens):
            if token in text:
                text = text.replace(token, f"{MARK}{number}{MARK}")
        return text

    def encode(self, tokenizer: Tokenizer, texts: Sequence[str], *, add_special_tokens: bool) -> list[list[int]]:
        """Token ids of texts with marks; what a mark stands for becomes the tokens of ordinary text."""
        marked = {row for row, text in enumerate(texts) if MARKED.search(text)}
        plain = [text for row, text in enumerate(texts) if row not in marked]
        ids = iter(tokenizer.encode_batch(plain, add_special_tokens=add_special_tokens))
        return [
            self._encode_marked(tokenizer, text, add_special_tokens) if row in marked else next(ids).ids
            for row, text in enumerate(texts)
        ]

    def _encode_marked(self, tokenizer: Tokenizer, text: str, add_special_tokens: bool) -> list[int]:
        ids: list[int] = []
        for place, part in enumerate(MARKED.split(text)):  # texts and the numbers of marks take turns
            if place % 2 and int(part) < len(self.tokens):
                ids += as_text(tokenizer, self.tokens[int(part)])
            elif part or not place:
                ids += tokenizer.encode(part, add_special_tokens=add_special_tokens and not place).ids
        return ids


def as_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """The tokens of a text in which no control token is recognized."""
    before = tokenizer.encode_special_tokens
    tokenizer.encode_special_tokens = True
    try:
        return tokenizer.encode(text, add_special_tokens=False).ids
    finally:
        tokenizer.encode_special_tokens = before
