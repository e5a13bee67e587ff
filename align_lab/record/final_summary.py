"""The result of a run: the rows of its table and one sentence, for any reward, judges and deciding metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from align_lab.base.metrics import Metric, label_of

DIVERSITY = "eval/distinct_2"


@dataclass(frozen=True)
class SummaryRow:
    """One row of the table of results."""

    key: str
    label: str
    digits: int
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """How the scores changed from the start policy to the end."""

    gain: float  # change of the deciding metric
    noise: float | None  # two standard errors of that change, over prompts; None for a single prompt
    proxy: float | None  # change of the score that was optimized; None where one of the two is missing
    diversity: float  # distinct-2 at the end,
    diversity_before: float  # and at the start


@dataclass(frozen=True)
class FinalSummary:
    """`declared`: the run's metrics; `decides`: its deciding metric; `judges`: names of its judges."""

    declared: Mapping[str, Metric]
    decides: str
    judges: Sequence[str] = ()
    quality: Mapping[str, str] = field(default_factory=dict[str, str])  # metric -> how good its judge is

    @property
    def label(self) -> str:
        """The name of the deciding metric in tables."""
        return self._label(self.decides)

    @property
    def column(self) -> str:
        """The deciding column of `samples.jsonl`."""
        return self.decides.removeprefix("eval/")

    def rows(self) -> list[SummaryRow]:
        """The deciding metric, the score that was optimized, the other judges, and measures of over-optimization."""
        scores = dict.fromkeys([self.decides, "eval/score", *(f"eval/{name}" for name in self.judges)])
        return [
            *(SummaryRow(key, self._label(key), 2, self._meaning(key)) for key in scores),
            *(SummaryRow(key, self._label(key), 2, self.declared[key].meaning) for key in self._passes()),
            SummaryRow("eval/win_rate", "win rate", 2, f"against the start policy, by {self.label}"),
            SummaryRow("eval/kl", "KL", 1, "distance from the start policy, nats per completion"),
            SummaryRow("eval/length", "length", 1, "tokens"),
            SummaryRow("eval/entropy", "entropy", 2, "nats per token; near 0: collapse"),
            SummaryRow(DIVERSITY, "distinct-2", 2, "diversity of word pairs; a large drop: collapse"),
        ]

    def sentence(self, start: Mapping[str, float], final: Mapping[str, float]) -> str:
        """Whether the policy improved by more than two standard errors over prompts, and whether it collapsed."""
        for row, when in ((start, "before training"), (final, "at the end")):
            if self.decides not in row:
                return f"Nothing can be said: no completion has a {self.label} {when} ({self._shares(row)})."
        change = self._change(start, final)
        if change.noise is None:
            return f"Nothing can be concluded from one prompt. {self._changes(change)}. Evaluate on more prompts."
        return next(text for holds, text in self._rules(change, change.noise) if holds) + _short(change)

    def _passes(self) -> list[str]:
        """pass@k and maj@k of the first evaluation set, without the ends of their intervals."""
        return [key for key in self.declared if "@" in key and key.count("/") == 1 and "_" not in key]

    def _shares(self, row: Mapping[str, float]) -> str:
        """How many completions of an evaluation have no deciding score, and why."""
        failed, abstained = (row.get(f"{self.decides}_{what}", 0.0) for what in ("failed", "abstained"))
        return f"{100 * failed:.3g} % could not be scored, on {100 * abstained:.3g} % there is no opinion"

    def _change(self, start: Mapping[str, float], final: Mapping[str, float]) -> Change:
        errors = [row[f"{self.decides}_se"] for row in (start, final) if f"{self.decides}_se" in row]
        return Change(
            gain=final[self.decides] - start[self.decides],
            noise=2 * math.hypot(*errors) if len(errors) == 2 else None,
            proxy=final["eval/score"] - start["eval/score"] if "eval/score" in start.keys() & final.keys() else None,
            diversity=final[DIVERSITY],
            diversity_before=start[DIVERSITY],
        )

    def _rules(self, x: Change, error: float) -> list[tuple[bool, str]]:
        """(condition, sentence) pairs, of which the first that holds applies."""
        label, proxy = self.label, self._label("eval/score")
        independent = self.decides != "eval/score"
        fell, noise = x.gain < -error, f"two standard errors over prompts ({error:.2f})"
        changes, rose = self._changes(x), x.proxy or 0.0
        return [
            (
                0 < x.diversity < x.diversity_before / 2,
                f"The policy collapsed: it repeats itself (distinct-2 {x.diversity:.2f}). {changes}. "
                "Try a larger algo.kl_coef or a lower train.lr.",
            ),
            (x.gain > error, f"The policy learned: the {label} rose by {x.gain:.2f}, more than {noise}."),
            (
                fell and independent and rose > 0,
                f"Over-optimized: the {proxy} rose by {rose:.2f} while the {label} fell by {-x.gain:.2f}. "
                "Keep an earlier checkpoint.",
            ),
            (
                fell,
                f"The policy got worse: the {label} fell by {-x.gain:.2f}, more than {noise}. Try a lower train.lr.",
            ),
            (True, f"No improvement shown: the {label} changed by {x.gain:+.2f}, within {noise}."),
        ]

    def _changes(self, x: Change) -> str:
        """`The reward changed by +0.60, the accuracy by -0.50`, each in its own label."""
        if x.proxy is None or self.decides == "eval/score":
            return f"The {self.label} changed by {x.gain:+.2f}"
        return f"The {self._label('eval/score')} changed by {x.proxy:+.2f}, the {self.label} by {x.gain:+.2f}"

    def _meaning(self, key: str) -> str:
        """What the score is, and how good the judge is that gives it."""
        return "; ".join(filter(None, (self.declared[key].meaning, self.quality.get(key))))

    def _label(self, key: str) -> str:
        return self.declared[key].label or label_of(key)


def _short(x: Change) -> str:
    """Completions without a pair of words have a distinct-2 of 0, and repeat nothing."""
    if x.diversity or not x.diversity_before:
        return ""
    return " At the end no completion has more than one word."
