"""Checks of a reward: one outcome for each completion, whatever else is in the batch and whatever the text holds.

An outcome is a finite number, None (an abstention) or a `Failure`.

A reward that is trained is only asked how it is trained: its scores exist after `build`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align_lab.base import registry
from align_lab.base.contracts import Reward
from align_lab.base.errors import AlignLabError
from align_lab.base.task import Example, Failure, ScoreOutcome, Scorer
from align_lab.testing.outcomes import CheckSkipped, Outcome, outcome, outcomes

COMPLETIONS = (
    " was a joy from start to finish.",
    " never finds its way.",
    " is what it is",
    " was a joy from start to finish.",
    " has heart, and 2 + 2 = 4.",
)
UNUSUAL = {
    "an empty completion": "",
    "control characters": "\x00\x07\x1b[31m\r\n\t\u200b\ufeff",
    "markup": "<script>alert('x')</script>",
    "100 kB of text": ("x" * 999 + " ") * 100,
    "other scripts": "これは映画です 🎬 فيلم",
}
CLOSE = {"rel_tol": 1e-4, "abs_tol": 1e-5}  # a model in float32 rounds differently in another batch


class MissingColumn(CheckSkipped, KeyError):
    """A reward reads a column that the examples of a check lack. It may handle the error, as that of any mapping."""

    def __str__(self) -> str:
        return str(self.args[0])


class GuardedColumns(dict[str, Any]):
    """Columns of an example that say which one a reward lacks."""

    def __missing__(self, name: str) -> Any:
        raise MissingColumn(
            f"the reward reads the column {name!r}, which these examples lack. In a test: "
            f"assert_contract('reward', ..., examples=[Example(key='1', prompt='...', columns={{{name!r}: ...}})])"
        )


EXAMPLES = tuple(
    Example(key=f"example {number}", prompt=prompt, columns=GuardedColumns())
    for number, prompt in enumerate(("This film", "The second half", "It", "This film again", "The story"))
)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A scorer with examples and as many completions."""

    scorer: Scorer
    examples: Sequence[Example]
    completions: Sequence[str]

    def score(self, order: Sequence[int] | None = None) -> list[ScoreOutcome]:
        """Outcomes of these rows, in this order; all of them by default."""
        rows = range(len(self.examples)) if order is None else order
        return _totals(self.scorer, [self.examples[i] for i in rows], [self.completions[i] for i in rows])


def outcomes_of(reward: Reward, examples: Sequence[Example] | None = None) -> Iterator[Outcome]:
    """All checks of one reward."""
    yield from outcomes((training_is_declared, it_starts_from_a_model, texts_about_it_are_texts), reward)
    if reward.trained:
        yield outcome(an_untrained_one_says_that_it_must_be_trained, reward)
        return
    loading = outcome(it_loads_without_a_folder, reward)
    yield loading
    if loading.problems or loading.skipped:
        return
    rows = [_with_columns(one) for one in (examples or EXAMPLES)]
    completions = [COMPLETIONS[i % len(COMPLETIONS)] for i in range(len(rows))]
    scored = Scored(scorer=reward.load(None), examples=rows, completions=completions)
    first = outcome(every_completion_has_one_outcome, scored)
    yield first
    if not (first.problems or first.skipped):
        checks = (
            it_scores_the_same_again,
            the_order_of_the_batch_does_not_matter,
            the_rest_of_the_batch_does_not_matter,
        )
        yield from outcomes((*checks, unusual_texts_have_a_score), scored)


def training_is_declared(reward: Reward) -> Iterator[str]:
    """`build` is overridden where `trained` is True, and nowhere else: nobody would call it."""
    overridden = type(reward).build is not Reward.build
    if reward.trained and not overridden:
        yield "trained is True, and build is not overridden. Write def build(self, folder, given)"
    if overridden and not reward.trained:
        yield "build is overridden, and trained is False, so nobody calls it. Write trained: ClassVar = True"


def it_starts_from_a_model(reward: Reward) -> Iterator[str]:
    """`starts_from` returns the config of a registered model, or None."""
    registry.scan()  # a plug-in's test may have imported its own module alone
    start = reward.starts_from(registry.expand("model", "tiny", "the run's model"))
    if start is None:
        return
    try:
        registry.build("model", start)
    except (AlignLabError, KeyError, TypeError, ValueError) as error:
        yield f"starts_from returned {start!r}, which is no config of a model ({error}). Return one, or None"


