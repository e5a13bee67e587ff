"""Mutants that compute the same, by their key in results.json, each with the reason."""

# ruff: noqa: E501  one mutant a line
from __future__ import annotations

EQUIVALENT: dict[str, str] = {
    "algos/remax.py: `-1` -> `1` in `R = eq.token_reward(x, x.score - x.score_greedy.unsqueeze(-1), self.kl_coef)`": (
        "the scores of greedy completions have one axis, after which the last place is the second"
    ),
    "train/rollouts.py: the same random numbers in every step": (
        "the numbers of a prompt depend on how often it was drawn before as well, so that no two draws share any"
    ),
    "train/engines/torch_engine.py: `parameter.detach()` -> `parameter` in "
    "`own = nn.Parameter(parameter.detach().float())`": ("nn.Parameter is a leaf of its own, whatever it is made from"),
    "train/rounds.py: one step's random numbers": (
        "as above: every step of a round draws other prompts, or the same ones once more"
    ),
    "rewards/pair_model.py: `0.0` -> `1.0` in `deviation = float(scores.std()) if len(scores) > 1 else 0.0`": (
        "a deviation of 0 gives the scale 1, as a deviation of 1 does"
    ),
    "rewards/answers_cache.py: `1` -> `2` in `VERSION = 1  # of the files`": "any number tells a version from others",
    "rewards/judge_scorer.py: `True` -> `False` in `return opinions | dict(zip(missing, answers, strict=True))`": (
        "a service answers each of what it is asked, or raises"
    ),
    'rollout/replay.py: `repetitions >= WORTH` -> `repetitions > WORTH` in `self.records = device.type == "cuda" and repetitions >= WORTH`': (
        "how often work is repeated decides only whether it is recorded, not what it computes"
    ),
    "rollout/torch_sampler.py: `-1` -> `1` in `return token, (weight.gather(-1, token[:, None]).squeeze(-1) / weight.sum(-1)).log_()`": (
        "the logits have two axes, so that the last one is axis 1"
    ),
    "rollout/torch_sampler.py: `V.bit_length() // 2` -> `V.bit_length() % 2` in `size = 1 << (V.bit_length() // 2)`": (
        "the size of a block decides only how fast a token is found"
    ),
    "rewards/noise.py: `value + self.noise(example, text)` -> `value - self.noise(example, text)` in "
    "`value + self.noise(example, text) if isinstance(value, float) else value`": "the noise is symmetric about 0",
    "train/intervals.py: `20_000` -> `20001` in `DRAWS = 20_000`": "one draw more of a simulation",
    "train/draws.py: `1` -> `2` in `numbers = range(first // total, (first + count - 1) // total + 1)` (2)": (
        "one pass more than is needed is shuffled and not used"
    ),
    "train/micro_batch.py: `1` -> `2` in "
    "`return list(dict.fromkeys(math.ceil(groups / parts) for parts in range(1, groups + 1)))` (2)": (
        "one part more than there are groups gives the size 1 again"
    ),
    "train/evaluation_metrics.py: `0.0` -> `1.0` in "
    '`"entropy": (mean["entropy_sum"] or 0.0) / max(mean["length"] or 0.0, 1e-9),` (2)': (
        "where no completion has a token the sum of the entropies is 0 as well"
    ),
    "rollout/torch_sampler.py: `below * len(batch.rows)` -> `below / len(batch.rows)` in "
    "`if unfinished <= below * len(batch.rows):`": "how often finished rows are removed decides the speed alone",
    'train/evaluation_metrics.py: `1e-9` -> `1.000000001` in `"entropy": (mean["entropy_sum"] or 0.0) / max(mean["length"] or 0.0, 1e-9),`': (
        "a completion has at least one token, so that the mean length is at least 1"
    ),
    'train/preference_pairs.py: `cost["episodes"] // (PROMPTS * plan.samples)` -> `cost["episodes"] % (PROMPTS * plan.samples)` in `step = cost["episodes"] // (PROMPTS * plan.samples)`': (
        "the random numbers of a prompt depend on how often it was drawn before as well"
    ),
    'train/evaluate.py: `0` -> `1` in `return list({(row["index"], row.get("sample", 0)): row for row in rows}.values())`': (
        "either all rows of an evaluation have the number of a sample, or none has"
    ),
    "train/mixture.py: `1e-9` -> `1.000000001` in `before, after = (math.floor(self.share * groups * count + 1e-9) for count in (step, step + 1))`": (
        "both ends of the step are one later, and their difference is the same"
    ),
    'stages/store.py: `3` -> `4` in `"seconds": round(seconds, 3),`': ("how many digits of the seconds are written"),
    "stages/store.py: `1` -> `2` in `(folder / CARD).write_text(json.dumps(card, indent=1))`": (
        "how far the card is indented"
    ),
    "rewards/verifier.py: `True` -> `False` in `columns = zip(*rows, strict=True) if rows else ((), (), ())`": (
        "every row has three columns"
    ),
    "train/mixture.py: one pair too many": "both ends of the step are one later, and their difference is the same",
    "rollout/torch_sampler.py: `-1` -> `1` in `weight = z.sub_(z.amax(-1, keepdim=True)).exp_()`": (
        "there are two axes, so that the last one is that number"
    ),
    'rewards/verifier.py: `"" if reference is None else str(reference)` -> `(str(reference))` in `reference="" if reference is None else str(reference),`': (
        "without a reference there is a problem, and then it is not read"
    ),
}
