"""Byte-level byte-pair encoding, which is lossless: decoding the tokens of any text returns the text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

EOS = "<eos>"


def train_tokenizer(texts: Sequence[str], *, vocab: int) -> Tokenizer:
    """Train a tokenizer with at most `vocab` tokens; the end-of-sequence token is token 0.

    A space is prepended to every text, so that its first word has the same tokens as anywhere else.
    """
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
    """Token ids of each text with the end token appended; a longer text is truncated and has no end token."""
    end = end_token(tokenizer) if end is None else end
    return [[*encoding.ids, end][:longest] for encoding in tokenizer.encode_batch(list(texts))]


def end_token(tokenizer: Tokenizer) -> int:
    """The id of the end-of-sequence token. Raises ValueError if the tokenizer has none."""
    end = tokenizer.token_to_id(EOS)
    if end is None:
        raise ValueError(f"the tokenizer has no {EOS} token")
    return end


def read_tokenizer(path: Path) -> Tokenizer:
    """Load a tokenizer. Raises ValueError if the file is damaged; the library itself raises a bare Exception."""
    text = path.read_text(encoding="utf-8")
    try:
        return Tokenizer.from_str(text)
    except Exception as error:
        raise ValueError(f"{path.name}: {error}") from error