def texts_about_it_are_texts(reward: Reward) -> Iterator[str]:
    """`label`, `unit`, `meaning` and `title` are texts of one line."""
    for name in ("label", "unit", "meaning", "title"):
        text = getattr(reward, name)
        if not isinstance(text, str) or "\n" in text:
            yield f"{name} is {text!r}. Set a text of one line"


def an_untrained_one_says_that_it_must_be_trained(reward: Reward) -> Iterator[str]:
    """`load(None)` raises an error for users."""
    try:
        scorer = reward.load(None)
    except AlignLabError as error:
        if not str(error).strip():
            yield "load(None) raises an error without a message. Say that the reward has to be trained first"
        return
    yield (
        f"load(None) returned {type(scorer).__name__}, though the reward is trained and has no folder yet. "
        "Raise align_lab.base.errors.DataError where folder is None"
    )


def it_loads_without_a_folder(reward: Reward) -> Iterator[str]:
    """Nothing is trained, so `load(None)` returns something with `score`."""
    scorer: Any = reward.load(None)
    if not callable(getattr(scorer, "score", None)):
        yield f"load(None) returned {type(scorer).__name__}, which has no score(examples, completions)"


def every_completion_has_one_outcome(scored: Scored) -> Iterator[str]:
    """As many finite numbers, abstentions and failures as completions."""
    yield from _wrong(scored.score(), scored.completions)


def it_scores_the_same_again(scored: Scored) -> Iterator[str]:
    """A second call returns equal numbers, also from a scorer in another state of the random generators."""
    import random

    first = scored.score()
    state = random.getstate()
    try:
        random.seed(1)
        second = scored.score()
    finally:
        random.setstate(state)
    yield from _differences(first, second, scored.completions, "scored a second time")


def the_order_of_the_batch_does_not_matter(scored: Scored) -> Iterator[str]:
    """Reversed, each completion has the score that it had."""
    order = range(len(scored.examples))[::-1]
    yield from _differences(scored.score(), scored.score(order)[::-1], scored.completions, "in reversed order")


def the_rest_of_the_batch_does_not_matter(scored: Scored) -> Iterator[str]:
    """Alone, each completion has the score that it had among others."""
    alone = [number for row in range(len(scored.examples)) for number in scored.score([row])]
    yield from _differences(scored.score(), alone, scored.completions, "alone")


def unusual_texts_have_a_score(scored: Scored) -> Iterator[str]:
    """A policy in training writes anything."""
    for name, text in UNUSUAL.items():
        try:
            totals = _totals(scored.scorer, scored.examples[:1], [text])
        except CheckSkipped:
            raise
        except Exception as error:
            yield f"{name}: the reward raised {type(error).__name__}: {' '.join(str(error).split())}. Return a number"
            continue
        yield from (f"{name}: {problem}" for problem in _wrong(totals, [text]))


def _totals(scorer: Scorer, examples: Sequence[Example], completions: Sequence[str]) -> list[ScoreOutcome]:
    return [_number(outcome) for outcome in scorer.score(examples, completions).total]


def _number(outcome: ScoreOutcome) -> ScoreOutcome:
    return outcome if outcome is None or isinstance(outcome, Failure) else float(outcome)


def _wrong(totals: Sequence[ScoreOutcome], completions: Sequence[str]) -> Iterator[str]:
    if len(totals) != len(completions):
        yield f"the reward returned {len(totals)} scores for {len(completions)} completions. Return one each"
        return
    for number, text in zip(totals, completions, strict=True):
        if isinstance(number, float) and not math.isfinite(number):
            yield (
                f"the score of {text[:40]!r} is {number}. Return a finite number, None to abstain, or a Failure that "
                "says why there is no score"
            )


def _differences(
    before: Sequence[ScoreOutcome], after: Sequence[ScoreOutcome], texts: Sequence[str], when: str
) -> Iterator[str]:
    if len(before) != len(after):
        yield f"{len(before)} scores at first, and {len(after)} {when}. Return one for each completion"
        return
    for a, b, text in zip(before, after, texts, strict=True):
        if not _close(a, b):
            yield (
                f"the score of {text!r} is {_shown(a)}, and {_shown(b)} {when}. "
                "A score may depend on the example and its completion alone"
            )
            return


def _close(a: ScoreOutcome, b: ScoreOutcome) -> bool:
    return math.isclose(a, b, **CLOSE) if isinstance(a, float) and isinstance(b, float) else type(a) is type(b)


def _shown(outcome: ScoreOutcome) -> str:
    return f"{outcome:g}" if isinstance(outcome, float) else str(outcome)


def _with_columns(example: Example) -> Example:
    columns: Mapping[str, Any] = GuardedColumns(example.columns)
    return dataclasses.replace(example, columns=columns)
