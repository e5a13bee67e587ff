"""Preferences that come with the data, as experience: tokens, and log-probabilities under the start policy.

Nothing is sampled and the reward is not asked. A pair costs two completions and one label, that of whoever made it; a
single completion with a label costs one completion and one label. Completions end with the end-of-sequence token,
unless they were truncated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from align_lab.base.errors import DataError
from align_lab.base.progress import notice, report
from align_lab.base.settings import Preferences, Sampling
from align_lab.base.task import LabeledCompletion, PreferencePair, PromptForm
from align_lab.base.types import Rollout
from align_lab.models.policy import Policy
from align_lab.models.row_batches import RowBatches
from align_lab.models.text import PLAIN
from align_lab.models.written import Written, written
from align_lab.train.by_length import Sequences
from align_lab.train.draws import permutation
from align_lab.train.experience import Experience, join
from align_lab.train.pair_source import PairCost
from align_lab.train.preference_pairs import save_pairs

TOGETHER = 64  # groups that are tokenized together, and whose log-probabilities are computed together
LONG_PROMPT, LONG, SAME, EMPTY = "a prompt without room", "a completion too long", "equal completions", "no prompt"
PAIRS, LABELED = "preference pairs", "completions with a label"
OF_A_PAIR = {PAIRS: 1, LABELED: 2}  # rows that count as one of `preferences.pairs`

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """What is kept of a row: a pair, the chosen completion first, or one completion by itself."""

    completions: tuple[Written, ...]
    scores: tuple[float, ...]


def build_data_pairs(
    folder: Path,
    plan: Preferences,
    pairs: Sequence[PreferencePair],
    *,
    policy: Policy,
    sampling: Sampling,
    form: PromptForm = PLAIN,
) -> None:
    """Write at most `plan.pairs` of the pairs [N 2 ...] and their cost into `folder`.

    Raises DataError where no pair can be used.
    """

    def groups(rows: Sequence[PreferencePair]) -> list[Group]:
        return of_pairs(policy, rows, form)

    _write(folder, plan, _selected(plan, pairs, groups, policy=policy, sampling=sampling), policy, sampling)


def build_data_labeled(
    folder: Path,
    plan: Preferences,
    labeled: Sequence[LabeledCompletion],
    *,
    policy: Policy,
    sampling: Sampling,
    form: PromptForm = PLAIN,
) -> None:
    """Write at most 2 `plan.pairs` completions [N 1 ...], as many as those pairs hold, and their cost into `folder`.

    Raises DataError where no desirable, or no undesirable, completion can be used.
    """

    def groups(rows: Sequence[LabeledCompletion]) -> list[Group]:
        return of_labeled(policy, rows, form)

    kept = _selected(plan, labeled, groups, policy=policy, sampling=sampling, what=LABELED)
    desirable = sum(one.scores[0] > 0 for one in kept)
    if desirable in (0, len(kept)):
        there, lacking = ("undesirable", "desirable") if desirable == 0 else ("desirable", "undesirable")
        raise DataError(
            f"all {len(kept):,} completions with a label that can be used are {there}. Add {lacking} ones (label "
            f"{str(lacking == 'desirable').lower()}), or let more of them count: sampling.max_new_tokens, which is "
            f"{sampling.max_new_tokens}, or preferences.pairs"
        )
    notice(f"{desirable:,} of them are desirable, {len(kept) - desirable:,} are not")
    _write(folder, plan, kept, policy, sampling)


def of_pairs(policy: Policy, pairs: Sequence[PreferencePair], form: PromptForm) -> list[Group]:
    """Tokens of pairs: the chosen completion has the score 1, the rejected one 0."""
    examples = [pair.example for pair in pairs]
    chosen = written(policy.text, examples, [pair.chosen for pair in pairs], form=form)
    rejected = written(policy.text, examples, [pair.rejected for pair in pairs], form=form)
    return [Group(both, (1.0, 0.0)) for both in zip(chosen, rejected, strict=True)]


def of_labeled(policy: Policy, labeled: Sequence[LabeledCompletion], form: PromptForm) -> list[Group]:
    """Tokens of single completions: a desirable one has the score 1, another one 0."""
    rows = written(policy.text, [one.example for one in labeled], [one.completion for one in labeled], form=form)
    return [Group((row,), (float(one.desirable),)) for row, one in zip(rows, labeled, strict=True)]


def _selected(
    plan: Preferences,
    rows: Sequence[T],
    groups: Callable[[Sequence[T]], list[Group]],
    *,
    policy: Policy,
    sampling: Sampling,
    what: str = PAIRS,
) -> list[Group]:
    """The first usable rows of a random order, `plan.pairs` or twice as many single completions; the user is told what
    is used. Raises DataError."""
    limit = len(rows) if plan.pairs is None else plan.pairs * OF_A_PAIR[what]
    new = sampling.max_new_tokens
    order = permutation(len(rows), "pairs of the data", plan.seed).tolist()
    kept: list[Group] = []
    dropped: Counter[str] = Counter()
    for start in range(0, len(order), TOGETHER):
        for group in groups([rows[row] for row in order[start : start + TOGETHER]]):
            if len(kept) == limit:
                break
            reason = _problem(group.completions, plan, context=policy.model.context, new=new)
            if reason:
                dropped[reason] += 1
            else:
                cut = tuple(Written(one.prompt, one.completion[:new]) for one in group.completions)
                kept.append(Group(cut, group.scores))
    limited = f" (preferences.pairs={plan.pairs})" if plan.pairs and len(kept) == limit else ""
    _say(len(kept), dropped, f"{len(rows):,} {what} of the data", limited=limited, new=new)
    return kept


def _problem(completions: Sequence[Written], plan: Preferences, *, context: int, new: int) -> str:
    """Why a group cannot be used; empty where it can. `new`: the most tokens of a completion, with its end."""
    texts = [one.completion for one in completions]
    if not completions[0].prompt:
        return EMPTY
    if len(completions[0].prompt) + new > context:
        return LONG_PROMPT
    if plan.too_long == "drop" and max(map(len, texts)) > new:
        return LONG
    return SAME if len(texts) == 2 and texts[0][:new] == texts[1][:new] else ""


def _say(kept: int, dropped: Counter[str], rows: str, *, limited: str, new: int) -> None:
    """Tell the user what is used of the rows and what is not. Raises DataError where nothing is."""
    reasons = ", ".join(f"{count:,} with {reason}" for reason, count in dropped.most_common())
    longer = (
        f" Set sampling.max_new_tokens, which is {new}, to more, or preferences.too_long=truncate"
        if dropped[LONG]
        else ""
    )
    if not kept:
        raise DataError(f"none of the {rows} can be used: {reasons or 'there are none'}.{longer}")
    notice(f"{kept:,} of {rows} are used{limited}")
    if dropped:
        notice(f"left out: {reasons}.{longer}")


def _write(folder: Path, plan: Preferences, kept: Sequence[Group], policy: Policy, sampling: Sampling) -> None:
    parts: list[Experience] = []
    temperature, scoring = plan.temperature or sampling.temperature, RowBatches()
    report(0, len(kept))
    for start in range(0, len(kept), TOGETHER):
        parts.append(experience(policy, kept[start : start + TOGETHER], temperature=temperature, scoring=scoring))
        report(min(len(kept), start + TOGETHER), len(kept))
    whole = join(parts, fill=policy.eos)
    cost = PairCost(
        episodes=whole.rollout.score.numel(), tokens=0, labels=len(kept), reference_tokens=whole.seen_tokens()
    )
    save_pairs(folder, whole, cost)


@torch.no_grad()
def experience(
    policy: Policy, groups: Sequence[Group], *, temperature: float, scoring: RowBatches | None = None
) -> Experience:
    """Groups of equal size [N G ...] with the policy's log-probabilities and the scores."""
    rows = [row for group in groups for row in group.completions]
    size = len(groups[0].completions)
    width = max(len(row.prompt) for row in rows)
    longest = max(len(row.completion) for row in rows)
    pad = torch.tensor([width - len(row.prompt) for row in rows])
    lengths = torch.tensor([len(row.completion) for row in rows])
    mask = torch.arange(longest) < lengths[:, None]
    ids = torch.tensor(
        [
            [policy.eos] * (width - len(row.prompt))
            + row.prompt
            + row.completion
            + [policy.eos] * (longest - len(row.completion))
            for row in rows
        ]
    )

    def of_rows(*rows: Any) -> tuple[Any]:
        return (policy.model(*rows, temperature=temperature),)

    (logp,) = Sequences(ids=ids, pad=pad, mask=mask).scored(of_rows, scoring or RowBatches())
    score = torch.tensor([group.scores for group in groups], dtype=logp.dtype)
    rollout = Rollout(mask=mask.view(-1, size, longest), score=score, logp_old=logp.view(-1, size, longest))
    return Experience(ids=ids.view(-1, size, width + longest), pad=pad.view(-1, size), rollout=rollout)
