"""Expected values of a run, recomputed by completion and without padding from hidden states and weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

from tests.wiring.parts import PROMPTS, SIZES, SPLITS


@dataclass(frozen=True)
class Row:
    """One completion with its prompt, as tokens; (group, sample) is its place in the rollout."""

    place: tuple[int, int]
    prompt: list[int]
    completion: list[int]


def rows_of(experience) -> list[Row]:
    """The completions of an experience. Padding is left of the prompt and right of the completion."""
    T = experience.rollout.mask.shape[-1]
    return [
        Row((p, g), ids[pad : len(ids) - T], ids[len(ids) - T :][:count])
        for p, group in enumerate(experience.ids.tolist())
        for g, ids in enumerate(group)
        for pad, count in [(int(experience.pad[p, g]), int(experience.rollout.mask[p, g].sum()))]
    ]


@torch.no_grad()
def logps(model, row: Row, temperature: float) -> torch.Tensor:
    """log p of every token of the completion."""
    return _distributions(model, row, temperature).gather(1, torch.tensor(row.completion)[:, None]).squeeze(1)


@torch.no_grad()
def entropy(model, row: Row, temperature: float) -> float:
    """The sum over tokens of -Σ p log p."""
    logp = _distributions(model, row, temperature)
    return float(-(logp.exp() * logp).sum())


@torch.no_grad()
def values(critic, row: Row) -> torch.Tensor:
    """head · the hidden state before each token of the completion."""
    hidden = critic.backbone.hidden(torch.tensor([row.prompt + row.completion]))[0]
    return hidden[len(row.prompt) - 1 : -1] @ critic.head


def _distributions(model, row: Row, temperature: float) -> torch.Tensor:
    hidden = model.hidden(torch.tensor([row.prompt + row.completion]))[0]
    return (hidden[len(row.prompt) - 1 : -1] @ model.head.t() / temperature).log_softmax(-1)


def assert_logps(actual, experience, model, temperature: float) -> None:
    """The log-probabilities [P G T] of an experience are those of the model, and 0 where nothing counts."""
    for row in rows_of(experience):
        own = actual[row.place].detach()
        torch.testing.assert_close(own[: len(row.completion)], logps(model, row, temperature), rtol=0, atol=1e-9)
        assert not own[len(row.completion) :].any()


def differ(actual, experience, model, temperature: float) -> bool:
    """Is some log-probability more than 1e-4 away from the model's?"""
    gaps = [actual[r.place].detach()[: len(r.completion)] - logps(model, r, temperature) for r in rows_of(experience)]
    return float(torch.cat(gaps).abs().max()) > 1e-4


def number_of(prompt: str) -> int:
    """The number that the example of this prompt has."""
    (result,) = [10 * s + i for s, name in enumerate(SPLITS) for i, text in enumerate(PROMPTS[name]) if text == prompt]
    return result


def texts(it, row: Row) -> tuple[str, str, bool]:
    """Prompt, completion without its end token, and whether it ended, of a row."""
    tokenizer = it.start.tokenizer
    ended = row.completion[-1] == it.start.eos
    completion = row.completion[:-1] if ended else row.completion
    return tokenizer.decode(row.prompt), tokenizer.decode(completion), ended


def parameters() -> int:
    """The number of weights of the model, from its dimensions; the output head is the embedding."""
    D, heads, kv, mlp = SIZES["width"], SIZES["heads"], SIZES["kv_heads"], SIZES["mlp"]
    head = D // heads
    block = D * (heads + 2 * kv) * head + heads * head * D + 3 * D * mlp + 2 * D
    return SIZES["vocab"] * D + SIZES["layers"] * block + D


class RecordingSource:
    """A source of experience that keeps what it has given."""

    def __init__(self, source) -> None:
        self.source, self.given = source, []

    def __getattr__(self, name: str):
        return getattr(self.source, name)

    def collect(self, step, *, groups):
        self.given.append(self.source.collect(step, groups=groups))
        return self.given[-1]


def recorded_steps(it, steps: int):
    """Take steps one by one: (experience, the policy before the step) of each."""
    it.loop.source = source = RecordingSource(it.loop.source)
    it.loop.state = it.loop.algo.init_state()
    policies = []
    for _ in range(steps):
        policies.append(copy.deepcopy(it.loop.learner.policy))
        it.loop.advance()
    return list(zip(source.given, policies, strict=True))
