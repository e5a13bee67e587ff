"""A language model's body with a linear head on the hidden state of the last token, which is the end token.

r(prompt, completion) = w · h_last - center
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from align_lab.base.errors import DataError
from align_lab.base.task import Example, PromptForm, Score
from align_lab.models.fitting import by_length, collate
from align_lab.models.language_model import LanguageModel
from align_lab.models.lora_settings import Lora
from align_lab.models.policy import Policy, load_built, save_policy
from align_lab.models.text import Text
from align_lab.models.written import Written, written
from align_lab.rewards.pair_settings import SCORED_TOKENS

HEAD, READING = "head.safetensors", "reading.json"


class PairModel(nn.Module):
    """Token ids -> one number a text."""

    center: Tensor

    def __init__(self, body: LanguageModel) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Parameter(torch.zeros(1, body.width))
        self.register_buffer("center", torch.zeros(()))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids [B L] padded on the right, mask [B L] -> r [B]."""
        last = mask.sum(1) - 1
        state = self.body.hidden(ids)[torch.arange(len(ids)), last]
        return (state.to(self.head) @ self.head.t()).squeeze(-1) - self.center

    @torch.no_grad()
    def standardize(self, scores: Tensor) -> float:
        """Make the mean of these scores 0 and their standard deviation 1 from now on; returns what that was."""
        deviation = float(scores.std()) if len(scores) > 1 else 0.0
        scale = deviation if deviation > 0 else 1.0
        self.center.add_(scores.mean()).div_(scale)
        self.head.div_(scale)
        return scale


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a prompt and a completion become tokens."""

    text: Text
    form: PromptForm  # how a chat model is asked
    longest: int  # tokens

    def sequences(self, examples: Sequence[Example], completions: Sequence[str]) -> list[list[int]]:
        """Prompt, completion and end token of each row; the last token always is the end token."""
        rows = written(self.text, examples, completions, form=self.form)
        return [_shortened(row, self.longest) for row in rows]


def _shortened(row: Written, longest: int) -> list[int]:
    """At most `longest` tokens: without the beginning of the prompt, then without the end of the completion."""
    *answer, end = row.completion
    answer = answer[: longest - 1]
    room = longest - 1 - len(answer)
    return [*row.prompt[max(0, len(row.prompt) - room) :], *answer, end]


class PairScorer:
    """A trained reward model with its tokenizer and chat template."""

    def __init__(self, model: PairModel, reading: Reading) -> None:
        self.model, self.reading = model.eval(), reading

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """Score each completion after its example's prompt, as one text that has ended."""
        return Score(total=self.rate(self.reading.sequences(examples, completions)).tolist())

    @torch.no_grad()
    def rate(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Scores of token sequences, [N]."""
        scores = torch.zeros(len(sequences))
        for rows in by_length(sequences, range(len(sequences)), SCORED_TOKENS) if sequences else ():
            scores[rows] = self.model(*collate([sequences[row] for row in rows])).to(scores)
        return scores


def save_scorer(scorer: PairScorer, folder: Path) -> None:
    """Write the body as a Hugging Face folder, `head.safetensors` and `reading.json`."""
    model, reading = scorer.model, scorer.reading
    save_policy(Policy(model.body, reading.text), folder)
    save_file({"head": model.head.detach().contiguous(), "center": model.center}, folder / HEAD)
    (folder / READING).write_text(json.dumps({"form": asdict(reading.form), "longest": reading.longest}))


def load_scorer(folder: Path) -> PairScorer:
    """Read what `save_scorer` wrote. Raises DataError when it is not whole."""
    policy = load_built(folder, Lora())
    try:
        head = load_file(folder / HEAD)
        settings = json.loads((folder / READING).read_text())
        model = PairModel(policy.model)
        with torch.no_grad():
            model.head.copy_(head["head"])
            model.center.copy_(head["center"])
        reading = Reading(text=policy.text, form=PromptForm(**settings["form"]), longest=int(settings["longest"]))
        return PairScorer(model, reading)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise DataError(
            f"{folder} does not hold a reward model ({error}). Remove it, it will be built again: rm -r {folder}"
        ) from error
