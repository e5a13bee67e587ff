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
    Case(
        algo="ipo",
        comparison=DEFAULTS,
        trainer="DPO",
        theirs={"loss_type": ["ipo"]},
        expected="denominator",
        because="TRL takes the mean of a completion's log-ratios, the paper's equation their sum: "
        "algo.over_tokens=mean here (TRL has no field for it; its online DPO sums)",
    ),
    Case(
        algo="ipo",
        comparison="means over tokens",
        trainer="DPO",
        theirs={"loss_type": ["ipo"]},
        ours={"over_tokens": "mean"},
    ),
    Case(algo="slic_norm", comparison=DEFAULTS, trainer="DPO", theirs={"loss_type": ["hinge"]}),
    Case(
        algo="slic_norm",
        comparison="beta 1, with pairs beyond the margin",
        trainer="DPO",
        theirs={"loss_type": ["hinge"], "beta": 1.0},
        ours={"beta": 1.0},
    ),
    Case(algo="kto", comparison=DEFAULTS, trainer="KTO"),
    Case(
        algo="kto",
        comparison="unequal weights",
        trainer="KTO",
        theirs={"desirable_weight": 1.5, "undesirable_weight": 0.5, "beta": 0.2},
        ours={"desirable_weight": 1.5, "undesirable_weight": 0.5, "beta": 0.2},
    ),
    Case(
        algo="cpo",
        comparison=DEFAULTS,
        trainer="CPO",
        expected="loss",
        because="TRL's likelihood term is a mean over the tokens of the batch, here over those of a completion and "
        "then over completions; without that term (cpo_alpha=0, algo.nll_coef=0), or for one pair, they are equal",
    ),
    Case(
        algo="cpo",
        comparison="without the likelihood",
        trainer="CPO",
        theirs={"cpo_alpha": 0.0},
        ours={"nll_coef": 0.0},
    ),
    Case(algo="cpo", comparison="one pair", trainer="CPO", short=True),
    Case(
        algo="simpo",
        comparison=DEFAULTS,
        trainer="CPO",
        theirs={"loss_type": "simpo"},
        expected="loss",
        because="TRL keeps CPO's β and likelihood term and has another margin: beta=2 simpo_gamma=1 cpo_alpha=0",
    ),
    Case(
        algo="simpo",
        comparison="the paper's",
        trainer="CPO",
        theirs={"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.0, "cpo_alpha": 0.0},
    ),
    Case(
        algo="orpo",
        comparison=DEFAULTS,
        trainer="ORPO",
        expected="prompt",
        because="TRL's likelihood term counts the tokens of the prompt too, and is a mean over all tokens of the "
        "batch; no field changes that",
    ),
    Case(
        algo="orpo",
        comparison="one pair with a prompt of one token",
        trainer="ORPO",
        short=True,
        because="nothing of the prompt is predicted then, and there is one completion to average over",
    ),
)
