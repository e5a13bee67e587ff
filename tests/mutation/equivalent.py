"""Mutants that compute the same, by their key in results.json, each with the reason."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {
    "algos/remax.py: `-1` -> `1` in `R = eq.token_reward(x, x.score - x.score_greedy.unsqueeze(-1), self.kl_coef)`": (
        "the scores of greedy completions have one axis, after which the last place is the second"
    ),
}
