"""Comparisons of algorithms that learn from preference pairs."""

from __future__ import annotations

from benchmarks.conformance.cases import DEFAULTS, Case

PAIR_CASES = (
    Case(
        algo="dpo",
        comparison=DEFAULTS,
        trainer="DPO",
        because="TRL computes the log-probabilities at temperature 1; a run here has sampling.temperature (0.7) unless "
        "preferences.temperature=1 is set",
    ),
    Case(
        algo="dpo",
        comparison="beta 0.5",
        trainer="DPO",
        theirs={"beta": 0.5},
        ours={"beta": 0.5},
    ),
    Case(
        algo="dpo",
        comparison="label smoothing",
        trainer="DPO",
        theirs={"label_smoothing": 0.1, "loss_type": ["robust"]},
        ours={"label_smoothing": 0.1},
        expected="denominator",
        because="TRL 1.16 has no conservative DPO: its loss_type=robust (Chowdhury et al.) subtracts the flipped term "
        "and divides by 1-2ε; algo.label_smoothing=0 and loss_type=sigmoid are equal",
    ),
    Case(
        algo="online_dpo",
        comparison=DEFAULTS,
        trainer="OnlineDPO",
        expected="logp",
        because="TRL computes the log-probabilities at temperature 1 whatever temperature it samples with; here they "
        "have sampling.temperature: set both to 1",
    ),
    Case(
        algo="online_dpo",
        comparison="temperature 1",
        trainer="OnlineDPO",
        theirs={"temperature": 1.0},
    ),
    Case(
        algo="online_dpo",
        comparison="equal scores",
        trainer="OnlineDPO",
        theirs={"temperature": 1.0},
        tie=True,
        expected="advantage",
        because="of two equal scores TRL takes the first completion as the chosen one; here they have no gradient",
    ),
)
