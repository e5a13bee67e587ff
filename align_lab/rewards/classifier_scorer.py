"""Scores of a sequence classifier: texts of similar length share a forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from align_lab.base.errors import DataError
from align_lab.base.task import Example, Failure, Score, ScoreOutcome

UNLIMITED = 1 << 20  # transformers writes 10^30 for a tokenizer that knows no limit


@dataclass(frozen=True, kw_only=True)
class ClassifierScorer:
    """The scorer of `reward=hf_classifier`."""

    model: Any
    tokenizer: Any
    label: int
    output: str
    inputs: str
    max_length: int | None
    batch_tokens: int

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """The label's logit, probability or log-probability; `truncated` is 1 where the text lost its beginning."""
        encoded = [self._encode(one, text) for one, text in zip(examples, completions, strict=True)]
        totals: list[ScoreOutcome] = [Failure("the classifier's tokenizer gives no token for it")] * len(encoded)
        for rows in self._batches([len(ids["input_ids"]) for ids, _ in encoded]):
            for row, value in zip(rows, self._forward([encoded[row][0] for row in rows]).tolist(), strict=True):
                totals[row] = value
        return Score(total=totals, parts={"truncated": [float(cut) for _, cut in encoded]})

    @property
    def longest(self) -> int:
        """The limit in tokens: that of the settings, the tokenizer or the model, whichever is the least."""
        positions = getattr(self.model.config, "max_position_embeddings", None)
        limits = [self.max_length, self.tokenizer.model_max_length, positions]
        return min(limit for limit in limits if limit and limit > 0) if any(limits) else UNLIMITED

    def _encode(self, example: Example, completion: str) -> tuple[dict[str, list[int]], bool]:
        """(the classifier's input, is its beginning cut off)."""
        texts, special = self._texts(example, completion)
        whole = self.tokenizer(*texts, add_special_tokens=special)
        if len(whole["input_ids"]) <= self.longest:
            return dict(whole), False
        cut_off = {"add_special_tokens": special, "max_length": self.longest}
        try:
            cut = self.tokenizer(*texts, **cut_off, truncation="only_first")
        except Exception:  # the completion alone is too long, which the tokenizers raise as a bare Exception
            cut = self.tokenizer(*texts, **cut_off, truncation="longest_first")
        return dict(cut), True

    def _texts(self, example: Example, completion: str) -> tuple[tuple[str, ...], bool]:
        """(one text or two, does the tokenizer add its special tokens)."""
        if self.inputs == "pair":
            return (example.text, completion), True
        if self.inputs == "text" or not self.tokenizer.chat_template:
            between = "" if isinstance(example.prompt, str) else "\nassistant: "
            return (f"{example.text}{between}{completion}",), True
        turns = (
            [{"role": "user", "content": example.prompt}]
            if isinstance(example.prompt, str)
            else [{"role": turn.role, "content": turn.content} for turn in example.prompt]
        )
        conversation = [*turns, {"role": "assistant", "content": completion}]
        return (self.tokenizer.apply_chat_template(conversation, tokenize=False),), False

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Rows in the order of their length, as many as fit; an empty row is in none."""
        rows: list[int] = []
        for row in sorted((row for row, length in enumerate(lengths) if length), key=lambda row: lengths[row]):
            if rows and (len(rows) + 1) * lengths[row] > self.batch_tokens:
                yield rows
                rows = []
            rows.append(row)
        if rows:
            yield rows

    @torch.no_grad()
    def _forward(self, encoded: Sequence[dict[str, list[int]]]) -> Tensor:
        """[n] in float32."""
        batch = self.tokenizer.pad(list(encoded), return_tensors="pt").to(self.model.device)
        logits = self.model(**batch).logits.float()
        if self.output == "logit":
            return logits[:, self.label]
        several = getattr(self.model.config, "problem_type", None) == "multi_label_classification"
        log_probability = torch.nn.functional.logsigmoid(logits) if several else logits.log_softmax(-1)
        chosen = log_probability[:, self.label]
        return chosen if self.output == "log_probability" else chosen.exp()


def open_classifier(folder: Path, *, dtype: str) -> tuple[Any, Any]:
    """(model, tokenizer) of a folder, on the default device. Raises DataError where they cannot be loaded."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    precision = "auto" if dtype == "auto" else getattr(torch, dtype)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, truncation_side="left")
        model: Any
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype=precision, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{folder} cannot be loaded as a sequence classifier: {reason}") from error
    if missing := sorted(report["missing_keys"]):
        raise DataError(
            f"{folder} is no sequence classifier: its weights lack {missing[0]}, which would be random numbers. Choose "
            "a model whose architecture is ...ForSequenceClassification"
        )
    if tokenizer.pad_token is None:  # as reward trainers do
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.to(torch.get_default_device()).eval().requires_grad_(False), tokenizer
