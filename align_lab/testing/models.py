"""Checks of a model: how its start policy is made, and for one that is fine-tuned, what the fine-tuning begins with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from align_lab.base.contracts import Model
from align_lab.models.policy import Policy, save_policy
from align_lab.models.shape import Shape
from align_lab.testing.outcomes import Outcome, outcome, outcomes

TEXTS = (
    "A film that stays with you for days.",
    "The plot is thin, and the cast deserves better!",
    "Overlong, but never dull: 3 hours pass quickly.",
    "Café scenes, naïve dialogue, “quotes” and 映画.",
)
ROWS, LENGTH, RESPONSE = 2, 8, 4  # of the token ids that a model is tried with


@dataclass(frozen=True, kw_only=True)
class Started:
    """A model, and the policy that its fine-tuning begins with."""

    model: Model
    policy: Policy


def outcomes_of(model: Model) -> Iterator[Outcome]:
    """All checks of one model. A start policy that is fetched or converted is not fetched here."""
    yield from outcomes((the_start_policy_is_made_in_one_way, the_shape_is_a_shape), model)
    if model.fine_tuning() is None or model.pretrained:
        return
    starting = outcome(initial_gives_a_policy, model)
    yield starting
    if not starting.problems:
        started = Started(model=model, policy=model.initial(TEXTS))
        checks = (the_tokenizer_returns_the_text, log_probabilities_are_finite, a_saved_policy_is_read_anew)
        yield from outcomes(checks, started)


def the_start_policy_is_made_in_one_way(model: Model) -> Iterator[str]:
    """By `initial` and fine-tuning, or by `build`, which fine-tuning may follow."""
    fetched = model.pretrained or model.fine_tuning() is None
    if fetched and type(model).build is Model.build:
        reason = "pretrained is True" if model.pretrained else "fine_tuning() is None"
        yield f"{reason}, and build is not overridden: nothing makes the start policy. Write def build(self, folder)"
    if not fetched and type(model).initial is Model.initial:
        yield "fine_tuning() returns settings, and initial is not overridden. Write def initial(self, texts)"


def the_shape_is_a_shape(model: Model) -> Iterator[str]:
    """`shape()` returns a Shape, or None where only the weights tell it."""
    shape = model.shape()
    if shape is not None and not isinstance(shape, Shape):
        yield f"shape() returned {type(shape).__name__}. Return align_lab.models.shape.Shape, or None"


def initial_gives_a_policy(model: Model) -> Iterator[str]:
    """`initial(texts)` returns a Policy whose end-of-sequence token is one of its tokenizer's."""
    policy: Any = model.initial(TEXTS)
    if not isinstance(policy, Policy):
        yield f"initial(texts) returned {type(policy).__name__}. Return align_lab.models.policy.Policy"
    elif policy.tokenizer.id_to_token(policy.eos) is None:
        yield f"the end-of-sequence token {policy.eos} is none of the tokenizer's {policy.tokenizer.get_vocab_size()}"


def the_tokenizer_returns_the_text(started: Started) -> Iterator[str]:
    """Decoding the tokens of a text returns it, up to blanks at its ends."""
    tokenizer = started.policy.tokenizer
    for text in TEXTS:
        decoded = tokenizer.decode(tokenizer.encode(text).ids)
        if decoded.strip() != text:
            yield f"{text!r} comes back from the tokenizer as {decoded!r}. Use a tokenizer without loss (byte level)"


def log_probabilities_are_finite(started: Started) -> Iterator[str]:
    """[B T], one for each token of the response, none above 0."""
    logp = _logp(started.policy)
    if logp.shape != (ROWS, RESPONSE):
        yield f"the log-probabilities have shape {tuple(logp.shape)} instead of {(ROWS, RESPONSE)}: one a token"
    elif not logp.isfinite().all() or (logp > 1e-6).any():
        yield f"the log-probabilities are {logp.tolist()}. Each must be finite and at most 0"


def a_saved_policy_is_read_anew(started: Started) -> Iterator[str]:
    """`load` reads what fine-tuning writes: the same log-probabilities, from weights of its own at every call."""
    with tempfile.TemporaryDirectory(prefix="align_lab-doctor-") as scratch:
        save_policy(started.policy, Path(scratch))
        first, second = (started.model.load(Path(scratch)) for _ in range(2))
    if first.model is second.model:
        yield "load returned the same model twice. Read it anew at every call: a run trains one and keeps another"
    if not torch.allclose(_logp(first), _logp(started.policy), rtol=0, atol=1e-5):
        yield "the policy that load returned has other log-probabilities than the one that was saved"


def _logp(policy: Policy) -> torch.Tensor:
    """Log-probabilities of the last tokens of fixed rows, [B T]."""
    ids = torch.arange(ROWS * LENGTH).view(ROWS, LENGTH) % policy.tokenizer.get_vocab_size()
    with torch.no_grad():
        return policy.model.eval()(ids, None, torch.ones(ROWS, RESPONSE, dtype=torch.bool))
