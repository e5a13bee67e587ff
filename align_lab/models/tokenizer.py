"""Byte-level byte-pair encoding: every text has tokens, and tokens give the text back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

EOS = "<eos>"


def train_tokenizer(texts: Sequence[str], *, vocab: int) -> Tokenizer:
    """A tokenizer of `vocab` tokens at most, the end token first. The first word is like any other, after a blank."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[EOS],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str], *, longest: int, end: int | None = None) -> list[list[int]]:
    """Tokens of each text and the end token; a text that is longer is cut, and then has no end."""
    end = end_token(tokenizer) if end is None else end
    return [[*encoding.ids, end][:longest] for encoding in tokenizer.encode_batch(list(texts))]


def end_token(tokenizer: Tokenizer) -> int:
    """The token that ends a text. Raises ValueError when there is none."""
    found = tokenizer.token_to_id(EOS)
    if found is None:
        raise ValueError(f"the tokenizer has no {EOS} token")
    return found


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file. Raises ValueError when it is damaged: the library itself raises a bare Exception."""
    text = path.read_text(encoding="utf-8")
    try:
        return Tokenizer.from_str(text)
    except Exception as error:
        raise ValueError(f"{path.name}: {error}") from error
