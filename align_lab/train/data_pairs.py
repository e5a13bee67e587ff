"""Preference pairs that come with the data, as experience: tokens, and log-probabilities under the start policy.

Nothing is sampled and the reward is not asked: a pair costs two completions and one label, that of whoever made it.
Both completions end with the end-of-sequence token, unless they were truncated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from align_lab.base.errors import DataError
from align_lab.base.progress import notice, report
from align_lab.base.settings import Preferences, Sampling
from align_lab.base.task import PreferencePair, PromptForm
from align_lab.base.types import Rollout
from align_lab.models.policy import PLAIN, Policy
from align_lab.models.written import Written, written
from align_lab.train.draws import permutation
from align_lab.train.experience import Experience, join, left_padding
from align_lab.train.pair_source import PairCost
from align_lab.train.preference_pairs import save_pairs

TOGETHER = 64  # pairs that are tokenized together, and whose log-probabilities are computed together
LONG_PROMPT, LONG, SAME, EMPTY = "a prompt without room", "a completion too long", "equal completions", "no prompt"

Pair = tuple[Written, Written]  # chosen, rejected


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
    kept, dropped = usable(plan, pairs, policy=policy, new=sampling.max_new_tokens, form=form)
    _say(kept, dropped, available=len(pairs), plan=plan, new=sampling.max_new_tokens)
    parts: list[Experience] = []
    report(0, len(kept))
    for start in range(0, len(kept), TOGETHER):
        parts.append(
            experience(policy, kept[start : start + TOGETHER], temperature=plan.temperature or sampling.temperature)
        )
        report(min(len(kept), start + TOGETHER), len(kept))
    pair_set = join(parts, fill=policy.eos)
    cost = PairCost(episodes=2 * len(kept), tokens=0, labels=len(kept), reference_tokens=pair_set.seen_tokens())
    save_pairs(folder, pair_set, cost)


def usable(
    plan: Preferences, pairs: Sequence[PreferencePair], *, policy: Policy, new: int, form: PromptForm = PLAIN
) -> tuple[list[Pair], Counter[str]]:
    """The tokens of the first `plan.pairs` usable pairs of a random order, and how many were dropped before, and why.

    `new`: the most tokens of a completion, its end-of-sequence token among them.
    """
    order = permutation(len(pairs), "pairs of the data", plan.seed).tolist()
    limit = len(pairs) if plan.pairs is None else plan.pairs
    kept: list[Pair] = []
    dropped: Counter[str] = Counter()
    for start in range(0, len(order), TOGETHER):
        for pair in _tokens(policy, [pairs[row] for row in order[start : start + TOGETHER]], form):
            reason = _problem(pair, plan, context=policy.model.context, new=new)
            if reason:
                dropped[reason] += 1
            else:
                kept.append((_cut(pair[0], new), _cut(pair[1], new)))
            if len(kept) == limit:
                return kept, dropped
    return kept, dropped


def _tokens(policy: Policy, pairs: Sequence[PreferencePair], form: PromptForm) -> list[Pair]:
    examples = [pair.example for pair in pairs]
    chosen = written(policy.text, examples, [pair.chosen for pair in pairs], form=form)
    rejected = written(policy.text, examples, [pair.rejected for pair in pairs], form=form)
    return list(zip(chosen, rejected, strict=True))


def _problem(pair: Pair, plan: Preferences, *, context: int, new: int) -> str:
    """Why a pair cannot be used; empty where it can."""
    chosen, rejected = (each.completion for each in pair)
    if not pair[0].prompt:
        return EMPTY
    if len(pair[0].prompt) + new > context:
        return LONG_PROMPT
    if plan.too_long == "drop" and max(len(chosen), len(rejected)) > new:
        return LONG
    return SAME if chosen[:new] == rejected[:new] else ""


def _cut(one: Written, new: int) -> Written:
    return Written(one.prompt, one.completion[:new])


def _say(kept: Sequence[Pair], dropped: Counter[str], *, available: int, plan: Preferences, new: int) -> None:
    """Tell the user what is used and what is not. Raises DataError where nothing is."""
    reasons = ", ".join(f"{count:,} with {reason}" for reason, count in dropped.most_common())
    longer = (
        f" Set sampling.max_new_tokens, which is {new}, to more, or preferences.too_long=truncate"
        if dropped[LONG]
        else ""
    )
    if not kept:
        why = f"{reasons or 'there are none'}.{longer}"
        raise DataError(f"none of the {available:,} preference pairs of the data can be used: {why}")
    limited = f" (preferences.pairs={plan.pairs})" if len(kept) == plan.pairs else ""
    notice(f"{len(kept):,} of {available:,} preference pairs of the data are used{limited}")
    if dropped:
        notice(f"left out: {reasons}.{longer}")


@torch.no_grad()
def experience(policy: Policy, pairs: Sequence[Pair], *, temperature: float) -> Experience:
    """Pairs as groups of two [N 2 ...] with the policy's log-probabilities; the chosen completion has the score 1."""
    rows = [row for pair in pairs for row in pair]
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
    logp = policy.model(ids, left_padding(pad), mask, temperature=temperature)
    assert isinstance(logp, torch.Tensor)
    score = torch.tensor([1.0, 0.0], dtype=logp.dtype).expand(len(pairs), 2)
    rollout = Rollout(mask=mask.view(-1, 2, longest), score=score.contiguous(), logp_old=logp.view(-1, 2, longest))
    return Experience(ids=ids.view(-1, 2, width + longest), pad=pad.view(-1, 2), rollout=rollout)
